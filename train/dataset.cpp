#include "train/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/text.h"

namespace weir {
namespace {

using nlohmann::json;

constexpr std::int64_t kFormat = 1;
constexpr std::uint64_t kMaxJsonBytes = 1 << 20;
constexpr std::size_t kMaxShards = 4096;  // all of them are open at once
constexpr std::int64_t kMaxCount = std::int64_t{1} << 48;
constexpr const char* kSplits[] = {"train", "valid", "test"};

// Complains about one field of a dataset.json.
[[noreturn]] void refuse(const std::string& path, const std::string& field, const std::string& why) {
  throw RunError(ExitCode::bad_data, fmt::format("{}: {}: {}; prepare the data again with 'weir prepare'",
                                                 printable(path, 4096), printable(field), why));
}

// --- what a dataset must be ---------------------------------------------------------------------------------------

// Names come from a file that others may have written; they must not lead out of the folder.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name.size() <= 255 && name[0] != '.' && name.find('/') == std::string::npos &&
         printable(name, 256) == name;
}

void check_count(const std::string& path, const std::string& field, std::int64_t count, std::int64_t least) {
  if (count < least || count > kMaxCount)
    refuse(path, field, fmt::format("it is {}, expected {} to 2^48", count, least));
}

void check_split(const std::string& path, const std::string& field, const Split& split, std::set<std::string>& names) {
  check_count(path, field + ".tokens", split.tokens, 1);
  if (split.bytes) check_count(path, field + ".bytes", *split.bytes, 1);
  if (split.words) check_count(path, field + ".words", *split.words, 1);
  if (split.shards.empty() || split.shards.size() > kMaxShards)
    refuse(path, field + ".shards", fmt::format("there are {}, expected 1 to {}", split.shards.size(), kMaxShards));
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < split.shards.size(); ++i) {
    const Shard& shard = split.shards[i];
    const std::string place = fmt::format("{}.shards[{}]", field, i);
    if (!is_plain_name(shard.file) || !shard.file.ends_with(".tokens"))
      refuse(path, place + ".file", quote_short(shard.file) + " is not the plain name of a .tokens file");
    if (!names.insert(shard.file).second) refuse(path, place + ".file", quote_short(shard.file) + " appears twice");
    check_count(path, place + ".tokens", shard.tokens, 1);
    sum += shard.tokens;
  }
  if (sum != split.tokens)
    refuse(path, field + ".tokens", fmt::format("it is {}, but the shards have {} together", split.tokens, sum));
}

void check_dataset(const std::string& path, const Dataset& dataset) {
  if (dataset.vocabulary < 1 || dataset.vocabulary >= std::int64_t{1} << 31)
    refuse(path, "vocabulary", fmt::format("it is {}, expected 1 to 2^31 - 1", dataset.vocabulary));
  if (!is_plain_name(dataset.tokenizer))
    refuse(path, "tokenizer", quote_short(dataset.tokenizer) + " is neither \"bytes\" nor the plain name of a file");
  if (dataset.tokenizer == "bytes" && dataset.vocabulary != 256)
    refuse(path, "vocabulary", fmt::format("it is {}, but there are 256 bytes", dataset.vocabulary));
  if (dataset.splits.empty()) refuse(path, "splits", "there is none");
  std::set<std::string> names;
  for (const auto& [name, split] : dataset.splits) {
    if (std::find(std::begin(kSplits), std::end(kSplits), name) == std::end(kSplits))
      refuse(path, "splits", quote_short(name) + " is none of train, valid and test");
    check_split(path, "splits." + name, split, names);
  }
}

// --- JSON ---------------------------------------------------------------------------------------------------------

// An object in the file and where it stands, so that a complaint can name the field.
struct Object {
  const std::string& path;
  const std::string place;  // "splits.train", empty at the top
  const json& value;

  std::string field(const std::string& name) const { return place.empty() ? name : place + "." + name; }

  const json& member(const std::string& name, const char* kind, bool (json::*is_kind)() const noexcept) const {
    const auto found = value.find(name);
    if (found == value.end()) refuse(path, field(name), "the field is missing");
    if (!((*found).*is_kind)())
      refuse(path, field(name), fmt::format("expected {}, found {}", kind, found->type_name()));
    return *found;
  }
  std::string text(const std::string& name) const { return member(name, "a text", &json::is_string); }
  std::int64_t count(const std::string& name) const {
    const json& number = member(name, "a whole number", &json::is_number_integer);
    if (number.is_number_unsigned() && number.get<std::uint64_t>() > static_cast<std::uint64_t>(kMaxCount))
      refuse(path, field(name), fmt::format("it is {}, expected at most 2^48", number.get<std::uint64_t>()));
    return number;
  }
  std::optional<std::int64_t> optional_count(const std::string& name) const {
    return value.contains(name) ? std::optional(count(name)) : std::nullopt;
  }
  const json& object(const std::string& name) const { return member(name, "an object", &json::is_object); }
  const json& list(const std::string& name) const { return member(name, "a list", &json::is_array); }
};

