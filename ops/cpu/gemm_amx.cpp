// Matrix products by the matrix unit of Intel's processors (AMX), each on one thread.
//
// The unit multiplies bf16: an instruction adds the product of a tile of 16 x 32 and one of 32 x 16 to a tile of 16 x
// 16 sums in float. Where float32 factors may be rounded (Float32Products::tf32), a float becomes the sum of two bf16,
// its first 16 or 17 bits, and a product that of three: the product of the lower pieces, 2^-16 of the result, is left
// out. The two smaller ones of the terms at hand are added before the large one.
//
// The unit takes subnormal numbers for zeros. Infinite factors give NaN in tf32, since infinity has no second piece.
//
// Both factors are packed beforehand: cut into pieces, and laid out tile by tile in the order in which they are read.
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"  // g++ 12 sees one in its own intrinsics
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <string_view>
#include <type_traits>

#include "ops/cpu/gemm_backends.h"

#define WEIR_TARGET [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,amx-tile,amx-bf16")]]

namespace weir::cpu {
namespace {

constexpr std::int64_t kLines = 16;                  // rows of the left factor, or columns of the right one, in a tile
constexpr std::int64_t kDepth = 32;                  // terms of the sums in a tile
constexpr std::int64_t kBlock = 2 * kLines;          // four tiles of sums are made at a time
constexpr std::int64_t kElements = kLines * kDepth;  // of a tile, 1 KiB
constexpr std::int64_t kPackedDepth = 1024;          // terms packed at a time, over all pieces
constexpr std::int64_t kPackedCols = 64;             // columns of the right factor packed at a time

std::int64_t blocks(std::int64_t extent, std::int64_t block) { return (extent + block - 1) / block; }

// --- packing -------------------------------------------------------------------------------------------------------

// A factor as lines, the rows of the left one or the columns of the right one; term k of line i is at
// data[i * line_step + k * term_step], and one of the steps is 1.
template <class T>
struct Lines {
  const T* data;
  std::int64_t count, line_step, term_step;
};

WEIR_TARGET inline __mmask16 first_of_16(std::int64_t count) {
  return static_cast<__mmask16>((1u << std::clamp<std::int64_t>(count, 0, 16)) - 1);
}
WEIR_TARGET inline __mmask32 first_of_32(std::int64_t count) {
  return static_cast<__mmask32>((std::uint64_t{1} << std::clamp<std::int64_t>(count, 0, 32)) - 1);
}
WEIR_TARGET inline __m512 load(const float* from, std::int64_t count) {
  return _mm512_maskz_loadu_ps(first_of_16(count), from);
}
WEIR_TARGET inline __m512 load(const bf16* from, std::int64_t count) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first_of_16(count), from)), 16));
}
WEIR_TARGET inline __m512i rounded(__m512 values) {
  return _mm512_cvtepu16_epi32((__m256i)(_mm512_cvtneps_pbh(values)));
}

// Takes the upper 8 significant bits, rounded, from all values. Infinity leaves NaN behind, and NaN itself.
WEIR_TARGET inline __m512 take_piece(__m512& values) {
  const __m512i up = _mm512_add_epi32(_mm512_castps_si512(values), _mm512_set1_epi32(0x8000));
  const __m512 piece = _mm512_castsi512_ps(_mm512_and_si512(up, _mm512_set1_epi32(-0x10000)));
  values = _mm512_sub_ps(values, piece);
  return piece;
}

// A row of the left factor's tiles: 32 terms of one line.
template <int pieces>
WEIR_TARGET inline void pack_terms(const float* from, std::int64_t count, std::uint16_t* to) {
  __m512 low = load(from, count), high = load(count > 16 ? from + 16 : from, count - 16);
  for (int p = 0; p + 1 < pieces; ++p) {
    const __m512 piece = take_piece(low);
    _mm512_store_si512(to + p * kElements, (__m512i)(_mm512_cvtne2ps_pbh(take_piece(high), piece)));
  }
  _mm512_store_si512(to + (pieces - 1) * kElements, (__m512i)(_mm512_cvtne2ps_pbh(high, low)));
}
template <int pieces>
WEIR_TARGET inline void pack_terms(const bf16* from, std::int64_t count, std::uint16_t* to) {
  static_assert(pieces == 1);
  _mm512_store_si512(to, _mm512_maskz_loadu_epi16(first_of_32(count), from));
}

