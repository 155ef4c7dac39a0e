// Tokens of texts and of prepared data. batch_source.h says how training reads them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "train/config.h"
#include "train/token_file.h"
#include "train/tokenizer/tokenizer.h"

namespace weir {

struct Dataset;

// A stretch of tokens: of a text, whose bytes they are, or of one split of a prepared folder (train/dataset.h), where
// it may span several shards.
class Corpus {
 public:
  // By default any file is a text.
  static Corpus text(const std::string& path, const TextOptions& options = {.content = TextContent::bytes});
  // `name` is train, valid or test. Throws RunError where the folder has no such split or a shard is not the one that
  // dataset.json describes.
  static Corpus split(const std::string& folder, const std::string& name);
  static Corpus split(const std::string& folder, const std::string& name, const Dataset& dataset);  // of that folder
  // What `tokenizer`, opened from the file `tokenizer_file`, made of a text.
  static Corpus encoded(const std::string& name, TokenFile tokens, const std::string& tokenizer_file,
                        std::int64_t text_bytes, std::int64_t text_words, double unknown_share = 0);
  // The part from `begin` to `end` (tokens), sharing the files.
  Corpus part(std::int64_t begin, std::int64_t end) const;

  std::int64_t size() const { return end_ - begin_; }  // tokens
  std::int64_t vocabulary() const { return vocabulary_; }
  const std::string& name() const { return name_; }  // "book.txt", "data/enwik8 (valid)"
  // The file of the tokenizer that made the tokens, or kByteTokenizer.
  const std::string& tokenizer() const { return tokenizer_; }
  bool is_bytes() const { return is_byte_tokenizer(tokenizer_); }
  bool has_splits() const { return has_splits_; }  // it is one of them
  // Of the text, on average over the split; nothing where dataset.json does not say.
  std::optional<double> bytes_per_token() const { return bytes_per_token_; }
  std::optional<double> words_per_token() const { return words_per_token_; }

  double unknown_share() const { return unknown_share_; }  // of the text's bytes: those without a token

  // The tokens from `begin` on.
  void read(std::int64_t begin, std::span<std::int32_t> into) const;

  void verify() const;                    // reads its shards and compares their checksums; throws RunError(bad_data)
  std::string checksum() const;           // of all the files' tokens: tells one corpus from another
  std::string present_checksum() const;   // the same where they may have been overwritten since they were opened
  std::vector<FileStamp> stamps() const;  // of all its files, now
  std::vector<FileStamp> stamps_when_opened() const;

 private:
  std::string name_, tokenizer_ = kByteTokenizer;
  std::int64_t vocabulary_ = 256;
  bool has_splits_ = false;
  std::optional<double> bytes_per_token_, words_per_token_;
  double unknown_share_ = 0;
  std::vector<std::shared_ptr<const TokenFile>> files_;
  std::vector<std::int64_t> starts_;  // of each file, in tokens from the first one's start; the total at the end
  std::int64_t begin_ = 0, end_ = 0;
};

// Whether `path` is a folder of prepared data and no text. Throws RunError(io) where it is neither.
bool is_prepared_data(const std::string& path);

// The corpus that `path` means: a text, or split `name` of a prepared folder.
Corpus open_corpus(const std::string& path, const std::string& name, const TextOptions& options = {});

// The training and validation data that a configuration names. Without data.valid, validation is on the valid split of
// a prepared folder; where there is none, on the last part of the training data.
struct Corpora {
  Corpus train, valid;
};
Corpora open_corpora(const DataConfig& data);

}  // namespace weir
