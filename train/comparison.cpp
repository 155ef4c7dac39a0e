#include "train/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "models/feedforward_share.h"
#include "train/dataset.h"
#include "train/paper_presets.h"
#include "train/progress.h"
#include "train/tokenizer/unknown_text.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

// Something in which runs may differ: `key` decides, `text` is shown.
struct Trait {
  std::string key, text;
};

// The tokenizer's file in the run folder decides, not its name.
Trait tokenizer_trait(const ComparedRun& run) {
  constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 30;
  for (const char* name : {"tokenizer.model", "tokenizer.json"}) {
    const std::string path = run.folder + "/" + name;
    if (is_there(path))
      return {read_file(path, kMostBytes), fmt::format("{} with {} tokens", name, run.config.model.vocabulary)};
  }
  if (run.result.last->tokens_are_bytes) return {"", "bytes"};
  return {"of " + run.folder, "a tokenizer that is not in the run's folder"};
}

// Folders prepared from the same files with other tokenizers hold the same text: their dataset.json names the files
// with their checksums.
Trait data_trait(const ComparedRun& run) {
  const DataConfig& data = run.config.data;
  const std::string path = data.valid.empty() ? data.train : data.valid;
  if (path.empty()) return {"", "no data"};
  const Trait by_path{fmt::format("{} {}", fs::absolute(path).lexically_normal().string(),
                                  data.valid.empty() ? data.valid_fraction : 0),
                      printable(path)};
  if (!is_there(path + "/dataset.json")) return by_path;
  try {
    const Dataset dataset = read_dataset(path);
    const auto split = dataset.splits.find("valid");
    if (split == dataset.splits.end() || !split->second.bytes || dataset.source.empty()) return by_path;
    std::string key = fmt::format("{} bytes", *split->second.bytes);
    for (const auto& [name, value] : dataset.source) key += fmt::format("\n{}: {}", name, value);
    return {key, printable(path)};
  } catch (const Error&) {
    return by_path;
  }
}

Trait memory_trait(const ComparedRun& run) {
  const std::string tokens = counted(run.config.eval.memory, "token");
  return {tokens, tokens};
}

// "bytes: a, b; tokenizer.model with 8000 tokens: c"; empty where all runs have the same. What is the same under
// several names has them all: "data/a, data/b (the same text): a, b".
std::string differences(std::span<const ComparedRun* const> runs, Trait (*trait_of)(const ComparedRun&)) {
  struct Group {
    std::string key;
    std::vector<std::string> texts, names;
  };
  const auto add_new = [](std::vector<std::string>& list, const std::string& item) {
    if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
  };
  std::vector<Group> groups;
  for (const ComparedRun* run : runs) {
    const Trait trait = trait_of(*run);
    auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.key == trait.key; });
    if (group == groups.end()) group = groups.insert(groups.end(), {trait.key, {}, {}});
    add_new(group->texts, trait.text);
    add_new(group->names, printable(run->name));
  }
  if (groups.size() < 2) return "";
  std::vector<std::string> parts;
  for (const Group& group : groups)
    parts.push_back(join(group.texts, ", ") + (group.texts.size() > 1 ? " (the same text): " : ": ") +
                    join(group.names, ", "));
  return join(parts, "; ");
}

std::string tokens_text(const Config& config, const ValidationResult* result) {
  if (result != nullptr && result->tokens) return counted(*result->tokens, "token");
  return config.eval.max_tokens > 0 ? "at most " + counted(config.eval.max_tokens, "token") : "all tokens";
}

// Of one text under several tokenizers the bytes are the same, but for a token at its end.
std::string differences_in_length(std::span<const ComparedRun* const> runs, bool one_tokenizer) {
  bool differ = false;
  for (const ComparedRun* run : runs) {
    const ValidationResult &first = *runs[0]->result.last, &other = *run->result.last;
    const auto bytes = first.text_bytes(), other_bytes = other.text_bytes();
    if (!one_tokenizer && bytes && other_bytes)
      differ = differ || std::abs(*other_bytes - *bytes) > 0.01 * *bytes;
    else if (one_tokenizer)
      differ = differ || tokens_text(run->config, &other) != tokens_text(runs[0]->config, &first);
  }
  if (!differ) return "";
  std::vector<std::string> parts;
  for (const ComparedRun* run : runs) {
    const ValidationResult& result = *run->result.last;
    const auto bytes = result.text_bytes();
    parts.push_back(
        fmt::format("{}: {}{}", printable(run->name), tokens_text(run->config, &result),
                    bytes && !result.tokens_are_bytes ? fmt::format(" ({} bytes)", format_si(*bytes)) : ""));
  }
  return join(parts, "; ");
}

