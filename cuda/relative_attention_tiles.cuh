// bf16 tiles in shared memory as operands of tensor cores, for relative attention: loading rows, products of 16 rows.
#pragma once

#include <cstdint>
#include <utility>

#include "cuda/relative_attention_problem.cuh"

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

// q + u and q + v of `count` queries from `first` on, rounded to bf16; zeros outside.
template <int threads, int count, int width>
__device__ void load_query_tiles(const Tile<width>& content, const Tile<width>& position, const Problem<bf16>& p,
                                 int batch, int head, int first) {
  constexpr int kPairs = width / 2;
  const float *const u = p.u + head * p.u_step, *const v = p.v + head * p.v_step;
  for (int item = static_cast<int>(threadIdx.x); item < count * kPairs; item += threads) {
    const int i = item / kPairs, pair = item % kPairs * 2;
    bf16 with_u[2], with_v[2];
    for (int r = 0; r < 2; ++r) {
      const int e = pair + r;
      if (first + i >= p.queries || e >= p.width) continue;
      const float q = p.q.row(batch, head, first + i)[e];
      with_u[r] = bf16(q + u[e]);
      with_v[r] = bf16(q + v[e]);
    }
    *reinterpret_cast<std::uint32_t*>(content.row(i) + pair) = pack(with_u[0], with_u[1]);
    *reinterpret_cast<std::uint32_t*>(position.row(i) + pair) = pack(with_v[0], with_v[1]);
  }
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

// --- the position scores of 16 queries -----------------------------------------------------------------------------

// A warp's products of 16 queries with the rows of r that these take for `keys` keys, 16 + keys of them: query i takes
// for key j the row j - i + 15. They go through shared memory, for the lane that has a product is not the one whose
// score it belongs to. The pitch: a row further is four banks further (modulo 16) where the column moves along with the
// row, so the lanes' reads, odd rows the second column first, fall into different banks.
template <int keys>
struct BandScratch {
  static constexpr int kColumns = 16 + keys, kPitch = kColumns + 5, kFloats = 16 * kPitch;

  float* data;

  // products: columns `column` .. `column` + 15.
  __device__ void store(const FragmentC (&products)[2], int column) const {
    const int group = lane_id() / 4, pair = lane_id() % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int r = 0; r < 4; ++r)
        data[(group + r / 2 * 8) * kPitch + column + 8 * half + pair + r % 2] = products[half].r[r];
  }

  // scores[n] = the scores of keys 8n .. 8n + 7.
  __device__ void load(FragmentC (&scores)[keys / 8]) const {
    const int group = lane_id() / 4, pair = lane_id() % 4 * 2, odd = group % 2;
#pragma unroll
    for (int n = 0; n < keys / 8; ++n)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int i = group + half * 8;
        const float* const place = data + i * kPitch + 8 * n + pair - i + 15;
        const float x = place[odd], y = place[1 - odd];
        scores[n].r[2 * half] = odd != 0 ? y : x;
        scores[n].r[2 * half + 1] = odd != 0 ? x : y;
      }
  }
};

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

}  // namespace weir::cuda::attention
