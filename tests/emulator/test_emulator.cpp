// The emulator against what CUDA defines: results of correct kernels, and the errors of wrong ones.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "cuda/device.h"
#include "tests/child_process.h"

using namespace weir::cuda;
using weir::emulator::KernelError;
using weir::emulator::Order;

namespace {

constexpr unsigned kAll = 0xffffffffu;

// Runs f in natural and in reverse order of threads and blocks and returns both results.
template <class F>
auto in_both_orders(F&& f) {
  weir::emulator::set_order(Order::natural);
  const auto natural = f();
  weir::emulator::set_order(Order::reverse);
  const auto reverse = f();
  weir::emulator::set_order(Order::natural);
  return std::pair(natural, reverse);
}

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const KernelError& error) {
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

template <unsigned threads>
struct Values {
  float v[threads];
};

// --- correct kernels ------------------------------------------------------------------------------------------------

__global__ void add(const float* a, const float* b, float* sum, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) sum[i] = a[i] + b[i];
}

// Sum of a block of 256 values, by warps and then over the warps' sums.
__global__ void block_sum(const float* values, float* sums) {
  auto& partial = shared<Values<8>>();
  float sum = values[blockIdx.x * 256 + threadIdx.x];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(kAll, sum, step);
  if (threadIdx.x % 32 == 0) partial.v[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    float total = 0;
    for (float p : partial.v) total += p;
    sums[blockIdx.x] = total;
  }
}

__global__ void rotate(const float* from, float* to) {
  auto& tile = shared<Values<128>>();
  copy_16_async(&tile.v[threadIdx.x * 4], from + threadIdx.x * 4);
  commit_copies();
  wait_copies<0>();
  __syncthreads();
  for (unsigned i = threadIdx.x; i < 128; i += 32) to[i] = tile.v[(i + 1) % 128];
}

__global__ void votes(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  out[lane] = static_cast<int>(__ballot_sync(kAll, lane % 3 == 0));
  out[32 + lane] = lane < 8 ? __any_sync(0xffu, lane == 5) : __all_sync(~0xffu, lane > 8);
  out[64 + lane] = __syncthreads_count(lane < 10);
  out[96 + lane] = __shfl_up_sync(kAll, lane, 1, 8);
}

__global__ void count_blocks(unsigned* count) { atomicAdd(count, 1u); }

// --- wrong kernels --------------------------------------------------------------------------------------------------

__global__ void missing_barrier(float* out) {
  auto& tile = shared<Values<64>>();
  tile.v[threadIdx.x] = static_cast<float>(threadIdx.x);
  out[threadIdx.x] = tile.v[(threadIdx.x + 63) % 64];
}

__global__ void divergent_barrier() {
  if (threadIdx.x < 40)
    __syncthreads();
  else
    __syncthreads();
}

__global__ void barrier_without_some() {
  if (threadIdx.x == 3) return;
  __syncthreads();
}

__global__ void writes_past_shared() {
  auto& tile = shared<Values<32>>();
  float* const values = tile.v;
  values[threadIdx.x + 1] = 1;
}

__global__ void reads_unwritten_shared(float* out) {
  auto& tile = shared<Values<32>>();
  if (threadIdx.x != 7) tile.v[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = tile.v[threadIdx.x];
}

__global__ void forgets_to_wait_for_copies(const float* from, float* to) {
  auto& tile = shared<Values<128>>();
  copy_16_async(&tile.v[threadIdx.x * 4], from + threadIdx.x * 4);
  commit_copies();
  __syncthreads();
  to[threadIdx.x] = tile.v[threadIdx.x * 4];
  wait_copies<0>();
}

__global__ void ends_with_copies_under_way(const float* from) {
  auto& tile = shared<Values<128>>();
  copy_16_async(&tile.v[threadIdx.x * 4], from + threadIdx.x * 4);
  commit_copies();
}

__global__ void race_between_blocks(float* place) { *place = *place * 2 + static_cast<float>(blockIdx.x); }

__global__ void shuffles_from_outside(float* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffffu, 1.0f, 20);
}

