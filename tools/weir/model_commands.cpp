// weir eval, weir generate: what is done with a trained model.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/parallel.h"
#include "core/text.h"
#include "tools/weir/commands.h"
#include "tools/weir/device_option.h"
#include "train/append_file.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/generate.h"
#include "train/preconditions.h"
#include "train/run_directory.h"

namespace weir {
namespace {

struct LoadedModel {
  std::string checkpoint;
  Config config;
  std::unique_ptr<TransformerXl> model;
};

// `precision` replaces the one that the run was trained in; empty: leaves it.
LoadedModel load_model(const std::string& path, const std::string& device, std::int64_t threads,
                       const std::string& precision = "") {
  if (threads > 0) set_thread_count(static_cast<int>(threads));
  LoadedModel loaded;
  loaded.checkpoint = resolve_checkpoint(path);
  verify_checkpoint(loaded.checkpoint);
  loaded.config = checkpoint_config(loaded.checkpoint);
  if (!precision.empty()) loaded.config.model.precision = precision;
  const Device place = device_from_name(device);
  check_head_size(loaded.config.model, place, "this model runs on the cpu alone; leave --device out");
  loaded.model = std::make_unique<TransformerXl>(loaded.config.model, loaded.config.feedforward);
  loaded.model->initialise(0, DType::float32, place);
  load_parameters(loaded.checkpoint, loaded.model->parameters());
  return loaded;
}

struct EvalArguments {
  std::string path, data, split, device = "cpu";
  std::int64_t memory = -1, batch_size = 0, max_tokens = -1, threads = 0;
  bool paper = false, json = false;
};

// What to measure on: --data, or the data of the run; there --split, by default what training validates on.
Corpus chosen_corpus(const EvalArguments& arguments, const DataConfig& data) {
  const std::string split = arguments.split.empty() ? "valid" : arguments.split;
  if (!arguments.data.empty()) {
    Corpus corpus = open_corpus(arguments.data, split);
    if (!arguments.split.empty() && !corpus.has_splits())
      throw ArgumentError(fmt::format("--split {}: {} is a text, which has no splits; leave --split out", split,
                                      quote_short(arguments.data)));
    return corpus;
  }
  if (split == "valid") return open_corpora(data).valid;
  Corpus corpus = open_corpus(data.train, split);
  if (!corpus.has_splits())
    throw ArgumentError(
        fmt::format("--split {}: the run was trained on {}, a text, which has no splits; name another "
                    "text with --data",
                    split, quote_short(data.train)));
  return corpus;
}

// Tokens mean nothing to a model that learnt those of another tokenizer.
void check_same_tokens(const LoadedModel& loaded, const Corpus& corpus) {
  constexpr std::uint64_t most = std::uint64_t{1} << 28;
  const std::string name = checkpoint_tokenizer(loaded.checkpoint);
  const std::string of_run = loaded.checkpoint + "/../../" + name;
  const bool same = corpus.is_bytes() ? name == "bytes" && loaded.config.model.vocabulary == 256
                                      : name != "bytes" && loaded.config.model.vocabulary == corpus.vocabulary() &&
                                            read_file(corpus.tokenizer(), most) == read_file(of_run, most);
  if (same) return;
  const auto tokens = [](std::int64_t count, bool bytes) {
    return bytes ? "bytes" : fmt::format("{} tokens of its tokenizer", count);
  };
  throw RunError(ExitCode::bad_data,
                 fmt::format("{}: the model of {} was trained on {}, this data consists of {}; choose data that was "
                             "prepared with the tokenizer of the run",
                             corpus.name(), loaded.checkpoint, tokens(loaded.config.model.vocabulary, name == "bytes"),
                             tokens(corpus.vocabulary(), corpus.is_bytes())));
}

EvalConfig chosen_settings(const EvalArguments& arguments, const Config& config) {
  EvalConfig chosen = config.eval;
  if (arguments.memory >= 0) chosen.memory = arguments.memory;
  if (arguments.batch_size > 0) chosen.batch_size = arguments.batch_size;
  chosen.max_tokens = arguments.max_tokens >= 0 ? arguments.max_tokens : 0;
  if (arguments.paper) {
    chosen.memory = 4 * config.model.segment;
    chosen.batch_size = 4;
  }
  return chosen;
}

void print_evaluation(const LoadedModel& loaded, const Corpus& corpus, const Evaluation& result, bool json) {
  const ModelConfig& model = loaded.config.model;
  if (!json) {
    fmt::print("{}\n", describe(result));
    fmt::print("on {} of {} tokens of {}\n", result.tokens, corpus.size(), printable(corpus.name(), 4096));
    fmt::print("segment {}, memory {}, batch {}, {}\n", model.segment, result.memory, result.batch_size,
               model.precision);
    fmt::print("checkpoint {}\n", printable(loaded.checkpoint, 4096));
    return;
  }
  nlohmann::json object = {{"checkpoint", loaded.checkpoint}, {"data", corpus.name()},
                           {"tokens", result.tokens},         {"nats_per_token", result.nats_per_token},
                           {"segment", model.segment},        {"memory", result.memory},
                           {"batch_size", result.batch_size}, {"precision", model.precision}};
  if (!result.is_bytes) object["perplexity"] = result.perplexity();
  if (const auto bits = result.bits_per_byte()) object["bits_per_byte"] = *bits;
  if (const auto words = result.word_perplexity()) object["word_perplexity"] = *words;
  fmt::print("{}\n", object.dump());
}

void run_eval(const EvalArguments& arguments) {
  const LoadedModel loaded =
      load_model(arguments.path, arguments.device, arguments.threads, arguments.paper ? "float32" : "");
  const Corpus corpus = chosen_corpus(arguments, loaded.config.data);
  check_same_tokens(loaded, corpus);
  corpus.verify();
  const Evaluation result = evaluate(*loaded.model, corpus, chosen_settings(arguments, loaded.config));
  print_evaluation(loaded, corpus, result, arguments.json);
}

struct GenerateArguments {
  std::string path, prompt, device = "cpu";
  GenerateOptions options;
  std::int64_t threads = 0;
  bool json = false, no_context = false;
};

// The start of the run's validation data, or nothing (and a warning) where that cannot be read any more.
std::vector<std::int32_t> run_context(const LoadedModel& loaded) {
  try {
    const Corpus corpus = open_corpora(loaded.config.data).valid;
    check_same_tokens(loaded, corpus);
    return context_from(corpus, loaded.config.model);
  } catch (const Error& error) {
    warn_on_stderr(fmt::format("no context: {}; with a short prompt the text will be poor", error.what()));
    return {};
  }
}

void run_generate(GenerateArguments arguments) {
  if (std::isnan(arguments.options.temperature))  // CLI::Range lets it pass
    throw ArgumentError("--temperature: nan is not a number; give one from 0 to 100");
  const LoadedModel loaded = load_model(arguments.path, arguments.device, arguments.threads);
  if (!arguments.no_context) arguments.options.context = run_context(loaded);
  const auto tokenizer = tokenizer_of(loaded.checkpoint);
  const std::string text = generate(*loaded.model, *tokenizer, arguments.prompt, arguments.options);
  if (arguments.json) {
    fmt::print("{{\"checkpoint\":{},\"prompt\":{},\"text\":{}}}\n", quote(loaded.checkpoint), quote(arguments.prompt),
               quote(text));
    return;
  }
  fmt::print("{}\n", printable_text(arguments.prompt + text));
}

}  // namespace

void add_eval_command(CLI::App& app) {
  CLI::App* const command = app.add_subcommand("eval", "measure a trained model on a text");
  const auto arguments = std::make_shared<EvalArguments>();
  command->add_option("run", arguments->path, "a run folder (its newest checkpoint) or a checkpoint folder")
      ->required();
  command->add_option("--data", arguments->data, "a text or a folder of prepared data; default that of the run");
  command->add_option("--split", arguments->split, "train, valid or test, of prepared data; default valid")
      ->check(CLI::IsMember({"train", "valid", "test"}));
  const auto memory =
      command->add_option("--memory", arguments->memory, "tokens of memory; default eval.memory of the run")
          ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 20));
  const auto batch_size =
      command->add_option("--batch-size", arguments->batch_size, "streams read side by side; default eval.batch_size")
          ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 16));
  const auto max_tokens = command->add_option("--max-tokens", arguments->max_tokens, "stop after so many; default all")
                              ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 48));
  command
      ->add_flag("--paper", arguments->paper,
                 "measure as the paper does: a memory of four segments, batch 4, float32, all of the split")
      ->excludes(memory)
      ->excludes(batch_size)
      ->excludes(max_tokens);
  add_device_option(*command, arguments->device);
  command->add_option("--threads", arguments->threads, "default all")->check(CLI::Range(1, 4096));
  command->add_flag("--json", arguments->json, "print one JSON object");
  command->callback([arguments] { run_eval(*arguments); });
}

void add_generate_command(CLI::App& app) {
  CLI::App* const command = app.add_subcommand("generate", "continue a text");
  const auto arguments = std::make_shared<GenerateArguments>();
  command->add_option("run", arguments->path, "a run folder (its newest checkpoint) or a checkpoint folder")
      ->required();
  command->add_option("--prompt", arguments->prompt, "text to continue; without it, the context is continued");
  command->add_flag("--no-context", arguments->no_context,
                    "do not let the model read the start of the run's validation data first");
  command->add_option("--tokens", arguments->options.tokens, "tokens to generate")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 24));
  command->add_option("--temperature", arguments->options.temperature, "0 takes the most likely token always")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 100.0));
  command->add_option("--top-k", arguments->options.top_k, "sample among the k most likely tokens; 0: among all")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 24));
  command->add_option("--seed", arguments->options.seed, "another seed, another text")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  add_device_option(*command, arguments->device);
  command->add_option("--threads", arguments->threads, "default all")->check(CLI::Range(1, 4096));
  command->add_flag("--json", arguments->json, "print one JSON object");
  command->callback([arguments] { run_generate(*arguments); });
}

}  // namespace weir
