// weir eval, weir generate: what is done with a trained model.
#include <fmt/format.h>

#include "core/error.h"
#include "core/file.h"
#include "core/json_writer.h"
#include "core/parallel.h"
#include "core/text.h"
#include "tools/weir/commands.h"
#include "tools/weir/common_options.h"
#include "tools/weir/print.h"
#include "train/append_file.h"
#include "train/checkpoint.h"
#include "train/data_paths.h"
#include "train/evaluate.h"
#include "train/generate.h"
#include "train/preconditions.h"
#include "train/prepare/encoded_text.h"
#include "train/run_directory.h"
#include "train/text/text_stream.h"
#include "train/tokenizer/unknown_text.h"

namespace weir {
namespace {

struct LoadedModel {
  std::string checkpoint;
  Config config;
  std::unique_ptr<LanguageModel> model;
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
  loaded.model = make_language_model(loaded.config.model, loaded.config.feedforward);
  loaded.model->initialise(0, DType::float32, place);
  load_parameters(loaded.checkpoint, loaded.model->parameters());
  return loaded;
}

struct EvalArguments {
  std::string path, data, split, encoding, device = "cpu";
  std::int64_t memory = -1, batch_size = 0, max_tokens = -1, threads = 0;
  bool paper = false, json = false;

  void visit(OptionVisitor& v) {
    v.argument("RUN", path,
               "a run (its newest checkpoint): its folder, or its name below runs/; or a checkpoint folder");
    v.option("--data PATH", data, "a text or a folder of prepared data; default that of the run");
    v.option("--encoding NAME", encoding, {"utf-8", "bytes"}, "of a text; default data.encoding of the run");
    v.option("--split NAME", split, {"train", "valid", "test"}, "part of prepared data; default valid");
    v.option("--memory N", memory, {.min = 0, .max = 1 << 20}, "tokens of memory; default eval.memory of the run");
    v.option("--batch-size N", batch_size, {.min = 1, .max = 1 << 16},
             "streams read side by side; default eval.batch_size of the run");
    v.option("--max-tokens N", max_tokens, {.min = 0, .max = std::int64_t{1} << 48},
             "measure about this many tokens: the start of each stream, in whole segments; default all");
    v.flag("--paper", paper,
           "measure as the paper does: a memory of four segments, batch 4, float32, all of the split");
    v.excludes("--paper", {"--memory", "--batch-size", "--max-tokens"});
    device_option(v, device);
    threads_option(v, threads);
    v.flag("--json", json, "print one JSON object");
  }
};

// The tokens of a text for the model: its bytes, or what the tokenizer of the run makes of it.
Corpus tokens_of_text(const EvalArguments& arguments, const LoadedModel& loaded) {
  if (!arguments.split.empty())
    throw ArgumentError(fmt::format("--split {}: {} is a text, which has no splits; leave --split out", arguments.split,
                                    quote_short(arguments.data)));
  const std::string& encoding = arguments.encoding.empty() ? loaded.config.data.encoding : arguments.encoding;
  const TextOptions options{text_content(encoding), "--encoding bytes"};
  if (seems_json_lines(arguments.data, options)) warn_on_stderr(json_lines_note(arguments.data));
  const std::string tokenizer = checkpoint_tokenizer(loaded.checkpoint);
  if (is_byte_tokenizer(tokenizer)) return Corpus::text(arguments.data, options);
  return encode_text(arguments.data, tokenizer_file(loaded.checkpoint), options);
}

// What to measure on: --data, or the data of the run; there --split, by default what training validates on.
Corpus chosen_corpus(const EvalArguments& arguments, const LoadedModel& loaded) {
  const std::string split = arguments.split.empty() ? "valid" : arguments.split;
  if (!arguments.encoding.empty() && (arguments.data.empty() || is_prepared_data(arguments.data)))
    throw ArgumentError(arguments.data.empty()
                            ? "--encoding is that of the text which --data names; leave it out"
                            : fmt::format("--encoding {}: {} is prepared data, whose texts were read when it was made; "
                                          "leave --encoding out",
                                          arguments.encoding, quote_short(arguments.data)));
  if (!arguments.data.empty())
    return is_prepared_data(arguments.data) ? Corpus::split(arguments.data, split) : tokens_of_text(arguments, loaded);
  const DataConfig data = data_of(loaded.checkpoint, "or name other data with --data");
  if (split == "valid") {
    const Corpus valid = open_corpora(data).valid;
    if (valid.size() == 0)
      throw RunError(ExitCode::bad_data, fmt::format("{}: this run keeps no validation data (data.valid_fraction = 0); "
                                                     "name a text with --data",
                                                     printable(arguments.path, 4096)));
    return valid;
  }
  Corpus corpus = open_corpus(data_path(data, data.train), split);
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
  const std::string of_run = tokenizer_file(loaded.checkpoint);
  const bool of_bytes = is_byte_tokenizer(name);
  const bool same = corpus.is_bytes() ? of_bytes && loaded.config.model.vocabulary == 256
                                      : !of_bytes && loaded.config.model.vocabulary == corpus.vocabulary() &&
                                            read_file(corpus.tokenizer(), most) == read_file(of_run, most);
  if (same) return;
  const auto tokens = [](std::int64_t count, bool bytes) {
    return bytes ? "bytes" : fmt::format("{} tokens of a tokenizer", count);
  };
  const bool alike = !of_bytes && !corpus.is_bytes() && loaded.config.model.vocabulary == corpus.vocabulary();
  throw RunError(
      ExitCode::bad_data,
      fmt::format("{}: the model of {} was trained on {}, this data consists of {}; name a text with --data, or data "
                  "that was prepared with the tokenizer of the run{}",
                  printable(corpus.name(), 4096), printable(loaded.checkpoint, 4096),
                  tokens(loaded.config.model.vocabulary, of_bytes),
                  alike ? "as many of another one" : tokens(corpus.vocabulary(), corpus.is_bytes()),
                  of_bytes ? "" : ": --tokenizer " + shell_word(of_run)));
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
    print("{}\n", describe(result));
    if (result.unknown_share > 0) print("{}\n", describe_unknown(result.unknown_share));
    const std::string name = printable(corpus.name(), 4096);
    if (result.predictable == 1)
      print("on the only token of {} with a context\n", name);
    else
      print("on {} of the {} tokens of {} with a context\n", result.tokens, result.predictable, name);
    print("segment {}, memory {}, batch {}, {}\n", model.segment, result.memory, result.batch_size, model.precision);
    print("checkpoint {}\n", printable(loaded.checkpoint, 4096));
    return;
  }
  JsonObject object = {{"checkpoint", loaded.checkpoint},
                       {"data", corpus.name()},
                       {"tokens", result.tokens},
                       {"predictable_tokens", result.predictable},
                       {"nats_per_token", result.nats_per_token},
                       {"segment", model.segment},
                       {"memory", result.memory},
                       {"batch_size", result.batch_size},
                       {"precision", model.precision}};
  if (!result.is_bytes) object["perplexity"] = result.perplexity();
  if (const auto bits = result.bits_per_byte()) object["bits_per_byte"] = *bits;
  if (const auto words = result.word_perplexity()) object["word_perplexity"] = *words;
  if (result.unknown_share > 0) object["unknown_share"] = result.unknown_share;
  print("{}\n", Json(object).text());
}

void run_eval(const EvalArguments& arguments) {
  const LoadedModel loaded =
      load_model(arguments.path, arguments.device, arguments.threads, arguments.paper ? "float32" : "");
  const Corpus corpus = chosen_corpus(arguments, loaded);
  check_same_tokens(loaded, corpus);
  corpus.verify();
  const Evaluation result = evaluate(*loaded.model, corpus, chosen_settings(arguments, loaded.config));
  print_evaluation(loaded, corpus, result, arguments.json);
}

struct GenerateArguments {
  std::string path, prompt, device = "cpu";
  GenerateOptions options;
  std::int64_t seed = 1, threads = 0;
  bool json = false, no_context = false;

