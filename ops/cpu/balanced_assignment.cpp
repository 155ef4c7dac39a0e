// The Hungarian algorithm on experts instead of tokens: seats of one expert are alike, so a shortest path visits E
// experts, not N seats. Cost about N E^2 in the worst case; serial, in integers, so exact and the same everywhere.
//
// Every expert has ceil(N / E) seats; those that stay empty, less than one per expert, are taken by `spare` markers,
// which are worth nothing anywhere. A token is in its best expert at the present prices, score - price; a spare marker
// in the cheapest. Tokens without a seat enter one by one: along the cheapest chain of moves, found by Dijkstra's
// algorithm, one token of each full expert moves on to the next expert until one has a free seat; then the experts
// that were full on the way become dearer by what keeps the rule.
#include "ops/balanced_assignment.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace weir {
namespace {

constexpr int kScoreBits = 40;  // of the largest score; a path's cost then stays below 2^63 for 65536 experts
constexpr std::int64_t kInfinite = std::numeric_limits<std::int64_t>::max() / 4;
constexpr std::size_t kSampled = 8;  // tokens per expert from which on a sample pays

class Assignment {
 public:
  Assignment(std::int64_t tokens, std::int64_t experts, std::vector<std::int64_t> scores)
      : experts_(static_cast<std::size_t>(experts)),
        seats_(static_cast<std::size_t>((tokens + experts - 1) / experts)),
        scores_(std::move(scores)),
        price_(experts_),
        spare_(experts_),
        members_(experts_),
        place_(static_cast<std::size_t>(tokens)),
        move_cost_(experts_ * experts_),
        mover_(experts_ * experts_),
        distance_(experts_),
        from_(experts_),
        done_(experts_) {}

  void solve() {
    if (place_.size() >= kSampled * experts_) start_from_a_sample();
    const std::vector<std::size_t> waiting = seat_the_first();
    for (std::size_t e = 0; e < experts_; ++e) find_moves(e);
    for (std::size_t token : waiting) enter(token);
  }

  const std::vector<std::int64_t>& price() const { return price_; }
  const std::vector<std::vector<std::size_t>>& members() const { return members_; }

 private:
  const std::int64_t* row(std::size_t token) const { return scores_.data() + token * experts_; }
  bool full(std::size_t e) const { return members_[e].size() + (spare_[e] != 0) >= seats_; }

  std::size_t best_expert(std::size_t token) const {
    std::size_t best = 0;
    for (std::size_t e = 1; e < experts_; ++e)
      if (row(token)[e] - price_[e] > row(token)[best] - price_[best]) best = e;
    return best;
  }

  // Prices that suit every fourth token are nearly right for all: few are then left without a seat.
  void start_from_a_sample() {
    std::vector<std::int64_t> scores;
    for (std::size_t token = 0; token < place_.size(); token += 4)
      scores.insert(scores.end(), row(token), row(token) + experts_);
    const auto experts = static_cast<std::int64_t>(experts_), count = static_cast<std::int64_t>(scores.size());
    Assignment sample(count / experts, experts, std::move(scores));
    sample.solve();
    price_ = sample.price_;
  }

