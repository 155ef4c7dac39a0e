// The CPU's algorithm (ops/cpu/balanced_assignment.cpp), step by step and with its answer: tokens enter one by one
// along the cheapest chain of moves, so it is serial, and one block does it. What the block's threads share is the
// inner work: experts in a search, tokens when an expert's cheapest moves are found.
#include "ops/balanced_assignment.h"

#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "cuda/scan.cuh"

namespace weir::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kScoreBits = 40;
constexpr std::int64_t kInfinite = std::numeric_limits<std::int64_t>::max() / 4;
constexpr std::int64_t kSampled = 8;  // tokens per expert from which on a sample pays

// `bits` becomes those of the largest finite magnitude: for numbers that are not negative they are ordered as integers.
template <class T>
__global__ void largest_score(Rows<T> scores, unsigned long long* bits) {
  double largest = 0;
  const std::int64_t count = scores.rows * scores.cols;
  for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count;
       i += std::int64_t{gridDim.x} * kThreads) {
    const double size = fabs(static_cast<double>(scores.row(i / scores.cols)[i % scores.cols]));
    if (size > largest && size - size == 0) largest = size;
  }
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const double other = __shfl_xor_sync(0xffffffffu, largest, step);
    largest = other > largest ? other : largest;
  }
  if (threadIdx.x % kWarp == 0) atomicMax(bits, std::bit_cast<unsigned long long>(largest));
}

// The power of two that makes integers of scores.
__device__ int score_shift(const unsigned long long* largest) {
  int exponent = 0;
  frexp(std::bit_cast<double>(*largest), &exponent);
  return kScoreBits - exponent;
}

template <class T>
__global__ void scores_as_integers(Rows<T> scores, const unsigned long long* largest, std::int64_t* integers) {
  const int shift = score_shift(largest);
  const auto limit = static_cast<double>(std::int64_t{1} << kScoreBits);
  const std::int64_t count = scores.rows * scores.cols;
  for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count;
       i += std::int64_t{gridDim.x} * kThreads) {
    double scaled = ldexp(static_cast<double>(scores.row(i / scores.cols)[i % scores.cols]), shift);
    if (!(scaled >= -limit)) scaled = -limit;  // NaN as well
    if (scaled > limit) scaled = limit;
    integers[i] = llround(scaled);
  }
}

// All of it in the device's memory. Tokens are every `stride`-th row of the scores.
struct Assignment {
  std::int64_t rows, experts, stride, tokens, seats;
  const std::int64_t* scores;                                 // [rows, E]
  std::int64_t *price, *distance, *move_cost;                 // [E], [E], [E, E]
  std::int32_t *mover, *spare, *size, *done, *from, *wanted;  // [E, E], [E] ...
  std::int32_t *members, *place, *best, *waiting;             // [E, seats], [N] ...
  std::int32_t *joined, *left;  // [E]: experts of the last chain that a token joined, left

  __device__ const std::int64_t* row(std::int64_t token) const { return scores + token * stride * experts; }
  __device__ std::int32_t* members_of(std::int64_t e) const { return members + e * seats; }
  __device__ bool full(std::int64_t e) const { return size[e] + spare[e] >= seats; }
  __device__ void join(std::int32_t token, std::int64_t e) const {
    place[token] = size[e];
    members_of(e)[size[e]++] = token;
  }
  __device__ void leave(std::int32_t token, std::int64_t e) const {
    const std::int32_t last = members_of(e)[--size[e]];
    members_of(e)[place[token]] = last;
    place[last] = place[token];
  }
};

struct Nearest {
  std::int64_t distance;
  std::int32_t expert;

  __device__ bool comes_before(const Nearest& other) const {
    return distance < other.distance || (distance == other.distance && expert < other.expert);
  }
};

