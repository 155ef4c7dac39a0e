// In two stages, in a fixed order. A block takes a chunk of rows: teams of eight lanes make the logarithm of each row's
// sum of exponentials, then a thread per column walks down the chunk, which is in cache by then, and adds up what it
// finds as logarithms. The second stage joins the chunks' sums in the same way, several threads to a column.
#include "ops/log_mean_softmax.h"

#include <cmath>

#include "cuda/column_sum.cuh"
#include "cuda/exp_row.cuh"

namespace weir::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kTeam = 8;             // lanes that share a row in the first stage
constexpr std::int64_t kChunk = 32;  // rows of its blocks
constexpr int kJoinWidth = 8;        // columns of a block of the second

// The sum of the exponentials of some values: the largest, and the sum of exp(value - shift of the largest).
template <class Value>
struct LogSum {
  Value largest, sum;

  __device__ void add(const LogSum& other) {
    const Value top = Larger{}(largest, other.largest), shift = shift_of(top);
    sum = sum * std::exp(largest - shift) + other.sum * std::exp(other.largest - shift);
    largest = top;
  }
};

// Adds up term(row, col) for rows begin .. end - 1 and the columns first_col .. first_col + width - 1 below cols, then
// finish(col, sum). `width` divides the block. Every thread must call it.
template <class Value, class Term, class Finish>
__device__ void log_sum_columns(std::int64_t begin, std::int64_t end, std::int64_t first_col, std::int64_t cols,
                                int width, Term&& term, Finish&& finish) {
  struct Shared {
    LogSum<Value> sums[kThreads];
  };
  auto& shared_sums = shared<Shared>().sums;
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t col = first_col + thread % width;
  LogSum<Value> mine{-INFINITY, 0};
  if (col < cols)
    for (std::int64_t row = begin + thread / width; row < end; row += kThreads / width) mine.add(term(row, col));
  shared_sums[thread] = mine;
  __syncthreads();
  if (thread < width && col < cols) {
    for (int other = thread + width; other < kThreads; other += width) mine.add(shared_sums[other]);
    finish(col, mine);
  }
  __syncthreads();  // before the next call writes
}

// sums: [batches, chunks, E]
template <class T>
__global__ void __launch_bounds__(kThreads) log_sums_of_chunks(Rows<T> x, std::int64_t rows, std::int64_t chunks,
                                                               int width, LogSum<accumulate_t<T>>* sums, bool vectors) {
  using Value = accumulate_t<T>;
  struct Shared {
    ExpRow<Value> rows[kChunk];  // with the logarithm of the sum
  };
  auto& exp_rows = shared<Shared>().rows;
  const std::int64_t first = blockIdx.x / chunks * rows, begin = first + blockIdx.x % chunks * kChunk,
                     end = begin + kChunk < first + rows ? begin + kChunk : first + rows;
  const LaneTeam<kTeam> team;
  for (std::int64_t r = begin + static_cast<int>(threadIdx.x) / kTeam; r < end; r += kThreads / kTeam) {
    const ExpRow<Value> all = exp_row(team, x.row(r), x.cols, vectors);
    if (team.index() == 0) exp_rows[r - begin] = {all.shift, std::log(all.sum)};
  }
  __syncthreads();
  for (std::int64_t col = 0; col < x.cols; col += width)
    log_sum_columns<Value>(
        begin, end, col, x.cols, width,
        [&](std::int64_t r, std::int64_t c) {
          const ExpRow<Value>& all = exp_rows[r - begin];
          return LogSum<Value>{(static_cast<Value>(x.row(r)[c]) - all.shift) - all.sum, 1};
        },
        [&](std::int64_t c, const LogSum<Value>& sum) { sums[std::int64_t{blockIdx.x} * x.cols + c] = sum; });
}

// Blocks: batches x tiles of kJoinWidth columns.
template <class T>
__global__ void __launch_bounds__(kThreads)
    join_log_sums(const LogSum<accumulate_t<T>>* sums, std::int64_t chunks, accumulate_t<T> log_rows, Rows<T> y) {
  using Value = accumulate_t<T>;
  const std::int64_t tiles = (y.cols + kJoinWidth - 1) / kJoinWidth, batch = blockIdx.x / tiles;
  log_sum_columns<Value>(
      batch * chunks, (batch + 1) * chunks, blockIdx.x % tiles * kJoinWidth, y.cols, kJoinWidth,
      [&](std::int64_t chunk, std::int64_t c) { return sums[chunk * y.cols + c]; },
      [&](std::int64_t c, const LogSum<Value>& sum) {
        y.row(batch)[c] = T(shift_of(sum.largest) + std::log(sum.sum) - log_rows);
      });
}

