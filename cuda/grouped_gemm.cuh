// Grouped products by tensor cores, for bf16 and tf32: the engine TensorCoreTiles of grouped_product.cuh.
//
// A block computes 128 x 128 sums, each of its 8 warps 64 x 32 of them in registers. Operands stream through shared
// memory in steps of 64 bytes along the inner extent, 32 bf16 or 16 floats, four steps at a time: while one is
// multiplied, asynchronous copies of 16 bytes, called chunks here, fetch the next three, gathering rows as they go and
// filling with zeros what lies outside. An operand may lie along the inner extent (128 rows of 64 bytes) or across it
// (32 rows of 128 bf16, 16 of 128 floats); the latter is turned round as it is read, so nothing is ever transposed in
// memory. At the end the sums pass through shared memory once more, so that an epilogue sees eight neighbours of a row
// and memory 16 bytes.
#pragma once

#include <bit>

#include "core/float32_products.h"
#include "cuda/grouped_product.cuh"

namespace weir::cuda {
namespace detail {

inline constexpr int kGemmTile = 128, kGemmStepBytes = 64, kGemmStages = 4, kGemmThreads = 256;
inline constexpr int kNeighbours = 8;            // sums of a row that an epilogue sees at once
inline constexpr int kSumPitch = kGemmTile + 8;  // floats; 8 lanes' pairs of a column meet 32 banks
inline constexpr std::size_t kGemmSharedBytes = sizeof(float) * kGemmTile * kSumPitch;
inline constexpr int kOperandBytes = kGemmSharedBytes / (2 * kGemmStages);  // 512 more than a tile without gaps

template <class T>
inline constexpr int kChunk = kPack<T>;  // elements
template <class T>
inline constexpr int kGemmDepth = kGemmStepBytes / static_cast<int>(sizeof(T));  // elements of a step

// Which two chunks of an operand's tile a thread brings: chunk(), of rows row(0) and row(1).
template <bool along_inner, class T>
struct TileChunks {
  static constexpr int kPerRow = (along_inner ? kGemmDepth<T> : kGemmTile) / kChunk<T>;

  __device__ static int chunk() { return static_cast<int>(threadIdx.x) % kPerRow; }
  __device__ static int row(int i) { return (static_cast<int>(threadIdx.x) + i * kGemmThreads) / kPerRow; }
};

// How tensor cores take a type of elements. across(row, chunk): where a chunk of a row across the inner extent lies in
// a tile, such that what is read at once lies in different banks.
template <class T>
struct Factors;

template <>
struct Factors<bf16> {
  // ldmatrix reads a chunk of eight rows.
  __device__ static int across(int row, int chunk) { return row * kGemmTile + (chunk ^ (row % 8)) * kChunk<bf16>; }
  __device__ static void round(FragmentA&) {}
  __device__ static void multiply(FragmentC& c, const FragmentA& a, const FragmentB& b) { mma_m16n8k16<bf16>(c, a, b); }
};

template <>
struct Factors<float> {
  // A warp reads eight neighbours of four rows.
  __device__ static int across(int row, int chunk) { return row * (kGemmTile + 8) + chunk * kChunk<float>; }
  __device__ static void round(FragmentA& a) {
    for (std::uint32_t& r : a.r) r = to_tf32(std::bit_cast<float>(r));
  }
  __device__ static void multiply(FragmentC& c, const FragmentA& a, const FragmentB& b) { mma_m16n8k8(c, a, b); }
};
static_assert(kGemmDepth<float> * (kGemmTile + 8) * sizeof(float) <= kOperandBytes);

// Where a chunk of a row lies in a tile. Along the inner extent, chunks of a row are exchanged such that the eight rows
// that ldmatrix reads at once lie in different banks.
template <bool along_inner, class T>
__device__ int place_in_tile(int row, int chunk) {
  if constexpr (along_inner)
    return row * kGemmDepth<T> + (chunk ^ (row / 2 % 4)) * kChunk<T>;
  else
    return Factors<T>::across(row, chunk);
}

// Copies an operand's tiles. Row i of the operand begins at row(i), at a multiple of 16 bytes, or is zeros where that
// is null. Along the inner extent, rows are the tile's `outers` and columns its `inner`; across it, the reverse.
template <bool along_inner, class T, class Row>
class TileCopies {
 public:
  static constexpr bool kAlongInner = along_inner;

