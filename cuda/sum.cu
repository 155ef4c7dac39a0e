// Along rows a team of threads adds up a row (reduce.cuh); few long rows are cut into pieces first, whose sums are
// added by a second launch. Down columns see column_sum.cuh. Where neither axis is dense the elements are copied first.
#include "ops/sum.h"

#include "cuda/column_sum.cuh"
#include "cuda/reduce.cuh"

namespace weir::cuda {
namespace {

constexpr std::int64_t kPiece = 2048;  // columns
constexpr std::int64_t kFewRows = 512;

// y[r, p] = sum of piece p of row r; y: [rows, pieces], dense.
template <class T, class Out, class Team>
__global__ void __launch_bounds__(Team::kBlock)
    sum_pieces(Rows<T> x, std::int64_t piece, std::int64_t pieces, Out* y, bool vectors) {
  using Value = accumulate_t<T>;
  constexpr int n = kPack<T>;
  const Team team;
  for (std::int64_t item = team.first(); item < x.rows * pieces; item += team.stride()) {
    const std::int64_t row = item / pieces, begin = (item - row * pieces) * piece;
    const T* const from = x.row(row) + begin;
    Value sum = 0;
    for_packs<T>(team, x.cols - begin < piece ? x.cols - begin : piece, [&](std::int64_t col, int count) {
      const auto pack = load_pack<T, n>(from + col, 1, count, vectors);
      for (int i = 0; i < n; ++i) sum += static_cast<Value>(pack.values[i]);
    });
    sum = team.reduce(sum, Add{});
    if (team.index() == 0) y[item] = static_cast<Out>(sum);
  }
}

template <class T, class Out>
void launch_pieces(Device device, const Rows<T>& x, std::int64_t piece, std::int64_t pieces, Out* y) {
  with_team<T>(piece, [&]<class Team>(Type<Team>) {
    launch<sum_pieces<T, Out, Team>>(team_shape<Team>(x.rows * pieces), stream_of(device), x, piece, pieces, y,
                                     rows_hold_packs(x));
  });
}

// Scratch of the type that sums are kept in.
template <class T>
Rows<accumulate_t<T>> scratch_rows(const Tensor& scratch, std::int64_t rows, std::int64_t cols) {
  return {scratch.data<accumulate_t<T>>(), rows, cols, cols};
}

template <class T>
void sum_along_rows(Device device, const Rows<T>& x, T* y) {
  using Value = accumulate_t<T>;
  if (x.rows >= kFewRows || x.cols <= 2 * kPiece) return launch_pieces(device, x, x.cols, 1, y);
  const std::int64_t pieces = (x.cols + kPiece - 1) / kPiece;
  const Tensor scratch = Tensor::empty(Shape{x.rows * pieces}, dtype_of<Value>(), device);
  launch_pieces(device, x, kPiece, pieces, scratch.data<Value>());
  launch_pieces(device, scratch_rows<T>(scratch, x.rows, pieces), pieces, 1, y);
}

template <class T>
void sum_down_columns(Device device, const Rows<T>& x, T* y) {
  using Value = accumulate_t<T>;
  const std::int64_t chunk = rows_per_chunk(x.rows), chunks = (x.rows + chunk - 1) / chunk;
  if (chunks == 1) return sum_all_rows(device, x, y);
  const Tensor scratch = Tensor::empty(Shape{chunks * x.cols}, dtype_of<Value>(), device);
  launch_column_sums(device, x, chunk, kWarp, scratch.data<Value>());
  sum_all_rows(device, scratch_rows<T>(scratch, chunks, x.cols), y);
}

void sum(const Tensor& x, const Tensor& y) {
  const std::int64_t kept = x.size(0), reduced = x.size(1);
  if (kept == 0) return;
  const bool by_rows = kept > 1 && reduced > 0 && x.strides()[0] == 1;
  const Tensor matrix = by_rows ? transpose_view(x, 0, 1) : x.strides()[1] == 1 || reduced <= 1 ? x : clone(x);
  visit_floating("sum", x.dtype(), [&]<class T>(Type<T>) {
    const Rows<T> rows{reduced == 0 ? nullptr : matrix.data<T>(), matrix.size(0), matrix.size(1), matrix.strides()[0]};
    by_rows ? sum_down_columns(x.device(), rows, y.data<T>()) : sum_along_rows(x.device(), rows, y.data<T>());
  });
}

const bool registered = sum_kernel.add(DeviceKind::cuda, sum);

}  // namespace
}  // namespace weir::cuda
