// What feedforwards did, counted: which experts were chosen, with which gates, and how many hidden units were active.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "core/tensor.h"

namespace weir {

// Per token, how many of the units that weigh the rows of the second matrix were not zero.
struct ActiveChannels {
  std::int64_t channels = 0;        // units that a token computes, on average; 0 where nothing was counted
  std::int64_t tokens = 0;          // counted
  double sum = 0, sum_squares = 0;  // over tokens, of their active units

  double mean() const;
  double deviation() const;  // over the tokens, of all that were counted
};

// Of one layer and of the tokens of one or more forward passes.
struct FeedforwardStatistics {
  std::vector<std::int64_t> expert_counts;  // [E] selections; empty for a feedforward without experts
  std::vector<double> gate_sums;            // [E] gates of those selections, summed
  double smallest_gate = std::numeric_limits<double>::infinity();
  double largest_gate = -std::numeric_limits<double>::infinity();
  // For an analysis (ForwardContext::analyse) alone:
  std::vector<std::int64_t> pair_counts;  // [E, E] tokens that selected both; the diagonal those that selected the one
  ActiveChannels active;

  void add(const FeedforwardStatistics& other);  // as if counted in one go
};

// Counts a routing: gate and index [R, K], whose rows are those of `tokens` [R], or each a token of its own where that
// is undefined. `pairs` costs as many steps as there are pairs of experts of a token, and E² numbers.
void count_selections(FeedforwardStatistics& statistics, const Tensor& gate, const Tensor& index, const Tensor& tokens,
                      std::int64_t experts, bool pairs);

// Counts the entries above 0 of each row of hidden [..., C]: a row is a token.
void count_active(FeedforwardStatistics& statistics, const Tensor& hidden);
// The same where a token has several rows: hidden [R, C], tokens [R] their numbers, from 0 to `count` - 1. Of a token's
// units at most `kept` count, where that is not 0.
void count_active(FeedforwardStatistics& statistics, const Tensor& hidden, const Tensor& tokens, std::int64_t count,
                  std::int64_t kept = 0);

}  // namespace weir
