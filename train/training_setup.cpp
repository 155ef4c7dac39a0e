#include "train/training_setup.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "core/caching_allocator.h"
#include "core/device.h"
#include "core/file.h"
#include "core/text.h"
#include "train/evaluate.h"
#include "train/optimizer/optimizer.h"
#include "train/preconditions.h"
#include "train/training_cost.h"

namespace weir {
namespace {

constexpr std::uint64_t kLargestTokenizer = std::uint64_t{1} << 28;

std::string memory_size(double bytes) {
  return bytes < (1 << 30) ? fmt::format("{:.0f} MiB", std::ceil(bytes / (1 << 20)))
                           : fmt::format("{:.1f} GiB", bytes / (1 << 30));
}

// Only needed for samples and for generating text later; but later is too late to find it missing.
std::unique_ptr<const Tokenizer> open_tokenizer_of(const Corpus& corpus) {
  auto tokenizer = open_tokenizer(corpus.tokenizer());
  if (tokenizer->vocabulary() != corpus.vocabulary())
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}: this tokenizer has {} tokens, but {} was made with {}: put the tokenizer back that "
                               "made the data, or prepare it again with 'weir prepare'",
                               printable(corpus.tokenizer(), 4096), tokenizer->vocabulary(),
                               printable(corpus.name(), 4096), corpus.vocabulary()));
  return tokenizer;
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

// Throws where there is too little data, or none to validate on.
void check_amounts(const Config& config, const Corpora& corpora) {
  check_enough(config, corpora.train, corpora.valid);
  if (config.eval.every > 0 && corpora.valid.size() == 0)
    throw ArgumentError(
        fmt::format("eval.every = {} needs validation data, but data.valid is empty, {} has no valid "
                    "split and data.valid_fraction = 0: set one of the two, or eval.every = 0",
                    config.eval.every, config.data.train));
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

TrainingSetup::TrainingSetup(const Config& of_run, Device on, const std::string& begun_run)
    : config(of_run), device(on) {
  check_head_size(config.model, device, "raise model.heads and lower model.head_size, or train on the cpu");
  corpora = open_corpora(config.data);
  const Corpus &train = corpora.train, &valid = corpora.valid;
  check_same_tokens(train, valid);
  if (!begun_run.empty()) check_begun_vocabulary(config.model, train, begun_run);
  check_vocabulary(config.model, train);
  check_amounts(config, corpora);
  batches = open_batches(config, train);
  if (valid.size() > 0) check_predictable(valid);
  tokenizer = open_tokenizer_of(train);
  train.verify();
  valid.verify();
  model = make_language_model(config.model, config.feedforward);
  check_optimizer(config.optimizer, model->parameters());
  check_memory(training_cost(config), config.optimizer, device);
}

}  // namespace weir
