#include "train/presets.h"

#include "core/error.h"
#include "core/text.h"
#include "train/paper_presets.h"

namespace weir {
namespace {

struct Preset {
  const char* name;
  const char* help;
  void (*change)(Config&);
};

// What the quick starts share: a byte model that learns to write words in a minute and a half on two cores.
Config base() {
  Config c;
  c.model = {.vocabulary = 0, .d_model = 128, .layers = 4, .heads = 4, .head_size = 32, .dropout = 0.0, .segment = 128};
  c.train = {.batch_size = 16, .minutes = 1.5, .log_every = 10};
  c.optimizer = {.lr = 3e-3, .warmup_steps = 50, .min_lr = 1e-4, .clip = 0.25};
  c.eval = {.every = 100, .batch_size = 16, .max_tokens = 65536};
  c.checkpoint = {.every = 100};
  c.sample = {.every = 100, .tokens = 120};
  return c;
}

void quickstart(Config& c) {
  c.feedforward = {
      .kind = "moe", .experts = 16, .expert_size = 64, .k = 4, .regulariser = "entropy", .regulariser_weight = 1e-3};
}

// 1027 hidden units with their biases have the parameters of 16 x 64 without biases plus the selector.
void quickstart_dense(Config& c) { c.feedforward = {.kind = "dense", .d_ff = 1027, .regulariser = "none"}; }

constexpr Preset presets[] = {
    {"quickstart", "a sigma-MoE byte model in a minute and a half on a processor", quickstart},
    {"quickstart-dense", "the same size with a dense feedforward, to compare", quickstart_dense},
};

const Preset* find(const std::string& name) {
  for (const Preset& preset : presets) {
    if (preset.name == name) return &preset;
  }
  return nullptr;
}

[[noreturn]] void refuse(const std::string& name) {
  throw ArgumentError("there is no preset " + quote_short(name) + did_you_mean(name, preset_names()) +
                      "; 'weir presets' lists them, and a configuration file is named with its ending .toml");
}

}  // namespace

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Preset& preset : presets) names.push_back(preset.name);
  for (const PaperPreset& preset : paper_presets()) names.push_back(preset.name);
  return names;
}

std::string preset_help(const std::string& name) {
  if (const Preset* preset = find(name)) return preset->help;
  if (const PaperPreset* preset = find_paper_preset(name)) return preset->scale + ": " + preset->help;
  refuse(name);
}

Config preset_config(const std::string& name) {
  Config config;
  if (const Preset* preset = find(name)) {
    config = base();
    preset->change(config);
  } else if (const PaperPreset* row = find_paper_preset(name)) {
    config = paper_preset_config(*row);
  } else {
    refuse(name);
  }
  config.name = name;
  return config;
}

}  // namespace weir
