// The plain matrix product, the choice of backend, and the cut into tiles.
#include "ops/cpu/gemm.h"

#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "core/profile_range.h"
#include "ops/cpu/gemm_backends.h"

namespace weir::cpu {
namespace {

// Row by row: c[i, :] = sum over p of a[i, p] * b[p, :], the inner loop over a row of b. A transposed b is unrolled
// into rows first.
template <class In, class Out>
void plain_gemm(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<In> a, Matrix<In> b, Out* c,
                std::int64_t c_stride, GemmMode mode) {
  using Sum = accumulate_t<In>;
  std::vector<In> unrolled;
  if (b.transposed) {
    unrolled.resize(static_cast<std::size_t>(k * n));
    for (std::int64_t j = 0; j < n; ++j)
      for (std::int64_t p = 0; p < k; ++p) unrolled[static_cast<std::size_t>(p * n + j)] = b.data[j * b.stride + p];
    b = {unrolled.data(), n, false};
  }
  std::vector<Sum> sums(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < m; ++i) {
    Out* const row = c + i * c_stride;
    std::fill(sums.begin(), sums.end(), Sum(0));
    for (std::int64_t p = 0; p < k; ++p) {
      const auto factor = static_cast<Sum>(*a.at(i, p).data);
      const In* const b_row = b.data + p * b.stride;
      for (std::int64_t j = 0; j < n; ++j) sums[static_cast<std::size_t>(j)] += factor * static_cast<Sum>(b_row[j]);
    }
    for (std::int64_t j = 0; j < n; ++j) {
      const Sum sum = sums[static_cast<std::size_t>(j)];
      row[j] = mode == GemmMode::accumulate ? Out(static_cast<Sum>(row[j]) + sum) : Out(sum);
    }
  }
}

struct Tile {
  std::int64_t rows, cols;

