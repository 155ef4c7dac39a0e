// What an op says about itself. From these records come its tests, its gradient checks and its row in the op table.
//
// A record stands at the end of the op's own .cpp file, as a variable at namespace scope:
//   const OpRegistration registration{{.name = "relu", .source = __FILE__, ...}};
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace weir {

using TensorFunction = std::function<std::vector<Tensor>(std::span<const Tensor>)>;

// One call of the op. Floating inputs are float64 (the tests convert them); integer inputs are used as they are.
struct Sample {
  std::string name;  // what is special about it: "odd", "zero rows", "ties"
  std::vector<Tensor> inputs;
  TensorFunction run;        // the op
  TensorFunction reference;  // an independent, naive computation in float64; returns as many outputs as `run`
  // For an op that fuses others: the same from those, which is differentiable any number of times.
  TensorFunction composed{};
};

// A call that must be refused.
struct BadSample {
  std::string name;
  std::function<void()> run;
  std::string message;  // a part of the error message
};

// Largest |op - reference| / max(1, largest |reference|) that passes, per dtype.
struct Tolerance {
  double float64 = 1e-12;
  double float32 = 1e-5;
  double bf16 = 2e-2;
};

struct OpRecord {
  std::string name;
  std::string source;     // __FILE__ of the op
  std::string signature;  // as a user calls it
  std::string summary;    // one sentence: the formula, the shapes
  std::function<std::vector<Sample>()> samples;
  std::function<Sample()> large;  // a call as large as in the paper's models, to be timed
  std::function<std::vector<BadSample>()> bad_samples;
  Tolerance tolerance{};
  bool differentiable = true;         // in its floating inputs
  bool twice_differentiable = false;  // its gradient is written in ops
  bool low_precision = true;          // takes bf16
};

// All records, by name.
const std::vector<OpRecord>& op_records();

struct OpRegistration {
  explicit OpRegistration(OpRecord record);
};

}  // namespace weir