// The first of what the block's threads bring.
__device__ Nearest first_of(Nearest mine) {
  struct Shared {
    Nearest warps[kThreads / kWarp];
  };
  auto& found = shared<Shared>();
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const Nearest other{__shfl_xor_sync(0xffffffffu, mine.distance, step),
                        __shfl_xor_sync(0xffffffffu, mine.expert, step)};
    if (other.comes_before(mine)) mine = other;
  }
  if (threadIdx.x % kWarp == 0) found.warps[threadIdx.x / kWarp] = mine;
  __syncthreads();
  for (const Nearest& other : found.warps)
    if (other.comes_before(mine)) mine = other;
  __syncthreads();
  return mine;
}

__device__ std::int32_t best_expert(const Assignment& s, std::int64_t token) {
  const std::int64_t* const score = s.row(token);
  std::int32_t best = 0;
  for (std::int32_t e = 1; e < s.experts; ++e)
    if (score[e] - s.price[e] > score[best] - s.price[best]) best = e;
  return best;
}

// Spare markers go to the cheapest experts, of equal prices to those that fewer tokens want.
__device__ void place_spares(const Assignment& s) {
  for (std::int64_t e = threadIdx.x; e < s.experts; e += kThreads) {
    std::int64_t before = 0;
    for (std::int64_t o = 0; o < s.experts; ++o) {
      const bool same_price = s.price[o] == s.price[e], same = same_price && s.wanted[o] == s.wanted[e];
      before += s.price[o] < s.price[e] || (same_price && s.wanted[o] < s.wanted[e]) || (same && o < e) ? 1 : 0;
    }
    s.spare[e] = before < s.experts * s.seats - s.tokens ? 1 : 0;
  }
}

// Seats tokens in their best experts while there is room; returns how many wait.
__device__ int seat_the_first(const Assignment& s) {
  for (std::int64_t e = threadIdx.x; e < s.experts; e += kThreads) s.wanted[e] = s.size[e] = 0;
  __syncthreads();
  for (std::int64_t t = threadIdx.x; t < s.tokens; t += kThreads) {
    s.best[t] = best_expert(s, t);
    atomicAdd(&s.wanted[s.best[t]], 1);
  }
  __syncthreads();
  place_spares(s);
  __syncthreads();
  for (std::int64_t e = threadIdx.x; e < s.experts; e += kThreads)
    for (std::int32_t t = 0; t < s.tokens; ++t) {
      if (s.best[t] != e) continue;
      if (s.full(e))
        s.place[t] = -1;
      else
        s.join(t, e);
    }
  __syncthreads();
  int waiting = 0;
  for (std::int64_t begin = 0; begin < s.tokens; begin += kThreads) {
    const std::int64_t t = begin + threadIdx.x;
    const bool waits = t < s.tokens && s.place[t] < 0;
    const Scanned scanned = exclusive_scan<kThreads>(waits ? 1 : 0);
    if (waits) s.waiting[waiting + scanned.before] = static_cast<std::int32_t>(t);
    waiting += scanned.total;
  }
  __syncthreads();
  return waiting;
}

// What it costs in scores that one of e's tokens moves to each other expert, and which is cheapest, of equal ones the
// first. Threads share an expert's tokens where there are more of them than experts.
__device__ void find_moves(const Assignment& s, std::int64_t e) {
  struct Shared {
    std::int64_t cost[kThreads];
    std::int32_t position[kThreads];
  };
  auto& found = shared<Shared>();
  const int t = static_cast<int>(threadIdx.x);
  int width = kWarp;
  while (width < kThreads && width < s.experts) width *= 2;
  for (std::int64_t begin = 0; begin < s.experts; begin += width) {
    const std::int64_t j = begin + t % width;
    std::int64_t cost = kInfinite;
    std::int32_t position = std::numeric_limits<std::int32_t>::max();
    for (std::int32_t m = t / width; m < s.size[e] && j < s.experts; m += kThreads / width) {
      const std::int64_t* const score = s.row(s.members_of(e)[m]);
      if (score[e] - score[j] < cost) cost = score[e] - score[j], position = m;
    }
    found.cost[t] = cost;
    found.position[t] = position;
    __syncthreads();
    if (t < width && j < s.experts) {
      for (int other = t + width; other < kThreads; other += width) {
        const bool earlier = found.cost[other] == cost && found.position[other] < position;
        if (found.cost[other] < cost || earlier) cost = found.cost[other], position = found.position[other];
      }
      s.move_cost[e * s.experts + j] = cost;
      if (cost < kInfinite) s.mover[e * s.experts + j] = s.members_of(e)[position];
    }
    __syncthreads();
  }
}

