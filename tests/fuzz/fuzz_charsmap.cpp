// Precompiled replacements, in SentencePiece models and tokenizer.json. The first byte counts those of a text, which
// follows; the rest is the table.
#include <vector>

#include "core/text.h"
#include "tests/fuzz/fuzz_target.h"
#include "train/tokenizer/charsmap.h"

using namespace weir;
using namespace weir::fuzz;

int weir::fuzz::try_input(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return -1;
  const std::size_t text_bytes = std::min<std::size_t>(data[0], size - 1);
  const std::string_view text = text_of(data + 1, text_bytes);
  accepts([&] {
    const Charsmap map("model", text_of(data + 1 + text_bytes, size - 1 - text_bytes));
    for (std::size_t at = 0; at < text.size(); ++at) {
      const std::string_view rest = text.substr(at);
      const auto shortest = map.shortest_match(rest);
      const auto longest = map.longest_match(rest);
      require(shortest.has_value() == longest.has_value(), "where there is a key there is a longest one");
      if (!longest) continue;
      require(longest->bytes >= 1 && longest->bytes <= rest.size(), "a key is a part of the text");
      for (const std::string_view replacement : {*shortest, longest->replacement})
        require(is_utf8(replacement) && replacement.size() <= Charsmap::kMaxText, "replacements are short texts");
    }
  });
  return 0;
}