  // `anywhere` is some aligned place in the operand's memory. The tile begins with row or column `first`.
  __device__ TileCopies(const Row& row, const T* anywhere, std::int64_t first, std::int64_t outers, std::int64_t inner)
      : row_(row), anywhere_(anywhere), first_(first), outers_(outers), inner_(inner) {
    find_rows(0);
  }

  // Step `step` of the inner extent; steps come in order.
  __device__ void copy(T* tile, int step) {
    for (int i = 0; i < 2; ++i) {
      const std::int64_t col =
                             (along_inner ? std::int64_t{step} * kGemmDepth<T> : first_) + Chunks::chunk() * kChunk<T>,
                         left = places_[i] == nullptr ? 0 : (along_inner ? inner_ : outers_) - col;
      const int bytes = left <= 0 ? 0 : left < kChunk<T> ? static_cast<int>(left * sizeof(T)) : 16;
      copy_16_async(tile + place_in_tile<along_inner, T>(Chunks::row(i), Chunks::chunk()),
                    bytes > 0 ? places_[i] + col : anywhere_, bytes);
    }
    if constexpr (!along_inner) find_rows(step + 1);  // early, for the next call
  }

 private:
  using Chunks = TileChunks<along_inner, T>;

  __device__ void find_rows(int step) {
    for (int i = 0; i < 2; ++i) {
      const std::int64_t r = Chunks::row(i) + (along_inner ? first_ : std::int64_t{step} * kGemmDepth<T>);
      places_[i] = r < (along_inner ? outers_ : inner_) ? row_(r) : nullptr;
    }
  }

  Row row_;
  const T* anywhere_;
  std::int64_t first_, outers_, inner_;
  const T* places_[2];
};
template <bool along_inner, class T, class Row>
__device__ TileCopies<along_inner, T, Row> tile_copies(const Row& row, const T* anywhere, std::int64_t first,
                                                       std::int64_t outers, std::int64_t inner) {
  return {row, anywhere, first, outers, inner};
}

// Four matrices, 8 of the outer extent by 16 bytes of the inner one, that make 16 by 32 bytes from (outer, k) on. The
// first two lie beside each other along the inner extent if `inner_first`, else along the outer one. ldmatrix turns
// round what lies across, but for 16-bit elements alone: floats are read one by one.
template <bool along_inner, bool inner_first, class T>
__device__ FragmentA load_matrices(const T* tile, int outer, int k) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const auto outer_half = [](int matrix) { return inner_first ? matrix / 2 : matrix % 2; };
  const auto inner_half = [](int matrix) { return inner_first ? matrix % 2 : matrix / 2; };
  FragmentA four;
  if constexpr (along_inner) {
    four = ldmatrix_x4(tile + place_in_tile<true, T>(outer + outer_half(lane / 8) * 8 + lane % 8,
                                                     k / kChunk<T> + inner_half(lane / 8)));
  } else if constexpr (sizeof(T) == 2) {
    four = ldmatrix_x4_trans(tile + place_in_tile<false, T>(k + inner_half(lane / 8) * 8 + lane % 8,
                                                            outer / kChunk<T> + outer_half(lane / 8)));
  } else {
    for (int i = 0; i < 4; ++i) {
      const int row = k + inner_half(i) * 4 + lane % 4, col = outer + outer_half(i) * 8 + lane / 4;
      const T* const chunk = tile + place_in_tile<false, T>(row, col / kChunk<T>);
      four.r[i] = std::bit_cast<std::uint32_t>(chunk[col % kChunk<T>]);
    }
  }
  Factors<T>::round(four);
  return four;
}

// This warp's 64 x 32 sums.
struct WarpSums {
  FragmentC c[4][4];

