// Grouped products by tensor cores, for bf16: the engine TensorCoreTiles of grouped_product.cuh.
//
// A block computes 128 x 128 sums, each of its 8 warps 64 x 32 of them in registers. Operands stream through shared
// memory in steps of 32 along the inner extent, four steps at a time: while one is multiplied, asynchronous copies of
// 16 bytes fetch the next three, gathering rows as they go and filling with zeros what lies outside. An operand may lie
// along the inner extent (128 rows of 32) or across it (32 rows of 128); ldmatrix turns the latter round, so nothing is
// ever transposed in memory. At the end the sums pass through shared memory once more, so that an epilogue sees eight
// neighbours of a row and memory 16 bytes.
#pragma once

#include "cuda/grouped_product.cuh"

namespace weir::cuda {
namespace detail {

inline constexpr int kGemmTile = 128, kGemmDepth = 32, kGemmStages = 4, kGemmThreads = 256;
inline constexpr int kChunk = 8;                             // elements in 16 bytes
inline constexpr int kOperandTile = kGemmTile * kGemmDepth;  // elements
inline constexpr int kSumPitch = kGemmTile + 8;              // floats; 8 lanes' pairs of a column meet 32 banks
inline constexpr std::size_t kGemmSharedBytes = sizeof(float) * kGemmTile * kSumPitch;
static_assert(kGemmSharedBytes >= sizeof(bf16) * 2 * kGemmStages * kOperandTile);

// Where chunk `chunk` of row `row` lies in a tile. Chunks of a row are exchanged such that the eight rows that ldmatrix
// reads at once lie in different banks.
template <bool along_inner>
__device__ int place_in_tile(int row, int chunk) {
  if constexpr (along_inner)
    return (row * (kGemmDepth / kChunk) + (chunk ^ (row / 2 % 4))) * kChunk;
  else
    return (row * (kGemmTile / kChunk) + (chunk ^ (row % 8))) * kChunk;
}

// Which two chunks of an operand's tile a thread brings: chunk(), of rows row(0) and row(1).
template <bool along_inner>
struct TileChunks {
  static constexpr int kPerRow = (along_inner ? kGemmDepth : kGemmTile) / kChunk;

  __device__ static int chunk() { return static_cast<int>(threadIdx.x) % kPerRow; }
  __device__ static int row(int i) { return (static_cast<int>(threadIdx.x) + i * kGemmThreads) / kPerRow; }
};

// Copies an operand's tiles. Row i of the operand begins at row(i), at a multiple of 16 bytes, or is zeros where that
// is null. Along the inner extent, rows are the tile's `outers` and columns its `inner`; across it, the reverse.
template <bool along_inner, class Row>
class TileCopies {
 public:
  static constexpr bool kAlongInner = along_inner;

  // `anywhere` is some aligned place in the operand's memory. The tile begins with row or column `first`.
  __device__ TileCopies(const Row& row, const bf16* anywhere, std::int64_t first, std::int64_t outers,
                        std::int64_t inner)
      : row_(row), anywhere_(anywhere), first_(first), outers_(outers), inner_(inner) {
    find_rows(0);
  }

  // Step `step` of the inner extent; steps come in order.
  __device__ void copy(bf16* tile, int step) {
    for (int i = 0; i < 2; ++i) {
      const std::int64_t col = (along_inner ? std::int64_t{step} * kGemmDepth : first_) + Chunks::chunk() * kChunk,
                         left = places_[i] == nullptr ? 0 : (along_inner ? inner_ : outers_) - col;
      const int bytes = left <= 0 ? 0 : left < kChunk ? static_cast<int>(left) * 2 : 16;
      copy_16_async(tile + place_in_tile<along_inner>(Chunks::row(i), Chunks::chunk()),
                    bytes > 0 ? places_[i] + col : anywhere_, bytes);
    }
    if constexpr (!along_inner) find_rows(step + 1);  // early, for the next call
  }

 private:
  using Chunks = TileChunks<along_inner>;

  __device__ void find_rows(int step) {
    for (int i = 0; i < 2; ++i) {
      const std::int64_t r = (along_inner ? first_ : std::int64_t{step} * kGemmDepth) + Chunks::row(i);
      places_[i] = r < (along_inner ? outers_ : inner_) ? row_(r) : nullptr;
    }
  }

  Row row_;
  const bf16* anywhere_;
  std::int64_t first_, outers_, inner_;
  const bf16* places_[2];
};
template <bool along_inner, class Row>
__device__ TileCopies<along_inner, Row> tile_copies(const Row& row, const bf16* anywhere, std::int64_t first,
                                                    std::int64_t outers, std::int64_t inner) {
  return {row, anywhere, first, outers, inner};
}

// Rows m .. m + 15 of a, or columns n .. n + 15 of b as two fragments, at k .. k + 15 of the step.
template <bool along_inner>
__device__ FragmentA load_a(const bf16* tile, int m, int k) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if constexpr (along_inner)
    return ldmatrix_x4(tile + place_in_tile<true>(m + lane % 16, k / kChunk + lane / 16));
  else
    return ldmatrix_x4_trans(tile + place_in_tile<false>(k + lane / 16 * 8 + lane % 8, m / kChunk + lane / 8 % 2));
}
template <bool along_inner>
__device__ void load_b(const bf16* tile, int n, int k, FragmentB& first, FragmentB& second) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  FragmentA both;
  if constexpr (along_inner)
    both = ldmatrix_x4(tile + place_in_tile<true>(n + lane / 16 * 8 + lane % 8, k / kChunk + lane / 8 % 2));
  else
    both = ldmatrix_x4_trans(tile + place_in_tile<false>(k + lane / 8 % 2 * 8 + lane % 8, n / kChunk + lane / 16));
  first = {{both.r[0], both.r[1]}};
  second = {{both.r[2], both.r[3]}};
}

