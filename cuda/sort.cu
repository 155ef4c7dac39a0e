// A radix sort from the lowest digit: each pass is a stable counting sort by up to 8 bits of the key, in three
// launches.
//   count   a block counts the digits of its tile of keys             counts [digit][tile]
//   scan    a block per digit sums the tiles before each tile         counts [digit][tile], totals [digit]
//   place   a block ranks its tile's keys and writes them where they belong
// A key's rank among equal digits is found without a loop over the others: lanes of a warp with the same digit find
// each other by match_any, and warps take consecutive parts of the tile.
#include "cuda/sort.h"

#include <bit>
#include <utility>

#include "cuda/scan.cuh"

namespace weir::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr int kPerThread = 16, kTile = kThreads * kPerThread, kPerWarp = kTile / kWarps;
constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits;
static_assert(kDigits == kThreads, "a thread per digit");

struct Digit {
  int shift, bits;
  __device__ int operator()(std::int32_t key) const { return key >> shift & ((1 << bits) - 1); }
};

__global__ void count_digits(const std::int32_t* keys, std::int64_t count, Digit digit, std::int32_t* counts) {
  struct Shared {
    int counts[kDigits];
  };
  auto& mine = shared<Shared>();
  const int t = static_cast<int>(threadIdx.x);
  mine.counts[t] = 0;
  __syncthreads();
  const std::int64_t begin = std::int64_t{blockIdx.x} * kTile;
  for (std::int64_t i = begin + t; i < begin + kTile && i < count; i += kThreads)
    atomicAdd(&mine.counts[digit(keys[i])], 1);
  __syncthreads();
  if (t < 1 << digit.bits) counts[std::int64_t{t} * gridDim.x + blockIdx.x] = mine.counts[t];
}

// counts[digit][tile] becomes the sum over the tiles before; a block per digit.
__global__ void scan_tiles(std::int32_t* counts, std::int64_t tiles, std::int32_t* totals) {
  std::int32_t* const row = counts + blockIdx.x * tiles;
  int before = 0;
  for (std::int64_t begin = 0; begin < tiles; begin += kThreads) {
    const std::int64_t tile = begin + threadIdx.x;
    const Scanned scanned = exclusive_scan<kThreads>(tile < tiles ? row[tile] : 0);
    if (tile < tiles) row[tile] = before + scanned.before;
    before += scanned.total;
  }
  if (threadIdx.x == 0) totals[blockIdx.x] = before;
}

// positions_in null: each key stands where it is.
__global__ void place_keys(const std::int32_t* keys_in, const std::int32_t* positions_in, std::int64_t count,
                           Digit digit, const std::int32_t* counts, const std::int32_t* totals, std::int32_t* keys_out,
                           std::int32_t* positions_out) {
  struct Shared {
    int next[kWarps][kDigits];  // first how many a warp has of a digit, then where its first one goes
  };
  auto& shared_next = shared<Shared>();
  const int t = static_cast<int>(threadIdx.x), lane = t % kWarp, warp = t / kWarp;
  for (int w = 0; w < kWarps; ++w) shared_next.next[w][t] = 0;
  __syncthreads();

  int* const mine = shared_next.next[warp];
  const std::int64_t begin = std::int64_t{blockIdx.x} * kTile + warp * kPerWarp + lane;
  std::int32_t keys[kPerThread];
  int ranks[kPerThread];
#pragma unroll
  for (int round = 0; round < kPerThread; ++round) {
    const std::int64_t i = begin + round * kWarp;
    keys[round] = i < count ? keys_in[i] : 0;  // behind the last key it disturbs nobody's rank
    const int d = digit(keys[round]);
    const unsigned equals = __match_any_sync(0xffffffffu, d), before = equals & ((1u << lane) - 1);
    ranks[round] = mine[d] + __popc(before);
    __syncwarp();
    if (before == 0) mine[d] += __popc(equals);
    __syncwarp();
  }
  __syncthreads();

  const bool used = t < 1 << digit.bits;
  int start = exclusive_scan<kThreads>(used ? totals[t] : 0).before;
  if (used) start += counts[std::int64_t{t} * gridDim.x + blockIdx.x];
  for (int w = 0; w < kWarps; ++w) start += std::exchange(shared_next.next[w][t], start);
  __syncthreads();

#pragma unroll
  for (int round = 0; round < kPerThread; ++round) {
    const std::int64_t i = begin + round * kWarp;
    if (i >= count) continue;
    const int to = mine[digit(keys[round])] + ranks[round];
    keys_out[to] = keys[round];
    positions_out[to] = positions_in == nullptr ? static_cast<std::int32_t>(i) : positions_in[i];
  }
}