  __device__ static int row() { return static_cast<int>(threadIdx.x) / kWarp / 4 * 64; }
  __device__ static int col() { return static_cast<int>(threadIdx.x) / kWarp % 4 * 32; }

  template <bool a_along, bool b_along, class T>
  __device__ void add_step(const T* a, const T* b) {
#pragma unroll(4 / sizeof(T))  // floats, which are rounded on the way, take too many registers to overlap two halves
    for (int k = 0; k < kGemmDepth<T>; k += kGemmDepth<T> / 2) {
      FragmentB right[4];
#pragma unroll
      for (int j = 0; j < 4; j += 2) {
        const FragmentA both = load_matrices<b_along, true>(b, col() + 8 * j, k);
        right[j] = {{both.r[0], both.r[1]}};
        right[j + 1] = {{both.r[2], both.r[3]}};
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const FragmentA left = load_matrices<a_along, false>(a, row() + 16 * i, k);
#pragma unroll
        for (int j = 0; j < 4; ++j) Factors<T>::multiply(c[i][j], left, right[j]);
      }
    }
  }

  __device__ void write(float* sums) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j)
        for (int half = 0; half < 2; ++half) {
          const int r = row() + 16 * i + 8 * half + lane / 4, at = col() + 8 * j + lane % 4 * 2;
          *reinterpret_cast<float2*>(sums + r * kSumPitch + at) =
              make_float2(c[i][j].r[2 * half], c[i][j].r[2 * half + 1]);
        }
  }
};

// finish(row, col, values) for all of the tile's sums, eight neighbours at a time, half a warp to a row. The operands
// are TileCopies, or what fills its tiles in the same way.
template <class T, class A, class B, class Finish>
__device__ void gemm_tile(std::int64_t inner, A a, B b, const Finish& finish) {
  constexpr int kOperandTile = kOperandBytes / static_cast<int>(sizeof(T));
  T* const tiles = dynamic_shared<T>();
  const int steps = static_cast<int>((inner + kGemmDepth<T> - 1) / kGemmDepth<T>);
  const auto stage = [tiles](int step) { return tiles + step % kGemmStages * 2 * kOperandTile; };
  const auto fetch = [&](int step) {
    if (step < steps) a.copy(stage(step), step), b.copy(stage(step) + kOperandTile, step);
    commit_copies();
  };
  for (int step = 0; step < kGemmStages - 1; ++step) fetch(step);
  WarpSums sums{};
  for (int step = 0; step < steps; ++step) {
    wait_copies<kGemmStages - 2>();
    __syncthreads();  // this step has arrived, and the last one has been read
    fetch(step + kGemmStages - 1);
    sums.template add_step<A::kAlongInner, B::kAlongInner>(stage(step), stage(step) + kOperandTile);
  }
  wait_copies<0>();
  __syncthreads();
  float* const staged = dynamic_shared<float>();
  sums.write(staged);
  __syncthreads();
  const int thread = static_cast<int>(threadIdx.x), col = thread % 16 * kNeighbours;
  for (int row = thread / 16; row < kGemmTile; row += kGemmThreads / 16) {
    float values[kNeighbours];
    for (int i = 0; i < kNeighbours; ++i) values[i] = staged[row * kSumPitch + col + i];
    finish(row, col, values);
  }
}

// How many neighbours there are from column `col` on.
__device__ inline int neighbours_left(std::int64_t cols, std::int64_t col) {
  return static_cast<int>(cols <= col ? 0 : cols - col < kNeighbours ? cols - col : kNeighbours);
}

