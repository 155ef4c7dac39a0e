// Products over rows that are sorted by group, each group with a matrix of its own:
//
//   multiply_rows     c_g = a_g weight[g], or a_g weight[g]ᵀ; what becomes of c is the epilogue's affair
//   multiply_groups   out[g] = a_gᵀ b_g
//
// Rows may be gathered on the way: row i of an operand is then row pairs[i] / slots of its memory. Two engines cut the
// work into tiles; each says how: PlainTiles, here, for every type, and TensorCoreTiles, in grouped_gemm.cuh, for bf16
// and, where factors may be rounded to tf32, float32.
//
// An epilogue is a functor, epilogue(row, col, count, values): the sums values[0 .. count - 1] of c[row, col ..]. Half
// a warp shares a row and calls together, with count 0 where there is nothing, so it may shuffle.
#pragma once

#include <cstdint>

#include "core/copy.h"
#include "cuda/pack.cuh"
#include "cuda/row_tiles.h"
#include "cuda/runtime.h"

namespace weir::cuda {

template <class T>
struct GatheredRows {
  Rows<T> rows;
  const std::int32_t* pairs = nullptr;  // null: row i is row i
  std::int32_t slots = 1;

  __device__ const T* row(std::int64_t i) const { return rows.row(pairs == nullptr ? i : pairs[i] / slots); }
};

// One matrix per group: rows g * height .. (g + 1) * height - 1.
template <class T>
struct GroupedMatrices {
  Rows<T> rows;
  std::int64_t height;

  __device__ const T* row(std::int64_t group, std::int64_t i) const { return rows.row(group * height + i); }
};

// `t` in rows that begin at multiples of 16 bytes, copied if need be.
template <class T>
Tensor aligned_rows(const Tensor& t) {
  const Tensor rows = rows_form(t);
  return t.numel() == 0 || rows_hold_packs(rows_of<T>(rows)) ? rows : clone(rows);
}

// Neighbours of a row of a fresh tensor, zeros behind the `count` that are there.
template <int n, class T>
__device__ Pack<T, n> load_neighbours(const T* place, int count) {
  constexpr bool kVectors = n % kPack<T> == 0;
  constexpr int kPart = kVectors ? kPack<T> : n;
  Pack<T, n> all;
  for (int first = 0; first < n; first += kPart) {
    const auto part = load_pack<T, kPart>(place + first, 1, count - first < kPart ? count - first : kPart, kVectors);
    for (int i = 0; i < kPart; ++i) all.values[first + i] = part.values[i];
  }
  return all;
}

// The reverse.
template <class T, class Sum, int n>
__device__ void store_sums(T* place, int count, const Sum (&values)[n]) {
  constexpr int kPart = kPack<T>;
  if constexpr (n % kPart == 0) {
    if (count == n) {
      for (int first = 0; first < n; first += kPart) {
        Pack<T> pack;
        for (int i = 0; i < kPart; ++i) pack.values[i] = T(values[first + i]);
        *reinterpret_cast<Pack<T>*>(place + first) = pack;
      }
      return;
    }
  }
  for (int i = 0; i < n; ++i)
    if (i < count) place[i] = T(values[i]);
}

// The epilogue that writes c.
template <class T>
struct Store {
  Rows<T> to;

  template <class Sum, int n>
  __device__ void operator()(std::int64_t row, std::int64_t col, int count, const Sum (&values)[n]) const {
    store_sums(to.row(row) + col, count, values);
  }
};

// --- plain tiles ---------------------------------------------------------------------------------------------------

namespace detail {

inline constexpr int kPlainTile = 64, kPlainDepth = 16, kPlainThreads = 256, kPlainPack = 4;

// sums = rows 4 (thread / 16) .. + 3 and columns 4 (thread % 16) .. + 3 of a b, with a(i, k) for i < 64 and b(k, j) for
// j < 64. Neighbouring threads read along k where an operand says kAlongInner, else along i or j.
template <class Sum, class A, class B>
__device__ void multiply_tile(std::int64_t inner, const A& a, const B& b, Sum (&sums)[kPlainPack][kPlainPack]) {
  struct Shared {
    Sum a[kPlainDepth][kPlainTile + 4], b[kPlainDepth][kPlainTile + 4];
  };
  auto& tile = shared<Shared>();
  const int thread = static_cast<int>(threadIdx.x), i0 = thread / 16 * kPlainPack, j0 = thread % 16 * kPlainPack;
  const auto load = [&](const auto& operand, std::int64_t first, Sum(&to)[kPlainDepth][kPlainTile + 4], auto along) {
    for (int item = thread; item < kPlainTile * kPlainDepth; item += kPlainThreads) {
      const int outer = along.value ? item / kPlainDepth : item % kPlainTile,
                k = along.value ? item % kPlainDepth : item / kPlainTile;
      to[k][outer] = first + k < inner ? static_cast<Sum>(operand(outer, first + k)) : Sum(0);
    }
  };
  for (std::int64_t first = 0; first < inner; first += kPlainDepth) {
    load(a, first, tile.a, std::bool_constant<A::kAlongInner>{});
    load(b, first, tile.b, std::bool_constant<B::kAlongInner>{});
    __syncthreads();
    for (int k = 0; k < kPlainDepth; ++k)
      for (int i = 0; i < kPlainPack; ++i)
        for (int j = 0; j < kPlainPack; ++j) sums[i][j] += tile.a[k][i0 + i] * tile.b[k][j0 + j];
    __syncthreads();
  }
}

// Element (i, k) of a tile: column k of row i, or the reverse; zero outside of its `outers`.
template <class Row, bool along_inner>
struct TileOperand {
  static constexpr bool kAlongInner = along_inner;
  Row row;             // the pointer to a row's first element
  std::int64_t first;  // of the tile, among `outers`
  std::int64_t outers;

