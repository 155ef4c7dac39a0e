// The axis of a chart: from data to picture units, and where its ticks stand.
#pragma once

#include <string>
#include <vector>

namespace weir {

enum class Scale { linear, logarithmic };

class Axis {
 public:
  // `low` of the data lies at `begin`, `high` at `end`. Equal ends are moved apart; a logarithmic axis needs low > 0.
  Axis(double low, double high, Scale scale, double begin, double end);

  double operator()(double value) const;  // in picture units; what lies far outside stays just outside

  struct Tick {
    double at;
    std::string label;
  };
  std::vector<Tick> ticks(int most) const;

  std::string attribute() const;  // "low high log", for the script of the page

 private:
  std::vector<Tick> linear_ticks(int most) const;
  std::vector<Tick> logarithmic_ticks(int most) const;

  double low_, high_, begin_, end_;
  Scale scale_;
};

// A multiple of `step`, with the digits that tell it from its neighbours: "0.02", "2.75", "250", "40k", "3e-06".
std::string tick_label(double value, double step);

}  // namespace weir
