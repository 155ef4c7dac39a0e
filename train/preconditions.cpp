#include "train/preconditions.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/text.h"
#include "models/language_model.h"
#include "ops/support/attention.h"
#include "train/optimizer/optimizer.h"
#include "train/training_setup.h"

namespace weir {
namespace {

bool memories_fit(const std::vector<Memory>& memories, const Config& config, const LanguageModel& model) {
  if (memories.empty()) return true;
  if (std::ssize(memories) != config.train.accumulate) return false;
  const std::int64_t sequences = config.train.batch_size / config.train.accumulate;
  return std::all_of(memories.begin(), memories.end(), [&](const Memory& memory) {
    std::vector<Shape> wanted;
    if (config.model.memory_length() > 0) wanted = model.memory_shapes(sequences, memory.length());
    return std::equal(memory.layers.begin(), memory.layers.end(), wanted.begin(), wanted.end(),
                      [&](const Tensor& layer, const Shape& shape) {
                        return layer.shape() == shape && layer.dtype() == config.model.activation_dtype();
                      });
  });
}

// The names and shapes of a model's parameters and buffers; empty where the model cannot be.
std::vector<std::pair<std::string, Shape>> parameters_of(const Config& config) {
  std::vector<std::pair<std::string, Shape>> list;
  try {
    const auto model = make_language_model(config.model, config.feedforward);
    for (const Parameter& p : model->parameters().parameters()) list.emplace_back(p.name, p.shape);
    for (const Buffer& b : model->parameters().buffers()) list.emplace_back(b.name, b.shape);
  } catch (const ArgumentError&) {
    list.clear();
  }
  return list;
}

// Whether the optimisers keep the same numbers.
bool keep_alike(const Config& a, const Config& b) {
  const auto model = make_language_model(a.model, a.feedforward);
  return same_optimizer_state(a.optimizer, b.optimizer, model->parameters());
}

// Whether a checkpoint of `saved` cannot be continued with the value that `key` has in `now`: the place in the text and
// the memory count in batch and segment, and the rest changes the model's parameters or what is kept of them.
bool is_fixed(const std::string& key, const Config& saved, const Config& now) {
  if (key == "data.order" || key == "train.batch_size" || key == "train.accumulate" || key == "model.segment")
    return true;
  if (key == "optimizer.kind") return true;
  if (key == "model.precision") return saved.model.activation_dtype() != now.model.activation_dtype();
  if (key == "model.memory") return (saved.model.memory == 0) != (now.model.memory == 0);
  const bool of_optimizer = key.starts_with(saved.optimizer.kind + ".");
  if (!of_optimizer && !key.starts_with("model.") && !key.starts_with("feedforward.")) return false;
  Config changed = saved;
  Config target = now;
  const FieldList into = fields_of(changed), from = fields_of(target);
  for (std::size_t i = 0; i < into.fields.size(); ++i)
    if (into.fields[i].key() == key)
      std::visit([&](auto* value) { *value = *std::get<decltype(value)>(from.fields[i].value); }, into.fields[i].value);
  return of_optimizer ? !keep_alike(changed, saved) : parameters_of(changed) != parameters_of(saved);
}

}  // namespace

void check_vocabulary(const ModelConfig& model, const Corpus& corpus) {
  if (model.vocabulary == corpus.vocabulary()) return;
  throw ArgumentError(
      fmt::format("model.vocabulary = {}, but {} has {} different tokens{}: set model.vocabulary={}, or "
                  "choose data that was prepared with {} tokens",
                  model.vocabulary, corpus.name(), corpus.vocabulary(),
                  corpus.is_bytes() ? ", the bytes of the text" : "", corpus.vocabulary(), model.vocabulary));
}

void check_head_size(const ModelConfig& model, Device device, std::string_view advice) {
  if (device.kind == DeviceKind::cpu || model.head_size <= kGpuHeadSize) return;
  throw ArgumentError(fmt::format("model.head_size = {}; on {} at most {}: {}", model.head_size, device_name(device),
                                  kGpuHeadSize, advice));
}

void check_settings_unchanged(const Config& saved, const Config& now, const std::string& run) {
  for (const SettingChange& change : changed_settings(saved, now))
    if (is_fixed(change.key, saved, now))
      throw ArgumentError(fmt::format(
          "{} = {}, but the run in {} was begun with {}: leave it as it was, or begin another run with --run",
          change.key, change.after, run, change.before));
  if (parameters_of(saved) != parameters_of(now))
    throw ArgumentError(
        fmt::format("these settings make another model than that of the run in {}: leave [model] and "
                    "[feedforward] as they were, or begin another run with --run",
                    run));
}

void check_state_fits(const TrainingState& state, const std::string& checkpoint, const TrainingSetup& setup,
                      const std::string& data_checksum) {
  const Corpus& corpus = setup.corpora.train;
  if (state.data_tokens != corpus.size() && state.data_checksum == data_checksum)
    throw RunError(
        ExitCode::bad_data,
        fmt::format("{}/state.json: the run was begun on {} of this data, now it would be {} of {}: give "
                    "data.valid and data.valid_fraction, which say how much is held back, as they were, or "
                    "begin another run with --run",
                    checkpoint, counted(state.data_tokens, "token"), counted(corpus.size(), "token"), corpus.name()));
  if (state.data_checksum != data_checksum)
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}/state.json: the run was begun with other data ({}, checksum {}) than {} ({}, "
                               "checksum {}): give it that data with data.train, or begin another run with --run",
                               checkpoint, counted(state.data_tokens, "token"), printable(state.data_checksum),
                               corpus.name(), counted(corpus.size(), "token"), data_checksum));
  const std::int64_t blocks = setup.batches->blocks_per_epoch();
  if (state.block >= blocks)
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}/state.json: the run goes on at block {} of each stream, but there are only {}; use "
                               "another checkpoint of the run",
                               checkpoint, state.block, blocks));
  if (!memories_fit(state.memories, setup.config, *setup.model))
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}/memory.safetensors: its tensors do not fit the model, its precision or the batch; "
                               "resume with the settings that the run was begun with",
                               checkpoint));
}

}  // namespace weir
