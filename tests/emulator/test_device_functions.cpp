// Device functions of one thread and of a warp against what CUDA defines; half precision against its definition.
#include <doctest/doctest.h>

#include <climits>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "cuda/device.h"

using namespace weir::cuda;
using weir::fp16;

namespace {

constexpr unsigned kAll = 0xffffffffu;

__global__ void fill_dynamic(int* out) {
  int* const numbers = dynamic_shared<int>();
  numbers[threadIdx.x] = static_cast<int>(threadIdx.x);
  __syncthreads();
  out[threadIdx.x] = numbers[blockDim.x - 1 - threadIdx.x];
  const auto address = reinterpret_cast<std::uintptr_t>(dynamic_shared<char>());
  if (address != reinterpret_cast<std::uintptr_t>(numbers) || address % 128 != 0) out[threadIdx.x] = -1;
}
__global__ void reads_unwritten_dynamic(float* out) { out[threadIdx.x] = dynamic_shared<float>()[threadIdx.x]; }

// Each lane's result where a lane's group is its index modulo 3.
__global__ void match_and_reduce(unsigned* out) {
  const unsigned lane = threadIdx.x;
  const unsigned equals = __match_any_sync(kAll, lane % 3);
  out[lane] = equals;
  out[32 + lane] = __reduce_add_sync(equals, lane);
  out[64 + lane] = static_cast<unsigned>(__reduce_add_sync(kAll, -static_cast<int>(lane)));
  out[96 + lane] = __reduce_max_sync(kAll, lane) * 100 + __reduce_min_sync(kAll, lane + 1);
}

// 256 threads of several blocks on the same numbers.
__global__ void atomics(unsigned* count, int* highest, int* lowest, unsigned long long* sum, int* old_values) {
  const int id = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(count, 1u);
  atomicMax(highest, id - 100);
  atomicMin(lowest, id - 100);
  atomicAdd(sum, 1ull << 32);
  old_values[id] = atomicCAS(&old_values[1024 + id], id, -1) + atomicExch(&old_values[1024 + id], -2);
}

std::string error_of(void (*f)()) {
  try {
    f();
  } catch (const weir::emulator::KernelError& error) {
    return error.what();
  }
  return "no error";
}

#if !defined(__SANITIZE_ADDRESS__)
__global__ void writes_past_dynamic() { dynamic_shared<char>()[100] = 1; }
#endif

}  // namespace

TEST_CASE("dynamic shared memory has the size of the launch and starts as NaN") {
  std::vector<int> out(64);
  launch<fill_dynamic>({{1}, {64}, 64 * sizeof(int)}, {}, out.data());
  for (int i = 0; i < 64; ++i) CHECK(out[static_cast<std::size_t>(i)] == 63 - i);
  std::vector<float> unwritten(64);
  launch<reads_unwritten_dynamic>({{1}, {64}, 64 * sizeof(float)}, {}, unwritten.data());
  for (float u : unwritten) CHECK(std::isnan(u));
  const std::string message = error_of([] {
    float unused;
    launch<reads_unwritten_dynamic>({{1}, {1}}, {}, &unused);
  });
  CHECK(message.find("the launch gave no dynamic shared memory") != std::string::npos);
#if !defined(__SANITIZE_ADDRESS__)
  const std::string stray = error_of([] { launch<writes_past_dynamic>({{1}, {1}, 100}, {}); });
  CHECK(stray.find("behind the end of a shared-memory object of 100 bytes") != std::string::npos);
#endif
}

TEST_CASE("match and reduce operations of a warp") {
  std::vector<unsigned> out(128);
  launch<match_and_reduce>({{1}, {32}}, {}, out.data());
  for (unsigned lane = 0; lane < 32; ++lane) {
    unsigned equals = 0, sum = 0;
    for (unsigned other = lane % 3; other < 32; other += 3) equals |= 1u << other, sum += other;
    CHECK(out[lane] == equals);
    CHECK(out[32 + lane] == sum);
    CHECK(out[64 + lane] == static_cast<unsigned>(-496));
    CHECK(out[96 + lane] == 31 * 100 + 1);
  }
}

