// Where the time of a step goes: op by op on the calling thread, and inside matrix products on every thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace weir {

// One op's part of a step, or with the name kOutside what no op is in; per step.
struct BreakdownRow {
  std::string name;
  double calls = 0;
  double seconds = 0;          // of the calling thread, without the ops that this op called
  double product_seconds = 0;  // inside matrix products, over all threads, divided by their number
  double product_flops = 0;    // of these products, as executed
};
inline constexpr char kOutside[] = "outside of any op";

struct Breakdown {
  std::int64_t steps = 0;
  double seconds = 0;              // per step, as measured here: the rows' add up to it
  std::vector<BreakdownRow> rows;  // slowest first

  double product_seconds() const;
  double product_flops() const;
};

// Calls `step` `steps` times with hooks in every ProfileRange: one with arithmetic is a matrix product, and belongs to
// the op that the calling thread is in; any other is an op where the calling thread opens it, and nothing elsewhere.
// Profilers see no ranges meanwhile. `between` is called before each step and counts for nothing.
Breakdown break_down(
    std::int64_t steps, const std::function<void()>& step, const std::function<void()>& between = [] {});

}  // namespace weir
