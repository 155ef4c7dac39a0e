#include "train/data.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "core/error.h"
#include "core/text.h"
#include "train/data_paths.h"
#include "train/dataset.h"
#include "train/prepare/sources.h"

namespace weir {
namespace {

void check_shard(const TokenFile& file, const Shard& shard, std::int64_t vocabulary) {
  const auto check = [&](const std::string& what, const auto& found, const auto& expected) {
    if (found != expected)
      throw RunError(
          ExitCode::bad_data,
          fmt::format("{}: its {} is {}, but dataset.json beside it says {}; the two do not belong together: "
                      "prepare the data again with 'weir prepare'",
                      printable(file.path(), 4096), what, found, expected));
  };
  check("vocabulary", file.vocabulary(), vocabulary);
  check("number of tokens", file.size(), shard.tokens);
  check("checksum", file.checksum(), printable(shard.checksum));
}

std::optional<double> ratio(std::optional<std::int64_t> part, std::int64_t tokens) {
  if (!part) return std::nullopt;
  return static_cast<double>(*part) / static_cast<double>(tokens);
}

[[noreturn]] void refuse_split(const std::string& folder, const std::string& name, const Dataset& dataset) {
  std::vector<std::string> there;
  for (const auto& [each, split] : dataset.splits) there.push_back(each);
  const std::string other = dataset.splits.contains("valid") ? "valid" : there[0];
  throw RunError(ExitCode::bad_data,
                 fmt::format("{}: this data has no {} split, only {}; name other data, or one that it has ('weir eval' "
                             "takes --split {})",
                             printable(folder, 4096), name, join(there, " and "), other));
}

}  // namespace

Corpus Corpus::text(const std::string& path, const TextOptions& options) {
  Corpus corpus;
  corpus.name_ = path;
  corpus.bytes_per_token_ = 1;
  corpus.files_ = {std::make_shared<const TokenFile>(TokenFile::text(path, options))};
  corpus.end_ = corpus.files_[0]->size();
  corpus.starts_ = {0, corpus.end_};
  return corpus;
}

Corpus Corpus::encoded(const std::string& name, TokenFile tokens, const std::string& tokenizer_file,
                       std::int64_t text_bytes, std::int64_t text_words, double unknown_share) {
  Corpus corpus;
  corpus.name_ = name;
  corpus.tokenizer_ = tokenizer_file;
  corpus.vocabulary_ = tokens.vocabulary();
  corpus.bytes_per_token_ = ratio(text_bytes, tokens.size());
  corpus.words_per_token_ = ratio(text_words, tokens.size());
  corpus.unknown_share_ = unknown_share;
  corpus.end_ = tokens.size();
  corpus.starts_ = {0, corpus.end_};
  corpus.files_ = {std::make_shared<const TokenFile>(std::move(tokens))};
  return corpus;
}

Corpus Corpus::split(const std::string& folder, const std::string& name) {
  return split(folder, name, read_dataset(folder));
}

Corpus Corpus::split(const std::string& folder, const std::string& name, const Dataset& dataset) {
  const auto found = dataset.splits.find(name);
  if (found == dataset.splits.end()) refuse_split(folder, name, dataset);
  const Split& split = found->second;
  Corpus corpus;
  corpus.name_ = fmt::format("{} ({})", folder, name);
  if (!is_byte_tokenizer(dataset.tokenizer)) corpus.tokenizer_ = folder + "/" + dataset.tokenizer;
  corpus.vocabulary_ = dataset.vocabulary;
  corpus.has_splits_ = true;
  corpus.bytes_per_token_ = corpus.is_bytes() ? 1 : ratio(split.bytes, split.tokens);
  corpus.words_per_token_ = ratio(split.words, split.tokens);
  corpus.unknown_share_ = split.unknown_share;
  for (const Shard& shard : split.shards) {
    corpus.files_.push_back(std::make_shared<const TokenFile>(folder + "/" + shard.file));
    check_shard(*corpus.files_.back(), shard, dataset.vocabulary);
    corpus.starts_.push_back(corpus.end_);
    corpus.end_ += shard.tokens;
  }
  corpus.starts_.push_back(corpus.end_);
  return corpus;
}

Corpus Corpus::part(std::int64_t begin, std::int64_t end) const {
  Corpus result = *this;
  result.begin_ = begin_ + begin;
  result.end_ = begin_ + end;
  return result;
}

void Corpus::read(std::int64_t begin, std::span<std::int32_t> into) const {
  if (begin < 0 || begin + std::ssize(into) > size())
    throw InternalError(
        fmt::format("{}: tokens {} to {} were asked of {}", name_, begin, begin + std::ssize(into), size()));
  std::int64_t place = begin_ + begin;
  auto file = static_cast<std::size_t>(std::upper_bound(starts_.begin(), starts_.end(), place) - starts_.begin()) - 1;
  for (; !into.empty(); ++file) {
    const auto piece = into.first(static_cast<std::size_t>(std::min(starts_[file + 1] - place, std::ssize(into))));
    files_[file]->read(place - starts_[file], piece);
    place += std::ssize(piece);
    into = into.subspan(piece.size());
  }
}

void Corpus::verify() const {
  for (std::size_t i = 0; i < files_.size(); ++i)
    if (starts_[i] < end_ && starts_[i + 1] > begin_) files_[i]->verify();
}

std::vector<FileStamp> Corpus::stamps() const {
  std::vector<FileStamp> stamps;
  for (const auto& file : files_) stamps.push_back(file->stamp());
  return stamps;
}

std::vector<FileStamp> Corpus::stamps_when_opened() const {
  std::vector<FileStamp> stamps;
  for (const auto& file : files_) stamps.push_back(file->stamp_when_opened());
  return stamps;
}

namespace {

std::string joint_checksum(const std::string& checksums) {
  const XXH128_hash_t hash = XXH3_128bits(checksums.data(), checksums.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace

std::string Corpus::checksum() const {
  std::string all;
  for (const auto& file : files_) all += file->checksum();
  return joint_checksum(all);
}

std::string Corpus::present_checksum() const {
  std::string all;
  for (const auto& file : files_) all += file->present_checksum();
  return joint_checksum(all);
}

namespace {

// Why there is nothing at `path`, and what to do.
std::string why_missing(const std::string& path) {
  std::error_code ignored;
  if (path.find("://") != std::string::npos) return "this is an address; download the text, and name the file";
  if (path.starts_with("~"))
    return "there is no such path; the shell replaces ~ only where a word begins: write $HOME instead";
  if (std::filesystem::is_symlink(std::filesystem::symlink_status(path, ignored)))
    return "this symbolic link leads to nothing; check the path, or make a data set with 'weir prepare'";
  const std::string missing = "there is no such text and no such folder of prepared data; ";
  const std::string name = std::filesystem::path(path).filename().string();
  if (find_source(name) != nullptr)
    return missing + fmt::format("make it with: weir prepare {}{}; or name another", name,
                                 path == "data/" + name ? "" : " --out " + shell_word(path));
  return missing + "check the path, or make a data set with 'weir prepare'";
}

}  // namespace

bool is_prepared_data(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::status(path, ignored).type() == std::filesystem::file_type::not_found)
    throw RunError(ExitCode::io, fmt::format("{}: {}", printable(path, 4096), why_missing(path)));
  if (!std::filesystem::is_directory(path, ignored)) {
    if (std::filesystem::path(path).filename() == "dataset.json")
      throw RunError(ExitCode::bad_data, fmt::format("{}: this file describes prepared data; name its folder instead",
                                                     printable(path, 4096)));
    return false;
  }
  if (!is_there(path + "/dataset.json"))
    throw RunError(ExitCode::io, fmt::format("{}: this directory has no dataset.json; name a text file, or a folder "
                                             "that 'weir prepare' wrote",
                                             printable(path, 4096)));
  return true;
}

Corpus open_corpus(const std::string& path, const std::string& name, const TextOptions& options) {
  return is_prepared_data(path) ? Corpus::split(path, name) : Corpus::text(path, options);
}

Corpora open_corpora(const DataConfig& data) {
  if (data.train.empty())
    throw ArgumentError("data.train is not set: name a text file or a folder of prepared data with data.train=FILE");
  std::error_code ignored;
  if (is_relative_path(data.train) && !data.folder.empty() && !std::filesystem::is_directory(data.folder, ignored))
    throw RunError(ExitCode::io,
                   fmt::format("data.folder = {}: there is no such folder, and data.train = {} starts there; "
                               "correct it, or leave it out",
                               quote_short(data.folder), quote_short(data.train)));
  const TextOptions options{text_content(data.encoding), "data.encoding=bytes"};
  const std::string path = data_path(data, data.train);
  const std::optional<Dataset> dataset = is_prepared_data(path) ? std::optional(read_dataset(path)) : std::nullopt;
  const Corpus train = dataset ? Corpus::split(path, "train", *dataset) : Corpus::text(path, options);
  if (!data.valid.empty()) return {train, open_corpus(data_path(data, data.valid), "valid", options)};
  if (dataset && dataset->splits.contains("valid")) return {train, Corpus::split(path, "valid", *dataset)};
  const auto held_back = static_cast<std::int64_t>(std::ceil(data.valid_fraction * static_cast<double>(train.size())));
  const std::int64_t split = train.size() - held_back;
  return {train.part(0, split), train.part(split, train.size())};
}

}  // namespace weir
