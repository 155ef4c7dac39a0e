// Whether the results of several runs compare, and in which unit.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "train/config.h"
#include "train/run_result.h"

namespace weir {

struct ComparedRun {
  std::string name;  // for the notes
  std::string folder;
  Config config;
  RunResult result;
};

struct Comparison {
  ResultUnit unit = ResultUnit::perplexity;
  bool one_tokenizer = true;  // losses per token compare
  std::vector<std::string>
      notes;  // a sentence or two each, fit for a terminal: what the reader of the figures must know
};

// Runs with one tokenizer and the same validation data have the unit of that tokenizer; all others have bits per byte,
// which do not depend on how a text is cut. The notes say that, and what else differs: data, memory, amount of text.
// Runs without a result do not count.
Comparison compare_results(std::span<const ComparedRun> runs);

// Hidden units of the dense feedforward against which the arithmetic of one of the `compared` models is counted: of the
// first dense one of its width among them, or else of the paper's row that it is, or else one with as many parameters.
std::int64_t dense_reference(const Config& config, std::span<const Config> compared);

// "FLOPs are the feedforward's, in percent of a dense one with 64 hidden units.": what the column of a table counts.
std::string dense_reference_text(std::span<const std::string> names, std::span<const std::int64_t> references);

// What was measured: "20480 tokens of the validation text, memory 256, 4 streams".
std::string measured_text(const Config& config, const ValidationResult* result);

}  // namespace weir