__global__ void mask_without_itself() { __syncwarp(1u); }

}  // namespace

TEST_CASE("a kernel without barriers is a loop over all threads of all blocks") {
  std::vector<float> a(1000), b(1000), sum(1000);
  std::iota(a.begin(), a.end(), 0.0f);
  std::iota(b.begin(), b.end(), 500.0f);
  launch<add>({{4}, {256}}, {}, a.data(), b.data(), sum.data(), 1000);
  for (std::size_t i = 0; i < sum.size(); ++i) CHECK(sum[i] == a[i] + b[i]);
}

TEST_CASE("barriers, shuffles and shared memory give the same bits in both orders") {
  std::vector<float> values(1024);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
  const auto [natural, reverse] = in_both_orders([&] {
    std::vector<float> sums(4);
    launch<block_sum>({{4}, {256}}, {}, values.data(), sums.data());
    return sums;
  });
  CHECK(natural == reverse);
  for (std::size_t block = 0; block < 4; ++block) {
    const auto* const first = values.data() + block * 256;
    CHECK(natural[block] == doctest::Approx(std::accumulate(first, first + 256, 0.0)).epsilon(1e-5));
  }
}

TEST_CASE("asynchronous copies arrive when they are waited for") {
  alignas(16) float from[128];
  std::iota(from, from + 128, 0.0f);
  std::vector<float> to(128);
  launch<rotate>({{1}, {32}}, {}, static_cast<const float*>(from), to.data());
  for (std::size_t i = 0; i < 128; ++i) CHECK(to[i] == from[(i + 1) % 128]);
}

TEST_CASE("votes, counts and shuffles within segments") {
  std::vector<int> out(128);
  launch<votes>({{1}, {32}}, {}, out.data());
  for (int lane = 0; lane < 32; ++lane) {
    const auto at = [&](int row) { return out[static_cast<std::size_t>(32 * row + lane)]; };
    CHECK(at(0) == 0x49249249);
    CHECK(at(1) == (lane < 8 ? 1 : 0));
    CHECK(at(2) == 10);
    CHECK(at(3) == (lane % 8 == 0 ? lane : lane - 1));
  }
}

TEST_CASE("a missing barrier shows as a difference between the orders") {
  const auto [natural, reverse] = in_both_orders([] {
    std::vector<float> out(64);
    launch<missing_barrier>({{1}, {64}}, {}, out.data());
    return out;
  });
  CHECK(natural != reverse);
}

TEST_CASE("a divergent barrier is an error that names both places") {
  const std::string message = error_of([] { launch<divergent_barrier>({{1}, {64}}, {}); });
  CHECK(contains(message, "40 at __syncthreads in test_emulator.cpp:"));
  CHECK(contains(message, "24 at __syncthreads in test_emulator.cpp:"));
}

TEST_CASE("a barrier that some threads never reach is an error") {
  CHECK(contains(error_of([] { launch<barrier_without_some>({{1}, {64}}, {}); }), "1 have ended"));
}

TEST_CASE("a write past a shared object is an error") {
#if defined(__SANITIZE_ADDRESS__)  // which ends the process at the line
  const auto end = weir::tests::end_of_child([] { launch<writes_past_shared>({{1}, {32}}, {}); });
  CHECK((end.signal != 0 || end.exit_code != 0));
  CHECK_MESSAGE(contains(end.errors, "AddressSanitizer: use-after-poison"), end.errors);
  CHECK_MESSAGE(contains(end.errors, "writes_past_shared"), end.errors);
#else
  CHECK(contains(error_of([] { launch<writes_past_shared>({{1}, {32}}, {}); }), "behind the end of a shared-memory"));
#endif
}

TEST_CASE("shared memory that nobody wrote reads as NaN") {
  std::vector<float> out(32);
  launch<reads_unwritten_shared>({{1}, {32}}, {}, out.data());
  for (std::size_t i = 0; i < 32; ++i) CHECK(std::isnan(out[i]) == (i == 7));
}