  // Seats tokens in their best experts while there is room; returns the others.
  std::vector<std::size_t> seat_the_first() {
    std::vector<std::size_t> wanted(experts_), best(place_.size()), waiting;
    for (std::size_t t = 0; t < place_.size(); ++t) ++wanted[best[t] = best_expert(t)];
    std::vector<std::size_t> order(experts_);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return price_[a] != price_[b] ? price_[a] < price_[b] : wanted[a] < wanted[b];
    });
    for (std::size_t i = 0; i < experts_ * seats_ - place_.size(); ++i) spare_[order[i]] = 1;
    for (std::size_t t = 0; t < place_.size(); ++t) {
      if (full(best[t]))
        waiting.push_back(t);
      else
        join(t, best[t]);
    }
    return waiting;
  }

  void join(std::size_t token, std::size_t e) {
    place_[token] = members_[e].size();
    members_[e].push_back(token);
  }
  void leave(std::size_t token, std::size_t e) {
    const std::size_t last = members_[e].back();
    members_[e][place_[token]] = last;
    place_[last] = place_[token];
    members_[e].pop_back();
  }

  // What it costs in scores that one of e's tokens moves to each other expert, and which is cheapest.
  void find_moves(std::size_t e) {
    std::fill_n(move_cost_.data() + e * experts_, experts_, kInfinite);
    for (std::size_t token : members_[e]) consider(token, e);
  }
  void consider(std::size_t token, std::size_t e) {
    std::int64_t* const cost = move_cost_.data() + e * experts_;
    std::int64_t* const mover = mover_.data() + e * experts_;
    const std::int64_t* const score = row(token);
    const auto id = static_cast<std::int64_t>(token);
    const std::int64_t own = score[e];
    for (std::size_t j = 0; j < experts_; ++j) {
      const bool cheaper = own - score[j] < cost[j];
      mover[j] = cheaper ? id : mover[j];
      cost[j] = cheaper ? own - score[j] : cost[j];
    }
  }

  void enter(std::size_t token) {
    const std::size_t end = find_path(token);
    for (std::size_t e = 0; e < experts_; ++e)
      if (done_[e] != 0) price_[e] += distance_[end] - distance_[e];
    move_along(token, end);
  }

  // The nearest expert with a free seat; fills in distance_, from_ and done_ (nearer than that).
  std::size_t find_path(std::size_t token) {
    std::fill(done_.begin(), done_.end(), 0);
    const std::size_t best = best_expert(token);
    for (std::size_t e = 0; e < experts_; ++e) {
      distance_[e] = (row(token)[best] - price_[best]) - (row(token)[e] - price_[e]);
      from_[e] = experts_;  // the token itself
    }
    for (;;) {
      std::size_t nearest = experts_;
      for (std::size_t e = 0; e < experts_; ++e)
        if (done_[e] == 0 && (nearest == experts_ || distance_[e] < distance_[nearest])) nearest = e;
      if (!full(nearest)) return nearest;
      done_[nearest] = 1;
      relax(nearest);
    }
  }

  void relax(std::size_t e) {
    const std::int64_t start = distance_[e] - price_[e];
    const std::int64_t* const cost = move_cost_.data() + e * experts_;
    for (std::size_t j = 0; j < experts_; ++j) {
      const bool spare_moves = spare_[e] != 0 && spare_[j] == 0;
      const std::int64_t there = start + price_[j] + (spare_moves ? std::min<std::int64_t>(cost[j], 0) : cost[j]);
      const bool nearer = done_[j] == 0 && there < distance_[j];
      distance_[j] = nearer ? there : distance_[j];
      from_[j] = nearer ? e : from_[j];
    }
  }

  // From the end of the path to its beginning, everyone moves one expert on; then the token enters.
  void move_along(std::size_t token, std::size_t end) {
    std::vector<std::size_t> left;
    for (std::size_t e = end; e != experts_; e = from_[e]) {
      const std::size_t before = from_[e];
      if (before == experts_) {
        join(token, e);
        consider(token, e);
        continue;
      }
      const std::size_t link = before * experts_ + e;
      if (spare_[before] != 0 && spare_[e] == 0 && move_cost_[link] >= 0) {
        std::swap(spare_[before], spare_[e]);
        continue;
      }
      const auto mover = static_cast<std::size_t>(mover_[link]);
      leave(mover, before);
      join(mover, e);
      left.push_back(before);
      consider(mover, e);
    }
    for (std::size_t e : left) find_moves(e);
  }

  std::size_t experts_, seats_;
  std::vector<std::int64_t> scores_;  // [N, E]
  std::vector<std::int64_t> price_;
  std::vector<char> spare_;
  std::vector<std::vector<std::size_t>> members_;  // tokens of each expert
  std::vector<std::size_t> place_;                 // of a token among its expert's
  std::vector<std::int64_t> move_cost_, mover_;    // [E, E], of the cheapest token to move
  std::vector<std::int64_t> distance_;
  std::vector<std::size_t> from_;
  std::vector<char> done_;
};

// Scores as integers, and the exponent of the factor between.
std::pair<std::vector<std::int64_t>, int> as_integers(const Tensor& scores) {
  const std::vector<double> values = scores.values();
  double largest = 0;
  for (double v : values) largest = std::isfinite(v) ? std::max(largest, std::abs(v)) : largest;
  int exponent = 0;
  std::frexp(largest, &exponent);
  const int shift = kScoreBits - exponent;
  const auto limit = static_cast<double>(std::int64_t{1} << kScoreBits);
  std::vector<std::int64_t> integers(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double scaled = std::isnan(values[i]) ? -limit : std::clamp(std::ldexp(values[i], shift), -limit, limit);
    integers[i] = static_cast<std::int64_t>(std::llround(scaled));
  }
  return {std::move(integers), shift};
}

void balanced_assignment_cpu(const Tensor& scores, const Tensor& expert, const Tensor& price) {
  auto [integers, shift] = as_integers(scores);
  Assignment assignment(scores.size(0), scores.size(1), std::move(integers));
  assignment.solve();
  std::int32_t* const experts = expert.data<std::int32_t>();
  double* const prices = price.data<double>();
  for (std::size_t e = 0; e < assignment.members().size(); ++e) {
    prices[e] = std::ldexp(static_cast<double>(assignment.price()[e]), -shift);
    for (std::size_t token : assignment.members()[e]) experts[token] = static_cast<std::int32_t>(e);
  }
}

const bool on_cpu = balanced_assignment_kernel.add(DeviceKind::cpu, balanced_assignment_cpu);

}  // namespace
}  // namespace weir
