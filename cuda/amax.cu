// A team of threads per row (reduce.cuh): the largest value, then the first place among those that hold it.
#include "ops/amax.h"

#include <cmath>
#include <limits>

#include "cuda/reduce.cuh"

namespace weir::cuda {
namespace {

// NaN is larger than everything.
struct LargerOrNan {
  template <class Value>
  __device__ Value operator()(Value a, Value b) const {
    return b > a || b != b ? b : a;
  }
};

struct Smaller {
  __device__ int operator()(int a, int b) const { return b < a ? b : a; }
};

template <class T, class Team>
__global__ void __launch_bounds__(Team::kBlock) amax_rows(Rows<T> x, Rows<std::int32_t> index, bool vectors) {
  using Value = accumulate_t<T>;
  constexpr int kNowhere = std::numeric_limits<int>::max();
  constexpr int n = kPack<T>;
  const Team team;
  for (std::int64_t r = team.first(); r < x.rows; r += team.stride()) {
    Value largest = -INFINITY;
    int place = kNowhere;
    for_packs<T>(team, x.cols, [&](std::int64_t col, int count) {
      const auto pack = load_pack<T, n>(x.row(r) + col, 1, count, vectors);
      for (int i = 0; i < n; ++i) {
        const Value value = pack.values[i];
        if (i < count && (value > largest || (value != value && largest == largest) || place == kNowhere))
          largest = value, place = static_cast<int>(col) + i;
      }
    });
    const Value top = team.reduce(largest, LargerOrNan{});
    place = team.reduce(largest == top || (largest != largest && top != top) ? place : kNowhere, Smaller{});
    if (team.index() == 0) index.row(r)[0] = place;
  }
}

void amax(const Tensor& x, const Tensor& index) {
  if (x.numel() == 0) return;
  const Tensor dense = rows_form(x);
  visit_floating("amax", x.dtype(), [&]<class T>(Type<T>) {
    const auto in = rows_of<T>(dense);
    with_team<T>(in.cols, [&]<class Team>(Type<Team>) {
      launch<amax_rows<T, Team>>(team_shape<Team>(in.rows), stream_of(x.device()), in, rows_of<std::int32_t>(index),
                                 rows_hold_packs(in));
    });
  });
}

const bool registered = amax_kernel.add(DeviceKind::cuda, amax);

}  // namespace
}  // namespace weir::cuda