// This warp's 64 x 32 sums.
struct WarpSums {
  FragmentC c[4][4];

  __device__ static int row() { return static_cast<int>(threadIdx.x) / kWarp / 4 * 64; }
  __device__ static int col() { return static_cast<int>(threadIdx.x) / kWarp % 4 * 32; }

  template <bool a_along, bool b_along>
  __device__ void add_step(const bf16* a, const bf16* b) {
#pragma unroll
    for (int k = 0; k < kGemmDepth; k += 16) {
      FragmentA left[4];
      FragmentB right[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) left[i] = load_a<a_along>(a, row() + 16 * i, k);
#pragma unroll
      for (int j = 0; j < 4; j += 2) load_b<b_along>(b, col() + 8 * j, k, right[j], right[j + 1]);
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) mma_m16n8k16<bf16>(c[i][j], left[i], right[j]);
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
template <class A, class B, class Finish>
__device__ void gemm_tile(std::int64_t inner, A a, B b, const Finish& finish) {
  bf16* const tiles = dynamic_shared<bf16>();
  const int steps = static_cast<int>((inner + kGemmDepth - 1) / kGemmDepth);
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
    sums.add_step<A::kAlongInner, B::kAlongInner>(stage(step), stage(step) + kOperandTile);
  }
  wait_copies<0>();
  __syncthreads();
  float* const staged = dynamic_shared<float>();
  sums.write(staged);
  __syncthreads();
  const int thread = static_cast<int>(threadIdx.x), col = thread % 16 * kChunk;
  for (int row = thread / 16; row < kGemmTile; row += kGemmThreads / 16) {
    float values[kChunk];
    for (int i = 0; i < kChunk; ++i) values[i] = staged[row * kSumPitch + col + i];
    finish(row, col, values);
  }
}

template <bool transposed, class Epilogue>
__global__ void __launch_bounds__(kGemmThreads, 2)
    multiply_rows_tensor(GatheredRows<bf16> a, GroupedMatrices<bf16> weight, const RowTile* tiles, Epilogue epilogue) {
  const std::int64_t inner = transposed ? weight.rows.cols : weight.height,
                     cols = transposed ? weight.height : weight.rows.cols, across = (cols + kGemmTile - 1) / kGemmTile,
                     first_col = blockIdx.x % across * kGemmTile;
  const RowTile tile = tiles[blockIdx.x / across];
  if (tile.group < 0) return;
  const auto a_row = [&](std::int64_t i) { return a.row(tile.begin + i); };
  const auto b_row = [&](std::int64_t i) { return weight.row(tile.group, i); };
  gemm_tile(inner, tile_copies<true>(a_row, a.rows.data, 0, tile.end - tile.begin, inner),
            tile_copies<transposed>(b_row, weight.rows.data, first_col, cols, inner),
            [&](int row, int col, float(&values)[kChunk]) {
              const std::int64_t r = tile.begin + row, left = r < tile.end ? cols - first_col - col : 0;
              epilogue(r, first_col + col, static_cast<int>(left < 0 ? 0 : left < kChunk ? left : kChunk), values);
            });
}

template <class T>
__global__ void __launch_bounds__(kGemmThreads, 2)
    multiply_groups_tensor(GatheredRows<T> a, GatheredRows<T> b, const RowTile* units, Rows<float> out,
                           Rows<float> further) {
  const std::int64_t height = a.rows.cols, cols = b.rows.cols;
  const UnitTile place = unit_tile<kGemmTile>(units, height, cols);
  const RowTile unit = place.unit;
  const std::int64_t number = place.number, first_row = place.first_row, first_col = place.first_col;
  if (unit.group < 0) return;
  const std::int64_t inner = unit.end - unit.begin;
  const auto a_row = [&](std::int64_t k) { return a.row(unit.begin + k); };
  const auto b_row = [&](std::int64_t k) { return b.row(unit.begin + k); };
  gemm_tile(inner, tile_copies<false>(a_row, a.rows.data, first_row, height, inner),
            tile_copies<false>(b_row, b.rows.data, first_col, cols, inner),
            [&](int row, int col, float(&values)[kChunk]) {
              const std::int64_t left = cols - first_col - col;
              if (first_row + row < height && left > 0)
                store_sums(group_sums(out, further, unit, number, height).row(first_row + row) + first_col + col,
                           static_cast<int>(left < kChunk ? left : kChunk), values);
            });
}

}  // namespace detail

struct TensorCoreTiles {
  static constexpr std::int64_t kRows = detail::kGemmTile, kCols = detail::kGemmTile;

  template <class T, bool transposed, class Epilogue>
  static void multiply_rows(Device device, const GatheredRows<T>& a, const GroupedMatrices<T>& weight,
                            const RowTile* tiles, std::int64_t blocks, const Epilogue& epilogue) {
    launch<detail::multiply_rows_tensor<transposed, Epilogue>>(shape(blocks), stream_of(device), a, weight, tiles,
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

// The faster engine for that type.
template <class T>
using FastTiles = std::conditional_t<std::is_same_v<T, bf16>, TensorCoreTiles, PlainTiles>;

}  // namespace weir::cuda
