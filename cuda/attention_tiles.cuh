// bf16 tiles in shared memory as operands of tensor cores, for attention: loading rows, products of 16 rows, the
// softmax of a warp's queries.
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>

#include "cuda/attention_heads.cuh"

namespace weir::cuda::attention {

// Rows of `columns` elements, a multiple of 16, of which 8 more lie between two rows: eight rows then have their pieces
// of 16 bytes in different banks.
template <int columns>
struct Tile {
  static constexpr int kPitch = columns + 8;
  static constexpr std::size_t bytes(int rows) { return sizeof(bf16) * static_cast<std::size_t>(rows * kPitch); }

  bf16* data;

  __device__ bf16* row(int i) const { return data + i * kPitch; }
  __device__ Tile from_row(int i) const { return {row(i)}; }
};

// Hands out the block's dynamic shared memory.
struct TilePieces {
  unsigned char* next;

  template <int columns>
  __device__ Tile<columns> tile(int rows) {
    const Tile<columns> piece{reinterpret_cast<bf16*>(next)};
    next += Tile<columns>::bytes(rows);
    return piece;
  }
};

// A matrix [rows, columns] in global memory that tiles are loaded from; its rows begin at multiples of 16 bytes.
struct TileSource {
  const bf16* data;
  std::int64_t step;
  int rows, columns;

  __device__ TileSource(const HeadMatrices<const bf16>& matrices, int batch, int head, int rows_, int columns_)
      : data(matrices.row(batch, head, 0)), step(matrices.row_step), rows(rows_), columns(columns_) {}
};

// to[i] = row first + i of the matrix for the tile's first `count` rows, zeros outside of it, by all `threads` of the
// block. Asynchronously: the caller commits and waits.
template <int threads, int count, int width>
__device__ void load_tile(const Tile<width>& to, const TileSource& from, int first) {
  constexpr int kPacks = width / 8;
  for (int item = static_cast<int>(threadIdx.x); item < count * kPacks; item += threads) {
    const int i = item / kPacks, e = item % kPacks * 8, row = first + i;
    const int bytes = row >= 0 && row < from.rows ? max(0, min(16, 2 * (from.columns - e))) : 0;
    copy_16_async(to.row(i) + e, bytes > 0 ? from.data + row * from.step + e : from.data, bytes);
  }
}

// The widths that tiles come in: f(std::integral_constant<int, width>) for the least that holds a head of `width`.
inline constexpr int kTileWidth = 128;
template <class F>
void with_tile_width(int width, const F& f) {
  const auto reaches = [&]<int w>(std::integral_constant<int, w> tag) {
    if (width > w) return false;
    f(tag);
    return true;
  };
  [&]<int... w>(std::integer_sequence<int, w...>) { (reaches(std::integral_constant<int, w>{}) || ...); }
  (std::integer_sequence<int, 16, 32, 48, 64, 96, kTileWidth>{});
}

// --- fragments, by all lanes of a warp ------------------------------------------------------------------------------

__device__ inline int lane_id() { return static_cast<int>(threadIdx.x) % kWarp; }

// a[m, k] = tile[row + m, column + k], 16 x 16.
template <int columns>
__device__ FragmentA load_a(const Tile<columns>& tile, int row, int column) {
  const int lane = lane_id();
  return ldmatrix_x4(tile.row(row + lane % 16) + column + lane / 16 * 8);
}
// a[m, k] = tile[row + k, column + m].
template <int columns>
__device__ FragmentA load_a_transposed(const Tile<columns>& tile, int row, int column) {
  const int lane = lane_id();
  return ldmatrix_x4_trans(tile.row(row + lane / 16 * 8 + lane % 8) + column + lane / 8 % 2 * 8);
}

// c += a b with b[k, n] = tile[row + n, column + k]: 16 of the tile's columns, as many rows as c is wide.
template <int n, int columns>
__device__ void add_product_by_rows(FragmentC (&c)[n], const FragmentA& a, const Tile<columns>& tile, int row,
                                    int column) {
  static_assert(n % 2 == 0);
  const int lane = lane_id();
#pragma unroll
  for (int i = 0; i < n; i += 2) {
    const FragmentA two = ldmatrix_x4(tile.row(row + 8 * i + lane / 16 * 8 + lane % 8) + column + lane / 8 % 2 * 8);
    mma_m16n8k16<bf16>(c[i], a, {{two.r[0], two.r[1]}});
    mma_m16n8k16<bf16>(c[i + 1], a, {{two.r[2], two.r[3]}});
  }
}
// c += a b with b[k, n] = tile[row + k, column + n]: 16 of the tile's rows, as many columns as c is wide.
template <int n, int columns>
__device__ void add_product(FragmentC (&c)[n], const FragmentA& a, const Tile<columns>& tile, int row, int column) {
  const int lane = lane_id();
  const bf16* const place = tile.row(row + lane % 16) + column;
#pragma unroll
  for (int i = 0; i + 1 < n; i += 2) {
    const FragmentA two = ldmatrix_x4_trans(place + 8 * i + lane / 16 * 8);
    mma_m16n8k16<bf16>(c[i], a, {{two.r[0], two.r[1]}});
    mma_m16n8k16<bf16>(c[i + 1], a, {{two.r[2], two.r[3]}});
  }
  if constexpr (n % 2 == 1) mma_m16n8k16<bf16>(c[n - 1], a, ldmatrix_x2_trans(place + 8 * (n - 1)));
}

__device__ inline std::uint32_t pack_floats(float first, float second) { return pack(bf16(first), bf16(second)); }

// row[e] = a, row[e + 1] = b as far as the row's `columns` reach.
__device__ inline void store_pair(bf16* row, int e, int columns, float a, float b) {
  if (e + 1 < columns && reinterpret_cast<std::uintptr_t>(row + e) % 4 == 0) {
    *reinterpret_cast<std::uint32_t*>(row + e) = pack_floats(a, b);
    return;
  }
  if (e < columns) row[e] = bf16(a);
  if (e + 1 < columns) row[e + 1] = bf16(b);
}

// --- softmax ---------------------------------------------------------------------------------------------------------

// Scores of 16 rows and 16 columns, two pieces of 8, as the left factor of a product.
__device__ inline FragmentA rounded_pieces(const FragmentC& left, const FragmentC& right) {
  return {{pack_floats(left.r[0], left.r[1]), pack_floats(left.r[2], left.r[3]), pack_floats(right.r[0], right.r[1]),
           pack_floats(right.r[2], right.r[3])}};
}

// The softmax of 16 queries of one warp, tile of keys after tile. A lane holds two of them, `group` and `group` + 8,
// every value of theirs twice: [2].
template <int width, int keys>
struct SoftmaxWarp {
  FragmentC sums[width / 8];   // of weight * value
  float largest[2], total[2];  // of the logits times log2(e); of this lane's weights
  float scale;                 // times log2(e)
  int first_query, memory;