TEST_CASE("atomic operations") {
  unsigned count = 0;
  int highest = INT_MIN, lowest = INT_MAX;
  unsigned long long sum = 5;
  std::vector<int> old_values(2048);
  for (int i = 0; i < 1024; ++i) old_values[static_cast<std::size_t>(1024 + i)] = i;
  launch<atomics>({{4}, {256}}, {}, &count, &highest, &lowest, &sum, old_values.data());
  CHECK(count == 1024);
  CHECK(highest == 923);
  CHECK(lowest == -100);
  CHECK(sum == 5 + (1024ull << 32));
  for (int i = 0; i < 1024; ++i) {
    CHECK(old_values[static_cast<std::size_t>(i)] == i - 1);
    CHECK(old_values[static_cast<std::size_t>(1024 + i)] == -2);
  }
}

TEST_CASE("functions of bits, minima, maxima") {
  CHECK(__clz(0) == 32);
  CHECK(__clz(1) == 31);
  CHECK(__clz(-1) == 0);
  CHECK(__clzll(1) == 63);
  CHECK(__ffs(0) == 0);
  CHECK(__ffs(INT_MIN) == 32);
  CHECK(__ffsll(0) == 0);
  CHECK(__ffsll(1ll << 40) == 41);
  CHECK(__popc(0xf0f0u) == 8);
  CHECK(__popcll(~0ull) == 64);
  CHECK(__umulhi(0x80000000u, 6) == 3);
  CHECK(__float_as_uint(-0.0f) == 0x80000000u);
  CHECK(__int_as_float(0x3f800000) == 1.0f);
  CHECK(max(3, -4) == 3);
  CHECK(min(3u, 4u) == 3u);
  CHECK(max(1ll << 40, 2ll) == 1ll << 40);
  CHECK(max(NAN, 1.0f) == 1.0f);
  CHECK(min(1.0f, NAN) == 1.0f);
  CHECK(min(2.0, -1.0) == -1.0);
  CHECK(rsqrtf(4.0f) == 0.5f);
  CHECK(__expf(0.0f) == 1.0f);
}

TEST_CASE("every half-precision number survives the way through float") {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    fp16 half;
    half.bits = static_cast<std::uint16_t>(bits);
    if (std::isnan(static_cast<float>(half))) {
      CHECK((bits & 0x7c00u) == 0x7c00u);
      CHECK(fp16(static_cast<float>(half)).bits == 0x7fff);
    } else if (fp16(static_cast<float>(half)).bits != bits) {
      FAIL_CHECK("bits " << bits);
    }
  }
}

TEST_CASE("half precision rounds to nearest even") {
  // Between neighbours a and b: the midpoint goes to the one with the even last bit, its neighbours to the nearer one.
  for (unsigned bits = 0; bits < 0x7bff; ++bits) {
    fp16 a, b;
    a.bits = static_cast<std::uint16_t>(bits);
    b.bits = static_cast<std::uint16_t>(bits + 1);
    const float middle = (static_cast<float>(a) + static_cast<float>(b)) / 2;
    const bool right = fp16(middle).bits == (bits % 2 == 0 ? bits : bits + 1) &&
                       fp16(std::nextafter(middle, 0.0f)).bits == bits &&
                       fp16(std::nextafter(middle, 1e9f)).bits == bits + 1 &&
                       fp16(-middle).bits == (0x8000u | (bits % 2 == 0 ? bits : bits + 1));
    if (!right) FAIL_CHECK("bits " << bits);
  }
  CHECK(fp16(65519.996f).bits == 0x7bff);
  CHECK(fp16(65520.0f).bits == 0x7c00);
  CHECK(fp16(-INFINITY).bits == 0xfc00);
  static_assert(fp16(1.0f).bits == 0x3c00);
  static_assert(fp16(0x1p-24f).bits == 1);
}
