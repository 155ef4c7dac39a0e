// A thread makes one pack of a row. Element i takes value i of the stream; the thread draws the Philox blocks that its
// elements touch, one for four of them, and one more where the rows' width is no multiple of 4.
#include "ops/dropout.h"

#include <algorithm>

#include "cuda/keep.cuh"
#include "cuda/pack.cuh"
#include "cuda/runtime.h"
#include "ops/cpu/keep.h"

namespace weir::cuda {
namespace {

constexpr int kThreads = 256;

// Elements that a thread makes: whole Philox blocks.
template <class T>
inline constexpr int kDrawn = std::max(4, kPack<T>);

// Calls piece(row, col, count, kept) for this thread's packs.
template <int n, class Piece>
__device__ void for_kept(std::int64_t rows, std::int64_t cols, std::uint32_t threshold, RandomStream random,
                         Piece&& piece) {
  random = random.settled();
  const std::int64_t packs = (cols + n - 1) / n;
  for (std::int64_t item = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; item < rows * packs;
       item += std::int64_t{gridDim.x} * blockDim.x) {
    const std::int64_t row = item / packs, col = (item - row * packs) * n;
    const int count = static_cast<int>(cols - col < n ? cols - col : n);
    piece(row, col, count, kept<n>(random, static_cast<std::uint64_t>(row * cols + col), threshold));
  }
}

template <class T>
__global__ void dropout_rows(Rows<T> base, Rows<T> x, accumulate_t<T> scale, std::uint32_t threshold,
                             RandomStream random, Rows<T> y, bool vectors) {
  using Value = accumulate_t<T>;
  constexpr int n = kDrawn<T>;
  for_kept<n>(x.rows, x.cols, threshold, random, [&](std::int64_t row, std::int64_t col, int count, unsigned kept) {
    auto pack = load_pack<T, n>(x.row(row) + col, 1, count, vectors);
    const Pack<T, n> under =
        base.data == nullptr ? Pack<T, n>{} : load_pack<T, n>(base.row(row) + col, 1, count, vectors);
    for (int i = 0; i < n; ++i) {
      const Value added = (kept >> i & 1) != 0 ? static_cast<Value>(pack.values[i]) : Value(0);
      pack.values[i] = T(static_cast<Value>(under.values[i]) + added * scale);
    }
    store_pack(y.row(row) + col, 1, count, vectors, pack);
  });
}

template <class T>
__global__ void keep_mask_rows(std::uint32_t threshold, RandomStream random, Rows<T> mask, bool vectors) {
  constexpr int n = kDrawn<T>;
  for_kept<n>(mask.rows, mask.cols, threshold, random,
              [&](std::int64_t row, std::int64_t col, int count, unsigned kept) {
                Pack<T, n> pack;
                for (int i = 0; i < n; ++i) pack.values[i] = T((kept >> i & 1) != 0 ? 1.0f : 0.0f);
                store_pack(mask.row(row) + col, 1, count, vectors, pack);
              });
}

template <class T>
LaunchShape shape_for(const Rows<T>& rows) {
  constexpr int n = kDrawn<T>;
  return {blocks_for(rows.rows * ((rows.cols + n - 1) / n), kThreads), kThreads};
}

void dropout(const Tensor& base, const Tensor& x, double p, const RandomStream& random, const Tensor& y) {
  if (y.numel() == 0) return;
  const Tensor dense = rows_form(x), dense_base = base.defined() ? rows_form(base) : base;
  visit_floating("dropout", x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    constexpr int n = kDrawn<T>;
    const auto in = rows_of<T>(dense), out = rows_of<T>(y);
    const auto under = base.defined() ? rows_of<T>(dense_base) : Rows<T>{};
    const bool vectors = rows_hold_packs_of<n>(in) && rows_hold_packs_of<n>(out) && rows_hold_packs_of<n>(under);
    launch<dropout_rows<T>>(shape_for(out), stream_of(y.device()), under, in, static_cast<Value>(1 / (1 - p)),
                            cpu::keep_threshold(p), random, out, vectors);
  });
}

void keep_mask(double p, const RandomStream& random, const Tensor& mask) {
  if (mask.numel() == 0) return;
  visit_any(mask.dtype(), [&]<class T>(Type<T>) {
    const auto out = rows_of<T>(mask);
    launch<keep_mask_rows<T>>(shape_for(out), stream_of(mask.device()), cpu::keep_threshold(p), random, out,
                              rows_hold_packs_of<kDrawn<T>>(out));
  });
}

const bool registered =
    dropout_kernel.add(DeviceKind::cuda, dropout) && keep_mask_kernel.add(DeviceKind::cuda, keep_mask);

}  // namespace
}  // namespace weir::cuda
