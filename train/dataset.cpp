#include "train/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/error.h"
#include "core/json_writer.h"
#include "core/stored_json.h"
#include "core/text.h"

namespace weir {
namespace {

constexpr std::int64_t kFormat = 1;
constexpr std::uint64_t kMaxJsonBytes = 1 << 20;
constexpr std::size_t kMaxShards = 4096;  // all of them are open at once
constexpr std::int64_t kMaxCount = std::int64_t{1} << 48;
constexpr const char* kSplits[] = {"train", "valid", "test"};

// Complains about one field of a dataset.json.
[[noreturn]] void refuse(const std::string& path, const std::string& field, const std::string& why) {
  refuse_stored(path, field, why + "; prepare the data again with 'weir prepare'");
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
  if (!(split.unknown_share >= 0 && split.unknown_share <= 1))
    refuse(path, field + ".unknown_share", fmt::format("it is {}, expected 0 to 1", split.unknown_share));
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
  if (is_byte_tokenizer(dataset.tokenizer) && dataset.vocabulary != 256)
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

std::optional<std::int64_t> optional_count(const StoredJson& object, const std::string& name) {
  return object.has(name) ? std::optional(object.count(name, 1, kMaxCount)) : std::nullopt;
}

Split parse_split(const StoredJson& object) {
  Split split{object.count("tokens", 1, kMaxCount),
              optional_count(object, "bytes"),
              optional_count(object, "words"),
              {},
              {},
              0};
  if (object.has("unknown_share")) split.unknown_share = object.number("unknown_share");
  for (const StoredJson& shard : object.list("shards"))
    split.shards.push_back({shard.text("file"), shard.count("tokens", 1, kMaxCount), shard.text("xxh3_128")});
  return split;
}

Dataset parse(const std::string& path, const StoredJson& top) {
  if (const std::int64_t format = top.count("format"); format != kFormat)
    refuse(path, "format", fmt::format("it is {}, this program reads format {}", format, kFormat));
  Dataset dataset{top.text("name"), top.text("tokenizer"), top.count("vocabulary"), {}, {}};
  for (const auto& [name, split] : top.object("splits").objects()) dataset.splits[name] = parse_split(split);
  for (const auto& [key, text] : top.object("source").texts()) dataset.source[key] = text;
  return dataset;
}

JsonObject to_json(const Split& split) {
  JsonList shards;
  for (const Shard& shard : split.shards)
    shards.push_back(JsonObject{{"file", shard.file}, {"tokens", shard.tokens}, {"xxh3_128", shard.checksum}});
  JsonObject object{{"tokens", split.tokens}, {"shards", shards}};
  if (split.bytes) object["bytes"] = *split.bytes;
  if (split.words) object["words"] = *split.words;
  if (split.unknown_share > 0) object["unknown_share"] = split.unknown_share;
  JsonObject mended;
  for (const auto& [what, found] : split.mended)
    mended[what] = JsonObject{{"count", found.count}, {"first", found.first}};
  if (!mended.empty()) object["mended"] = mended;
  return object;
}

}  // namespace

Dataset read_dataset(const std::string& folder) {
  const std::string path = folder + "/dataset.json";
  const Dataset dataset = parse(path, StoredJson::read(path, kMaxJsonBytes, refuse));
  check_dataset(path, dataset);
  return dataset;
}

void write_dataset(const std::string& folder, const Dataset& dataset) {
  const std::string path = folder + "/dataset.json";
  check_dataset(path, dataset);
  JsonObject splits, source;
  for (const auto& [name, split] : dataset.splits) splits[name] = to_json(split);
  for (const auto& [key, text] : dataset.source) source[key] = text;
  const JsonObject object{
      {"format", kFormat}, {"name", dataset.name}, {"tokenizer", dataset.tokenizer}, {"vocabulary", dataset.vocabulary},
      {"splits", splits},  {"source", source}};
  write_file_atomically(path, indented(object) + "\n");
}

}  // namespace weir