// A row of two of the right factor's tiles, `next` apart: two terms of up to 32 lines each, paired; zeros where a term
// is null. The second tile is left alone where there are no more than 16 lines.
template <int pieces>
WEIR_TARGET inline void pack_pairs(const float* first, const float* second, std::int64_t lines, std::uint16_t* to,
                                   std::int64_t next) {
  for (std::int64_t line = 0; line < lines; line += kLines, to += next) {
    __m512 even = load(first + line, first == nullptr ? 0 : lines - line),
           odd = load(second + line, second == nullptr ? 0 : lines - line);
    for (int p = 0; p + 1 < pieces; ++p) {
      const __m512i low = _mm512_srli_epi32(_mm512_castps_si512(take_piece(even)), 16);
      _mm512_store_si512(to + p * kElements, _mm512_or_si512(low, _mm512_castps_si512(take_piece(odd))));
    }
    _mm512_store_si512(to + (pieces - 1) * kElements,
                       _mm512_or_si512(rounded(even), _mm512_slli_epi32(rounded(odd), 16)));
  }
}
template <int pieces>
WEIR_TARGET inline void pack_pairs(const bf16* first, const bf16* second, std::int64_t lines, std::uint16_t* to,
                                   std::int64_t next) {
  static_assert(pieces == 1);
  const __m512i even = _mm512_maskz_loadu_epi16(first_of_32(first == nullptr ? 0 : lines), first),
                odd = _mm512_maskz_loadu_epi16(first_of_32(second == nullptr ? 0 : lines), second);
  // Each quarter of 128 bits holds eight lines: their first four are paired in `front`, the others in `back`.
  const __m512i front = _mm512_unpacklo_epi16(even, odd), back = _mm512_unpackhi_epi16(even, odd);
  _mm512_store_si512(to, _mm512_permutex2var_epi64(front, _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), back));
  if (lines > kLines)
    _mm512_store_si512(to + next,
                       _mm512_permutex2var_epi64(front, _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15), back));
}

// Turns a tile from one form into the other: 16 x 16 pairs, transposed.
WEIR_TARGET void transpose_pairs(std::uint16_t* tile) {
  __m512i rows[16], quads[16];
  for (int i = 0; i < 16; ++i) rows[i] = _mm512_load_si512(tile + i * kDepth);
  for (int i = 0; i < 16; i += 4) {  // 4 x 4 pairs within each lane of 128 bits
    const __m512i low01 = _mm512_unpacklo_epi32(rows[i], rows[i + 1]),
                  high01 = _mm512_unpackhi_epi32(rows[i], rows[i + 1]),
                  low23 = _mm512_unpacklo_epi32(rows[i + 2], rows[i + 3]),
                  high23 = _mm512_unpackhi_epi32(rows[i + 2], rows[i + 3]);
    quads[i] = _mm512_unpacklo_epi64(low01, low23);
    quads[i + 1] = _mm512_unpackhi_epi64(low01, low23);
    quads[i + 2] = _mm512_unpacklo_epi64(high01, high23);
    quads[i + 3] = _mm512_unpackhi_epi64(high01, high23);
  }
  for (int i = 0; i < 4; ++i) {  // 4 x 4 lanes
    const __m512i low01 = _mm512_shuffle_i32x4(quads[i], quads[i + 4], 0x44),
                  high01 = _mm512_shuffle_i32x4(quads[i], quads[i + 4], 0xee),
                  low23 = _mm512_shuffle_i32x4(quads[i + 8], quads[i + 12], 0x44),
                  high23 = _mm512_shuffle_i32x4(quads[i + 8], quads[i + 12], 0xee);
    _mm512_store_si512(tile + i * kDepth, _mm512_shuffle_i32x4(low01, low23, 0x88));
    _mm512_store_si512(tile + (i + 4) * kDepth, _mm512_shuffle_i32x4(low01, low23, 0xdd));
    _mm512_store_si512(tile + (i + 8) * kDepth, _mm512_shuffle_i32x4(high01, high23, 0x88));
    _mm512_store_si512(tile + (i + 12) * kDepth, _mm512_shuffle_i32x4(high01, high23, 0xdd));
  }
}

