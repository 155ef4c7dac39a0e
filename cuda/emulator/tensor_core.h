// The emulator's side of cuda/tensor_core.h: each function is one operation of a whole warp.
#pragma once

#include <bit>
#include <cstdint>

#include "cuda/emulator/intrinsics.h"
#include "cuda/tensor_core.h"

namespace weir::emulator {

// What a lane brings to a matrix product.
struct Product {
  cuda::FragmentA a;
  cuda::FragmentB b;
  cuda::FragmentC* c;
};
void multiply_bf16(void* const* products, unsigned mask);
void multiply_fp16(void* const* products, unsigned mask);
void multiply_tf32(void* const* products, unsigned mask);

// What a lane brings to a load of matrices: a row, which it reads itself; and what it gets.
struct MatrixRow {
  std::uint16_t elements[8];
  std::uint32_t registers[4];
};
void distribute(void* const* rows, unsigned mask);
void distribute_transposed(void* const* rows, unsigned mask);

// `matrices`: 2 or 4. The other lanes' places are not looked at.
MatrixRow load_matrices(const void* row, int matrices, bool transposed, const char* op, Place place);

constexpr unsigned kWholeWarp = 0xffffffffu;

}  // namespace weir::emulator

namespace weir::cuda {

template <TensorCoreElement T>
void mma_m16n8k16(FragmentC& c, const FragmentA& a, const FragmentB& b, WEIR_HERE) {
  emulator::Product mine{a, b, &c};
  emulator::Block::current().warp_collective(
      emulator::kWholeWarp, "mma_m16n8k16", {file, line}, &mine,
      std::is_same_v<T, bf16> ? emulator::multiply_bf16 : emulator::multiply_fp16);
}
inline void mma_m16n8k8(FragmentC& c, const FragmentA& a, const FragmentB& b, WEIR_HERE) {
  emulator::Product mine{a, b, &c};
  emulator::Block::current().warp_collective(emulator::kWholeWarp, "mma_m16n8k8", {file, line}, &mine,
                                             emulator::multiply_tf32);
}

inline std::uint32_t to_tf32(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fffffffu;
  return (bits + 0x1000u) & ~0x1fffu;
}

inline FragmentA ldmatrix_x4(const void* row, WEIR_HERE) {
  const auto loaded = emulator::load_matrices(row, 4, false, "ldmatrix_x4", {file, line});
  return {{loaded.registers[0], loaded.registers[1], loaded.registers[2], loaded.registers[3]}};
}
inline FragmentA ldmatrix_x4_trans(const void* row, WEIR_HERE) {
  const auto loaded = emulator::load_matrices(row, 4, true, "ldmatrix_x4_trans", {file, line});
  return {{loaded.registers[0], loaded.registers[1], loaded.registers[2], loaded.registers[3]}};
}
inline FragmentB ldmatrix_x2(const void* row, WEIR_HERE) {
  const auto loaded = emulator::load_matrices(row, 2, false, "ldmatrix_x2", {file, line});
  return {{loaded.registers[0], loaded.registers[1]}};
}
inline FragmentB ldmatrix_x2_trans(const void* row, WEIR_HERE) {
  const auto loaded = emulator::load_matrices(row, 2, true, "ldmatrix_x2_trans", {file, line});
  return {{loaded.registers[0], loaded.registers[1]}};
}

}  // namespace weir::cuda

namespace weir::emulator {

// Reads in the calling lane and in code that sanitizers see, so that they name the right thread and line.
inline MatrixRow load_matrices(const void* row, int matrices, bool transposed, const char* op, Place place) {
  Block& block = Block::current();
  MatrixRow mine{};
  if (lane() < 8 * matrices) {
    if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0)
      block.fail(std::string(op) + " from a place that is no multiple of 16", place);
    if (!block.shared_memory().contains(row, 16)) block.fail(std::string(op) + " from outside of shared memory", place);
    for (int i = 0; i < 8; ++i) mine.elements[i] = static_cast<const std::uint16_t*>(row)[i];
  }
  block.warp_collective(kWholeWarp, op, place, &mine, transposed ? distribute_transposed : distribute);
  return mine;
}

}  // namespace weir::emulator
