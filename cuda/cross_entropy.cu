// Forward: a team of threads per row (reduce.cuh) reads the logits once; one block then adds up the rows' losses, in
// double. Backward reads the logits once and writes their gradient. A target outside of 0 .. V - 1 is noted
// (index_check.h), makes the loss NaN and has no share in the gradient.
#include "ops/cross_entropy.h"

#include <limits>

#include "cuda/checked_index.h"
#include "cuda/exp_row.cuh"

namespace weir::cuda {
namespace {

template <class T, class Team>
__global__ void __launch_bounds__(Team::kBlock)
    cross_entropy_rows(Rows<T> logits, const std::int32_t* targets, double* losses, accumulate_t<T>* logsumexp,
                       bool vectors) {
  using Value = accumulate_t<T>;
  const Team team;
  for (std::int64_t r = team.first(); r < logits.rows; r += team.stride()) {
    const T* const row = logits.row(r);
    const ExpRow<Value> all = exp_row(team, row, logits.cols, vectors);
    if (team.index() != 0) continue;
    const double total = static_cast<double>(all.shift) + std::log(static_cast<double>(all.sum));
    const std::int64_t target = targets[r];
    losses[r] = target < logits.cols ? total - static_cast<double>(static_cast<Value>(row[target]))
                                     : std::numeric_limits<double>::quiet_NaN();
    logsumexp[r] = static_cast<Value>(total);
  }
}

template <class Value>
__global__ void mean_of_losses(const double* losses, std::int64_t rows, Value* loss) {
  const BlockTeam team;
  double sum = 0;
  for (std::int64_t r = team.index(); r < rows; r += BlockTeam::kSize) sum += losses[r];
  sum = team.reduce(sum, Add{});
  if (team.index() == 0) *loss = static_cast<Value>(sum / static_cast<double>(rows));
}

template <class T, class Team>
__global__ void __launch_bounds__(Team::kBlock)
    cross_entropy_backward_rows(Rows<T> logits, const std::int32_t* targets, const accumulate_t<T>* logsumexp,
                                const accumulate_t<T>* dloss, Rows<T> dlogits, bool vectors) {
  using Value = accumulate_t<T>;
  constexpr int n = kPack<T>;
  const Team team;
  const Value scale = *dloss / static_cast<Value>(logits.rows);
  for (std::int64_t r = team.first(); r < logits.rows; r += team.stride()) {
    const Value shift = logsumexp[r];
    const std::int64_t target = targets[r];
    for_packs<T>(team, logits.cols, [&](std::int64_t col, int count) {
      auto pack = load_pack<T, n>(logits.row(r) + col, 1, count, vectors);
      for (int i = 0; i < n; ++i) {
        const Value p = std::exp(static_cast<Value>(pack.values[i]) - shift);
        pack.values[i] = T((col + i == target ? p - 1 : p) * scale);
      }
      store_pack(dlogits.row(r) + col, 1, count, vectors, pack);
    });
  }
}

// One past the last class where it is none.
Tensor checked_targets(const Tensor& targets, const Tensor& logits) {
  return checked_index("cross_entropy", "targets", targets, logits.size(-1));
}

void cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& loss, const Tensor& logsumexp) {
  const Device device = logits.device();
  const Tensor dense = rows_form(logits), chosen = checked_targets(targets, logits);
  const Tensor losses = Tensor::empty(chosen.shape(), DType::float64, device);
  visit_floating("cross_entropy", logits.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto x = rows_of<T>(dense);
    with_team<T>(x.cols, [&]<class Team>(Type<Team>) {
      launch<cross_entropy_rows<T, Team>>(team_shape<Team>(x.rows), stream_of(device), x, chosen.data<std::int32_t>(),
                                          losses.data<double>(), logsumexp.data<Value>(), rows_hold_packs(x));
    });
    launch<mean_of_losses<Value>>({1, BlockTeam::kBlock}, stream_of(device), losses.data<double>(), x.rows,
                                  loss.data<Value>());
  });
}

void cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& logsumexp, const Tensor& dloss,
                            const Tensor& dlogits) {
  const Tensor dense = rows_form(logits), chosen = checked_targets(targets, logits);
  visit_floating("cross_entropy", logits.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto x = rows_of<T>(dense), dx = rows_of<T>(dlogits);
    with_team<T>(x.cols, [&]<class Team>(Type<Team>) {
      launch<cross_entropy_backward_rows<T, Team>>(team_shape<Team>(x.rows), stream_of(logits.device()), x,
                                                   chosen.data<std::int32_t>(), logsumexp.data<Value>(),
                                                   dloss.data<Value>(), dx, rows_hold_packs(x, dx));
    });
  });
}

const bool registered = cross_entropy_kernel.add(DeviceKind::cuda, cross_entropy) &&
                        cross_entropy_backward_kernel.add(DeviceKind::cuda, cross_entropy_backward);

}  // namespace
}  // namespace weir::cuda
