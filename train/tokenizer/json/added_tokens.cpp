#include "train/tokenizer/json/added_tokens.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/text.h"
#include "train/tokenizer/json/unicode.h"
#include "train/tokenizer/json/vocabulary.h"

namespace weir {
namespace {

constexpr std::size_t kMaxContent = 4096;  // bytes

std::size_t character_before(std::string_view text, std::size_t at) {
  do --at;
  while ((text[at] & 0xc0) == 0x80);
  return at;
}

std::uint32_t code_point_at(std::string_view text, std::size_t at) { return next_code_point(text, at); }

// Where the white space that ends at `end` begins, and where the one that begins at `begin` ends.
std::size_t space_before(std::string_view text, std::size_t end) {
  while (end > 0 && is_white_space(code_point_at(text, character_before(text, end)))) end = character_before(text, end);
  return end;
}

std::size_t space_after(std::string_view text, std::size_t begin) {
  for (std::size_t at = begin; at < text.size() && is_white_space(next_code_point(text, at));) begin = at;
  return begin;
}

bool stands_alone(std::string_view text, std::size_t begin, std::size_t end) {
  const bool before = begin > 0 && is_word_character(code_point_at(text, character_before(text, begin)));
  const bool after = end < text.size() && is_word_character(code_point_at(text, end));
  return !before && !after;
}

Segment part_of(const Segment& segment, std::size_t begin, std::size_t end, std::int32_t token) {
  const std::size_t head = segment.head - std::min(begin, segment.head);
  return {segment.text.substr(begin, end - begin), std::min(head, end - begin), token};
}

// A piece may have several tokens.
bool names(const WordModel& model, std::int64_t token, const std::string& piece) {
  return static_cast<std::size_t>(token) < model.pieces().size() &&
         model.pieces()[static_cast<std::size_t>(token)] == piece;
}

}  // namespace

AddedTokens::AddedTokens(const std::optional<JsonPlace>& place, const WordModel& model, const Normalizer* normalizer) {
  if (!place) return;
  std::set<std::string> contents;
  auto next = static_cast<std::int64_t>(model.entries());
  for (std::size_t i = 0; i < place->list().size(); ++i) {
    const JsonPlace entry = place->at(i);
    const std::string& content = entry.at("content").text();
    if (content.empty()) continue;  // found nowhere; the package ignores it
    if (content.size() > kMaxContent)
      entry.refuse(fmt::format("content has {} bytes, at most {} are allowed", content.size(), kMaxContent));
    if (!contents.insert(content).second) entry.refuse(fmt::format("'{}' is there twice", printable(content, 40)));
    const std::int64_t token = entry.at("id").integer(0, kMaxToken);
    const std::int32_t known = model.find(content);
    const std::int64_t expected = known >= 0 ? known : next++;
    if (token != expected && !names(model, token, content))
      entry.refuse(fmt::format("'{}' has the id {}, but {} is the one that {}", printable(content, 40), token, expected,
                               known >= 0 ? "the model gives it" : "follows the ids before it"));
    add(entry, static_cast<std::int32_t>(expected), normalizer);
  }
  index(raw_, *place);
  index(normalized_, *place);
}

void AddedTokens::add(const JsonPlace& place, std::int32_t token, const Normalizer* normalizer) {
  Added added{place.at("content").text(), token, place.boolean_or("single_word", false),
              place.boolean_or("lstrip", false), place.boolean_or("rstrip", false)};
  const bool special = place.boolean_or("special", false), normalized = place.boolean_or("normalized", !special);
  if (special) special_.insert(added.content);
  if (normalized && normalizer != nullptr) {
    Segment content{added.content};
    normalizer->apply(content);
    if (content.text.empty()) place.refuse("the normalizer leaves nothing of the content");
    added.content = content.text;
  }
  pieces_.emplace(token, added.content);
  (normalized ? normalized_ : raw_).tokens.push_back(std::move(added));
}

void AddedTokens::index(Set& set, const JsonPlace& place) {
  std::vector<std::pair<std::string, std::int32_t>> entries;
  for (std::size_t i = 0; i < set.tokens.size(); ++i)
    entries.emplace_back(set.tokens[i].content, static_cast<std::int32_t>(i));
  std::sort(entries.begin(), entries.end());
  for (std::size_t i = 1; i < entries.size(); ++i)
    if (entries[i].first == entries[i - 1].first)
      place.refuse(fmt::format("two tokens are looked for as '{}'", printable(entries[i].first, 40)));
  if (!entries.empty()) set.trie = std::make_unique<Trie>(std::move(entries));
}

// From left to right, the longest token at each place. A token that is passed over, for it is no word alone, still ends
// the search in what it covers.
void AddedTokens::split(const Segment& segment, const Set& set, std::vector<Segment>& parts) {
  const std::string_view text = segment.text;
  std::size_t covered = 0;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t bytes = 0;
    const Added* added = nullptr;
    set.trie->prefixes(text.substr(at), [&](std::size_t length, std::int32_t index) {
      bytes = length;
      added = &set.tokens[static_cast<std::size_t>(index)];
    });
    if (added == nullptr) {
      ++at;
      continue;
    }
    std::size_t begin = at, end = at + bytes;
    at = end;
    if (added->single_word && !stands_alone(text, begin, end)) continue;
    if (added->strip_left) begin = std::max(space_before(text, begin), covered);
    if (added->strip_right) end = space_after(text, end);
    if (covered < begin) parts.push_back(part_of(segment, covered, begin, -1));
    parts.push_back(part_of(segment, begin, end, added->token));
    covered = end;
  }
  if (covered < text.size()) parts.push_back(part_of(segment, covered, text.size(), -1));
}

std::vector<Segment> AddedTokens::extract(Segment whole, const Normalizer* normalizer) const {
  std::vector<Segment> parts;
  if (raw_.trie)
    split(whole, raw_, parts);
  else
    parts.push_back(std::move(whole));
  if (normalizer == nullptr && !normalized_.trie) return parts;
  std::vector<Segment> result;
  for (Segment& part : parts) {
    if (part.token < 0 && normalizer != nullptr) normalizer->apply(part);
    if (part.token < 0 && normalized_.trie)
      split(part, normalized_, result);
    else
      result.push_back(std::move(part));
  }
  return result;
}

}  // namespace weir