// The last token of e may be cheaper to move than those before.
__device__ void consider_last(const Assignment& s, std::int64_t e) {
  const std::int32_t token = s.members_of(e)[s.size[e] - 1];
  const std::int64_t* const score = s.row(token);
  for (std::int64_t j = threadIdx.x; j < s.experts; j += kThreads) {
    const std::int64_t link = e * s.experts + j, cost = score[e] - score[j];
    if (cost < s.move_cost[link]) s.move_cost[link] = cost, s.mover[link] = token;
  }
}

// The nearest expert with a free seat; fills in distance, from (-1: the token itself) and done (nearer than that).
__device__ std::int32_t find_path(const Assignment& s, std::int64_t token) {
  const std::int64_t* const score = s.row(token);
  const std::int32_t best = best_expert(s, token);
  for (std::int64_t e = threadIdx.x; e < s.experts; e += kThreads) {
    s.distance[e] = (score[best] - s.price[best]) - (score[e] - s.price[e]);
    s.from[e] = -1;
    s.done[e] = 0;
  }
  for (;;) {  // what a thread reads of an expert here it wrote itself
    Nearest mine{std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int32_t>::max()};
    for (std::int64_t e = threadIdx.x; e < s.experts; e += kThreads) {
      const Nearest candidate{s.distance[e], static_cast<std::int32_t>(e)};
      if (s.done[e] == 0 && candidate.comes_before(mine)) mine = candidate;
    }
    const auto [distance, nearest] = first_of(mine);
    if (!s.full(nearest)) return nearest;
    const std::int64_t start = distance - s.price[nearest];
    for (std::int64_t j = threadIdx.x; j < s.experts; j += kThreads) {
      const std::int64_t cost = s.move_cost[nearest * s.experts + j];
      const bool spare_moves = s.spare[nearest] != 0 && s.spare[j] == 0;
      const std::int64_t there = start + s.price[j] + (spare_moves && cost > 0 ? 0 : cost);
      if (j == nearest) s.done[j] = 1;
      if (s.done[j] == 0 && there < s.distance[j]) s.distance[j] = there, s.from[j] = nearest;
    }
  }
}

struct Chain {
  int joined, left;
};

// From the end of the path to its beginning, everyone moves one expert on; then the token enters. One thread's work.
__device__ Chain move_along(const Assignment& s, std::int32_t token, std::int32_t end) {
  Chain chain{0, 0};
  for (std::int32_t e = end; e >= 0; e = s.from[e]) {
    const std::int32_t before = s.from[e];
    const std::int64_t link = before * s.experts + e;
    if (before >= 0 && s.spare[before] != 0 && s.spare[e] == 0 && s.move_cost[link] >= 0) {
      s.spare[before] = 0;
      s.spare[e] = 1;
      continue;
    }
    const std::int32_t mover = before < 0 ? token : s.mover[link];
    if (before >= 0) {
      s.leave(mover, before);
      s.left[chain.left++] = before;
    }
    s.join(mover, e);
    s.joined[chain.joined++] = e;
  }
  return chain;
}

__device__ void enter(const Assignment& s, std::int32_t token) {
  auto& chain = shared<Chain>();
  const std::int32_t end = find_path(s, token);
  __syncthreads();
  for (std::int64_t e = threadIdx.x; e < s.experts; e += kThreads)
    if (s.done[e] != 0) s.price[e] += s.distance[end] - s.distance[e];
  if (threadIdx.x == 0) chain = move_along(s, token, end);
  __syncthreads();
  for (int i = 0; i < chain.joined; ++i) consider_last(s, s.joined[i]);
  __syncthreads();
  for (int i = 0; i < chain.left; ++i) find_moves(s, s.left[i]);
}

