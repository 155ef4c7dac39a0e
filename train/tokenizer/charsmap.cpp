#include "train/tokenizer/charsmap.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/text.h"

namespace weir {
namespace {

// A unit of the array is a transition. Bits 0-7 and 31: the byte it is taken on (bit 31 marks units that hold values).
// Bit 8: a value lies at the place that it leads to. Bits 9-31: how to get there.
std::uint32_t label(std::uint32_t unit) { return unit & (std::uint32_t{1} << 31 | 0xff); }
bool has_value(std::uint32_t unit) { return (unit >> 8 & 1) != 0; }
std::uint32_t offset(std::uint32_t unit) { return unit >> 10 << ((unit & 1u << 9) >> 6); }
std::uint32_t value(std::uint32_t unit) { return unit & ~(std::uint32_t{1} << 31); }

[[noreturn]] void refuse(const std::string& where, const std::string& why) {
  throw RunError(
      ExitCode::bad_data,
      fmt::format("{}: precompiled_charsmap: {}; the file is damaged: fetch or export it again", where, why));
}

std::uint32_t little_endian(std::string_view bytes, std::size_t at) {
  std::uint32_t word = 0;
  for (std::size_t i = 0; i < 4; ++i) word |= std::uint32_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
  return word;
}

// Walks the places of the trie, each once. A place is the index that a transition leads to; its own transitions stand
// at place ^ byte, so it needs the whole block of 256 units around it.
class Walk {
 public:
  Walk(const std::string& where, const std::vector<std::uint32_t>& units, std::string_view texts)
      : where_(where), units_(units), texts_(texts), nested_(units.size(), kUnknown) {}

  void run() {
    enter(offset(units_[0]));
    while (!path_.empty()) {
      Step& step = path_.back();
      if (step.byte == 256) {
        leave();
        continue;
      }
      const std::uint32_t at = step.place ^ step.byte;
      if (label(units_[at]) != step.byte++) continue;
      follow(at);
    }
  }

 private:
  static constexpr int kUnknown = -1, kOnPath = -2;
  struct Step {
    std::uint32_t place, byte = 0;
    int nested = 0;  // most keys met on any way from here
  };

  void enter(std::uint32_t place) {
    if ((place | 0xff) >= units_.size())
      refuse(where_, fmt::format("the trie leads to unit {} of {}", place | 0xff, units_.size()));
    nested_[place] = kOnPath;
    path_.push_back({place});
  }

  void follow(std::uint32_t at) {
    const std::uint32_t unit = units_[at], to = at ^ offset(unit);
    if ((to | 0xff) >= units_.size())
      refuse(where_, fmt::format("the trie leads from unit {} to {} of {}", at, to | 0xff, units_.size()));
    if (has_value(unit)) check_text(value(units_[to]));
    if (nested_[to] == kOnPath) refuse(where_, fmt::format("the trie leads in a circle through unit {}", at));
    if (nested_[to] == kUnknown) {
      path_.back().byte--;  // comes back to this transition when the place is known
      enter(to);
      return;
    }
    Step& step = path_.back();
    step.nested = std::max(step.nested, nested_[to] + (has_value(unit) ? 1 : 0));
    if (step.nested > Charsmap::kMaxNested)
      refuse(where_, fmt::format("more than {} keys begin one another", Charsmap::kMaxNested));
  }

  void leave() {
    nested_[path_.back().place] = path_.back().nested;
    path_.pop_back();
  }

  void check_text(std::uint32_t begin) const {
    if (begin >= texts_.size())
      refuse(where_, fmt::format("a replacement begins at byte {} of {}", begin, texts_.size()));
    const std::size_t bytes = texts_.find('\0', begin) - begin;
    if (bytes > Charsmap::kMaxText)
      refuse(where_, fmt::format("a replacement has {} bytes, at most {} are allowed", bytes, Charsmap::kMaxText));
    if (!is_utf8(texts_.substr(begin, bytes)))
      refuse(where_, fmt::format("the replacement at byte {} is not UTF-8", begin));
  }

  const std::string& where_;
  const std::vector<std::uint32_t>& units_;
  std::string_view texts_;
  std::vector<int> nested_;
  std::vector<Step> path_;
};

}  // namespace

Charsmap::Charsmap(const std::string& where, std::string_view blob) {
  if (blob.empty()) return;
  if (blob.size() > kMaxBytes) refuse(where, fmt::format("{} bytes, at most {} are allowed", blob.size(), kMaxBytes));
  const std::size_t trie = blob.size() < 4 ? 0 : little_endian(blob, 0);
  if (trie == 0 || trie % 4 != 0 || trie >= blob.size() - 4)
    refuse(where, fmt::format("a trie of {} bytes does not fit into {} bytes", trie, blob.size()));
  units_.reserve(trie / 4);
  for (std::size_t at = 4; at < 4 + trie; at += 4) units_.push_back(little_endian(blob, at));
  texts_ = blob.substr(4 + trie);
  if (texts_.back() != '\0') refuse(where, "the last replacement does not end");
  Walk(where, units_, texts_).run();
}

template <class Found>
void Charsmap::matches(std::string_view text, Found found) const {
  if (units_.empty()) return;
  std::uint32_t place = offset(units_[0]);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::uint32_t byte = static_cast<unsigned char>(text[i]), at = place ^ byte;
    const std::uint32_t unit = units_[at];
    if (label(unit) != byte) return;
    place = at ^ offset(unit);
    if (has_value(unit) && !found(i + 1, std::string_view(texts_.data() + value(units_[place])))) return;
  }
}

std::optional<std::string_view> Charsmap::shortest_match(std::string_view text) const {
  std::optional<std::string_view> shortest;
  matches(text, [&](std::size_t, std::string_view replacement) {
    shortest = replacement;
    return false;
  });
  return shortest;
}

std::optional<Charsmap::Match> Charsmap::longest_match(std::string_view text) const {
  std::optional<Match> longest;
  matches(text, [&](std::size_t bytes, std::string_view replacement) {
    longest = Match{bytes, replacement};
    return true;
  });
  return longest;
}

}  // namespace weir
