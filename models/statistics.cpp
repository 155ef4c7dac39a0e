#include "models/statistics.h"

#include <algorithm>
#include <cmath>

namespace weir {
namespace {

template <class T>
void add_each(std::vector<T>& sums, const std::vector<T>& values) {
  if (sums.empty()) sums.resize(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) sums[i] += values[i];
}

// [R] entries above 0 per row.
std::vector<std::int64_t> active_per_row(const Tensor& hidden) {
  const auto channels = static_cast<std::size_t>(hidden.size(hidden.rank() - 1));
  const std::vector<double> values = hidden.values();
  std::vector<std::int64_t> active(channels == 0 ? 0 : values.size() / channels);
  for (std::size_t row = 0; row < active.size(); ++row)
    for (std::size_t i = 0; i < channels; ++i) active[row] += values[row * channels + i] > 0;
  return active;
}

// The experts of every token that has a row.
std::vector<std::vector<std::size_t>> experts_by_token(const Tensor& index, const Tensor& tokens) {
  const auto slots = static_cast<std::size_t>(index.size(1));
  const std::vector<double> chosen = index.values(),
                            token_of_row = tokens.defined() ? tokens.values() : std::vector<double>();
  std::vector<std::vector<std::size_t>> experts;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const std::size_t row = i / slots, token = tokens.defined() ? static_cast<std::size_t>(token_of_row[row]) : row;
    if (token >= experts.size()) experts.resize(token + 1);
    experts[token].push_back(static_cast<std::size_t>(chosen[i]));
  }
  return experts;
}

void count_tokens(ActiveChannels& counted, const std::vector<std::int64_t>& active_of_token, std::int64_t channels) {
  counted.channels = channels;
  counted.tokens += static_cast<std::int64_t>(active_of_token.size());
  for (std::int64_t active : active_of_token) {
    counted.sum += static_cast<double>(active);
    counted.sum_squares += static_cast<double>(active * active);
  }
}

}  // namespace

double ActiveChannels::mean() const { return tokens > 0 ? sum / static_cast<double>(tokens) : 0; }

double ActiveChannels::deviation() const {
  if (tokens == 0) return 0;
  return std::sqrt(std::max(0.0, sum_squares / static_cast<double>(tokens) - mean() * mean()));
}

void FeedforwardStatistics::add(const FeedforwardStatistics& other) {
  add_each(expert_counts, other.expert_counts);
  add_each(gate_sums, other.gate_sums);
  add_each(pair_counts, other.pair_counts);
  smallest_gate = std::min(smallest_gate, other.smallest_gate);
  largest_gate = std::max(largest_gate, other.largest_gate);
  if (other.active.channels > 0) active.channels = other.active.channels;
  active.tokens += other.active.tokens;
  active.sum += other.active.sum;
  active.sum_squares += other.active.sum_squares;
}

void count_selections(FeedforwardStatistics& statistics, const Tensor& gate, const Tensor& index, const Tensor& tokens,
                      std::int64_t experts, bool pairs) {
  const auto e = static_cast<std::size_t>(experts);
  const std::vector<double> gates = gate.values(), chosen = index.values();
  statistics.expert_counts.resize(e);
  statistics.gate_sums.resize(e);
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const auto expert = static_cast<std::size_t>(chosen[i]);
    ++statistics.expert_counts[expert];
    statistics.gate_sums[expert] += gates[i];
    statistics.smallest_gate = std::min(statistics.smallest_gate, gates[i]);
    statistics.largest_gate = std::max(statistics.largest_gate, gates[i]);
  }
  if (!pairs) return;
  statistics.pair_counts.resize(e * e);
  for (const std::vector<std::size_t>& of_token : experts_by_token(index, tokens))
    for (std::size_t a : of_token)
      for (std::size_t b : of_token) ++statistics.pair_counts[a * e + b];
}

void count_active(FeedforwardStatistics& statistics, const Tensor& hidden) {
  count_tokens(statistics.active, active_per_row(hidden), hidden.size(hidden.rank() - 1));
}

void count_active(FeedforwardStatistics& statistics, const Tensor& hidden, const Tensor& tokens, std::int64_t count,
                  std::int64_t kept) {
  const std::vector<std::int64_t> active = active_per_row(hidden);
  const std::vector<double> token_of_row = tokens.values();
  std::vector<std::int64_t> active_of_token(static_cast<std::size_t>(count));
  for (std::size_t row = 0; row < active.size(); ++row)
    active_of_token[static_cast<std::size_t>(token_of_row[row])] += active[row];
  if (kept > 0)
    for (std::int64_t& units : active_of_token) units = std::min(units, kept);
  const std::int64_t rows_per_token = count > 0 ? hidden.size(0) / count : 0;
  count_tokens(statistics.active, active_of_token, rows_per_token * hidden.size(1));
}

}  // namespace weir