TEST_CASE("a missing wait for copies reads NaN; copies under way at the end are an error") {
  alignas(16) float from[128] = {};
  std::vector<float> to(32);
  launch<forgets_to_wait_for_copies>({{1}, {32}}, {}, static_cast<const float*>(from), to.data());
  for (float v : to) CHECK(std::isnan(v));
  CHECK(contains(error_of([&] {
                   launch<ends_with_copies_under_way>({{1}, {32}}, {}, static_cast<const float*>(from));
                 }),
                 "asynchronous copies were under way"));
}

TEST_CASE("a race between blocks shows as a difference between the orders") {
  const auto [natural, reverse] = in_both_orders([] {
    std::vector<float> place(1);
    launch<race_between_blocks>({{4}, {1}}, {}, place.data());
    return place;
  });
  CHECK(natural != reverse);
}

TEST_CASE("warp operations refuse lanes that take no part") {
  std::vector<float> out(32);
  CHECK(contains(error_of([&] {
                   launch<shuffles_from_outside>({{1}, {32}}, {}, out.data());
                 }),
                 "__shfl_sync reads lane 20, which takes no part"));
  CHECK(contains(error_of([] { launch<mask_without_itself>({{1}, {32}}, {}); }), "leaves out the calling lane"));
}

TEST_CASE("launches that the hardware refuses are refused") {
  CHECK(contains(error_of([] { launch<divergent_barrier>({{1}, {2048}}, {}); }), "it may have 1 to 1024"));
  CHECK(contains(error_of([] { launch<divergent_barrier>({{1, 70000}, {1}}, {}); }), "y and z 1 to 65535"));
  CHECK(contains(error_of([] { launch<divergent_barrier>({{1}, {1}, 300 << 10}, {}); }), "dynamic shared memory"));
}

TEST_CASE("after an error the next launch works") {
  std::vector<float> values(256, 1.0f), sums(1);
  for (int i = 0; i < 3; ++i) {
    CHECK(error_of([] { launch<barrier_without_some>({{1}, {64}}, {}); }) != "no error");
    launch<block_sum>({{1}, {256}}, {}, values.data(), sums.data());
    CHECK(sums[0] == 256);
  }
}

TEST_CASE("random order is a function of its seed and leaves correct kernels' results alone") {
  std::vector<float> values(1024);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
  const auto results = [&] {
    std::vector<float> sums(4), racing(1);
    launch<block_sum>({{4}, {256}}, {}, values.data(), sums.data());
    launch<race_between_blocks>({{16}, {1}}, {}, racing.data());
    return std::pair(sums, racing);
  };
  const auto natural = results();
  bool race_seen = false;
  for (unsigned seed = 0; seed < 4; ++seed) {
    weir::emulator::set_order(Order::random, seed);
    const auto random = results();
    CHECK(random == results());
    CHECK(random.first == natural.first);
    race_seen = race_seen || random.second != natural.second;
  }
  weir::emulator::set_order(Order::natural);
  CHECK(race_seen);
}

TEST_CASE("two workers run every block once, and their errors arrive") {
  weir::emulator::set_workers(2);
  for (const Order order : {Order::natural, Order::reverse, Order::random}) {
    weir::emulator::set_order(order, 7);
    std::vector<float> values(256 * 33, 1.0f), sums(33);
    launch<block_sum>({{33}, {256}}, {}, values.data(), sums.data());
    CHECK(sums == std::vector<float>(33, 256.0f));
    unsigned count = 0;
    launch<count_blocks>({{100, 3, 2}, {32}}, {}, &count);
    CHECK(count == 600 * 32);
    CHECK(contains(error_of([] { launch<barrier_without_some>({{9}, {64}}, {}); }), "1 have ended"));
  }
  weir::emulator::set_order(Order::natural);
  weir::emulator::set_workers(1);
}
