// bf16, on tensor cores (grouped_gemm.cuh): no activation is ever in device memory.
//
//   forward     y = activations values; an operand whose tiles are computed, from a and b, as they are needed
//   dvalues     activationsᵀ dy, by the same operand turned round; units of rows, added up in order
//   da, db      dy valuesᵀ in tiles of 128 rows by 16 i times 8 j. What a tile's sums pass on is added up in it: over
//               its j for da, over its i for db. A block walks over all i for some j, so sums of db are whole, and adds
//               to its share of da as it goes; a second launch adds up the shares
//
// Pairs (i, j) stand at i * padded + j, J padded to 8, so that 8 neighbours share an i and begin at 16 bytes of b.
//
// float32 and float64 have no such engine: activations of some rows at a time, as many as stay in a GPU's cache, go
// through the kernels of outer_sum and the products of matrix_product.h.
#include "ops/outer_sum_product.h"

#include "cuda/grouped_gemm.cuh"
#include "cuda/matrix_product.h"
#include "ops/outer_sum.h"
#include "ops/relu.h"
#include "ops/support/parameters.h"

namespace weir::cuda {
namespace {

using detail::gemm_tile, detail::kGemmTile, detail::kSumPitch, detail::neighbours_left, detail::tile_copies;

constexpr int kTileI = 16, kTileJ = kGemmTile / kTileI, kRowsAtOnce = detail::kGemmThreads / kTileJ;
constexpr int kChunk = detail::kChunk<bf16>, kGemmDepth = detail::kGemmDepth<bf16>;
static_assert(kTileJ == kChunk && kChunk == detail::kNeighbours);

// --- activations as an operand -------------------------------------------------------------------------------------

struct Pairs {
  Rows<bf16> a, b;
  int padded;

  __device__ float left(std::int64_t row, std::int64_t i) const { return a.row(row)[i]; }
  // Of the 8 neighbours from j on; `count` are there.
  __device__ int count(std::int64_t j) const { return static_cast<int>(b.cols - j < kChunk ? b.cols - j : kChunk); }
  __device__ Pack<bf16> right(std::int64_t row, std::int64_t j, int there) const {
    return load_pack<bf16, kChunk>(b.row(row) + j, 1, there, true);
  }
};

// Makes tiles of relu(a[r, i] + b[r, j]) as TileCopies brings them: along the inner extent, rows are the outer one and
// pairs the inner; across it, the reverse. What a step needs of a and b is loaded at the one before.
template <bool along_inner>
class ActivationTiles {
 public:
  static constexpr bool kAlongInner = along_inner;

  // Rows begin .. end - 1, pairs from `first` on.
  __device__ ActivationTiles(const Pairs& pairs, std::int64_t begin, std::int64_t end, std::int64_t first)
      : pairs_(pairs), rows_(static_cast<int>(end - begin)) {
    pairs_.a.data = pairs.a.row(begin);
    pairs_.b.data = pairs.b.row(begin);
    const auto pair = static_cast<unsigned>(first) + static_cast<unsigned>(Chunks::chunk() * kChunk);
    i_ = static_cast<int>(pair / static_cast<unsigned>(pairs.padded));
    j_ = static_cast<int>(pair % static_cast<unsigned>(pairs.padded));
    load(0);
  }

  // Steps come in order.
  __device__ void copy(bf16* tile, int step) {
    const int there = count();
    for (int n = 0; n < 2; ++n) {
      Pack<bf16> made;
      for (int e = 0; e < kChunk; ++e)
        made.values[e] = bf16(e < there ? Relu{}(lefts_[n] + static_cast<float>(rights_[n].values[e])) : 0.0f);
      *reinterpret_cast<Pack<bf16>*>(tile + detail::place_in_tile<along_inner, bf16>(Chunks::row(n), Chunks::chunk())) =
          made;
    }
    if constexpr (along_inner)
      for (j_ += kGemmDepth; j_ >= pairs_.padded; j_ -= pairs_.padded) ++i_;
    load(step + 1);
  }

 private:
  using Chunks = detail::TileChunks<along_inner, bf16>;

  __device__ int count() const { return i_ < pairs_.a.cols ? pairs_.count(j_) : 0; }