__global__ void solve(Assignment s, const unsigned long long* largest, std::int32_t* expert, double* price) {
  for (std::int64_t e = threadIdx.x; e < s.experts; e += kThreads) s.price[e] = 0;
  const auto tokens_at = [&](std::int64_t stride) { return (s.rows + stride - 1) / stride; };
  s.stride = 1;
  while (tokens_at(s.stride) >= kSampled * s.experts) s.stride *= 4;
  // Prices that suit every fourth token are nearly right for all: few are then left without a seat.
  for (; s.stride > 0; s.stride /= 4) {
    s.tokens = tokens_at(s.stride);
    s.seats = (s.tokens + s.experts - 1) / s.experts;
    const int waiting = seat_the_first(s);
    for (std::int64_t e = 0; e < s.experts; ++e) find_moves(s, e);
    for (int i = 0; i < waiting; ++i) enter(s, s.waiting[i]);
    __syncthreads();
  }
  const int shift = score_shift(largest);
  for (std::int64_t e = threadIdx.x; e < s.experts; e += kThreads) {
    price[e] = ldexp(static_cast<double>(s.price[e]), -shift);
    for (std::int32_t m = 0; m < s.size[e]; ++m) expert[s.members_of(e)[m]] = static_cast<std::int32_t>(e);
  }
}

void balanced_assignment(const Tensor& scores, const Tensor& expert, const Tensor& price) {
  if (scores.numel() == 0) return fill(price, 0);
  const std::int64_t N = scores.size(0), E = scores.size(1), seats = (N + E - 1) / E;
  const Device device = scores.device();
  const Stream stream = stream_of(device);
  const Tensor longs = Tensor::empty({N * E + 2 * E + E * E}, DType::int64, device);
  const Tensor ints = Tensor::empty({E * E + 7 * E + E * seats + 3 * N}, DType::int32, device);
  const Tensor largest = Tensor::zeros({1}, DType::int64, device), input = rows_form(scores);
  auto* const bits = reinterpret_cast<unsigned long long*>(largest.data<std::int64_t>());
  std::int64_t* const integers = longs.data<std::int64_t>();
  const LaunchShape shape{blocks_for(N * E, 16 * kThreads), kThreads};
  visit_floating("balanced_assignment", scores.dtype(), [&]<class T>(Type<T>) {
    launch<largest_score<T>>(shape, stream, rows_of<T>(input), bits);
    launch<scores_as_integers<T>>(shape, stream, rows_of<T>(input), bits, integers);
  });
  std::int64_t* next_long = integers + N * E;
  std::int32_t* next_int = ints.data<std::int32_t>();
  const auto take_longs = [&](std::int64_t n) { return std::exchange(next_long, next_long + n); };
  const auto take_ints = [&](std::int64_t n) { return std::exchange(next_int, next_int + n); };
  Assignment s{};
  s.rows = N, s.experts = E, s.scores = integers;
  s.price = take_longs(E), s.distance = take_longs(E), s.move_cost = take_longs(E * E);
  s.mover = take_ints(E * E), s.spare = take_ints(E), s.size = take_ints(E), s.done = take_ints(E);
  s.from = take_ints(E), s.wanted = take_ints(E), s.joined = take_ints(E), s.left = take_ints(E);
  s.members = take_ints(E * seats), s.place = take_ints(N), s.best = take_ints(N), s.waiting = take_ints(N);
  launch<solve>({1, kThreads}, stream, s, bits, expert.data<std::int32_t>(), price.data<double>());
}

const bool registered = balanced_assignment_kernel.add(DeviceKind::cuda, balanced_assignment);

}  // namespace
}  // namespace weir::cuda