// Where v would stand among the sorted keys.
template <class Offset>
__global__ void lower_bounds(const std::int32_t* keys, std::int64_t count, Offset* offsets, std::int64_t values) {
  for (std::int64_t v = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; v < values;
       v += std::int64_t{gridDim.x} * kThreads) {
    std::int64_t begin = 0, end = count;
    while (begin < end) {
      const std::int64_t middle = (begin + end) / 2;
      if (keys[middle] < v)
        begin = middle + 1;
      else
        end = middle;
    }
    offsets[v] = static_cast<Offset>(begin);
  }
}

}  // namespace

SortedKeys stable_sort(const Tensor& keys, std::int64_t largest, const Tensor& positions) {
  const std::int64_t count = keys.numel(), tiles = (count + kTile - 1) / kTile;
  const Device device = keys.device();
  const auto fresh = [&](std::int64_t n) { return Tensor::empty({n}, DType::int32, device); };
  const SortedKeys sorted{fresh(count), positions.defined() ? positions : fresh(count)};
  if (count == 0) return sorted;
  const int bits = std::max(1, static_cast<int>(std::bit_width(static_cast<std::uint64_t>(largest))));
  const int passes = (bits + kDigitBits - 1) / kDigitBits, each = (bits + passes - 1) / passes;
  const Tensor counts = fresh(tiles << each), totals = fresh(1 << each);
  const SortedKeys spare = passes > 1 ? SortedKeys{fresh(count), fresh(count)} : SortedKeys{};
  const Stream stream = stream_of(device);
  for (int pass = 0; pass < passes; ++pass) {
    const Digit digit{pass * each, each};
    // The last pass writes into `sorted`; the others alternate.
    const bool last_parity = (passes - 1 - pass) % 2 == 0;
    const SortedKeys& to = last_parity ? sorted : spare;
    const SortedKeys& from = last_parity ? spare : sorted;
    const std::int32_t* const in = (pass == 0 ? keys : from.keys).data<std::int32_t>();
    const std::int32_t* const stood = pass == 0 ? nullptr : from.positions.data<std::int32_t>();
    const auto blocks = static_cast<unsigned>(tiles);
    launch<count_digits>({blocks, kThreads}, stream, in, count, digit, counts.data<std::int32_t>());
    launch<scan_tiles>({1u << each, kThreads}, stream, counts.data<std::int32_t>(), tiles, totals.data<std::int32_t>());
    launch<place_keys>({blocks, kThreads}, stream, in, stood, count, digit, counts.data<std::int32_t>(),
                       totals.data<std::int32_t>(), to.keys.data<std::int32_t>(), to.positions.data<std::int32_t>());
  }
  return sorted;
}

void find_offsets(const Tensor& sorted_keys, const Tensor& offsets) {
  if (offsets.numel() == 0) return;
  const auto find = [&]<class Offset>(Type<Offset>) {
    launch<lower_bounds<Offset>>({blocks_for(offsets.numel(), kThreads), kThreads}, stream_of(offsets.device()),
                                 sorted_keys.numel() == 0 ? nullptr : sorted_keys.data<std::int32_t>(),
                                 sorted_keys.numel(), offsets.data<Offset>(), offsets.numel());
  };
  visit_index("find_offsets", offsets.dtype(), find);
}

}  // namespace weir::cuda