std::string without_bits(std::span<const ComparedRun* const> runs) {
  std::vector<std::string> names;
  for (const ComparedRun* run : runs)
    if (!run->result.last->bits_per_byte) names.push_back(printable(run->name));
  return join(names, ", ");
}

// "wl (15.2%), spm (3%)": the runs whose tokenizer leaves out much of the validation text, or else a little.
std::string with_unknown(std::span<const ComparedRun* const> runs, bool much) {
  std::vector<std::string> names;
  for (const ComparedRun* run : runs)
    if (const double share = run->result.last->unknown_share; share > 0 && (share >= kMuchUnknown) == much)
      names.push_back(fmt::format("{} ({})", printable(run->name), unknown_percent(run->result.last->unknown_share)));
  return join(names, ", ");
}

}  // namespace

Comparison compare_results(std::span<const ComparedRun> all) {
  std::vector<const ComparedRun*> runs;
  for (const ComparedRun& run : all)
    if (run.result.last) runs.push_back(&run);
  Comparison comparison;
  if (runs.empty()) return comparison;
  const std::string tokenizers = differences(runs, tokenizer_trait), data = differences(runs, data_trait),
                    memory = differences(runs, memory_trait);
  comparison.one_tokenizer = tokenizers.empty();
  const bool some_bits = std::any_of(
      runs.begin(), runs.end(), [](const ComparedRun* run) { return run->result.last->bits_per_byte.has_value(); });
  if (!tokenizers.empty() || (!data.empty() && some_bits))
    comparison.unit = ResultUnit::bits_per_byte;
  else
    comparison.unit = runs[0]->result.last->own_unit();
  std::vector<std::string>& notes = comparison.notes;
  if (!tokenizers.empty())
    notes.push_back(
        fmt::format("The runs have different tokenizers, so results are in bits per byte of text; losses and "
                    "perplexities per token do "
                    "not compare ({}).",
                    tokenizers));
  if (!data.empty())
    notes.push_back(
        fmt::format("The runs were validated on different data{}; results on different texts do not compare ({}).",
                    tokenizers.empty() && some_bits ? ", so results are in bits per byte of text" : "", data));
  if (comparison.unit == ResultUnit::bits_per_byte)
    if (const std::string names = without_bits(runs); !names.empty())
      notes.push_back(
          fmt::format("No bits per byte, and so nothing that compares: {}. The data of these runs does not say how "
                      "many bytes its text "
                      "has; data that 'weir prepare' makes of texts does.",
                      names));
  if (const std::string names = with_unknown(runs, false); !names.empty())
    notes.push_back(fmt::format(
        "The tokenizer has no token for a little of the validation text, which lowers the figures a little: "
        "{}.",
        names));
  if (const std::string names = with_unknown(runs, true); !names.empty())
    notes.push_back(
        fmt::format("The tokenizer has no token for part of the validation text, so the figures are too low and do not "
                    "rank these runs: {}.",
                    names));
  if (!memory.empty())
    notes.push_back(
        fmt::format("Validation had different memory lengths; more memory lowers the figures ({}).", memory));
  if (const std::string lengths = differences_in_length(runs, comparison.one_tokenizer); !lengths.empty())
    notes.push_back(fmt::format("Validation covered different amounts of text ({}).", lengths));
  return comparison;
}

std::int64_t dense_reference(const Config& config, std::span<const Config> compared) {
  for (const Config& other : compared)
    if (other.feedforward.kind == "dense" && other.model.d_model == config.model.d_model) return other.feedforward.d_ff;
  if (published_result(config)) return find_paper_preset(config.name)->dense_d_ff;
  return matched_d_ff(config.model, config.feedforward);
}

std::string dense_reference_text(std::span<const std::string> names, std::span<const std::int64_t> references) {
  std::vector<std::int64_t> distinct;
  for (const std::int64_t reference : references)
    if (std::find(distinct.begin(), distinct.end(), reference) == distinct.end()) distinct.push_back(reference);
  std::vector<std::string> parts;
  for (const std::int64_t reference : distinct) {
    std::vector<std::string> with;
    for (std::size_t i = 0; i < references.size(); ++i)
      if (references[i] == reference) with.push_back(printable(names[i]));
    parts.push_back(counted(reference, "hidden unit") + (distinct.size() > 1 ? " (" + join(with, ", ") + ")" : ""));
  }
  return fmt::format("FLOPs are the feedforward's, in percent of a dense one with {}.", join(parts, ", "));
}

std::string measured_text(const Config& config, const ValidationResult* result) {
  const std::int64_t streams = result != nullptr && result->streams ? *result->streams : config.eval.batch_size;
  return fmt::format("{} of the validation text, memory {}, {}", tokens_text(config, result), config.eval.memory,
                     counted(streams, "stream"));
}

}  // namespace weir