  std::int64_t down(std::int64_t m) const { return (m + rows - 1) / rows; }
  std::int64_t across(std::int64_t n) const { return (n + cols - 1) / cols; }
};

// The size of each of so many parts of an extent, a multiple of `granule`.
std::int64_t share(std::int64_t extent, std::int64_t parts, std::int64_t granule) {
  return ((extent + parts - 1) / parts + granule - 1) / granule * granule;
}
// The same for the number of parts that brings them nearest to `size`.
std::int64_t nearest(std::int64_t extent, std::int64_t size, std::int64_t granule) {
  return share(extent, std::max<std::int64_t>(1, (extent + size / 2) / size), granule);
}

// Tiles of about 256 x 512 of nearly equal size; smaller ones where there would be few to share out. Each tile packs
// its own columns of b, so rows are cut first while many remain, and tiles stay large enough for that to pay. Depends
// on the shape alone.
Tile tile_for(std::int64_t m, std::int64_t n, std::int64_t batch) {
  constexpr std::int64_t kGranule = 16;
  Tile tile{nearest(m, 256, kGranule), nearest(n, 512, kGranule)};
  const auto too_few = [&] {
    const std::int64_t count = batch * tile.down(m) * tile.across(n), area = tile.rows * tile.cols;
    return count < 4 ? area > 64 * 128 : count < 8 && area > 128 * 256;
  };
  while (too_few()) {
    const bool cut_rows = tile.rows > 128 || (tile.cols <= 256 && tile.rows > 64);
    std::int64_t& extent = cut_rows ? tile.rows : tile.cols;
    extent = share(extent, 2, kGranule);
  }
  return tile;
}

// The same for the matrix unit, which gives an element the same bits in every cut: about 512 x 512, halved until all
// threads have as many.
Tile tile_for_threads(std::int64_t m, std::int64_t n, std::int64_t batch) {
  constexpr std::int64_t kGranule = 32;
  const std::int64_t threads = thread_count();
  Tile tile{nearest(m, 512, kGranule), nearest(n, 512, kGranule)};
  const auto uneven = [&] {
    const std::int64_t count = batch * tile.down(m) * tile.across(n);
    return count % threads != 0 && count < 4 * threads;
  };
  while (uneven() && tile.rows * tile.cols > 64 * 64) {
    std::int64_t& extent = tile.rows >= tile.cols ? tile.rows : tile.cols;
    extent = share(extent, 2, kGranule);
  }
  return tile;
}

template <class T>
bool takes_matrix_unit(Float32Products products) {
  if (matrix_unit.multiply == nullptr) return false;
  if constexpr (std::is_same_v<T, float>)
    return products == Float32Products::tf32;
  else
    return std::is_same_v<T, bf16>;
}
template <class T>
constexpr int kPieces = std::is_same_v<T, float> ? 2 : 1;

template <class T>
AnyMatrix any(const Matrix<T>& m) {
  return {m.data, dtype_of<T>(), m.stride, m.transposed};
}

// A copy that is valid until this thread's next one.
Matrix<bf16> rounded_copy(std::int64_t rows, std::int64_t cols, const Matrix<float>& m) {
  static thread_local std::vector<bf16> values;
  values.resize(static_cast<std::size_t>(rows * cols));
  const std::int64_t lines = m.transposed ? cols : rows, length = m.transposed ? rows : cols;
  for (std::int64_t i = 0; i < lines; ++i)
    std::transform(m.data + i * m.stride, m.data + i * m.stride + length, values.data() + i * length,
                   [](float v) { return bf16(v); });
  return {values.data(), length, m.transposed};
}

// By the library, or else the plain loop.
template <class In, class Out>
void multiply_one_type(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<In> a, Matrix<In> b, Out* c,
                       std::int64_t c_stride, GemmMode mode) {
  if constexpr (std::is_same_v<In, float>) {
    if (gemm_library.f32 != nullptr) return gemm_library.f32(m, n, k, a, b, c, c_stride, mode);
  } else if constexpr (std::is_same_v<In, bf16>) {
    if (gemm_library.bf16 != nullptr) return gemm_library.bf16(m, n, k, a, b, c, dtype_of<Out>(), c_stride, mode);
  }
  plain_gemm(m, n, k, a, b, c, c_stride, mode);
}

// Whether there is nothing to multiply; then c is complete.
template <class Out>
bool finish_without_terms(std::int64_t m, std::int64_t n, std::int64_t k, Out* c, std::int64_t c_stride,
                          GemmMode mode) {
  if (m > 0 && n > 0 && k > 0) return false;
  if (mode == GemmMode::overwrite)
    for (std::int64_t i = 0; i < m; ++i) std::fill_n(c + i * c_stride, n, Out{});
  return true;
}

ProfileRange product_range(std::int64_t m, std::int64_t n, std::int64_t k) {
  return ProfileRange("matrix product", 2.0 * static_cast<double>(m) * static_cast<double>(n * k));
}

}  // namespace

template <class Left, class Right, class Out>
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<Left> a, Matrix<Right> b, Out* c,
          std::int64_t c_stride, Float32Products products, GemmMode mode) {
  if (finish_without_terms(m, n, k, c, c_stride, mode)) return;
  const ProfileRange range = product_range(m, n, k);
  if constexpr (!std::is_same_v<Right, double>)
    if (takes_matrix_unit<Right>(products))
      return matrix_unit.multiply(m, n, k, kPieces<Right>, any(a), any(b), c, dtype_of<Out>(), c_stride, mode);
  if constexpr (std::is_same_v<Left, Right>)
    multiply_one_type(m, n, k, a, b, c, c_stride, mode);
  else
    multiply_one_type(m, n, k, rounded_copy(m, k, a), b, c, c_stride, mode);
}

