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
#include "train/append_file.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/generate.h"
#include "train/run_directory.h"

namespace weir {
namespace {

struct LoadedModel {
  std::string checkpoint;
  Config config;
  std::unique_ptr<TransformerXl> model;
};

LoadedModel load_model(const std::string& path, std::int64_t threads) {
  if (threads > 0) set_thread_count(static_cast<int>(threads));
  LoadedModel loaded;
  loaded.checkpoint = resolve_checkpoint(path);
  verify_checkpoint(loaded.checkpoint);
  loaded.config = checkpoint_config(loaded.checkpoint);
  loaded.model = std::make_unique<TransformerXl>(loaded.config.model, loaded.config.feedforward);
  loaded.model->initialise(0);
  load_parameters(loaded.checkpoint, loaded.model->parameters());
  return loaded;
}

struct EvalArguments {
  std::string path, data;
  std::int64_t memory = -1, batch_size = 0, max_tokens = -1, threads = 0;
  bool json = false;
};

void run_eval(const EvalArguments& arguments) {
  const LoadedModel loaded = load_model(arguments.path, arguments.threads);
  EvalConfig config = loaded.config.eval;
  if (arguments.memory >= 0) config.memory = arguments.memory;
  if (arguments.batch_size > 0) config.batch_size = arguments.batch_size;
  config.max_tokens = arguments.max_tokens >= 0 ? arguments.max_tokens : 0;
  const DataConfig& data = loaded.config.data;
  const ByteCorpus corpus = arguments.data.empty() ? open_corpora(data.train, data.valid, data.valid_fraction).valid
                                                   : ByteCorpus(arguments.data);
  const Evaluation result = evaluate(*loaded.model, corpus, config);
  if (arguments.json) {
    const nlohmann::json object = {{"checkpoint", loaded.checkpoint},
                                   {"data", corpus.path()},
                                   {"bytes", result.tokens},
                                   {"nats_per_byte", result.nats_per_token},
                                   {"bits_per_byte", result.bits_per_byte()},
                                   {"segment", loaded.config.model.segment},
                                   {"memory", result.memory},
                                   {"batch_size", result.batch_size},
                                   {"precision", loaded.config.model.precision}};
    fmt::print("{}\n", object.dump());
    return;
  }
  fmt::print("{:.4f} bits per byte on {} bytes of {}\n", result.bits_per_byte(), result.tokens, corpus.path());
  fmt::print("checkpoint {}, segment {}, memory {}, batch {}, {}\n", loaded.checkpoint, loaded.config.model.segment,
             result.memory, result.batch_size, loaded.config.model.precision);
}

struct GenerateArguments {
  std::string path, prompt;
  GenerateOptions options;
  std::int64_t threads = 0;
  bool json = false, no_context = false;
};

// The start of the run's validation text, or nothing (and a warning) where that cannot be read any more.
std::string run_context(const Config& config) {
  try {
    const DataConfig& data = config.data;
    return context_from(open_corpora(data.train, data.valid, data.valid_fraction).valid, config.model);
  } catch (const Error& error) {
    warn_on_stderr(fmt::format("no context: {}; with a short prompt the text will be poor", error.what()));
    return "";
  }
}

void run_generate(GenerateArguments arguments) {
  if (std::isnan(arguments.options.temperature))  // CLI::Range lets it pass
    throw ArgumentError("--temperature: nan is not a number; give one from 0 to 100");
  const LoadedModel loaded = load_model(arguments.path, arguments.threads);
  if (!arguments.no_context) arguments.options.context = run_context(loaded.config);
  if (arguments.json) {
    const std::string text = generate(*loaded.model, arguments.prompt, arguments.options);
    fmt::print("{{\"checkpoint\":{},\"prompt\":{},\"text\":{}}}\n", quote(loaded.checkpoint), quote(arguments.prompt),
               quote(text));
    return;
  }
  std::string text = arguments.prompt;
  text += generate(*loaded.model, arguments.prompt, arguments.options);
  fmt::print("{}\n", printable_text(text));
}

}  // namespace

void add_eval_command(CLI::App& app) {
  CLI::App* const command = app.add_subcommand("eval", "measure a trained model on a text");
  const auto arguments = std::make_shared<EvalArguments>();
  command->add_option("run", arguments->path, "a run folder (its newest checkpoint) or a checkpoint folder")
      ->required();
  command->add_option("--data", arguments->data, "text to measure on; default the validation data of the run");
  command->add_option("--memory", arguments->memory, "tokens of memory; default eval.memory of the run")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 20));
  command->add_option("--batch-size", arguments->batch_size, "streams read side by side; default eval.batch_size")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 16));
  command->add_option("--max-tokens", arguments->max_tokens, "stop after so many; default all")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 48));
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
                    "do not let the model read the start of the run's validation text first");
  command->add_option("--tokens", arguments->options.tokens, "bytes to generate")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 24));
  command->add_option("--temperature", arguments->options.temperature, "0 takes the most likely byte always")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 100.0));
  command->add_option("--top-k", arguments->options.top_k, "sample among the k most likely bytes; 0: among all")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 24));
  command->add_option("--seed", arguments->options.seed, "another seed, another text")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--threads", arguments->threads, "default all")->check(CLI::Range(1, 4096));
  command->add_flag("--json", arguments->json, "print one JSON object");
  command->callback([arguments] { run_generate(*arguments); });
}

}  // namespace weir
