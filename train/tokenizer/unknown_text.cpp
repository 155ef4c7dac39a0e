#include "train/tokenizer/unknown_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "core/text.h"

namespace weir {
namespace {

constexpr std::size_t kMaxKinds = 10'000, kShown = 8;

}  // namespace

void UnknownText::add(const Tokenizer& tokenizer, std::string_view text) {
  for (const std::string& part : tokenizer.unknown(text)) {
    ++total_;
    if (counts_.size() < kMaxKinds || counts_.contains(part)) ++counts_[part];
  }
}

std::string UnknownText::describe(const std::string& of) const {
  std::vector<std::pair<std::int64_t, std::string>> parts;
  for (const auto& [part, count] : counts_) parts.emplace_back(-count, part);
  std::sort(parts.begin(), parts.end());
  std::vector<std::string> shown;
  for (std::size_t i = 0; i < std::min(parts.size(), kShown); ++i)
    shown.push_back(quote_short(parts[i].second) +
                    (parts[i].first == -1 ? "" : fmt::format(" ({} times)", -parts[i].first)));
  if (parts.size() > kShown) shown.emplace_back("...");
  return fmt::format("the tokenizer has no token for {} of {}: {}; the model cannot read what is unknown",
                     counted(total_, "part"), of, join(shown, ", "));
}

std::string unknown_percent(double share) {
  return share < 1e-5 ? "less than 0.001%" : fmt::format("{:.3g}%", 100 * share);
}

std::string describe_unknown(double share) {
  if (share < kMuchUnknown)
    return fmt::format(
        "the tokenizer has no token for {} of the text (blanks and line ends that it removes count), which lowers bits "
        "per byte and perplexities a little",
        unknown_percent(share));
  return fmt::format(
      "the tokenizer has no token for {} of the text (blanks and line ends that it removes count), so bits per byte "
      "and "
      "perplexities come out too low and do not compare with those of other tokenizers",
      unknown_percent(share));
}

}  // namespace weir