template <class T>
RightFactor<T>::RightFactor(std::int64_t k, std::int64_t n, Matrix<T> b, Float32Products products)
    : rows_(k), matrix_(b), products_(products) {
  if (k == 0 || n == 0 || !takes_matrix_unit<T>(products)) return;
  packed_ = Tensor::empty({matrix_unit.packed_size(k, n, kPieces<T>)}, DType::bf16);
  matrix_unit.pack(k, n, kPieces<T>, any(b), packed_.template data<bf16>());
}

template <class Left, class Right, class Out>
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<Left> a, RightPart<Right> b, Out* c,
          std::int64_t c_stride, GemmMode mode) {
  const RightFactor<Right>& whole = b.whole;
  if (!whole.packed().defined())
    return gemm(m, n, k, a, whole.matrix().at(b.row, b.col), c, c_stride, whole.products(), mode);
  if (finish_without_terms(m, n, k, c, c_stride, mode)) return;
  const ProfileRange range = product_range(m, n, k);
  matrix_unit.multiply_packed(m, n, k, kPieces<Right>, any(a),
                              {whole.packed().template data<bf16>(), whole.rows(), b.row, b.col}, c, dtype_of<Out>(),
                              c_stride, mode);
}

template <class In, class Out>
void parallel_gemm(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<In> a, Matrix<In> b, Out* c,
                   std::int64_t c_stride, Float32Products products, GemmMode mode, GemmBatch batch) {
  if (m == 0 || n == 0 || batch.count == 0) return;
  const bool by_matrix_unit = takes_matrix_unit<In>(products);
  if constexpr (std::is_same_v<In, float>)
    if (gemm_library.ready_f32 != nullptr && !by_matrix_unit) gemm_library.ready_f32(m, a.transposed, b.transposed);
  const Tile tile = by_matrix_unit ? tile_for_threads(m, n, batch.count) : tile_for(m, n, batch.count);
  const std::int64_t down = tile.down(m), across = tile.across(n);
  parallel_for(batch.count * down * across, 1, [&](std::int64_t item, std::int64_t) {
    const std::int64_t index = item / (down * across), row = item / across % down * tile.rows,
                       col = item % across * tile.cols;
    const Matrix<In> a_tile = Matrix<In>{a.data + index * batch.a_step, a.stride, a.transposed}.at(row, 0);
    const Matrix<In> b_tile = Matrix<In>{b.data + index * batch.b_step, b.stride, b.transposed}.at(0, col);
    gemm(std::min(tile.rows, m - row), std::min(tile.cols, n - col), k, a_tile, b_tile,
         c + index * batch.c_step + row * c_stride + col, c_stride, products, mode);
  });
}

#define WEIR_INSTANTIATE(Left, Right, Out)                                                                         \
  template void gemm(std::int64_t, std::int64_t, std::int64_t, Matrix<Left>, Matrix<Right>, Out*, std::int64_t,    \
                     Float32Products, GemmMode);                                                                   \
  template void gemm(std::int64_t, std::int64_t, std::int64_t, Matrix<Left>, RightPart<Right>, Out*, std::int64_t, \
                     GemmMode);
WEIR_INSTANTIATE(double, double, double)
WEIR_INSTANTIATE(float, float, float)
WEIR_INSTANTIATE(bf16, bf16, float)
WEIR_INSTANTIATE(bf16, bf16, bf16)
WEIR_INSTANTIATE(float, bf16, float)
#undef WEIR_INSTANTIATE
#define WEIR_INSTANTIATE(In, Out)                                                                                   \
  template void parallel_gemm(std::int64_t, std::int64_t, std::int64_t, Matrix<In>, Matrix<In>, Out*, std::int64_t, \
                              Float32Products, GemmMode, GemmBatch);
WEIR_INSTANTIATE(double, double)
WEIR_INSTANTIATE(float, float)
WEIR_INSTANTIATE(bf16, float)
WEIR_INSTANTIATE(bf16, bf16)
#undef WEIR_INSTANTIATE
template class RightFactor<double>;
template class RightFactor<float>;
template class RightFactor<bf16>;

}  // namespace weir::cpu
