// Sums of rows by key, in a fixed order and without atomics:
//   y[v] = sum over the slots s with key v, ascending, of weight[s] x[s / K]      and      dot[s] = x[s / K] .
//   values[v]
// where slots are the positions of sorted keys. The sorted slots are cut into pieces of 64, whatever the keys, so that
// a key that everybody names is as well spread over the GPU as any. A block adds up one piece: runs of equal keys that
// lie within it go to y, the others, one at either end, to a row of `partials`; then a second kernel adds the partial
// sums of a key in the order of the pieces, and clears the rows of y that no slot names.
#pragma once

#include "cuda/reduce.cuh"
#include "cuda/row_values.cuh"
#include "cuda/sort.h"

namespace weir::cuda {

inline constexpr int kPiece = 64, kMaxPieceWarps = 8;

// T is x's type, P the type of y and values. Matrices that are not wanted or not given have null data.
template <class T, class P>
struct SegmentSum {
  using Sum = accumulate_t<T>;
  const std::int32_t *keys = nullptr, *slots = nullptr;  // [count], sorted; keys from `rows` on are left out
  std::int64_t count = 0, rows = 0;
  Rows<T> x{};
  std::int64_t slots_per_row = 1;  // K
  Rows<T> weight{}, dot{};         // [.., K]; no weight counts as 1
  Rows<P> values{}, y{};           // [rows, ..]
  bool accumulate = false;         // y += instead of y =
  Rows<Sum> partials{};            // [2 pieces, ..]: of the run that begins a piece, and of the one that ends it
  bool vectors = false;
};

namespace detail {

template <class T, class P>
struct Piece {
  std::int32_t keys[kPiece + 2];  // keys[i + 1] is of slot i; around them the neighbours' keys, -1 where there is none
  std::int32_t slots[kPiece];
  accumulate_t<T> weights[kPiece], dots[kMaxPieceWarps][kPiece];
};

template <class T, class P>
__device__ void load_piece(const SegmentSum<T, P>& s, std::int64_t begin, int length, Piece<T, P>& piece) {
  for (int i = static_cast<int>(threadIdx.x); i < length + 2; i += static_cast<int>(blockDim.x)) {
    const std::int64_t place = begin + i - 1;
    piece.keys[i] = place >= 0 && place < s.count ? s.keys[place] : -1;
  }
  for (int i = static_cast<int>(threadIdx.x); i < length; i += static_cast<int>(blockDim.x)) {
    const std::int32_t slot = s.slots[begin + i];
    piece.slots[i] = slot;
    piece.weights[i] = 1;
    if (s.weight.data != nullptr)
      piece.weights[i] = static_cast<accumulate_t<T>>(s.weight.row(slot / s.slots_per_row)[slot % s.slots_per_row]);
  }
}

template <class T, class P, class Values>
__device__ void add_to_row(const SegmentSum<T, P>& s, std::int64_t key, std::int64_t col, Values sums) {
  constexpr int n = kRowValues<T, P>;
  if (s.accumulate) {
    const auto old = load_values<n>(s.y.row(key), col, s.y.cols, s.vectors);
#pragma unroll
    for (int i = 0; i < n; ++i) sums.values[i] = static_cast<accumulate_t<T>>(old.values[i]) + sums.values[i];
  }
  store_values(s.y.row(key), col, s.y.cols, s.vectors, sums);
}

// Where the run that ends with entry `last` of a piece goes; `first` says that it began with the piece.
template <class T, class P, class Values>
__device__ void store_run(const SegmentSum<T, P>& s, const Piece<T, P>& piece, int last, int length, bool first,
                          std::int64_t col, const Values& sums) {
  const std::int32_t key = piece.keys[last + 1];
  const bool begins_here = !first || piece.keys[0] != key;
  const bool ends_here = last + 1 < length || piece.keys[length + 1] != key;
  if (begins_here && ends_here)
    add_to_row(s, key, col, sums);
  else
    store_values(s.partials.row(2 * std::int64_t{blockIdx.x} + (first ? 0 : 1)), col, s.partials.cols, true, sums);
}

// The columns of one thread, over all entries of a piece.
template <class T, class P>
__device__ void sum_piece(const SegmentSum<T, P>& s, Piece<T, P>& piece, int length, std::int64_t col) {
  using Sum = accumulate_t<T>;
  constexpr int n = kRowValues<T, P>, kAhead = 4;  // rows asked for at once
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const std::int64_t cols = s.x.cols;
  Pack<Sum, n> sums{};
  Pack<T, n> ahead[kAhead];
  Pack<P, n> value{};
  bool first = true;
  for (int begin = 0; begin < length; begin += kAhead) {
#pragma unroll
    for (int a = 0; a < kAhead; ++a)
      if (begin + a < length)
        ahead[a] = load_values<n>(s.x.row(piece.slots[begin + a] / s.slots_per_row), col, cols, s.vectors);
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      const int i = begin + a;
      if (i >= length) break;
      const std::int32_t key = piece.keys[i + 1];
      if (i == 0 || key != piece.keys[i]) {
        sums = {};
        value = {};
        if (s.dot.data != nullptr && key < s.rows) value = load_values<n>(s.values.row(key), col, cols, s.vectors);
      }
      Sum dot = 0;
#pragma unroll
      for (int j = 0; j < n; ++j) {
        const auto x = static_cast<Sum>(ahead[a].values[j]);
        sums.values[j] += piece.weights[i] * x;
        dot += x * static_cast<Sum>(value.values[j]);
      }
      if (s.dot.data != nullptr) {
        dot = reduce_lanes<kWarp>(0xffffffffu, dot, Add{});
        if (lane == 0) piece.dots[warp][i] = col < blockDim.x * n ? dot : piece.dots[warp][i] + dot;
      }
      if (i + 1 == length || key != piece.keys[i + 2]) {
        if (s.y.data != nullptr && key < s.rows && col < cols) store_run(s, piece, i, length, first, col, sums);
        first = false;
      }
    }
  }
}

template <class T, class P>
__global__ void sum_pieces(SegmentSum<T, P> s) {
  constexpr int n = kRowValues<T, P>;
  auto& piece = shared<Piece<T, P>>();
  const std::int64_t begin = std::int64_t{blockIdx.x} * kPiece;
  const int length = static_cast<int>(s.count - begin < kPiece ? s.count - begin : kPiece);
  load_piece(s, begin, length, piece);
  __syncthreads();
  for (std::int64_t col = 0; col < s.x.cols; col += blockDim.x * n) sum_piece(s, piece, length, col + threadIdx.x * n);
  if (s.dot.data == nullptr) return;
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < length; i += static_cast<int>(blockDim.x)) {
    accumulate_t<T> dot = 0;
    for (int warp = 0; warp < static_cast<int>(blockDim.x) / kWarp; ++warp) dot += piece.dots[warp][i];
    s.dot.row(piece.slots[i] / s.slots_per_row)[piece.slots[i] % s.slots_per_row] = T(dot);
  }
}