enum class Side { left, right };

// Tiles of all lines and of terms first .. first + terms - 1, in the order [lines / 16][terms / 32][pieces].
template <int pieces, Side side, class T>
WEIR_TARGET void pack(const Lines<T>& from, std::int64_t first, std::int64_t terms, std::uint16_t* tiles) {
  const bool along = from.term_step == 1;
  const std::int64_t next = blocks(terms, kDepth) * pieces * kElements;  // the tiles of the next 16 lines
  for (std::int64_t line = 0; line < from.count; line += kBlock, tiles += 2 * next)
    for (std::int64_t term = 0; term < terms; term += kDepth) {
      const std::int64_t lines = std::min(kBlock, from.count - line), left = std::min(kDepth, terms - term);
      const T* const data = from.data + line * from.line_step + (first + term) * from.term_step;
      std::uint16_t* const to = tiles + term / kDepth * pieces * kElements;
      if (along)
        for (std::int64_t i = 0; i < blocks(lines, kLines) * kLines; ++i)
          pack_terms<pieces>(i < lines ? data + i * from.line_step : data, i < lines ? left : 0,
                             to + i / kLines * next + i % kLines * kDepth);
      else
        for (std::int64_t k = 0; k < kDepth; k += 2)
          pack_pairs<pieces>(k < left ? data + k * from.term_step : nullptr,
                             k + 1 < left ? data + (k + 1) * from.term_step : nullptr, lines, to + k / 2 * kDepth,
                             next);
      if (along == (side == Side::left)) continue;
      for (std::int64_t i = 0; i < lines; i += kLines)
        for (int p = 0; p < pieces; ++p) transpose_pairs(to + i / kLines * next + p * kElements);
    }
}

// Packed tiles of some lines, and of terms that follow one another.
struct Tiles {
  const std::uint16_t* data;
  std::int64_t next;  // elements from the tiles of 16 lines to those of the next 16

  Tiles from_line(std::int64_t line) const { return {data + line / kLines * next, next}; }
};

std::int64_t line_tiles(std::int64_t terms, int pieces) { return blocks(terms, kDepth) * pieces * kElements; }

// --- multiplying ---------------------------------------------------------------------------------------------------

// Tiles 0 to 3 are sums, (row, column) = (0, 0), (0, 1), (1, 0), (1, 1); 4 and 5 of the left factor, 6 and 7 of the
// right one. A block at the end of the matrix may have one row or one column of tiles.
template <int pieces, int rows, int cols>
struct BlockOfTiles {
  Tiles left, right;

  WEIR_TARGET void load_left(std::int64_t step, int piece) const {
    const std::int64_t at = (step * pieces + piece) * kElements;
    _tile_loadd(4, left.data + at, 64);
    if constexpr (rows == 2) _tile_loadd(5, left.data + left.next + at, 64);
  }
  WEIR_TARGET void load_right(std::int64_t step, int piece) const {
    const std::int64_t at = (step * pieces + piece) * kElements;
    _tile_loadd(6, right.data + at, 64);
    if constexpr (cols == 2) _tile_loadd(7, right.data + right.next + at, 64);
  }
  WEIR_TARGET static void add_products() {
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (cols == 2) _tile_dpbf16ps(1, 4, 7);
    if constexpr (rows == 2) _tile_dpbf16ps(2, 5, 6);
    if constexpr (rows == 2 && cols == 2) _tile_dpbf16ps(3, 5, 7);
  }
  WEIR_TARGET void add_small_products(std::int64_t step) const {
    load_left(step, 0), load_right(step, 1), add_products();
    load_left(step, 1), load_right(step, 0), add_products();
  }