template <class T, bool transposed, class Epilogue>
__global__ void __launch_bounds__(kGemmThreads, 2)
    multiply_rows_tensor(GatheredRows<T> a, GroupedMatrices<T> weight, const RowTile* tiles, Epilogue epilogue) {
  const std::int64_t inner = transposed ? weight.rows.cols : weight.height,
                     cols = transposed ? weight.height : weight.rows.cols;
  const auto across = static_cast<unsigned>((cols + kGemmTile - 1) / kGemmTile);
  const int first_col = static_cast<int>(blockIdx.x % across) * kGemmTile;
  const RowTile tile = tiles[blockIdx.x / across];
  if (tile.group < 0) return;
  const int rows = static_cast<int>(tile.end - tile.begin);
  const auto a_row = [&](std::int64_t i) { return a.row(tile.begin + i); };
  const auto b_row = [&](std::int64_t i) { return weight.row(tile.group, i); };
  gemm_tile<T>(inner, tile_copies<true>(a_row, a.rows.data, 0, rows, inner),
               tile_copies<transposed>(b_row, weight.rows.data, first_col, cols, inner),
               [&](int row, int col, float(&values)[kNeighbours]) {
                 const int count = row < rows ? neighbours_left(cols, first_col + col) : 0;
                 epilogue(tile.begin + row, first_col + col, count, values);
               });
}

template <class T>
__global__ void __launch_bounds__(kGemmThreads, 2)
    multiply_groups_tensor(GatheredRows<T> a, GatheredRows<T> b, const RowTile* units, Rows<float> out,
                           Rows<float> further) {
  const std::int64_t height = a.rows.cols, cols = b.rows.cols;
  const UnitTile place = unit_tile<kGemmTile>(units, height, cols);
  const RowTile unit = place.unit;
  const int number = place.number, first_row = place.first_row, first_col = place.first_col;
  if (unit.group < 0) return;
  const std::int64_t inner = unit.end - unit.begin;
  const auto a_row = [&](std::int64_t k) { return a.row(unit.begin + k); };
  const auto b_row = [&](std::int64_t k) { return b.row(unit.begin + k); };
  gemm_tile<T>(inner, tile_copies<false>(a_row, a.rows.data, first_row, height, inner),
               tile_copies<false>(b_row, b.rows.data, first_col, cols, inner),
               [&](int row, int col, float(&values)[kNeighbours]) {
                 const int count = first_row + row < height ? neighbours_left(cols, first_col + col) : 0;
                 if (count > 0)
                   store_sums(group_sums(out, further, unit, number, height).row(first_row + row) + first_col + col,
                              count, values);
               });
}

}  // namespace detail

struct TensorCoreTiles {
  static constexpr std::int64_t kRows = detail::kGemmTile, kCols = detail::kGemmTile;

  template <class T, bool transposed, class Epilogue>
  static void multiply_rows(Device device, const GatheredRows<T>& a, const GroupedMatrices<T>& weight,
                            const RowTile* tiles, std::int64_t blocks, const Epilogue& epilogue) {
    launch<detail::multiply_rows_tensor<T, transposed, Epilogue>>(shape(blocks), stream_of(device), a, weight, tiles,
                                                                  epilogue);
  }
  template <class T>
  static void multiply_groups(Device device, const GatheredRows<T>& a, const GatheredRows<T>& b, const RowTile* units,
                              std::int64_t blocks, const Rows<float>& out, const Rows<float>& further) {
    launch<detail::multiply_groups_tensor<T>>(shape(blocks), stream_of(device), a, b, units, out, further);
  }

 private:
  static LaunchShape shape(std::int64_t blocks) {
    return {static_cast<unsigned>(blocks), detail::kGemmThreads, detail::kGemmSharedBytes};
  }
};

// Calls work(Type<Tiles>) with the fastest engine that is as exact as `products` says.
template <class T, class Work>
void with_tiles(Float32Products products, const Work& work) {
  if constexpr (std::is_same_v<T, bf16>) {
    work(Type<TensorCoreTiles>{});
  } else {
    if constexpr (std::is_same_v<T, float>)
      if (products == Float32Products::tf32) return work(Type<TensorCoreTiles>{});
    work(Type<PlainTiles>{});
  }
}

}  // namespace weir::cuda
