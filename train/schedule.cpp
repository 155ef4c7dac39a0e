#include "train/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace weir {
namespace {

double cosine(const OptimizerConfig& config, double progress) {
  const double share = 0.5 * (1 + std::cos(std::numbers::pi * progress));
  return config.min_lr + (config.lr - config.min_lr) * share;
}

double linear(const OptimizerConfig& config, double progress) {
  return config.min_lr + (config.lr - config.min_lr) * (1 - progress);
}

double constant(const OptimizerConfig& config, double) { return config.lr; }

const bool added = registry<ScheduleKind>().add({"cosine", "half a wave down to min_lr", cosine}) &&
                   registry<ScheduleKind>().add({"linear", "a straight line down to min_lr", linear}) &&
                   registry<ScheduleKind>().add({"constant", "stays at lr", constant});

}  // namespace

double learning_rate(const OptimizerConfig& config, std::int64_t step, double progress) {
  if (step < config.warmup_steps)
    return config.lr * static_cast<double>(step + 1) / static_cast<double>(config.warmup_steps);
  return registry<ScheduleKind>().find(config.schedule)(config, std::clamp(progress, 0.0, 1.0));
}

bool needs_end(const OptimizerConfig& config) {
  const auto rate = registry<ScheduleKind>().find(config.schedule);
  return rate(config, 0) != rate(config, 1);
}

double decay_progress(const OptimizerConfig& optimizer, const TrainConfig& train, std::int64_t tokens_per_step,
                      std::int64_t step, double seconds) {
  const auto after_warmup = static_cast<double>(step - optimizer.warmup_steps);
  if (optimizer.decay_steps > 0) return after_warmup / static_cast<double>(optimizer.decay_steps);
  const std::int64_t limit = step_limit(train, tokens_per_step);
  const double by_steps =
      limit > 0 ? after_warmup / static_cast<double>(std::max<std::int64_t>(1, limit - optimizer.warmup_steps)) : 0;
  const double by_time = train.minutes > 0 ? seconds / (60 * train.minutes) : 0;
  return std::max(by_steps, by_time);
}

std::int64_t step_limit(const TrainConfig& train, std::int64_t tokens_per_step) {
  const std::int64_t by_tokens = (train.tokens + tokens_per_step - 1) / tokens_per_step;
  if (train.steps > 0 && train.tokens > 0) return std::min(train.steps, by_tokens);
  return train.steps > 0 ? train.steps : by_tokens;
}

std::string RunLimit::text() const {
  const bool is_count = key != "train.minutes";
  return is_count ? fmt::format("{} = {}", key, static_cast<std::int64_t>(value)) : fmt::format("{} = {}", key, value);
}

std::vector<RunLimit> run_limits(const TrainConfig& train) {
  std::vector<RunLimit> limits;
  if (train.steps > 0) limits.push_back({"train.steps", static_cast<double>(train.steps)});
  if (train.tokens > 0) limits.push_back({"train.tokens", static_cast<double>(train.tokens)});
  if (train.minutes > 0) limits.push_back({"train.minutes", train.minutes});
  return limits;
}

std::optional<RunLimit> reached_limit(const TrainConfig& train, std::int64_t tokens_per_step, std::int64_t step,
                                      double seconds) {
  for (const RunLimit& limit : run_limits(train)) {
    const double there = limit.key == "train.steps"    ? static_cast<double>(step)
                         : limit.key == "train.tokens" ? static_cast<double>(step * tokens_per_step)
                                                       : seconds / 60;
    if (there >= limit.value) return limit;
  }
  return std::nullopt;
}

}  // namespace weir