  // A row that is not there: relu makes 0 of -infinity.
  __device__ void load(int step) {
    const int there = count();
    for (int n = 0; n < 2; ++n) {
      const int row = Chunks::row(n) + (along_inner ? 0 : step * kGemmDepth);
      const bool inside = row < rows_ && there > 0;
      lefts_[n] = inside ? pairs_.left(row, i_) : -INFINITY;
      rights_[n] = inside ? pairs_.right(row, j_, there) : Pack<bf16>{};
    }
  }

  Pairs pairs_;
  int rows_, i_, j_;
  float lefts_[2];
  Pack<bf16> rights_[2];
};

// --- kernels -------------------------------------------------------------------------------------------------------

// values: [I padded, D], zeros where j is none.
__global__ void __launch_bounds__(detail::kGemmThreads, 2)
    multiply_activations(Pairs pairs, Rows<bf16> values, Rows<bf16> y) {
  const std::int64_t across = (y.cols + kGemmTile - 1) / kGemmTile, first_row = blockIdx.x / across * kGemmTile,
                     first_col = blockIdx.x % across * kGemmTile;
  gemm_tile<bf16>(
      values.rows, ActivationTiles<true>(pairs, first_row, y.rows, 0),
      tile_copies<false>([&](std::int64_t k) { return values.row(k); }, values.data, first_col, y.cols, values.rows),
      [&](int row, int col, float(&sums)[kChunk]) {
        const int count = first_row + row < y.rows ? neighbours_left(y.cols, first_col + col) : 0;
        if (count > 0) store_sums(y.row(first_row + row) + first_col + col, count, sums);
      });
}

// parts[unit][pair, d] = the sum over a unit's rows of activation times dy; parts: [units padded-pairs, D].
__global__ void __launch_bounds__(detail::kGemmThreads, 2)
    multiply_activations_transposed(Pairs pairs, Rows<bf16> dy, std::int64_t unit_rows, Rows<float> parts) {
  const std::int64_t height = pairs.a.cols * pairs.padded, down = (height + kGemmTile - 1) / kGemmTile,
                     across = (dy.cols + kGemmTile - 1) / kGemmTile, unit = blockIdx.x / (down * across),
                     first_pair = blockIdx.x / across % down * kGemmTile, first_col = blockIdx.x % across * kGemmTile,
                     begin = unit * unit_rows, end = begin + unit_rows < dy.rows ? begin + unit_rows : dy.rows;
  gemm_tile<bf16>(
      end - begin, ActivationTiles<false>(pairs, begin, end, first_pair),
      tile_copies<false>([&](std::int64_t r) { return dy.row(begin + r); }, dy.data, first_col, dy.cols, end - begin),
      [&](int row, int col, float(&sums)[kChunk]) {
        const int count = first_pair + row < height ? neighbours_left(dy.cols, first_col + col) : 0;
        if (count > 0) store_sums(parts.row(unit * height + first_pair + row) + first_col + col, count, sums);
      });
}

// The epilogue of dy valuesᵀ: what relu lets pass stays in shared memory, its sums over j are added to da.
struct PassThrough {
  Pairs pairs;
  std::int64_t first_row, first_i, first_j;
  Rows<float> da;
  std::int64_t da_row;  // where this share's row 0 is
  bool fresh;           // nothing was added to da before

