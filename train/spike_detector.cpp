#include "train/spike_detector.h"

#include <algorithm>
#include <cmath>

namespace weir {
namespace {

// A loss of ln V is guessing. 5 nats beyond it, tokens have 1/150 of the probability that guessing gives them, as a
// mean over a whole batch: text that the model has never met costs 2 to 3. 50 beyond it, nothing was ever learnt from.
constexpr double kBeyondGuessing = 5, kAbsurd = 50;
// Norms vary by powers of ten, and clipping tames them. A mean of squares of 1e18 is still far from overflowing.
constexpr double kHarmlessNorm = 1e3, kAbsurdNorm = 1e9;
constexpr double kSuspicious = 0.5;  // nats: a jump that the spread of a steady run makes suspicious sooner than harm
constexpr double kLossDistance = 10, kNormDistance = 1000;  // in standard deviations of normally spread values

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Values that hardly differ are taken to be spread by a twentieth of their size.
double limit(const std::vector<double>& values, double distance) {
  const double centre = median(values);
  std::vector<double> deviations;
  for (const double value : values) deviations.push_back(std::abs(value - centre));
  return centre + distance * std::max(1.4826 * median(std::move(deviations)), 0.05 * std::abs(centre));
}

void push(std::vector<double>& window, double value) {
  if (window.size() >= SpikeDetector::kWindow) window.erase(window.begin());
  window.push_back(value);
}

}  // namespace

bool StepLimits::allow(double loss_of_step, double norm_of_step) const {
  return std::isfinite(loss_of_step) && std::isfinite(norm_of_step) && loss_of_step <= loss &&
         norm_of_step <= gradient_norm;
}

double SpikeDetector::absurd_loss() const { return std::log(static_cast<double>(vocabulary_)) + kAbsurd; }

double SpikeDetector::suspicious_loss() const {
  if (window_.losses.size() < kWarmUp) return good_loss() + kBeyondGuessing;
  return std::max(limit(window_.losses, kLossDistance), median(window_.losses) + kSuspicious);
}

double SpikeDetector::good_loss() const {
  if (window_.losses.empty()) return absurd_loss();
  return std::max(std::log(static_cast<double>(vocabulary_)), window_.lowest_loss) + 1;
}

double SpikeDetector::recent_loss() const {
  const std::size_t count = std::min(kRecent, window_.losses.size());
  return count == 0 ? 0 : median({window_.losses.end() - static_cast<std::ptrdiff_t>(count), window_.losses.end()});
}

bool SpikeDetector::is_lost() const { return window_.losses.size() == kWindow && median(window_.losses) > good_loss(); }

StepLimits SpikeDetector::limits() const {
  if (window_.losses.size() < kWarmUp) return {absurd_loss(), kAbsurdNorm};
  const double guessing = std::log(static_cast<double>(vocabulary_));
  return {std::max(limit(window_.losses, kLossDistance), guessing + kBeyondGuessing),
          std::max(limit(window_.gradient_norms, kNormDistance), kHarmlessNorm)};
}

void SpikeDetector::accept(double loss, double gradient_norm) {
  push(window_.losses, loss);
  push(window_.gradient_norms, gradient_norm);
  window_.lowest_loss = std::min(window_.lowest_loss, loss);
}

}  // namespace weir
