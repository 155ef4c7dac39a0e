#include "train/config_sources.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "train/data_paths.h"
#include "train/schedule.h"

namespace weir {
namespace {

std::string place_of(const std::string& key, const ConfigSources& sources) {
  const auto given = sources.given.find(key);
  return given != sources.given.end() ? given->second.place : sources.base;
}

void note(Notes* notes, const std::string& text) {
  if (notes != nullptr) notes->push_back(one_line(text));
}

// The folder where a relative path starts that stands in `key`. Empty: unknown, in runs that did not store it.
std::string start_of(const std::string& key, const DataConfig& data, const ConfigSources& sources) {
  const auto given = sources.given.find(key);
  if (given == sources.given.end() && sources.stored) return data.folder;
  if (given == sources.given.end() || given->second.file.empty()) return working_directory();
  return real_folder(std::filesystem::path(given->second.file).parent_path().string());
}

bool belongs_to_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.'; }

// The position after "key = value" in `message`, or npos. Advice such as "set key = 1" has another value.
std::size_t end_of_mention(const std::string& message, const std::string& key, const std::string& value) {
  const std::string wanted = key + " = " + value;
  for (std::size_t at = message.find(wanted); at != std::string::npos; at = message.find(wanted, at + 1)) {
    const std::size_t end = at + wanted.size();
    const bool starts = at == 0 || !belongs_to_word(message[at - 1]);
    const bool ends = end == message.size() || !belongs_to_word(message[end]) || message[end] == '.';
    if (starts && ends) return end;
  }
  return std::string::npos;
}

// The value as messages write it: numbers without a trailing ".0".
std::string plain_value(const Field& field) {
  if (auto* const* number = std::get_if<double*>(&field.value)) return fmt::format("{}", **number);
  return value_text(field);
}

}  // namespace

std::string with_sources(std::string message, Config config, const ConfigSources& sources) {
  bool named = false;
  for (const Field& field : fields_of(config).fields) {
    const std::size_t end = end_of_mention(message, field.key(), plain_value(field));
    if (end == std::string::npos) continue;
    message.insert(end, " (" + place_of(field.key(), sources) + ")");
    named = true;
  }
  return named ? message : sources.base + ": " + message;
}

void replace_limits(TrainConfig& train, const ConfigSources& sources, Notes* notes) {
  const auto given = [&](const RunLimit& limit) { return sources.given.contains(limit.key); };
  const std::vector<RunLimit> limits = run_limits(train);
  const auto chosen = std::find_if(limits.begin(), limits.end(), given);
  if (chosen == limits.end()) return;
  for (const RunLimit& limit : limits) {
    if (given(limit)) continue;
    if (limit.key == "train.steps") train.steps = 0;
    if (limit.key == "train.tokens") train.tokens = 0;
    if (limit.key == "train.minutes") train.minutes = 0;
    note(notes, fmt::format("{} ({}) does not limit this run: {} takes its place", limit.text(), sources.base,
                            chosen->text()));
  }
}

void shorten_warmup(Config& config, const ConfigSources& sources, Notes* notes) {
  const std::int64_t steps = step_limit(config.train, config.train.batch_size * config.model.segment);
  std::int64_t& warmup = config.optimizer.warmup_steps;
  if (steps == 0 || warmup < steps || sources.given.contains("optimizer.warmup_steps")) return;
  note(notes, fmt::format("optimizer.warmup_steps = {} ({}) becomes {}, a tenth of the run's {}", warmup, sources.base,
                          steps / 10, counted(steps, "step")));
  warmup = steps / 10;
}

namespace {

bool is_prepared(const DataConfig& data) {
  try {
    return is_there(data_path(data, data.train) + "/dataset.json");
  } catch (const RunError&) {
    return false;  // whoever opens the data says what is wrong
  }
}

// Why a value that was given changes nothing beside the others; empty where it counts.
std::string why_unused(const FieldList& list, const Field& field, const Config& c) {
  if (!list.uses(field))
    return fmt::format("the section [{}] is for another kind than the configuration has", field.section);
  const std::string key = field.key();
  if (field.section == "feedforward" && key != FeedforwardKind::setting)
    return registry<FeedforwardKind>().reads(c.feedforward.kind, field.name)
               ? ""
               : "feedforward.kind = " + c.feedforward.kind;
  if (key.starts_with("model.attention_") && c.model.attention == "relative") return "model.attention = relative";
  if (key == "optimizer.min_lr" || key == "optimizer.decay_steps")
    return c.optimizer.schedule == "constant" ? "optimizer.schedule = constant" : "";
  if (key == "data.encoding") return is_prepared(c.data) ? "data.train is prepared data" : "";
  if (key == "data.valid_fraction") return c.data.valid.empty() ? "" : "data.valid is set";
  return "";
}

}  // namespace

void note_unused(Config& config, const ConfigSources& sources, Notes* notes) {
  const FieldList list = fields_of(config);
  for (const Field& field : list.fields)
    if (const std::string why = sources.given.contains(field.key()) ? why_unused(list, field, config) : "";
        !why.empty())
      note(notes, fmt::format("{} ({}) has no effect: {}", field.key(), place_of(field.key(), sources), why));
}

void set_data_folder(DataConfig& data, const ConfigSources& sources) {
  if (sources.given.contains("data.folder")) {
    if (!data.folder.empty()) data.folder = from_folder(start_of("data.folder", data, sources), data.folder);
    if (!data.folder.empty()) return;
  }
  const std::string of_train = start_of("data.train", data, sources), of_valid = start_of("data.valid", data, sources);
  data.folder = is_relative_path(data.train) ? of_train : is_relative_path(data.valid) ? of_valid : "";
  if (of_valid != data.folder) data.valid = from_folder(of_valid, data.valid);
}

void complete(Config& config, const ConfigSources& sources, Notes* notes) {
  set_data_folder(config.data, sources);
  replace_limits(config.train, sources, notes);
  shorten_warmup(config, sources, notes);
  note_unused(config, sources, notes);
  resolve(config);
  try {
    validate(config);
  } catch (const ArgumentError& error) {
    throw ArgumentError(with_sources(error.what(), config, sources));
  }
}

}  // namespace weir
