// The rows of the paper's tables as configurations: each is a scale (model, data, schedule) and a variant
// (feedforward).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "train/config.h"

namespace weir {

struct PublishedResult {
  double value = 0;
  std::string unit;   // "ppl": perplexity per token, "bpc": bits per character
  std::string table;  // "Tab. 10"
};

struct PaperPreset {
  std::string name;         // SCALE-VARIANT
  std::string scale;        // "WikiText-103, 47M parameters"
  std::string help;         // what the variant is
  std::int64_t dense_d_ff;  // hidden units of the scale's dense model, which the others are compared with
  PublishedResult published;
};

// In the order of the paper, scale by scale.
const std::vector<PaperPreset>& paper_presets();

// Also takes SCALE-pkm for SCALE-pkm-relu. Null where there is none.
const PaperPreset* find_paper_preset(const std::string& name);

Config paper_preset_config(const PaperPreset& preset);

// What the paper reports for the model that `config` describes: where its name is a row's and model and feedforward
// are that row's, precision and what only saves memory left aside.
std::optional<PublishedResult> published_result(const Config& config);

}  // namespace weir