  __device__ void operator()(int row, int col, float (&sums)[kChunk]) const {
    const std::int64_t r = first_row + row, i = first_i + col / kTileJ;
    const int count = r < pairs.b.rows && i < pairs.a.cols ? pairs.count(first_j) : 0;
    float total = 0, *const staged = dynamic_shared<float>() + row * kSumPitch + col;
    if (count > 0) {
      const float left = pairs.left(r, i);
      const Pack<bf16> right = pairs.right(r, first_j, count);
      for (int e = 0; e < kChunk; ++e) {
        if (e >= count || !(left + static_cast<float>(right.values[e]) > 0)) sums[e] = 0;
        total += sums[e];
      }
      float& place = da.row(da_row + r)[i];
      place = fresh ? total : place + total;
    }
    for (int e = 0; e < kChunk; ++e) staged[e] = count > 0 ? sums[e] : 0;
  }
};

// Blocks: tiles of rows x shares of the j. da: [shares rows, I].
__global__ void __launch_bounds__(detail::kGemmThreads, 2)
    pass_to_pairs(Rows<bf16> dy, Rows<bf16> values, Pairs pairs, int shares, int share_tiles, Rows<float> da,
                  Rows<bf16> db) {
  const std::int64_t first_row = blockIdx.x / shares * kGemmTile, share = blockIdx.x % shares,
                     rows = dy.rows - first_row;
  const int thread = static_cast<int>(threadIdx.x), j = thread % kTileJ;
  for (int tile = 0; tile < share_tiles; ++tile) {
    const std::int64_t first_j = (share * share_tiles + tile) * kTileJ;
    if (first_j >= pairs.padded) break;
    float sums[kGemmTile / kRowsAtOnce] = {};  // of db: row thread / kTileJ + kRowsAtOnce q, column j
    for (std::int64_t first_i = 0; first_i < pairs.a.cols; first_i += kTileI) {
      const auto value = [&](std::int64_t c) -> const bf16* {
        const std::int64_t i = first_i + c / kTileJ;
        return i < pairs.a.cols ? values.row(i * pairs.padded + first_j + c % kTileJ) : nullptr;
      };
      gemm_tile<bf16>(
          dy.cols, tile_copies<true>([&](std::int64_t r) { return dy.row(first_row + r); }, dy.data, 0, rows, dy.cols),
          tile_copies<true>(value, values.data, 0, kGemmTile, dy.cols),
          PassThrough{pairs, first_row, first_i, first_j, da, share * dy.rows, tile == 0});
      __syncthreads();
      const float* const staged = dynamic_shared<float>();
      for (int q = 0; q < kGemmTile / kRowsAtOnce; ++q)
        for (int i = 0; i < kTileI; ++i)
          sums[q] += staged[(thread / kTileJ + q * kRowsAtOnce) * kSumPitch + i * kTileJ + j];
      __syncthreads();  // before the next tile is staged
    }
    for (int q = 0; q < kGemmTile / kRowsAtOnce; ++q) {
      const std::int64_t row = first_row + thread / kTileJ + q * kRowsAtOnce;
      if (row < db.rows && first_j + j < db.cols) db.row(row)[first_j + j] = bf16(sums[q]);
    }
  }
}

// out[r] = the sum over the parts of their row r, in order. Parts have `height` rows; of each `pitch` of them the first
// `group` count.
template <class Out>
__global__ void add_up(Rows<float> parts, std::int64_t height, std::int64_t group, std::int64_t pitch, Rows<Out> out) {
  for (std::int64_t item = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; item < out.rows * out.cols;
       item += std::int64_t{gridDim.x} * blockDim.x) {
    const std::int64_t row = item / out.cols, col = item - row * out.cols;
    float sum = 0;
    for (std::int64_t place = row / group * pitch + row % group; place < parts.rows; place += height)
      sum += parts.row(place)[col];
    out.row(row)[col] = Out(sum);
  }
}

// --- launchers -----------------------------------------------------------------------------------------------------

template <class Out>
void launch_add_up(const Tensor& parts, std::int64_t height, std::int64_t group, std::int64_t pitch,
                   const Tensor& out) {
  launch<add_up<Out>>({blocks_for(out.numel(), 256), 256}, stream_of(out.device()), rows_of<float>(parts), height,
                      group, pitch, rows_of<Out>(out));
}

std::int64_t tiles(std::int64_t extent, std::int64_t tile) { return (extent + tile - 1) / tile; }

LaunchShape gemm_shape(std::int64_t blocks) {
  return {static_cast<unsigned>(blocks), detail::kGemmThreads, detail::kGemmSharedBytes};
}

// What the kernels read: a and b, kept alive, and the values with rows of zeros between those of one i and the next.
struct Factors {
  Tensor a, b, values;

  Factors(const Tensor& left, const Tensor& right, const Tensor& table)
      : a(rows_form(left)), b(aligned_rows<bf16>(right)), values(aligned_rows<bf16>(table)) {
    const std::int64_t I = left.size(-1), J = right.size(-1), D = table.size(1), pitch = pairs().padded;
    if (pitch == J) return;
    const Tensor given = values;
    values = Tensor::zeros({I * pitch, D}, DType::bf16, table.device());
    const auto by_i = [&](const Tensor& t, std::int64_t rows) {
      return t.strided({I, J, D}, {rows * t.strides()[0], t.strides()[0], 1});
    };
    copy_into(by_i(given, J), by_i(values, pitch));
  }

