#include "train/preconditions.h"

#include <fmt/format.h>

#include "core/caching_allocator.h"
#include "core/device.h"
#include "core/error.h"
#include "core/text.h"
#include "models/model_cost.h"
#include "ops/relative_attention.h"
#include "train/tokenizer/tokenizer.h"

namespace weir {
namespace {

std::string gibibytes(double bytes) { return fmt::format("{:.1f} GiB", bytes / (1 << 30)); }

bool memory_fits(const Memory& memory, const Config& config) {
  const std::int64_t group_size = config.train.batch_size / config.train.accumulate;
  if (std::ssize(memory.layers) != (config.model.memory_length() > 0 ? config.model.layers : 0)) return false;
  for (const Tensor& layer : memory.layers)
    if (layer.rank() != 3 || layer.size(0) != group_size || layer.size(1) != memory.length() ||
        layer.size(2) != config.model.d_model || layer.dtype() != config.model.activation_dtype())
      return false;
  return true;
}

// The tokenizer is only needed for samples and for generating text later; but later is too late to find it missing.
void check_tokenizer(const Corpus& corpus) {
  if (corpus.is_bytes()) return;
  const auto tokenizer = open_tokenizer(corpus.tokenizer());
  if (tokenizer->vocabulary() != corpus.vocabulary())
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}: this tokenizer has {} tokens, but {} was made with {}: put the tokenizer back that "
                               "made the data, or prepare it again with 'weir prepare'",
                               printable(corpus.tokenizer(), 4096), tokenizer->vocabulary(),
                               printable(corpus.name(), 4096), corpus.vocabulary()));
}

void check_data(const Config& config) {
  const auto [train, valid] = open_corpora(config.data);
  check_vocabulary(config.model, train);
  check_vocabulary(config.model, valid);
  if (config.eval.every > 0 && valid.size() == 0)
    throw ArgumentError(
        fmt::format("eval.every = {} needs validation data, but data.valid is empty, {} has no valid "
                    "split and data.valid_fraction = 0: set one of the two, or eval.every = 0",
                    config.eval.every, config.data.train));
  StreamReader(train, config.train.batch_size, config.model.segment, "train.batch_size");
  if (valid.size() > 0) StreamReader(valid, 1, config.model.segment, "data.valid_fraction");
  check_tokenizer(train);
  train.verify();
  valid.verify();
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

void check_before_training(const Config& config, Device device) {
  check_head_size(config.model, device, "raise model.heads and lower model.head_size, or train on the cpu");
  check_data(config);
  const ModelCost cost =
      model_cost(config.model, config.feedforward, config.train.batch_size / config.train.accumulate);
  const auto needed = static_cast<double>(cost.training_bytes),
             there = static_cast<double>(allocator(device).limit_bytes());
  if (needed <= there) return;
  const auto others = static_cast<double>(bytes_of_others(device));
  throw RunError(
      ExitCode::out_of_memory,
      fmt::format(
          "out of memory: this model and batch take about {} in training, {} are there on {}{}; lower "
          "train.batch_size, model.segment or the model's size, or raise train.accumulate",
          gibibytes(needed), gibibytes(there), device_name(device),
          others > 0 ? fmt::format(", where other programs hold {} (nvidia-smi names them)", gibibytes(others)) : ""));
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
                      const Corpus& corpus, const std::string& data_checksum) {
  if (state.data_tokens != corpus.size() || state.data_checksum != data_checksum)
    throw RunError(
        ExitCode::bad_data,
        fmt::format("{}/state.json: the run was begun with other data ({} tokens, checksum {}) than {} ({} "
                    "tokens, checksum {}): give it that data with data.train, or begin another run with --run",
                    checkpoint, state.data_tokens, printable(state.data_checksum), corpus.name(), corpus.size(),
                    data_checksum));
  const StreamReader reader(corpus, config.train.batch_size, config.model.segment, "train.batch_size");
  if (state.block >= reader.blocks_per_stream())
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}/state.json: the run goes on at block {} of each stream, but there are only {}; use "
                               "another checkpoint of the run",
                               checkpoint, state.block, reader.blocks_per_stream()));
  bool fits = state.memories.empty() || std::ssize(state.memories) == config.train.accumulate;
  for (const Memory& memory : state.memories) fits = fits && memory_fits(memory, config);
  if (!fits)
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}/memory.safetensors: its tensors do not fit the model, its precision or the batch; "
                               "resume with the settings that the run was begun with",
                               checkpoint));
}

}  // namespace weir
