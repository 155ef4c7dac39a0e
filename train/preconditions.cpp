#include "train/preconditions.h"
#include "train/batch_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "core/caching_allocator.h"
#include "core/device.h"
#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "models/language_model.h"
#include "ops/support/attention.h"
#include "train/evaluate.h"
#include "train/optimizer/optimizer.h"
#include "train/tokenizer/tokenizer.h"
#include "train/training_cost.h"

namespace weir {
namespace {

constexpr std::uint64_t kLargestTokenizer = std::uint64_t{1} << 28;

std::string memory_size(double bytes) {
  return bytes < (1 << 30) ? fmt::format("{:.0f} MiB", std::ceil(bytes / (1 << 20)))
                           : fmt::format("{:.1f} GiB", bytes / (1 << 30));
}

bool memories_fit(const std::vector<Memory>& memories, const Config& config) {
  if (memories.empty()) return true;
  if (std::ssize(memories) != config.train.accumulate) return false;
  const auto model = make_language_model(config.model, config.feedforward);
  const std::int64_t sequences = config.train.batch_size / config.train.accumulate;
  return std::all_of(memories.begin(), memories.end(), [&](const Memory& memory) {
    std::vector<Shape> wanted;
    if (config.model.memory_length() > 0) wanted = model->memory_shapes(sequences, memory.length());
    return std::equal(memory.layers.begin(), memory.layers.end(), wanted.begin(), wanted.end(),
                      [&](const Tensor& layer, const Shape& shape) {
                        return layer.shape() == shape && layer.dtype() == config.model.activation_dtype();
                      });
  });
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

bool have_same_tokens(const Corpus& train, const Corpus& valid) {
  if (train.is_bytes() || valid.is_bytes()) return train.is_bytes() == valid.is_bytes();
  return train.vocabulary() == valid.vocabulary() &&
         (train.tokenizer() == valid.tokenizer() ||
          read_file(train.tokenizer(), kLargestTokenizer) == read_file(valid.tokenizer(), kLargestTokenizer));
}

// What a model that reads one of them can make nothing of.
void check_same_tokens(const Corpus& train, const Corpus& valid) {
  if (have_same_tokens(train, valid)) return;
  const auto text = [](const Corpus& corpus) {
    return corpus.is_bytes() ? std::string("bytes") : fmt::format("{} tokens of its tokenizer", corpus.vocabulary());
  };
  throw ArgumentError(fmt::format(
      "data.valid: {} consists of {}, but data.train, {}, of {}{}: leave data.valid out to validate on a part of "
      "data.train, or {}",
      printable(valid.name(), 4096), text(valid), printable(train.name(), 4096), text(train),
      train.vocabulary() == valid.vocabulary() ? ", which is another one" : "",
      train.is_bytes() ? "name a text"
                       : "prepare both texts together: 'weir prepare files --train FILE --valid FILE --out FOLDER'"));
}

// Of a run that goes on, whose weights have as many rows as its tokens once were.
void check_begun_vocabulary(const ModelConfig& model, const Corpus& corpus, const std::string& run) {
  if (model.vocabulary == corpus.vocabulary()) return;
  throw ArgumentError(fmt::format(
      "{}: this data has {} different tokens, but the run in {} was begun with {}: give it the data that it was begun "
      "with, as it was, with data.train=PATH, or begin another run with --run",
      printable(corpus.name(), 4096), corpus.vocabulary(), printable(run, 4096), model.vocabulary));
}

// Where data.valid_fraction is what leaves too little, or there is next to nothing, lowering the batch is no help.
void check_enough(const Config& config, const Corpus& train, const Corpus& valid) {
  const std::int64_t needed = config.train.batch_size * config.model.segment + 1;
  if (train.size() >= needed) return;
  const bool held_back = config.data.valid.empty() && valid.stamps() == train.stamps();
  const std::int64_t whole = train.size() + (held_back ? valid.size() : 0);
  const std::string name = printable(train.name(), 4096);
  if (whole < 2)
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}: this text has {}, and there is nothing to learn from fewer than "
                               "2: name another with data.train",
                               name, counted(whole, train.is_bytes() ? "byte" : "token")));
  if (whole >= needed)
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}: data.valid_fraction = {} leaves {} of {} to train on, but a step takes {}: lower "
                               "data.valid_fraction, or name another text to validate on with data.valid",
                               name, config.data.valid_fraction, train.size(), counted(whole, "token"), needed));
}

void check_data(const Config& config, const std::string& begun_run) {
  const auto [train, valid] = open_corpora(config.data);
  check_same_tokens(train, valid);
  if (!begun_run.empty()) check_begun_vocabulary(config.model, train, begun_run);
  check_vocabulary(config.model, train);
  check_enough(config, train, valid);
  if (config.eval.every > 0 && valid.size() == 0)
    throw ArgumentError(
        fmt::format("eval.every = {} needs validation data, but data.valid is empty, {} has no valid "
                    "split and data.valid_fraction = 0: set one of the two, or eval.every = 0",
                    config.eval.every, config.data.train));
  open_batches(config, train);
  if (valid.size() > 0) check_predictable(valid);
  check_tokenizer(train);
  train.verify();
  valid.verify();
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

// The model with its gradients and what its optimiser keeps, and what a step keeps, are no larger than the memory of
// the device.
void check_memory(const ModelCost& cost, const OptimizerConfig& optimizer, Device device) {
  const auto needed = static_cast<double>(cost.training_bytes), weights = static_cast<double>(cost.weight_bytes),
             there = static_cast<double>(allocator(device).limit_bytes());
  if (needed <= there) return;
  const auto others = static_cast<double>(bytes_of_others(device));
  std::string what_is_there = fmt::format("but only {} is available on {}", memory_size(there), device_name(device));
  if (others > 0)
    what_is_there += fmt::format(", where other programs hold {} (nvidia-smi names them)", memory_size(others));
  if (weights > there)
    throw ModelTooLarge(fmt::format(
        "out of memory: training this model needs {} whatever the batch, for its weights, their gradients and {}, {}; "
        "choose a smaller model (lower model.layers, model.d_model or what the feedforward has most of), raise the "
        "limit (ulimit -v, or the control group's), or take a machine or device with more memory",
        memory_size(weights), registry<OptimizerKind>().find(optimizer.kind).keeps, what_is_there));
  throw RunError(ExitCode::out_of_memory,
                 fmt::format("out of memory: training this model with this batch needs about {}, {}",
                             memory_size(needed), what_is_there));
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

void check_before_training(const Config& config, Device device, const std::string& begun_run) {
  check_head_size(config.model, device, "raise model.heads and lower model.head_size, or train on the cpu");
  check_data(config, begun_run);
  check_optimizer(config.optimizer, make_language_model(config.model, config.feedforward)->parameters());
  check_memory(training_cost(config), config.optimizer, device);
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

void check_state_fits(const TrainingState& state, const Config& config, const std::string& checkpoint,
                      const Corpus& corpus, const std::string& data_checksum) {
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
  const std::int64_t blocks = open_batches(config, corpus)->blocks_per_epoch();
  if (state.block >= blocks)
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}/state.json: the run goes on at block {} of each stream, but there are only {}; use "
                               "another checkpoint of the run",
                               checkpoint, state.block, blocks));
  if (!memories_fit(state.memories, config))
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}/memory.safetensors: its tensors do not fit the model, its precision or the batch; "
                               "resume with the settings that the run was begun with",
                               checkpoint));
}

}  // namespace weir