  // sums [16 rows, 16 cols] = the products' sums over all steps, or += where `add`; `stride` is in floats.
  WEIR_TARGET void multiply(std::int64_t steps, bool add, float* sums, std::int64_t stride) const {
    if (add) {
      _tile_loadd(0, sums, stride * 4);
      if constexpr (cols == 2) _tile_loadd(1, sums + kLines, stride * 4);
      if constexpr (rows == 2) _tile_loadd(2, sums + kLines * stride, stride * 4);
      if constexpr (rows == 2 && cols == 2) _tile_loadd(3, sums + kLines * stride + kLines, stride * 4);
    } else {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    }
    if constexpr (pieces > 1)
      for (std::int64_t step = 0; step < steps; ++step) add_small_products(step);
    for (std::int64_t step = 0; step < steps; ++step) load_left(step, 0), load_right(step, 0), add_products();
    _tile_stored(0, sums, stride * 4);
    if constexpr (cols == 2) _tile_stored(1, sums + kLines, stride * 4);
    if constexpr (rows == 2) _tile_stored(2, sums + kLines * stride, stride * 4);
    if constexpr (rows == 2 && cols == 2) _tile_stored(3, sums + kLines * stride + kLines, stride * 4);
  }
};

WEIR_TARGET inline void store(float* to, __mmask16 mask, __m512 values) { _mm512_mask_storeu_ps(to, mask, values); }
WEIR_TARGET inline void store(bf16* to, __mmask16 mask, __m512 values) {
  _mm256_mask_storeu_epi16(to, mask, (__m256i)(_mm512_cvtneps_pbh(values)));
}

// to[rows, cols] = from.
template <class From, class To>
WEIR_TARGET void convert(std::int64_t rows, std::int64_t cols, const From* from, std::int64_t from_stride, To* to,
                         std::int64_t to_stride) {
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < cols; j += 16)
      store(to + i * to_stride + j, first_of_16(cols - j), load(from + i * from_stride + j, cols - j));
}

// Memory that grows, for whole tiles.
template <class T>
class Scratch {
 public:
  T* at_least(std::int64_t count) {
    if (count > size_) {
      data_.reset(static_cast<T*>(::operator new (static_cast<std::size_t>(count) * sizeof(T), std::align_val_t{64})));
      size_ = count;
    }
    return data_.get();
  }

 private:
  struct Free {
    void operator()(T* data) const { ::operator delete (data, std::align_val_t{64}); }
  };
  std::unique_ptr<T, Free> data_;
  std::int64_t size_ = 0;
};

struct alignas(64) TileConfiguration {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// sums [rows, cols] = the product of two packed factors, or +=; up to 32 x 32, written in whole tiles.
template <int pieces>
WEIR_TARGET void multiply_block(std::int64_t rows, std::int64_t cols, std::int64_t steps, Tiles left, Tiles right,
                                bool add, float* sums, std::int64_t stride) {
  if (rows > kLines && cols > kLines)
    BlockOfTiles<pieces, 2, 2>{left, right}.multiply(steps, add, sums, stride);
  else if (rows > kLines)
    BlockOfTiles<pieces, 2, 1>{left, right}.multiply(steps, add, sums, stride);
  else if (cols > kLines)
    BlockOfTiles<pieces, 1, 2>{left, right}.multiply(steps, add, sums, stride);
  else
    BlockOfTiles<pieces, 1, 1>{left, right}.multiply(steps, add, sums, stride);
}

// c = the product of packed factors, or += with GemmMode::accumulate. Sums begin with what is in c.
template <int pieces, class Out>
WEIR_TARGET void multiply_tiles(std::int64_t m, std::int64_t n, std::int64_t steps, Tiles left, Tiles right, Out* c,
                                std::int64_t c_stride, GemmMode mode) {
  alignas(64) static thread_local float sums[kBlock * kBlock];
  const bool add = mode == GemmMode::accumulate;
  for (std::int64_t j = 0; j < n; j += kBlock)
    for (std::int64_t i = 0; i < m; i += kBlock) {
      const std::int64_t rows = std::min(kBlock, m - i), cols = std::min(kBlock, n - j);
      const Tiles a = left.from_line(i), b = right.from_line(j);
      Out* const to = c + i * c_stride + j;
      if constexpr (std::is_same_v<Out, float>)
        if (rows == kBlock && cols == kBlock) {
          BlockOfTiles<pieces, 2, 2>{a, b}.multiply(steps, add, to, c_stride);
          continue;
        }
      if (add) convert(rows, cols, to, c_stride, sums, kBlock);
      for (std::int64_t row = 0; row < rows; ++row) _mm_prefetch(to + row * c_stride, _MM_HINT_T0);
      multiply_block<pieces>(rows, cols, steps, a, b, add, sums, kBlock);
      convert(rows, cols, sums, kBlock, to, c_stride);
    }
}

// Where the tiles of a right factor come from: packed as they are needed,
template <int pieces, class T>
struct PackedOnDemand {
  Lines<T> lines;

