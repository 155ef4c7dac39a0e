// The axis of a chart: from data to picture units, and where its ticks stand.
#pragma once

#include <string>
#include <vector>

namespace weir {

enum class Scale { linear, logarithmic };
enum class Numbers { any, whole, seconds };  // what the ticks count

class Axis {
 public:
  // `low` of the data lies at `begin`, `high` at `end`. Equal ends are moved apart; a logarithmic axis needs low > 0.
  Axis(double low, double high, Scale scale, double begin, double end, Numbers numbers = Numbers::any);

  double operator()(double value) const;  // in picture units; what lies far outside stays just outside

  struct Tick {
    double at;
    std::string label;
  };
  std::vector<Tick> ticks(int most) const;

  double low() const { return low_; }
  double high() const { return high_; }
  std::string attribute() const;  // "low high log", for the script of the page

 private:
  std::vector<Tick> linear_ticks(int most) const;
  std::vector<Tick> logarithmic_ticks(int most) const;

  double low_, high_, begin_, end_;
  Scale scale_;
  Numbers numbers_;
};

// Labels for values at distances of `step`, all in the unit of the largest: "0.02"; "2.75"; "2,000"; "7.5k", "10.0k";
// "5e-6".
std::vector<std::string> tick_labels(const std::vector<double>& values, double step);
std::string time_label(double seconds);  // "30s", "1m30s", "2h"

}  // namespace weir
