// The paper-style table of finished or running runs: variant, G, K, parameters, arithmetic, result, published result.
#pragma once

#include <string>
#include <vector>

#include "train/text_table.h"

namespace weir {

// A row per run folder, from its config.toml and metrics.jsonl, in the order given; under the table (in `json` per row)
// what the validation read and what keeps the results from being compared (train/comparison.h). Arithmetic is the
// feedforward's, relative to the dense one of the paper's scale or, for other runs, to a dense one with as many
// parameters. A run without a validation has no result; damaged metrics lines are passed over. Runs with one name get
// their folders beside it. Throws RunError(io) for a folder that holds no run.
std::string result_table(const std::vector<std::string>& runs, TableFormat format);

}  // namespace weir
