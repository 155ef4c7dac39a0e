#include "train/preconditions.h"

#include <fmt/format.h>

#include "core/device.h"
#include "core/error.h"
#include "models/model_cost.h"
#include "train/data.h"

namespace weir {
namespace {

std::string gibibytes(double bytes) { return fmt::format("{:.1f} GiB", bytes / (1 << 30)); }

bool memory_fits(const Memory& memory, const Config& config) {
  const std::int64_t group_size = config.train.batch_size / config.train.accumulate;
  if (std::ssize(memory.layers) != (config.model.memory_length() > 0 ? config.model.layers : 0)) return false;
  for (const Tensor& layer : memory.layers)
    if (layer.rank() != 3 || layer.size(0) != group_size || layer.size(1) != memory.length() ||
        layer.size(2) != config.model.d_model || layer.dtype() != dtype_from_name(config.model.precision))
      return false;
  return true;
}

}  // namespace

void check_before_training(const Config& config) {
  if (config.model.vocabulary != 256)
    throw ArgumentError(
        fmt::format("model.vocabulary = {}: the text is read as bytes, so there are 256 tokens; set it "
                    "to 256",
                    config.model.vocabulary));
  const Corpora corpora = open_corpora(config.data.train, config.data.valid, config.data.valid_fraction);
  StreamReader(corpora.train, config.train.batch_size, config.model.segment, "train.batch_size");
  if (corpora.valid.size() > 0) StreamReader(corpora.valid, 1, config.model.segment, "data.valid_fraction");
  const ModelCost cost =
      model_cost(config.model, config.feedforward, config.train.batch_size / config.train.accumulate);
  const auto needed = static_cast<double>(cost.training_bytes), there = static_cast<double>(memory_limit_bytes());
  if (needed > there)
    throw RunError(ExitCode::out_of_memory,
                   fmt::format("out of memory: this model and batch take about {} in training, {} are there; lower "
                               "train.batch_size, model.segment or the model's size, or raise train.accumulate",
                               gibibytes(needed), gibibytes(there)));
}

void check_settings_unchanged(const Config& saved, const Config& now, const std::string& run) {
  const auto check = [&](const char* key, std::int64_t before, std::int64_t after) {
    if (before != after)
      throw ArgumentError(
          fmt::format("{} = {}, but the run in {} was begun with {}: leave it as it was, or begin "
                      "another run with --run",
                      key, after, run, before));
  };
  check("train.batch_size", saved.train.batch_size, now.train.batch_size);
  check("train.accumulate", saved.train.accumulate, now.train.accumulate);
  check("model.segment", saved.model.segment, now.model.segment);
}

void check_state_fits(const TrainingState& state, const Config& config, const std::string& checkpoint,
                      std::int64_t blocks_per_stream) {
  if (state.block >= blocks_per_stream)
    throw RunError(
        ExitCode::bad_data,
        fmt::format(
            "{}/state.json: the run goes on at block {} of each stream, but {} is only long enough for {}: give "
            "the text that the run was begun with",
            checkpoint, state.block, config.data.train, blocks_per_stream));
  bool fits = state.memories.empty() || std::ssize(state.memories) == config.train.accumulate;
  for (const Memory& memory : state.memories) fits = fits && memory_fits(memory, config);
  if (!fits)
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}/memory.safetensors: its tensors do not fit the model, its precision or the batch; "
                               "resume with the settings that the run was begun with",
                               checkpoint));
}

}  // namespace weir
