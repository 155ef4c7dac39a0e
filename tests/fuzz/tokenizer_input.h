// What the targets of tokenizers' files do with one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fuzz/fuzz_target.h"
#include "train/tokenizer/tokenizer.h"

namespace weir::fuzz {

// The input as a file called `name`, opened and asked about itself; null where it is refused.
inline std::unique_ptr<Tokenizer> open_input(const char* name, const std::uint8_t* data, std::size_t size) {
  static MemoryFile file;
  static const Folder folder;
  static const std::string path = folder.add(name, file);
  file.set(text_of(data, size));
  std::unique_ptr<Tokenizer> tokenizer;
  accepts([&] { tokenizer = open_tokenizer(path); });
  if (!tokenizer) return nullptr;
  tokenizer->describe();
  tokenizer->keeps_line_ends();
  accepts([&] { tokenizer->piece(static_cast<std::int32_t>(tokenizer->vocabulary()) - 1); });
  return tokenizer;
}

inline void use(const Tokenizer& tokenizer, std::string_view text) {
  std::int64_t unknown = 0;
  const std::vector<std::int32_t> tokens = tokenizer.encode_counting(text, unknown);
  require(tokenizer.encode(text) == tokens, "a text has the same tokens each time");
  require(unknown >= 0 && unknown <= std::ssize(text), "what is unknown is a part of the text");
  for (const std::int32_t token : tokens)
    require(token >= 0 && token < tokenizer.vocabulary(), "tokens belong to the vocabulary");
  tokenizer.decode(tokens);
  tokenizer.unknown(text);
  if (!tokens.empty()) tokenizer.piece(tokens[0]);
}

}  // namespace weir::fuzz