  Pairs pairs() const {
    return {rows_of<bf16>(a), rows_of<bf16>(b), static_cast<int>(tiles(b.size(-1), kChunk) * kChunk)};
  }
};

void forward_on_tensor_cores(const Tensor& a, const Tensor& b, const Tensor& values, const Tensor& y) {
  const Factors factors(a, b, values);
  const auto out = rows_of<bf16>(y);
  launch<multiply_activations>(gemm_shape(tiles(out.rows, kGemmTile) * tiles(out.cols, kGemmTile)),
                               stream_of(y.device()), factors.pairs(), rows_of<bf16>(factors.values), out);
}

void launch_pass_to_pairs(const Factors& factors, const Rows<bf16>& dy, const OuterSumProductGradients& wanted) {
  const Device device = wanted.da.device();
  const Pairs pairs = factors.pairs();
  const std::int64_t row_tiles = tiles(dy.rows, kGemmTile), j_tiles = pairs.padded / kTileJ,
                     share_tiles = tiles(j_tiles, std::max<std::int64_t>(1, 512 / row_tiles)),
                     shares = tiles(j_tiles, share_tiles);
  const Tensor da = Tensor::empty({shares * dy.rows, pairs.a.cols}, DType::float32, device);
  launch<pass_to_pairs>(gemm_shape(row_tiles * shares), stream_of(device), dy, rows_of<bf16>(factors.values), pairs,
                        static_cast<int>(shares), static_cast<int>(share_tiles), rows_of<float>(da),
                        rows_of<bf16>(wanted.db));
  launch_add_up<bf16>(da, dy.rows, 1, 1, wanted.da);
}

template <class P>
void backward_on_tensor_cores(const Tensor& a, const Tensor& b, const Tensor& values, const Tensor& dy,
                              const OuterSumProductGradients& wanted) {
  const Factors factors(a, b, values);
  const Tensor given = aligned_rows<bf16>(dy);
  const auto rows = rows_of<bf16>(given);
  if (wanted.da.defined()) launch_pass_to_pairs(factors, rows, wanted);
  if (!wanted.dvalues.defined()) return;
  const Pairs pairs = factors.pairs();
  const std::int64_t height = pairs.a.cols * pairs.padded,
                     per_unit = tiles(height, kGemmTile) * tiles(rows.cols, kGemmTile),
                     limit = unit_rows(rows.rows, per_unit), units = tiles(rows.rows, limit);
  const Tensor parts = Tensor::empty({units * height, rows.cols}, DType::float32, dy.device());
  launch<multiply_activations_transposed>(gemm_shape(units * per_unit), stream_of(dy.device()), pairs, rows, limit,
                                          rows_of<float>(parts));
  launch_add_up<P>(parts, height, pairs.b.cols, pairs.padded, wanted.dvalues);
}

// --- float32 and float64 -------------------------------------------------------------------------------------------

// Activations of some rows at a time, and those rows of a, b, y or dy.
template <class T>
class Blocks {
 public:
  Blocks(const Tensor& a, const Tensor& b, std::int64_t rows)
      : a_(flat(a)),
        b_(flat(b)),
        pairs_(a.size(-1) * b.size(-1)),
        rows_(rows),
        each_(std::clamp<std::int64_t>(kBytes / static_cast<std::int64_t>(sizeof(T)) / pairs_, 1, rows)),
        memory_(Tensor::empty({each_, pairs_}, a.dtype(), a.device())) {}

  // f(begin, activations): a fresh [rows, I J] each, for rows begin, begin + 1, ...
  template <class F>
  void each(F&& f) const {
    for (std::int64_t begin = 0; begin < rows_; begin += each_)
      f(begin, slice_view(memory_, 0, 0, std::min(each_, rows_ - begin)));
  }
  void activate(std::int64_t begin, const Tensor& activations) const {
    outer_sum_kernel(a_.device(), cut(a_, begin, activations), cut(b_, begin, activations), Activation::relu,
                     activations);
  }
  void pass(std::int64_t begin, const Tensor& dactivations, const Tensor& da, const Tensor& db) const {
    outer_sum_backward_kernel(a_.device(), cut(a_, begin, dactivations), cut(b_, begin, dactivations), Activation::relu,
                              dactivations, cut(flat(da), begin, dactivations), cut(flat(db), begin, dactivations));
  }

 private:
  static constexpr std::int64_t kBytes = std::int64_t{16} << 20;

