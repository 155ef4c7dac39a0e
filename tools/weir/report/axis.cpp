#include "tools/weir/report/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace weir {
namespace {

// 1, 2 or 5 times a power of ten, of which at most `most` fit into `range`.
double nice_step(double range, int most) {
  const double raw = range / most, power = std::pow(10, std::floor(std::log10(raw))), rest = raw / power;
  return power * (rest <= 1 ? 1 : rest <= 2 ? 2 : rest <= 5 ? 5 : 10);
}

}  // namespace

Axis::Axis(double low, double high, Scale scale, double begin, double end)
    : low_(low), high_(high), begin_(begin), end_(end), scale_(scale) {
  if (high_ - low_ > 1e-9 * std::abs(high_)) return;
  if (scale == Scale::logarithmic) {
    low_ = low / 2;
    high_ = low * 2;
  } else {
    const double margin = low == 0 ? 1 : std::abs(low) / 2;
    low_ = low - margin;
    high_ = low + margin;
  }
}

double Axis::operator()(double value) const {
  const double place = scale_ == Scale::linear ? (value - low_) / (high_ - low_)
                                               : std::log(std::max(value, 1e-300) / low_) / std::log(high_ / low_);
  return begin_ + std::clamp(place, -0.2, 1.2) * (end_ - begin_);
}

std::vector<Axis::Tick> Axis::linear_ticks(int most) const {
  std::vector<Tick> ticks;
  const double step = nice_step(high_ - low_, most);
  for (double i = std::ceil(low_ / step - 1e-6); i <= high_ / step + 1e-6; ++i)
    ticks.push_back({(*this)(i * step), tick_label(i * step, step)});
  return ticks;
}

// 1, 2 and 5 times the powers of ten, or some of the powers alone where those are too many.
std::vector<Axis::Tick> Axis::logarithmic_ticks(int most) const {
  std::vector<Tick> ticks;
  const double first = std::floor(std::log10(low_)), last = std::log10(high_);
  const double every = std::max(1.0, std::ceil((last - first) / most));
  for (double power = first; power <= last; power += every)
    for (double digit : {1.0, 2.0, 5.0}) {
      const double value = digit * std::pow(10, power);
      const bool wanted = digit == 1 || last - first < 0.4 * most;
      if (wanted && value >= low_ * 0.999 && value <= high_ * 1.001)
        ticks.push_back({(*this)(value), tick_label(value, value)});
    }
  return ticks;
}

// Below a factor of 5 between the ends there are too few powers to tell anything.
std::vector<Axis::Tick> Axis::ticks(int most) const {
  return scale_ == Scale::linear || high_ / low_ < 5 ? linear_ticks(most) : logarithmic_ticks(most);
}

std::string Axis::attribute() const {
  return fmt::format("{:.6g} {:.6g} {}", low_, high_, scale_ == Scale::logarithmic ? 1 : 0);
}

std::string tick_label(double value, double step) {
  const double size = std::abs(value);
  if (size < 1e-9 * step || size == 0) return "0";
  const int digits = static_cast<int>(std::floor(std::log10(size)) - std::floor(std::log10(step) + 1e-9)) + 1;
  const char* const suffixes[] = {"T", "G", "M", "k"};
  const double units[] = {1e12, 1e9, 1e6, 1e3};
  for (int i = 0; i < 4; ++i)
    if (size >= 0.9999 * std::max(units[i], 1e4))
      return fmt::format("{:.{}g}{}", value / units[i], std::clamp(digits, 3, 9), suffixes[i]);
  return fmt::format("{:.{}g}", value, size >= 1 ? std::max(digits, 4) : std::max(digits, 1));
}

}  // namespace weir