  __device__ auto operator()(int outer, std::int64_t k) const {
    const std::int64_t o = first + outer;
    using T = std::remove_cvref_t<decltype(*row(o))>;
    if (o >= outers) return T{};
    return along_inner ? row(o)[k] : row(k)[o];
  }
};
template <bool along_inner, class Row>
__device__ TileOperand<Row, along_inner> tile_operand(const Row& row, std::int64_t first, std::int64_t outers) {
  return {row, first, outers};
}

template <class T, bool transposed, class Epilogue>
__global__ void __launch_bounds__(kPlainThreads)
    multiply_rows_plain(GatheredRows<T> a, GroupedMatrices<T> weight, const RowTile* tiles, Epilogue epilogue) {
  using Sum = accumulate_t<T>;
  const std::int64_t inner = transposed ? weight.rows.cols : weight.height,
                     cols = transposed ? weight.height : weight.rows.cols,
                     across = (cols + kPlainTile - 1) / kPlainTile, first_col = blockIdx.x % across * kPlainTile;
  const RowTile tile = tiles[blockIdx.x / across];
  if (tile.group < 0) return;
  Sum sums[kPlainPack][kPlainPack] = {};
  multiply_tile(
      inner, tile_operand<true>([&](std::int64_t i) { return a.row(tile.begin + i); }, 0, tile.end - tile.begin),
      tile_operand<transposed>([&](std::int64_t i) { return weight.row(tile.group, i); }, first_col, cols), sums);
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t row = tile.begin + thread / 16 * kPlainPack, col = first_col + thread % 16 * kPlainPack;
  const std::int64_t left = cols - col;
  const int count = static_cast<int>(left < 0 ? 0 : left < kPlainPack ? left : kPlainPack);
  for (int i = 0; i < kPlainPack; ++i) epilogue(row + i, col, row + i < tile.end ? count : 0, sums[i]);
}

// What a block of multiply_groups makes: a tile of a unit's product [height, cols].
struct UnitTile {
  RowTile unit;
  int number, first_row, first_col;  // of the unit; of the tile
};
template <int tile>
__device__ UnitTile unit_tile(const RowTile* units, std::int64_t height, std::int64_t cols) {
  const auto down = static_cast<unsigned>((height + tile - 1) / tile),
             across = static_cast<unsigned>((cols + tile - 1) / tile), number = blockIdx.x / (down * across);
  return {units[number], static_cast<int>(number), static_cast<int>(blockIdx.x / across % down) * tile,
          static_cast<int>(blockIdx.x % across) * tile};
}

// Where the sums of a unit go: a group's first into the result, others among the further ones, in their order.
template <class Sum>
__device__ Rows<Sum> group_sums(const Rows<Sum>& out, const Rows<Sum>& further, const RowTile& unit,
                                std::int64_t number, std::int64_t height) {
  if (unit.part == 0) return {out.row(unit.group * height), height, out.cols, out.stride};
  return {further.row((number - unit.group - 1) * height), height, out.cols, further.stride};
}

template <class T>
__global__ void __launch_bounds__(kPlainThreads)
    multiply_groups_plain(GatheredRows<T> a, GatheredRows<T> b, const RowTile* units, Rows<accumulate_t<T>> out,
                          Rows<accumulate_t<T>> further) {
  using Sum = accumulate_t<T>;
  const std::int64_t height = a.rows.cols, cols = b.rows.cols;
  const UnitTile place = unit_tile<kPlainTile>(units, height, cols);
  const RowTile unit = place.unit;
  const std::int64_t number = place.number, first_row = place.first_row, first_col = place.first_col;
  if (unit.group < 0) return;
  Sum sums[kPlainPack][kPlainPack] = {};
  multiply_tile(unit.end - unit.begin,
                tile_operand<false>([&](std::int64_t k) { return a.row(unit.begin + k); }, first_row, height),
                tile_operand<false>([&](std::int64_t k) { return b.row(unit.begin + k); }, first_col, cols), sums);
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t row = first_row + thread / 16 * kPlainPack, col = first_col + thread % 16 * kPlainPack;
  for (int i = 0; i < kPlainPack && row + i < height && col < cols; ++i)
    store_sums(group_sums(out, further, unit, number, height).row(row + i) + col,
               static_cast<int>(cols - col < kPlainPack ? cols - col : kPlainPack), sums[i]);
}

// out[g] += its further parts, in order.
template <class Sum>
__global__ void add_parts(const std::int64_t* first, std::int64_t groups, std::int64_t height, Rows<Sum> further,
                          Rows<Sum> out) {
  for (std::int64_t item = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; item < groups * height * out.cols;
       item += std::int64_t{gridDim.x} * blockDim.x) {
    const std::int64_t row = item / out.cols, col = item - row * out.cols, group = row / height;
    const std::int64_t begin = first[group] - group, end = first[group + 1] - group - 1;
    if (begin == end) continue;
    Sum sum = out.row(row)[col];
    for (std::int64_t part = begin; part < end; ++part) sum += further.row(part * height + row - group * height)[col];
    out.row(row)[col] = sum;
  }
}

}  // namespace detail

struct PlainTiles {
  static constexpr std::int64_t kRows = detail::kPlainTile, kCols = detail::kPlainTile;