// The rows of y that the pieces did not write: those of keys in several pieces, and of keys that no slot has.
template <class T, class P>
__global__ void finish_rows(SegmentSum<T, P> s, const std::int32_t* offsets) {
  constexpr int n = kRowValues<T, P>;
  for (std::int64_t key = std::int64_t{blockIdx.x} * blockDim.y + threadIdx.y; key < s.rows;
       key += std::int64_t{gridDim.x} * blockDim.y) {
    const std::int64_t begin = offsets[key], end = offsets[key + 1];
    if (begin == end ? s.accumulate : begin / kPiece == (end - 1) / kPiece) continue;
    for (std::int64_t col = threadIdx.x * n; col < s.y.cols; col += blockDim.x * n) {
      Pack<accumulate_t<T>, n> sums{};
      for (std::int64_t place = begin; place < end; place = (place / kPiece + 1) * kPiece) {
        const std::int64_t partial = 2 * (place / kPiece) + (place % kPiece == 0 ? 0 : 1);
        const auto part = load_values<n>(s.partials.row(partial), col, s.partials.cols, true);
#pragma unroll
        for (int i = 0; i < n; ++i) sums.values[i] += part.values[i];
      }
      add_to_row(s, key, col, sums);
    }
  }
}

}  // namespace detail

// Fills in keys, slots, partials and vectors, and runs it. keys: [count] int32, values 0 .. s.rows.
template <class T, class P>
void segment_sum(const Tensor& keys, SegmentSum<T, P> s) {
  using Sum = accumulate_t<T>;
  constexpr int n = kRowValues<T, P>;
  const Device device = keys.device();
  const SortedKeys sorted = stable_sort(keys, s.rows);
  s.count = keys.numel();
  const std::int64_t pieces = (s.count + kPiece - 1) / kPiece, packs = (s.x.cols + n - 1) / n;
  const Tensor partials =
      Tensor::empty(Shape{s.y.data == nullptr ? 0 : 2 * pieces, packs * n}, dtype_of<Sum>(), device);
  s.partials = rows_of<Sum>(partials);
  s.vectors = rows_hold_packs_of<n>(s.x) && rows_hold_packs_of<n>(s.y) && rows_hold_packs_of<n>(s.values);
  if (pieces > 0) {
    s.keys = sorted.keys.data<std::int32_t>();
    s.slots = sorted.positions.data<std::int32_t>();
    const std::int64_t warps = std::clamp<std::int64_t>((packs + kWarp - 1) / kWarp, 1, kMaxPieceWarps);
    launch<detail::sum_pieces<T, P>>({static_cast<unsigned>(pieces), static_cast<unsigned>(warps * kWarp)},
                                     stream_of(device), s);
  }
  if (s.y.data == nullptr) return;
  const Tensor offsets = Tensor::empty(Shape{s.rows + 1}, DType::int32, device);
  find_offsets(sorted.keys, offsets);
  launch<detail::finish_rows<T, P>>(row_blocks(s.rows, s.y.cols, n), stream_of(device), s,
                                    offsets.data<std::int32_t>());
}

}  // namespace weir::cuda