// y, dy: a row for every `rows` rows of x.
template <class T, class Team>
__global__ void __launch_bounds__(Team::kBlock)
    log_mean_softmax_backward_rows(Rows<T> x, Rows<T> y, Rows<T> dy, std::int64_t rows, accumulate_t<T> log_rows,
                                   Rows<T> dx, bool vectors) {
  using Value = accumulate_t<T>;
  constexpr int n = kPack<T>;
  const Team team;
  for (std::int64_t r = team.first(); r < x.rows; r += team.stride()) {
    const std::int64_t batch = r / rows;
    const ExpRow<Value> all = exp_row(team, x.row(r), x.cols, vectors);
    const Value part = 1 / all.sum;
    // f(element of the pack of x, p / part, w / part) for every element; finish(col, count, pack) for every pack.
    const auto for_elements = [&](auto&& f, auto&& finish) {
      for_packs<T>(team, x.cols, [&](std::int64_t col, int count) {
        auto pack = load_pack<T, n>(x.row(r) + col, 1, count, vectors);
        const auto mean = load_pack<T, n>(y.row(batch) + col, 1, count, vectors),
                   slope = load_pack<T, n>(dy.row(batch) + col, 1, count, vectors);
        for (int i = 0; i < n; ++i) {
          if (i >= count) continue;
          const Value below = static_cast<Value>(pack.values[i]) - all.shift, log_mean = mean.values[i];
          const Value part_of_mean = log_mean == -INFINITY ? 0 : std::exp(below - (log_mean + log_rows));
          f(pack.values[i], std::exp(below), static_cast<Value>(slope.values[i]) * part_of_mean);
        }
        finish(col, count, pack);
      });
    };
    Value sum = 0;
    for_elements([&](T&, Value, Value w) { sum += w; }, [](std::int64_t, int, const Pack<T>&) {});
    sum = part * team.reduce(sum, Add{});
    for_elements([&](T& element, Value p, Value w) { element = T(part * (w - p * sum)); },
                 [&](std::int64_t col, int count, const Pack<T>& pack) {
                   store_pack(dx.row(r) + col, 1, count, vectors, pack);
                 });
  }
}

double log_rows_of(const Tensor& x) { return std::log(static_cast<double>(x.size(-2))); }

void log_mean_softmax(const Tensor& x, const Tensor& y) {
  if (y.numel() == 0) return;
  const Tensor dense = rows_form(x);
  visit_floating("log_mean_softmax", x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto in = rows_of<T>(dense), out = rows_of<T>(y);
    const std::int64_t rows = x.size(-2), chunks = (rows + kChunk - 1) / kChunk;
    const Shape two_each{out.rows * chunks * out.cols * 2};
    const Tensor sums = Tensor::empty(two_each, dtype_of<Value>(), x.device());
    auto* const memory = reinterpret_cast<LogSum<Value>*>(sums.data<Value>());
    const Stream stream = stream_of(x.device());
    launch<log_sums_of_chunks<T>>({blocks_for(out.rows * chunks, 1), kThreads}, stream, in, rows, chunks,
                                  columns_width(in.cols, 1, kThreads), memory, rows_hold_packs(in));
    const std::int64_t tiles = (out.cols + kJoinWidth - 1) / kJoinWidth;
    launch<join_log_sums<T>>({blocks_for(out.rows * tiles, 1), kThreads}, stream, memory, chunks,
                             static_cast<Value>(log_rows_of(x)), out);
  });
}

void log_mean_softmax_backward(const Tensor& x, const Tensor& y, const Tensor& dy, const Tensor& dx) {
  if (x.numel() == 0) return;
  const Tensor dense = rows_form(x), means = rows_form(y), slopes = rows_form(dy);
  visit_floating("log_mean_softmax", x.dtype(), [&]<class T>(Type<T>) {
    const auto in = rows_of<T>(dense), mean = rows_of<T>(means), slope = rows_of<T>(slopes), out = rows_of<T>(dx);
    with_team<T>(in.cols, [&]<class Team>(Type<Team>) {
      launch<log_mean_softmax_backward_rows<T, Team>>(team_shape<Team>(in.rows), stream_of(x.device()), in, mean, slope,
                                                      x.size(-2), static_cast<accumulate_t<T>>(log_rows_of(x)), out,
                                                      rows_hold_packs(in, mean, slope, out));
    });
  });
}

const bool registered = log_mean_softmax_kernel.add(DeviceKind::cuda, log_mean_softmax) &&
                        log_mean_softmax_backward_kernel.add(DeviceKind::cuda, log_mean_softmax_backward);

}  // namespace
}  // namespace weir::cuda
