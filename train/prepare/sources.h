// The public data sets that `weir prepare` knows: where they are, how they are split, what they may be used for.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "train/prepare/download.h"

namespace weir {

struct Source {
  enum class Kind {
    bytes,      // one file of 100,000,000 bytes: the first 90 million train, 5 million valid, 5 million test
    words,      // an archive with wiki.train.tokens, wiki.valid.tokens, wiki.test.tokens
    documents,  // shards of JSON lines for training and validation
  };

  std::string name, title, licence, home;
  Kind kind;
  std::vector<RemoteFile> train;     // in order; the only file of bytes and words
  std::vector<RemoteFile> valid;     // of documents
  std::string text_sha256;           // of the unpacked text, where it is one
  std::uint64_t text_bytes = 0;      // unpacked, about
  bool published_tokenizer = false;  // experiments with a tokenizer trained on it are published
  std::size_t tokenizer_shards = 0;  // that its tokenizer is trained on
  std::int64_t valid_tokens_small = 0, valid_tokens_big = 0;  // validation: so many from the start
};

std::span<const Source> sources();
const Source* find_source(std::string_view name);  // null where there is none

// What the published small and big models train on: T * batch * (steps + 100) tokens.
inline constexpr std::int64_t kTrainTokensSmall = 256 * 64 * 100100LL;
inline constexpr std::int64_t kTrainTokensBig = 512 * 64 * 100100LL;

}  // namespace weir
