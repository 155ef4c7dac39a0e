#include "cuda/emulator/tensor_core.h"

namespace weir::emulator {
namespace {

float tf32(std::uint32_t bits) { return std::bit_cast<float>(bits & ~0x1fffu); }  // the hardware ignores the rest

template <class T>
float half(std::uint32_t bits, int index) {
  T value;
  value.bits = static_cast<std::uint16_t>(bits >> 16 * index);
  return value;
}

// c += a b, where element(bits, i) is the i-th element in a register and a register has `packed` of them. Products of
// such short mantissas are exact in float. Sums are rounded once, from double; tensor cores round more often.
template <int packed, class Element>
void multiply(void* const* products, Element element) {
  constexpr int depth = 8 * packed;
  float a[16][depth], b[depth][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& mine = *static_cast<const Product*>(products[lane]);
    const int group = lane / 4, column = lane % 4 * packed;
    for (int i = 0; i < packed; ++i) {
      for (int r = 0; r < 4; ++r) a[group + r % 2 * 8][column + i + r / 2 * 4 * packed] = element(mine.a.r[r], i);
      for (int r = 0; r < 2; ++r) b[column + i + r * 4 * packed][group] = element(mine.b.r[r], i);
    }
  }
  for (int row = 0; row < 16; ++row) {
    double sum[8] = {};
    for (int k = 0; k < depth; ++k)
      for (int n = 0; n < 8; ++n) sum[n] += static_cast<double>(a[row][k] * b[k][n]);
    for (int n = 0; n < 8; ++n) {
      float& c = static_cast<const Product*>(products[row % 8 * 4 + n / 2])->c->r[row / 8 * 2 + n % 2];
      c = static_cast<float>(sum[n] + static_cast<double>(c));
    }
  }
}

}  // namespace

void multiply_bf16(void* const* products, unsigned) { multiply<2>(products, half<bf16>); }
void multiply_fp16(void* const* products, unsigned) { multiply<2>(products, half<fp16>); }
void multiply_tf32(void* const* products, unsigned) {
  multiply<1>(products, [](std::uint32_t bits, int) { return tf32(bits); });
}

void distribute(void* const* rows, unsigned) {
  for (int lane = 0; lane < 32; ++lane)
    for (int matrix = 0; matrix < 4; ++matrix) {
      const auto& row = *static_cast<const MatrixRow*>(rows[8 * matrix + lane / 4]);
      const int column = lane % 4 * 2;
      static_cast<MatrixRow*>(rows[lane])->registers[matrix] =
          row.elements[column] | static_cast<std::uint32_t>(row.elements[column + 1]) << 16;
    }
}

void distribute_transposed(void* const* rows, unsigned) {
  for (int lane = 0; lane < 32; ++lane)
    for (int matrix = 0; matrix < 4; ++matrix) {
      const auto element = [&](int row) {
        return std::uint32_t{static_cast<const MatrixRow*>(rows[8 * matrix + row])->elements[lane / 4]};
      };
      static_cast<MatrixRow*>(rows[lane])->registers[matrix] = element(lane % 4 * 2) | element(lane % 4 * 2 + 1) << 16;
    }
}

}  // namespace weir::emulator