  void visit(OptionVisitor& v) {
    v.argument("RUN", path,
               "a run (its newest checkpoint): its folder, or its name below runs/; or a checkpoint folder");
    v.option("--prompt TEXT", prompt, "text to continue; without it, the context is continued");
    v.flag("--no-context", no_context, "do not let the model read the start of the run's validation data first");
    v.option("--tokens N", options.tokens, {.min = 1, .max = 1 << 24}, "tokens to generate");
    v.option("--temperature T", options.temperature, {.min = 0, .max = 100},
             "how freely to sample; 0: always the most likely token");
    v.option("--top-k K", options.top_k, {.min = 0, .max = 1 << 24},
             "sample among the k most likely tokens; 0: among all");
    v.option("--seed N", seed, {.min = 0}, "seed of the sampling: the same seed gives the same text");
    device_option(v, device);
    threads_option(v, threads);
    v.flag("--json", json, "print one JSON object");
  }
};

// The start of the run's validation data, or nothing (and a warning) where that cannot be read any more.
std::vector<std::int32_t> run_context(const LoadedModel& loaded) {
  try {
    const Corpus corpus = open_corpora(data_of(loaded.checkpoint)).valid;
    check_same_tokens(loaded, corpus);
    return context_from(corpus, loaded.config.model);
  } catch (const Error& error) {
    warn_on_stderr(fmt::format("no context: {}; with a short prompt the text will be poor", error.what()));
    return {};
  }
}

void run_generate(GenerateArguments arguments) {
  arguments.options.seed = static_cast<std::uint64_t>(arguments.seed);
  const LoadedModel loaded = load_model(arguments.path, arguments.device, arguments.threads);
  if (!arguments.no_context) arguments.options.context = run_context(loaded);
  const auto tokenizer = tokenizer_of(loaded.checkpoint);
  UnknownText unknown;
  unknown.add(*tokenizer, arguments.prompt);
  if (unknown.any()) warn_on_stderr(unknown.describe("the prompt"));
  const std::string text = generate(*loaded.model, *tokenizer, arguments.prompt, arguments.options);
  if (arguments.json) {
    const JsonObject object{{"checkpoint", loaded.checkpoint}, {"prompt", arguments.prompt}, {"text", text}};
    print("{}\n", Json(object).text());
    return;
  }
  print("{}\n", printable_text(arguments.prompt + text));
}

}  // namespace

void add_eval_command(CommandLine& line) {
  line.add<EvalArguments>("eval", "measure a trained model on a text", run_eval);
}

void add_generate_command(CommandLine& line) {
  line.add<GenerateArguments>("generate", "continue a text", run_generate);
}

}  // namespace weir