Split parse_split(const Object& object) {
  Split split{object.count("tokens"), object.optional_count("bytes"), object.optional_count("words"), {}};
  const json& shards = object.list("shards");
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string place = fmt::format("{}[{}]", object.field("shards"), i);
    if (!shards[i].is_object()) refuse(object.path, place, "expected an object");
    const Object shard{object.path, place, shards[i]};
    split.shards.push_back({shard.text("file"), shard.count("tokens"), shard.text("xxh3_128")});
  }
  return split;
}

Dataset parse(const std::string& path, const json& value) {
  const Object top{path, "", value};
  if (const std::int64_t format = top.count("format"); format != kFormat)
    refuse(path, "format", fmt::format("it is {}, this program reads format {}", format, kFormat));
  Dataset dataset{top.text("name"), top.text("tokenizer"), top.count("vocabulary"), {}, {}};
  for (const auto& [name, split] : top.object("splits").items()) {
    if (!split.is_object()) refuse(path, "splits." + name, "expected an object");
    dataset.splits[name] = parse_split({path, "splits." + name, split});
  }
  const json& source = top.object("source");
  for (const auto& [key, text] : source.items()) dataset.source[key] = Object{path, "source", source}.text(key);
  return dataset;
}

json to_json(const Split& split) {
  json shards = json::array();
  for (const Shard& shard : split.shards)
    shards.push_back({{"file", shard.file}, {"tokens", shard.tokens}, {"xxh3_128", shard.checksum}});
  json object = {{"tokens", split.tokens}, {"shards", shards}};
  if (split.bytes) object["bytes"] = *split.bytes;
  if (split.words) object["words"] = *split.words;
  return object;
}

}  // namespace

Dataset read_dataset(const std::string& folder) {
  const std::string path = folder + "/dataset.json";
  const json value = json::parse(read_file(path, kMaxJsonBytes, Empty::allowed), nullptr, false);
  if (!value.is_object()) refuse(path, "the whole file", "it is not a JSON object");
  Dataset dataset = parse(path, value);
  check_dataset(path, dataset);
  return dataset;
}

void write_dataset(const std::string& folder, const Dataset& dataset) {
  const std::string path = folder + "/dataset.json";
  check_dataset(path, dataset);
  json splits = json::object();
  for (const auto& [name, split] : dataset.splits) splits[name] = to_json(split);
  const json object = {{"format", kFormat},
                       {"name", dataset.name},
                       {"tokenizer", dataset.tokenizer},
                       {"vocabulary", dataset.vocabulary},
                       {"splits", splits},
                       {"source", dataset.source}};
  write_file_atomically(path, object.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
}

SplitWriter::SplitWriter(std::string folder, std::string split, std::int64_t vocabulary, std::int64_t tokens_per_shard)
    : folder_(std::move(folder)),
      split_(std::move(split)),
      vocabulary_(vocabulary),
      tokens_per_shard_(tokens_per_shard) {}

void SplitWriter::append(std::span<const std::int32_t> tokens) {
  while (!tokens.empty()) {
    if (shards_.empty() || shards_.back()->size() == tokens_per_shard_) {
      if (!shards_.empty()) shards_.back()->finish();
      shards_.push_back(std::make_unique<TokenFileWriter>(
          fmt::format("{}/{}-{:05d}.tokens", folder_, split_, shards_.size()), vocabulary_));
    }
    const std::int64_t room = tokens_per_shard_ - shards_.back()->size();
    const auto piece = tokens.first(static_cast<std::size_t>(std::min(room, std::ssize(tokens))));
    shards_.back()->append(piece);
    size_ += std::ssize(piece);
    tokens = tokens.subspan(piece.size());
  }
}

Split SplitWriter::commit() {
  if (shards_.empty())
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}: the split {} has no text; give it some", printable(folder_, 4096), split_));
  shards_.back()->finish();
  Split split{.tokens = size_, .bytes = {}, .words = {}, .shards = {}};
  for (const auto& shard : shards_) {
    shard->commit();
    split.shards.push_back({shard->path().substr(folder_.size() + 1), shard->size(), shard->checksum()});
  }
  return split;
}

}  // namespace weir