  template <class T, bool transposed, class Epilogue>
  static void multiply_rows(Device device, const GatheredRows<T>& a, const GroupedMatrices<T>& weight,
                            const RowTile* tiles, std::int64_t blocks, const Epilogue& epilogue) {
    launch<detail::multiply_rows_plain<T, transposed, Epilogue>>({static_cast<unsigned>(blocks), detail::kPlainThreads},
                                                                 stream_of(device), a, weight, tiles, epilogue);
  }
  template <class T>
  static void multiply_groups(Device device, const GatheredRows<T>& a, const GatheredRows<T>& b, const RowTile* units,
                              std::int64_t blocks, const Rows<accumulate_t<T>>& out,
                              const Rows<accumulate_t<T>>& further) {
    launch<detail::multiply_groups_plain<T>>({static_cast<unsigned>(blocks), detail::kPlainThreads}, stream_of(device),
                                             a, b, units, out, further);
  }
};

// --- launching -----------------------------------------------------------------------------------------------------

// c_g = a_g weight[g], or a_g weight[g]ᵀ. `tiles` has at most Tiles::kRows rows in each. All rows must be aligned.
template <class Tiles, bool transposed, class T, class Epilogue>
void multiply_rows(Device device, const GatheredRows<T>& a, const GroupedMatrices<T>& weight, const RowTiles& tiles,
                   const Epilogue& epilogue) {
  const std::int64_t cols = transposed ? weight.height : weight.rows.cols,
                     blocks = tiles.count() * ((cols + Tiles::kCols - 1) / Tiles::kCols);
  if (blocks > 0) Tiles::template multiply_rows<T, transposed>(device, a, weight, tiles.tiles(), blocks, epilogue);
}

// Rows of a group whose products one block adds up: enough blocks for any GPU, and few sums to add up afterwards.
inline std::int64_t unit_rows(std::int64_t rows, std::int64_t tiles_per_group) {
  std::int64_t unit = 1024;
  while (rows / unit * tiles_per_group > 512) unit *= 2;
  return unit;
}

// out [groups, a's columns, b's columns], in the type of the sums; offsets [groups + 1]; `rows` of a and b.
template <class Tiles, class T>
void multiply_groups(const GatheredRows<T>& a, const GatheredRows<T>& b, const Tensor& offsets, std::int64_t rows,
                     const Tensor& out) {
  using Sum = accumulate_t<T>;
  if (out.numel() == 0) return;
  const Device device = out.device();
  const std::int64_t height = out.size(1), cols = out.size(2),
                     per_group =
                         (height + Tiles::kRows - 1) / Tiles::kRows * ((cols + Tiles::kCols - 1) / Tiles::kCols),
                     limit = unit_rows(rows, per_group);
  const RowTiles units(offsets, rows, limit, 1);
  const Tensor parts = Tensor::empty({rows / limit * height, cols}, dtype_of<Sum>(), device);
  const auto sums = rows_of<Sum>(out), further = rows_of<Sum>(parts);
  Tiles::multiply_groups(device, a, b, units.tiles(), units.count() * per_group, sums, further);
  if (further.rows > 0)
    launch<detail::add_parts<Sum>>({blocks_for(out.numel(), 256), 256}, stream_of(device), units.first(),
                                   units.groups(), height, further, sums);
}

}  // namespace weir::cuda