  __device__ void clear() {
    for (FragmentC& sum : sums) sum = {};
    for (int half = 0; half < 2; ++half) {
      largest[half] = -INFINITY;
      total[half] = 0;
    }
  }

  // Scores become exp(logit - largest). Every query sees key 0, so `largest` is finite from the first tile on.
  __device__ void soften(FragmentC (&scores)[keys / 8], int first_key) {
    const int group = lane_id() / 4, pair = lane_id() % 4 * 2;
    const bool masked = first_key + keys - 1 > first_query + memory;  // some key for some query
    float top[2] = {largest[0], largest[1]};
#pragma unroll
    for (int n = 0; n < keys / 8; ++n)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        float& score = scores[n].r[r];
        score *= scale;
        if (masked && first_key + 8 * n + pair + r % 2 > first_query + group + r / 2 * 8 + memory) score = -INFINITY;
        top[r / 2] = max(top[r / 2], score);
      }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      top[half] = reduce_lanes<4>(0xffffffffu, top[half], Larger{});
      const float shrink = std::exp2(largest[half] - top[half]);
      largest[half] = top[half];
      total[half] *= shrink;
#pragma unroll
      for (FragmentC& sum : sums) {
        sum.r[2 * half] *= shrink;
        sum.r[2 * half + 1] *= shrink;
      }
#pragma unroll
      for (FragmentC& score : scores)
#pragma unroll
        for (int r = 2 * half; r < 2 * half + 2; ++r) {
          score.r[r] = std::exp2(score.r[r] - top[half]);
          total[half] += score.r[r];
        }
    }
  }

  // Adds the values under the weights that `soften` has left.
  __device__ void add_values(const FragmentC (&weights)[keys / 8], const Tile<width>& value) {
#pragma unroll
    for (int step = 0; step < keys / 16; ++step)
      add_product(sums, rounded_pieces(weights[2 * step], weights[2 * step + 1]), value, 16 * step, 0);
  }

  // The rows of the output, of `columns` elements, and their logsumexp; `queries`: of the whole batch.
  __device__ void store(const HeadMatrices<bf16>& out, const HeadMatrices<float>& logsumexp, int batch, int head,
                        int queries, int columns) const {
    constexpr float kLog2 = 0.69314718f;
    const int pair = lane_id() % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int query = first_query + lane_id() / 4 + half * 8;
      const float all = reduce_lanes<4>(0xffffffffu, total[half], Add{}), factor = 1 / all;
      if (query >= queries) continue;
      bf16* const row = out.row(batch, head, query);
#pragma unroll
      for (int n = 0; n < width / 8; ++n)
        store_pair(row, 8 * n + pair, columns, sums[n].r[2 * half] * factor, sums[n].r[2 * half + 1] * factor);
      if (pair == 0) *logsumexp.row(batch, head, query) = largest[half] * kLog2 + std::log(all);
    }
  }
};

}  // namespace weir::cuda::attention
