#include "tools/weir/report/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "train/progress.h"

namespace weir {
namespace {

// 1, 2 or 5 times a power of ten, of which at most `most` fit into `range`.
double nice_step(double range, int most) {
  const double raw = range / most, power = std::pow(10, std::floor(std::log10(raw))), rest = raw / power;
  return power * (rest <= 1 ? 1 : rest <= 2 ? 2 : rest <= 5 ? 5 : 10);
}

// The same among the divisions of a clock.
double nice_seconds(double range, int most) {
  constexpr double kMinute = 60, kHour = 3600, kDay = 86400;
  const double raw = range / most;
  if (raw <= 0.5) return nice_step(range, most);
  for (double step : {1.0, 2.0, 5.0, 10.0, 15.0, 30.0, kMinute, 2 * kMinute, 5 * kMinute, 10 * kMinute, 15 * kMinute,
                      30 * kMinute, kHour, 2 * kHour, 3 * kHour, 6 * kHour, 12 * kHour})
    if (step >= raw) return step;
  return std::max(1.0, nice_step(range / kDay, most)) * kDay;
}

struct Unit {
  double size = 1;
  const char* suffix = "";
};

// The largest that `value` has `least` of.
Unit unit_of(double value, double least) {
  for (const Unit& unit : {Unit{1e12, "T"}, Unit{1e9, "G"}, Unit{1e6, "M"}, Unit{1e3, "k"}})
    if (value >= 0.9999 * least * unit.size) return unit;
  return {};
}

int decimals_of(double step) { return std::clamp(-static_cast<int>(std::floor(std::log10(step) + 1e-9)), 0, 12); }

// "1.5e-6": the exponent without zeros, the digits that `step` needs.
std::string with_exponent(double value, double step) {
  const double exponent = std::floor(std::log10(std::abs(value)) + 1e-9), power = std::pow(10, exponent);
  return fmt::format("{:.{}f}e{:.0f}", value / power, decimals_of(step / power), exponent);
}

std::string label(double value, double step, const Unit& unit) {
  if (std::abs(value) < 1e-9 * step || value == 0) return "0";
  std::string digits = fmt::format("{:.{}f}", value / unit.size, decimals_of(step / unit.size));
  if (unit.size == 1 && std::abs(value) >= 999.5 && step >= 0.999) digits.insert(digits.size() - 3, ",");
  return digits + unit.suffix;
}

}  // namespace

std::vector<std::string> tick_labels(const std::vector<double>& values, double step) {
  double largest = 0;
  for (double value : values) largest = std::max(largest, std::abs(value));
  const Unit unit = largest < 9999 ? Unit{} : unit_of(largest, largest < 1e6 ? 10 : 1);
  std::vector<std::string> labels;
  for (double value : values)
    labels.push_back(largest < 1e-3 && std::abs(value) > 1e-9 * step ? with_exponent(value, step)
                                                                     : label(value, step, unit));
  return labels;
}

std::string time_label(double seconds) {
  if (seconds < 60 && seconds != std::floor(seconds)) return fmt::format("{:.3g}s", seconds);
  if (seconds == 0) return "0";
  std::string text = format_duration(seconds);
  if (text.size() > 3 && text.compare(text.size() - 3, 2, "00") == 0) text.resize(text.size() - 3);
  return text;
}

Axis::Axis(double low, double high, Scale scale, double begin, double end, Numbers numbers)
    : low_(low), high_(high), begin_(begin), end_(end), scale_(scale), numbers_(numbers) {
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
  const double range = high_ - low_;
  const double step = numbers_ == Numbers::seconds ? nice_seconds(range, most)
                      : numbers_ == Numbers::whole ? std::max(1.0, nice_step(range, most))
                                                   : nice_step(range, most);
  std::vector<double> values;
  for (double i = std::ceil(low_ / step - 1e-6); i <= high_ / step + 1e-6; ++i) values.push_back(i * step);
  std::vector<std::string> labels = tick_labels(values, step);
  std::vector<Tick> ticks;
  for (std::size_t i = 0; i < values.size(); ++i)
    ticks.push_back({(*this)(values[i]), numbers_ == Numbers::seconds ? time_label(values[i]) : labels[i]});
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
      const bool wanted = digit == 1 || last - std::log10(low_) < 0.4 * most;
      if (!wanted || value < low_ * 0.999 || value > high_ * 1.001) continue;
      ticks.push_back({(*this)(value), value < 1e-3 ? with_exponent(value, value)
                                                    : label(value, value, high_ < 9999 ? Unit{} : unit_of(value, 1))});
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

}  // namespace weir