  static Tensor flat(const Tensor& t) {
    const Tensor owner = rows_form(t);
    const auto rows = rows_of<T>(owner);
    return owner.strided(Shape{rows.rows, rows.cols}, Strides{rows.stride, 1});
  }
  static Tensor cut(const Tensor& t, std::int64_t begin, const Tensor& like) {
    return slice_view(t, 0, begin, begin + like.size(0));
  }

  Tensor a_, b_;
  std::int64_t pairs_, rows_, each_;
  Tensor memory_;
};

template <class T>
MatrixProduct product_of(std::int64_t k, ProductOperand a, ProductOperand b, const Rows<T>& c,
                         Float32Products products) {
  return {.m = c.rows,
          .n = c.cols,
          .k = k,
          .in = dtype_of<T>(),
          .out = dtype_of<T>(),
          .products = products,
          .a = a,
          .b = b,
          .c = c.data,
          .c_stride = c.stride};
}

template <class T>
void forward_by_blocks(const Tensor& a, const Tensor& b, const Tensor& values, Float32Products products,
                       const Tensor& y) {
  const Tensor table = rows_form(values);
  const auto v = rows_of<T>(table), out = rows_of<T>(y);
  const Blocks<T> blocks(a, b, out.rows);
  blocks.each([&](std::int64_t begin, const Tensor& activations) {
    blocks.activate(begin, activations);
    const auto w = rows_of<T>(activations);
    matrix_product(y.device(), product_of(v.rows, {w.data, w.stride}, {v.data, v.stride},
                                          Rows<T>{out.row(begin), w.rows, out.cols, out.stride}, products));
  });
}

template <class T>
void backward_by_blocks(const Tensor& a, const Tensor& b, const Tensor& values, const Tensor& dy,
                        Float32Products products, const OuterSumProductGradients& wanted) {
  const Device device = dy.device();
  const Tensor table = rows_form(values), given = rows_form(dy);
  const auto v = rows_of<T>(table), d = rows_of<T>(given);
  const Blocks<T> blocks(a, b, d.rows);
  blocks.each([&](std::int64_t begin, const Tensor& memory) {
    const auto w = rows_of<T>(memory);
    if (wanted.da.defined()) {
      matrix_product(device, product_of(d.cols, {d.row(begin), d.stride}, {v.data, v.stride, true}, w, products));
      blocks.pass(begin, memory, wanted.da, wanted.db);
    }
    if (!wanted.dvalues.defined()) return;
    blocks.activate(begin, memory);
    MatrixProduct product =
        product_of(w.rows, {w.data, w.stride, true}, {d.row(begin), d.stride}, rows_of<T>(wanted.dvalues), products);
    product.beta = begin == 0 ? 0 : 1;
    matrix_product(device, product);
  });
}

// --- the op --------------------------------------------------------------------------------------------------------

void outer_sum_product(const Tensor& a, const Tensor& b, const Tensor& values, Float32Products products,
                       const Tensor& y) {
  if (y.numel() == 0) return;
  if (values.size(0) == 0) return fill(y, 0);
  visit_floating("outer_sum_product", a.dtype(), [&]<class T>(Type<T>) {
    if constexpr (std::is_same_v<T, bf16>)
      forward_on_tensor_cores(a, b, values, y);
    else
      forward_by_blocks<T>(a, b, values, products, y);
  });
}

void outer_sum_product_backward(const Tensor& a, const Tensor& b, const Tensor& values, const Tensor& dy,
                                Float32Products products, const OuterSumProductGradients& wanted) {
  if (dy.numel() == 0 || values.size(0) == 0) {
    for (const Tensor* t : {&wanted.da, &wanted.db, &wanted.dvalues})
      if (t->defined()) fill(*t, 0);
    return;
  }
  visit_with_parameters("outer_sum_product", dy.dtype(), wanted.dvalues.defined() ? wanted.dvalues.dtype() : dy.dtype(),
                        [&]<class T, class P>(Type<T>, Type<P>) {
                          if constexpr (std::is_same_v<T, bf16>)
                            backward_on_tensor_cores<P>(a, b, values, dy, wanted);
                          else
                            backward_by_blocks<T>(a, b, values, dy, products, wanted);
                        });
}

const bool registered = outer_sum_product_kernel.add(DeviceKind::cuda, outer_sum_product) &&
                        outer_sum_product_backward_kernel.add(DeviceKind::cuda, outer_sum_product_backward);

}  // namespace
}  // namespace weir::cuda
