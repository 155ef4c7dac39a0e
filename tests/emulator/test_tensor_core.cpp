// Tensor-core products against plain ones in double precision. The inputs have so few mantissa bits that every sum is
// exact in float, so the order of summation does not matter and results must be equal.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "cuda/device.h"

using namespace weir::cuda;
using weir::bf16;
using weir::fp16;

namespace {

// Multiples of 1/8 from -1 to 1.
template <class T>
std::vector<T> short_numbers(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<T> numbers(count);
  for (T& n : numbers) n = T(static_cast<float>(static_cast<int>(random() % 17) - 8) / 8.0f);
  return numbers;
}

// c + a b with a: 16 x depth, b: depth x 8, by rows.
template <class T>
std::vector<float> product(const std::vector<T>& a, const std::vector<T>& b, const std::vector<float>& c) {
  const std::size_t depth = a.size() / 16;
  std::vector<float> result(128);
  for (std::size_t row = 0; row < 16; ++row)
    for (std::size_t column = 0; column < 8; ++column) {
      double sum = c[row * 8 + column];
      for (std::size_t k = 0; k < depth; ++k) sum += double{a[row * depth + k]} * double{b[k * 8 + column]};
      result[row * 8 + column] = static_cast<float>(sum);
    }
  return result;
}

// The place in C of register i of this lane.
__device__ int place_in_c(int i) {
  const int lane = static_cast<int>(threadIdx.x);
  return (lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2;
}

// --- kernels: one warp, operands by rows, fragments filled by the table in cuda/tensor_core.h ------------------------

template <class T>
__global__ void multiply_by_table(const T* a, const T* b, const float* c, float* result) {
  const int g = static_cast<int>(threadIdx.x / 4), t = static_cast<int>(threadIdx.x % 4);
  const auto from_a = [&](int row, int column) { return pack(a[row * 16 + column], a[row * 16 + column + 1]); };
  const auto from_b = [&](int row) { return pack(b[row * 8 + g], b[(row + 1) * 8 + g]); };
  const FragmentA fa{{from_a(g, 2 * t), from_a(g + 8, 2 * t), from_a(g, 2 * t + 8), from_a(g + 8, 2 * t + 8)}};
  const FragmentB fb{{from_b(2 * t), from_b(2 * t + 8)}};
  FragmentC fc;
  for (int i = 0; i < 4; ++i) fc.r[i] = c[place_in_c(i)];
  mma_m16n8k16<T>(fc, fa, fb);
  for (int i = 0; i < 4; ++i) result[place_in_c(i)] = fc.r[i];
}

__global__ void multiply_tf32(const float* a, const float* b, const float* c, float* result) {
  const int g = static_cast<int>(threadIdx.x / 4), t = static_cast<int>(threadIdx.x % 4);
  const auto from_a = [&](int row, int column) { return to_tf32(a[row * 8 + column]); };
  const FragmentA fa{{from_a(g, t), from_a(g + 8, t), from_a(g, t + 4), from_a(g + 8, t + 4)}};
  const FragmentB fb{{to_tf32(b[t * 8 + g]), to_tf32(b[(t + 4) * 8 + g])}};
  FragmentC fc;
  for (int i = 0; i < 4; ++i) fc.r[i] = c[place_in_c(i)];
  mma_m16n8k8(fc, fa, fb);
  for (int i = 0; i < 4; ++i) result[place_in_c(i)] = fc.r[i];
}

template <class T>
struct Operands {
  alignas(16) T a[16][16];  // by rows
  alignas(16) T b[16][8];   // by rows; `b_columns` by columns
  alignas(16) T b_columns[8][16];
};

// The same product with operands from shared memory; b from either layout.
template <class T, bool columns>
__global__ void multiply_by_ldmatrix(const T* a, const T* b, const float* c, float* result) {
  auto& tile = shared<Operands<T>>();
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 256; i += 32) tile.a[i / 16][i % 16] = a[i];
  for (int i = lane; i < 128; i += 32) tile.b[i / 8][i % 8] = tile.b_columns[i % 8][i / 8] = b[i];
  __syncwarp();
  const FragmentA fa = ldmatrix_x4(&tile.a[lane % 16][lane / 16 * 8]);
  const FragmentB fb =
      columns ? ldmatrix_x2(&tile.b_columns[lane % 8][lane / 8 % 2 * 8]) : ldmatrix_x2_trans(&tile.b[lane % 16][0]);
  FragmentC fc;
  for (int i = 0; i < 4; ++i) fc.r[i] = c[place_in_c(i)];
  mma_m16n8k16<T>(fc, fa, fb);
  for (int i = 0; i < 4; ++i) result[place_in_c(i)] = fc.r[i];
}

struct Matrices {
  alignas(16) std::uint16_t rows[32][8];  // four of 8 x 8
};
// out: [plain or transposed][register][lane][half]
__global__ void load_four(std::uint16_t* out) {
  auto& m = shared<Matrices>();
  const unsigned lane = threadIdx.x;
  for (unsigned i = 0; i < 8; ++i) m.rows[lane][i] = static_cast<std::uint16_t>(lane * 8 + i);
  __syncwarp();
  const FragmentA fragments[2] = {ldmatrix_x4(m.rows[lane]), ldmatrix_x4_trans(m.rows[lane])};
  for (unsigned f = 0; f < 2; ++f)
    for (unsigned r = 0; r < 4; ++r)
      for (unsigned half = 0; half < 2; ++half)
        out[((f * 4 + r) * 32 + lane) * 2 + half] = static_cast<std::uint16_t>(fragments[f].r[r] >> 16 * half);
}

__global__ void loads_from_global_memory(const bf16* from) { ldmatrix_x4(from + threadIdx.x % 8 * 8); }
__global__ void multiplies_by_half_a_warp() {
  FragmentC c{};
  if (threadIdx.x < 16) mma_m16n8k16<bf16>(c, {}, {});
}

template <class T>
void check_products() {
  const auto a = short_numbers<T>(256, 1), b = short_numbers<T>(128, 2);
  const auto c = short_numbers<float>(128, 3);
  const std::vector<float> expected = product(a, b, c);
  std::vector<float> result(128);
  launch<multiply_by_table<T>>({{1}, {32}}, {}, a.data(), b.data(), c.data(), result.data());
  CHECK(result == expected);
  launch<multiply_by_ldmatrix<T, true>>({{1}, {32}}, {}, a.data(), b.data(), c.data(), result.data());
  CHECK(result == expected);
  launch<multiply_by_ldmatrix<T, false>>({{1}, {32}}, {}, a.data(), b.data(), c.data(), result.data());
  CHECK(result == expected);
}

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const weir::emulator::KernelError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("tensor cores multiply bf16 and fp16 as plain loops do") {
  check_products<bf16>();
  check_products<fp16>();
}

TEST_CASE("tensor cores multiply tf32 as plain loops do") {
  const auto a = short_numbers<float>(128, 1), b = short_numbers<float>(64, 2), c = short_numbers<float>(128, 3);
  std::vector<float> result(128);
  launch<multiply_tf32>({{1}, {32}}, {}, a.data(), b.data(), c.data(), result.data());
  CHECK(result == product(a, b, c));
}

TEST_CASE("ldmatrix hands out rows, or columns where transposed") {
  std::vector<std::uint16_t> out(2 * 4 * 32 * 2);
  launch<load_four>({{1}, {32}}, {}, out.data());
  for (unsigned matrix = 0; matrix < 4; ++matrix)
    for (unsigned lane = 0; lane < 32; ++lane)
      for (unsigned half = 0; half < 2; ++half) {
        const unsigned outer = lane / 4, inner = lane % 4 * 2 + half;
        CHECK(out[(matrix * 32 + lane) * 2 + half] == matrix * 64 + outer * 8 + inner);
        CHECK(out[((4 + matrix) * 32 + lane) * 2 + half] == matrix * 64 + inner * 8 + outer);
      }
}

TEST_CASE("to_tf32 keeps ten bits, rounds to nearest, ties away from zero") {
  const auto rounded = [](float value) { return std::bit_cast<float>(to_tf32(value)); };
  CHECK(rounded(1.0f) == 1.0f);
  CHECK(rounded(1.0f + 0x1p-10f) == 1.0f + 0x1p-10f);
  CHECK(rounded(1.0f + 0x1p-11f) == 1.0f + 0x1p-10f);  // a tie
  CHECK(rounded(-1.0f - 0x1p-11f) == -1.0f - 0x1p-10f);
  CHECK(rounded(1.0f + 0x1p-11f - 0x1p-23f) == 1.0f);
  CHECK(std::isinf(rounded(INFINITY)));
  CHECK(std::isnan(rounded(NAN)));
}

TEST_CASE("tensor cores refuse half a warp, and rows outside of shared memory") {
  alignas(16) bf16 rows[64];
  CHECK(error_of([&] {
          launch<loads_from_global_memory>({{1}, {32}}, {}, rows);
        }).find("ldmatrix_x4 from outside of shared memory") != std::string::npos);
  CHECK(error_of([] {
          launch<multiplies_by_half_a_warp>({{1}, {32}}, {});
        }).find("16 at mma_m16n8k16") != std::string::npos);
}