  // Columns col .. col + cols - 1 and terms first .. first + terms - 1; valid until the next call.
  WEIR_TARGET Tiles tiles(std::int64_t first, std::int64_t terms, std::int64_t col, std::int64_t cols) const {
    static thread_local Scratch<std::uint16_t> packed;
    const std::int64_t next = line_tiles(terms, pieces);
    std::uint16_t* const to = packed.at_least(kPackedCols / kLines * next);
    pack<pieces, Side::right>(Lines<T>{lines.data + col * lines.line_step, cols, lines.line_step, lines.term_step},
                              first, terms, to);
    return {to, next};
  }
};
template <int pieces, class T>
PackedOnDemand<pieces, T> packed_on_demand(const Lines<T>& lines) {
  return {lines};
}
// or beforehand, of which the part from `row` and `col` on is taken.
template <int pieces>
struct PackedBefore {
  Tiles whole;
  std::int64_t row, col;

  Tiles tiles(std::int64_t first, std::int64_t, std::int64_t from_col, std::int64_t) const {
    const Tiles lines = whole.from_line(col + from_col);
    return {lines.data + (row + first) / kDepth * pieces * kElements, lines.next};
  }
};

template <int pieces, class In, class Right, class Out>
WEIR_TARGET void amx_gemm(std::int64_t m, std::int64_t n, std::int64_t k, const Lines<In>& left, const Right& right,
                          Out* c, std::int64_t c_stride, GemmMode mode) {
  static thread_local Scratch<std::uint16_t> packed_left;
  const std::int64_t parts = blocks(k, kPackedDepth / pieces), depth = blocks(blocks(k, parts), kDepth) * kDepth;
  if (std::is_same_v<Out, bf16> && parts > 1) {  // sums stay in float until the last part
    static thread_local Scratch<float> whole;
    float* const sums = whole.at_least(m * n);
    if (mode == GemmMode::accumulate) convert(m, n, c, c_stride, sums, n);
    amx_gemm<pieces>(m, n, k, left, right, sums, n, mode);
    return convert(m, n, sums, n, c, c_stride);
  }
  const TileConfiguration configuration;
  _tile_loadconfig(&configuration);
  for (std::int64_t first = 0; first < k; first += depth) {
    const std::int64_t terms = std::min(depth, k - first), next = line_tiles(terms, pieces);
    std::uint16_t* const l = packed_left.at_least(blocks(m, kLines) * next);
    pack<pieces, Side::left>(left, first, terms, l);
    for (std::int64_t col = 0; col < n; col += kPackedCols) {
      const std::int64_t cols = std::min(kPackedCols, n - col);
      multiply_tiles<pieces>(m, cols, blocks(terms, kDepth), {l, next}, right.tiles(first, terms, col, cols), c + col,
                             c_stride, mode);
    }
    mode = GemmMode::accumulate;
  }
  _tile_release();
}

// --- as a backend --------------------------------------------------------------------------------------------------

template <class T>
Lines<T> left_lines(std::int64_t m, const AnyMatrix& a) {
  return {static_cast<const T*>(a.data), m, a.transposed ? 1 : a.stride, a.transposed ? a.stride : 1};
}
template <int pieces>
auto right_lines(std::int64_t n, const AnyMatrix& b) {
  using T = std::conditional_t<pieces == 1, bf16, float>;
  return Lines<T>{static_cast<const T*>(b.data), n, b.transposed ? b.stride : 1, b.transposed ? 1 : b.stride};
}

template <int pieces, class Right>
void multiply_by(std::int64_t m, std::int64_t n, std::int64_t k, const AnyMatrix& a, const Right& right, void* c,
                 DType c_dtype, std::int64_t c_stride, GemmMode mode) {
  const auto multiply_left = [&]<class T>(Type<T>) {
    const Lines<T> left = left_lines<T>(m, a);
    if constexpr (pieces == 1)
      if (c_dtype == DType::bf16) return amx_gemm<1>(m, n, k, left, right, static_cast<bf16*>(c), c_stride, mode);
    amx_gemm<pieces>(m, n, k, left, right, static_cast<float*>(c), c_stride, mode);
  };
  if constexpr (pieces == 1)
    if (a.dtype == DType::bf16) return multiply_left(Type<bf16>{});
  multiply_left(Type<float>{});
}

// Calls f(Pieces) with a constant.
template <class F>
void visit_pieces(int pieces, F&& f) {
  if (pieces == 1)
    f(std::integral_constant<int, 1>{});
  else
    f(std::integral_constant<int, 2>{});
}

void multiply(std::int64_t m, std::int64_t n, std::int64_t k, int pieces, AnyMatrix a, AnyMatrix b, void* c,
              DType c_dtype, std::int64_t c_stride, GemmMode mode) {
  visit_pieces(pieces, [&]<int p>(std::integral_constant<int, p>) {
    multiply_by<p>(m, n, k, a, packed_on_demand<p>(right_lines<p>(n, b)), c, c_dtype, c_stride, mode);
  });
}

std::int64_t packed_size(std::int64_t k, std::int64_t n, int pieces) {
  return blocks(n, kLines) * line_tiles(k, pieces);
}

void pack_right(std::int64_t k, std::int64_t n, int pieces, AnyMatrix b, bf16* packed) {
  visit_pieces(pieces, [&]<int p>(std::integral_constant<int, p>) {
    pack<p, Side::right>(right_lines<p>(n, b), 0, k, reinterpret_cast<std::uint16_t*>(packed));
  });
}

void multiply_packed(std::int64_t m, std::int64_t n, std::int64_t k, int pieces, AnyMatrix a, PackedPart b, void* c,
                     DType c_dtype, std::int64_t c_stride, GemmMode mode) {
  visit_pieces(pieces, [&]<int p>(std::integral_constant<int, p>) {
    const Tiles whole{reinterpret_cast<const std::uint16_t*>(b.data), line_tiles(b.rows, p)};
    multiply_by<p>(m, n, k, a, PackedBefore<p>{whole, b.row, b.col}, c, c_dtype, c_stride, mode);
  });
}

// Whether the processor has such a unit, the system lets this process use it, and the user does as well.
bool available() {
  const char* const asked = std::getenv("WEIR_AMX");
  if (asked != nullptr && std::string_view(asked) == "0") return false;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) == 0) return false;
  const bool avx512_bf16 = (a >> 5 & 1) != 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  const bool amx = (d >> 22 & 1) != 0 && (d >> 24 & 1) != 0;
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return avx512_bf16 && amx && __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
         __builtin_cpu_supports("avx512dq") != 0 && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

const bool registered = [] {
  if (available())
    matrix_unit = {
        .multiply = multiply, .packed_size = packed_size, .pack = pack_right, .multiply_packed = multiply_packed};
  return true;
}();

}  // namespace
}  // namespace weir::cpu
