// A team of threads per row (reduce.cuh) takes it tile by tile, a pack to a thread: each adds up its pack, the team
// scans these sums, and what all tiles so far came to is carried on. In reverse the tiles, the threads and the elements
// of a pack are met from the end. Another axis than the last is brought there by a copy.
#include "ops/cumsum.h"

#include "cuda/reduce.cuh"

namespace weir::cuda {
namespace {

template <class Value>
struct Scan {
  Value before, total;  // the sum over the threads before this one, and over all
};

template <int lanes, class Value>
__device__ Scan<Value> scan_lanes(unsigned mask, int lane, Value value) {
  for (int step = 1; step < lanes; step *= 2) {
    const Value before = __shfl_up_sync(mask, value, static_cast<unsigned>(step), lanes);
    if (lane >= step) value = before + value;
  }
  const Value before = __shfl_up_sync(mask, value, 1, lanes);
  return {lane == 0 ? Value(0) : before, __shfl_sync(mask, value, lanes - 1, lanes)};
}

// Every thread of the team must call it.
template <int lanes, class Value>
__device__ Scan<Value> scan(const LaneTeam<lanes>& team, Value value) {
  return scan_lanes<lanes>(team.mask(), team.index(), value);
}

template <class Value>
__device__ Scan<Value> scan(const BlockTeam& team, Value value) {
  constexpr int kWarps = BlockTeam::kBlock / kWarp;
  struct Shared {
    Value warps[kWarps];
  };
  auto& sums = shared<Shared>();
  const int lane = team.index() % kWarp, warp = team.index() / kWarp;
  const Scan<Value> within = scan_lanes<kWarp>(0xffffffffu, lane, value);
  if (lane == 0) sums.warps[warp] = within.total;
  __syncthreads();
  Scan<Value> result{0, 0};
  for (int w = 0; w < kWarps; ++w) {
    if (w == warp) result.before = result.total + within.before;
    result.total += sums.warps[w];
  }
  __syncthreads();  // before the next scan writes
  return result;
}

template <class T, int n>
__device__ void turn_round(Pack<T, n>& pack) {
  for (int i = 0; i < n / 2; ++i) {
    const T other = pack.values[i];
    pack.values[i] = pack.values[n - 1 - i];
    pack.values[n - 1 - i] = other;
  }
}

template <class T, class Team>
__global__ void __launch_bounds__(Team::kBlock) cumsum_rows(Rows<T> x, bool reverse, Rows<T> y, bool vectors) {
  using Value = accumulate_t<T>;
  constexpr int n = kPack<T>;
  const Team team;
  const std::int64_t packs = (x.cols + n - 1) / n, tiles = (packs + Team::kSize - 1) / Team::kSize;
  for (std::int64_t r = team.first(); r < x.rows; r += team.stride()) {
    Value carried = 0;
    for (std::int64_t t = 0; t < tiles; ++t) {
      const std::int64_t turn = t * Team::kSize + team.index();
      const std::int64_t col = (reverse ? tiles * Team::kSize - 1 - turn : turn) * n, left = x.cols - col;
      const int count = static_cast<int>(left < 0 ? 0 : left < n ? left : n);
      Pack<T> pack = load_pack<T, n>(x.row(r) + col, 1, count, vectors);  // zeros beyond the row
      if (reverse) turn_round(pack);
      Value sums[n], sum = 0;
      for (int i = 0; i < n; ++i) sums[i] = sum += static_cast<Value>(pack.values[i]);
      const Scan<Value> others = scan(team, sum);
      for (int i = 0; i < n; ++i) pack.values[i] = T(carried + others.before + sums[i]);
      if (reverse) turn_round(pack);
      store_pack(y.row(r) + col, 1, count, vectors, pack);
      carried += others.total;
    }
  }
}

void cumsum(const Tensor& x, int axis, bool reverse, const Tensor& y) {
  if (x.numel() == 0) return;
  const Tensor dense = rows_form(transpose_view(x, axis, -1));
  const bool last = axis == x.rank() - 1;
  const Tensor sums = last ? y : Tensor::empty_like(dense);
  visit_floating("cumsum", x.dtype(), [&]<class T>(Type<T>) {
    const auto in = rows_of<T>(dense), out = rows_of<T>(sums);
    with_team<T>(in.cols, [&]<class Team>(Type<Team>) {
      launch<cumsum_rows<T, Team>>(team_shape<Team>(in.rows), stream_of(x.device()), in, reverse, out,
                                   rows_hold_packs(in, out));
    });
  });
  if (!last) copy_into(transpose_view(sums, axis, -1), y);
}

const bool registered = cumsum_kernel.add(DeviceKind::cuda, cumsum);

}  // namespace
}  // namespace weir::cuda
