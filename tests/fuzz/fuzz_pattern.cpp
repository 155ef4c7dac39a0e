// Regular expressions of a tokenizer.json: up to the first zero byte one, then a text.
#include "core/text.h"
#include "tests/fuzz/fuzz_target.h"
#include "train/tokenizer/json/regex.h"
#include "train/tokenizer/json/unicode.h"

using namespace weir;
using namespace weir::fuzz;

int weir::fuzz::try_input(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = text_of(data, size);
  const std::size_t end = std::min(input.find('\0'), input.size());
  const std::string expression = to_valid_utf8(input.substr(0, end));
  const std::string text = to_valid_utf8(input.substr(std::min(end + 1, input.size())));
  accepts([&] {
    const Regex regex("tokenizer.json: pre_tokenizer", expression);
    std::size_t before = 0;
    for (const Regex::Match& match : regex.find_all(text)) {
      require(match.begin <= match.end && match.end <= text.size(), "a match is in the text");
      require(match.begin >= before, "matches do not overlap");
      before = match.end;
    }
  });
  return 0;
}
