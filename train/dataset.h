// A folder of prepared data: token shards per split, the tokenizer that made them, and dataset.json, which says what
// belongs together.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "train/token_file.h"
#include "train/tokenizer/tokenizer.h"

namespace weir {

struct Shard {
  std::string file;  // its name in the folder
  std::int64_t tokens = 0;
  std::string checksum;  // of the tokens, as the shard's header has it
};

// What was odd in a text and was mended or passed over.
struct Mended {
  std::int64_t count = 0;
  std::string first;  // "FILE:LINE"
};

struct Split {
  std::int64_t tokens = 0;
  std::optional<std::int64_t> bytes, words;  // of the text, where they are known and mean something
  std::vector<Shard> shards;                 // in the order of the text
  std::map<std::string, Mended> mended;      // "blank_lines" and the like; for people, never read back
  double unknown_share = 0;                  // of the text's bytes: those that the tokenizer has no token for
};

// The content of dataset.json.
struct Dataset {
  std::string name;
  std::string tokenizer = kByteTokenizer;  // or the name of the tokenizer's file in the folder
  std::int64_t vocabulary = 256;
  std::map<std::string, Split> splits;        // of train, valid and test those that there are
  std::map<std::string, std::string> source;  // where the text comes from: anything worth keeping
};

// Reads FOLDER/dataset.json. What it says is checked (names are plain, counts agree) and RunError(bad_data) names the
// field that is wrong; whether the shards agree is seen when they are opened.
Dataset read_dataset(const std::string& folder);

// Written last: without dataset.json a folder is no dataset. Atomic.
void write_dataset(const std::string& folder, const Dataset& dataset);

// Cuts the tokens of a split into shards "train-00000.tokens", ..., which appear in the folder when all are complete.
class SplitWriter final : public TokenSink {
 public:
  static constexpr std::int64_t kTokensPerShard = std::int64_t{1} << 28;

  SplitWriter(std::string folder, std::string split, std::int64_t vocabulary,
              std::int64_t tokens_per_shard = kTokensPerShard);

  void append(std::span<const std::int32_t> tokens) override;
  std::int64_t size() const override { return size_; }

  // Puts the shards in place and returns what dataset.json has to say of them; bytes and words are the caller's.
  // Without commit() nothing is left in the folder. A split without any token is a RunError(bad_data).
  Split commit();

 private:
  const std::string folder_, split_;
  const std::int64_t vocabulary_, tokens_per_shard_;
  std::int64_t size_ = 0;
  std::vector<std::unique_ptr<TokenFileWriter>> shards_;  // the last one is being written, those before are finished
};

}  // namespace weir
