// Byte pair encoding: a word is cut into characters, and neighbours are merged, the pair of the lowest rank first,
// until no pair of neighbours has a merge.
#include <fmt/format.h>

#include <queue>
#include <unordered_map>

#include "core/error.h"
#include "core/text.h"
#include "train/tokenizer/json/unicode.h"
#include "train/tokenizer/json/vocabulary.h"
#include "train/tokenizer/json/word_model.h"

namespace weir {
namespace {

struct Merge {
  std::int32_t rank, token;
};

std::uint64_t pair_of(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
}

struct PairHash {
  std::size_t operator()(std::uint64_t pair) const {
    pair *= 0x9e3779b97f4a7c15u;
    return pair ^ pair >> 32;
  }
};
using Merges = std::unordered_map<std::uint64_t, Merge, PairHash>;

// A word's symbols as a linked list, and the merges that its neighbours offer.
class Merging {
 public:
  Merging(const std::vector<std::int32_t>& symbols, const Merges& merges) : merges_(merges) {
    symbols_.reserve(symbols.size());
    const auto count = static_cast<std::int32_t>(symbols.size());
    for (std::int32_t i = 0; i < count; ++i)
      symbols_.push_back({symbols[static_cast<std::size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1});
    for (std::int32_t i = 0; i + 1 < count; ++i) offer(i);
  }

  void run(std::vector<std::int32_t>& tokens) {
    while (!offers_.empty()) {
      const Offer offer = offers_.top();
      offers_.pop();
      merge(offer);
    }
    for (std::int32_t i = 0; i >= 0; i = symbols_[static_cast<std::size_t>(i)].next)
      tokens.push_back(symbols_[static_cast<std::size_t>(i)].token);
  }

 private:
  struct Symbol {
    std::int32_t token, previous, next;
    bool merged_away = false;
  };
  struct Offer {
    std::int32_t rank, left, token;
    bool operator<(const Offer& other) const {  // the queue gives the largest first
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };

  Symbol& at(std::int32_t index) { return symbols_[static_cast<std::size_t>(index)]; }

  // The merge of a symbol with its next, if there is one.
  const Merge* merge_at(std::int32_t left) {
    const auto found = merges_.find(pair_of(at(left).token, at(at(left).next).token));
    return found == merges_.end() ? nullptr : &found->second;
  }

  void offer(std::int32_t left) {
    if (left < 0 || at(left).next < 0) return;
    if (const Merge* merge = merge_at(left)) offers_.push({merge->rank, left, merge->token});
  }

  void merge(const Offer& offer) {
    Symbol& left = at(offer.left);
    if (left.merged_away || left.next < 0) return;
    const Merge* const now = merge_at(offer.left);  // the neighbours may have changed since the offer
    if (now == nullptr || now->token != offer.token) return;
    Symbol& right = at(left.next);
    right.merged_away = true;
    left.token = offer.token;
    left.next = right.next;
    if (left.next >= 0) at(left.next).previous = offer.left;
    this->offer(left.previous);
    this->offer(offer.left);
  }

  const Merges& merges_;
  std::vector<Symbol> symbols_;
  std::priority_queue<Offer> offers_;
};

class Bpe final : public WordModel {
 public:
  explicit Bpe(const JsonPlace& place)
      : vocabulary_(place.at("vocab")),
        prefix_(place.text_or("continuing_subword_prefix", "")),
        suffix_(place.text_or("end_of_word_suffix", "")),
        fuse_unknown_(place.boolean_or("fuse_unk", false)),
        ignore_merges_(place.boolean_or("ignore_merges", false)) {
    const auto dropout = place.find("dropout");
    if (dropout && dropout->number() != 0) dropout->unsupported(fmt::format("dropout {}", dropout->number()), "0");
    if (const auto unknown = place.find("unk_token")) {
      unknown_ = vocabulary_.find(unknown->text());
      if (unknown_ < 0) missing_unknown_ = fmt::format("{}, '{}'", unknown->where(), printable(unknown->text(), 40));
    }
    if (place.boolean_or("byte_fallback", false)) find_bytes();
    read_merges(place.at("merges"));
  }

  std::int64_t encode(std::string_view word, std::vector<std::int32_t>& tokens) const override {
    if (ignore_merges_) {
      if (const std::int32_t whole = vocabulary_.find(word); whole >= 0) {
        tokens.push_back(whole);
        return 0;
      }
    }
    std::int64_t unknown_bytes = 0;
    const std::vector<std::int32_t> symbols = symbols_of(word, unknown_bytes);
    if (!symbols.empty()) Merging(symbols, merges_).run(tokens);
    return unknown_bytes;
  }

  void find_unknown(std::string_view word, std::vector<std::string>& unknown) const override {
    if (ignore_merges_ && vocabulary_.find(word) >= 0) return;
    std::vector<std::int32_t> bytes;
    for_each_symbol(word, [&](std::string_view own, const std::string& symbol) {
      if (vocabulary_.find(symbol) < 0 && !add_bytes(symbol, bytes)) unknown.emplace_back(own);
    });
  }

  std::int32_t find(std::string_view piece) const override { return vocabulary_.find(piece); }
  std::size_t entries() const override { return vocabulary_.entries(); }
  const Pieces& pieces() const override { return vocabulary_.pieces(); }
  std::string name() const override { return "BPE"; }

 private:
  void find_bytes() {
    for (int byte = 0; byte < 256; ++byte) bytes_.push_back(vocabulary_.find(fmt::format("<0x{:02X}>", byte)));
  }

  void read_merges(const JsonPlace& place) {
    const JsonValue::List& list = place.list();
    merges_.reserve(list.size());
    for (std::size_t rank = 0; rank < list.size(); ++rank) {
      const auto [left, right] = merge_parts(place, rank);
      const auto token_of = [&](const std::string& piece) {
        const std::int32_t token = vocabulary_.find(piece);
        if (token < 0) place.at(rank).refuse(fmt::format("'{}' is not in the vocabulary", printable(piece, 40)));
        return token;
      };
      const std::int32_t first = token_of(left), second = token_of(right);
      if (right.size() < prefix_.size())
        place.at(rank).refuse(fmt::format("'{}' is shorter than the prefix", printable(right, 40)));
      merges_[pair_of(first, second)] = {static_cast<std::int32_t>(rank),
                                         token_of(left + right.substr(prefix_.size()))};
    }
  }

  // ["a", "b"], or "a b" as older files have it.
  static std::pair<std::string, std::string> merge_parts(const JsonPlace& place, std::size_t rank) {
    const JsonValue& value = place.list()[rank];
    if (const auto* text = std::get_if<std::string>(&value.data)) {
      const std::size_t space = text->find(' ');
      if (space == std::string::npos || text->find(' ', space + 1) != std::string::npos)
        place.at(rank).refuse("expected two pieces with a space between them");
      return {text->substr(0, space), text->substr(space + 1)};
    }
    const JsonPlace merge = place.at(rank);
    if (merge.list().size() != 2) merge.refuse("expected two pieces");
    return {merge.at(std::size_t{0}).text(), merge.at(std::size_t{1}).text()};
  }

  // The characters as tokens. What is unknown becomes its bytes where all of them have tokens, else the unknown token,
  // else nothing.
  std::vector<std::int32_t> symbols_of(std::string_view word, std::int64_t& unknown_bytes) const {
    std::vector<std::int32_t> symbols;
    symbols.reserve(word.size());
    bool unknown_waits = false;  // it comes before the next known character: neighbours may be fused
    for_each_symbol(word, [&](std::string_view own, const std::string& symbol) {
      const std::int32_t token = vocabulary_.find(symbol);
      if (token >= 0) {
        if (unknown_waits) symbols.push_back(unknown_);
        unknown_waits = false;
        symbols.push_back(token);
      } else if (!add_bytes(symbol, symbols)) {
        if (!missing_unknown_.empty()) refuse_unknown(own);
        unknown_bytes += std::ssize(own);
        if (unknown_waits && !fuse_unknown_) symbols.push_back(unknown_);
        unknown_waits = unknown_ >= 0;
      }
    });
    if (unknown_waits) symbols.push_back(unknown_);
    return symbols;
  }

  // Calls found(character, as it would stand in the vocabulary) for each character.
  template <class Found>
  void for_each_symbol(std::string_view word, Found found) const {
    std::string symbol;
    for (std::size_t at = 0; at < word.size();) {
      const std::size_t begin = at;
      next_code_point(word, at);
      const std::string_view character = word.substr(begin, at - begin);
      symbol.assign(begin == 0 ? "" : prefix_);
      symbol += character;
      if (at == word.size()) symbol += suffix_;
      found(character, symbol);
    }
  }

  [[noreturn]] void refuse_unknown(std::string_view character) const {
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}: not in the vocabulary, nor is the character '{}'; use a tokenizer "
                               "made for such text",
                               missing_unknown_, printable(character)));
  }

  bool add_bytes(std::string_view character, std::vector<std::int32_t>& symbols) const {
    if (bytes_.empty()) return false;
    for (const char byte : character)
      if (bytes_[static_cast<unsigned char>(byte)] < 0) return false;
    for (const char byte : character) symbols.push_back(bytes_[static_cast<unsigned char>(byte)]);
    return true;
  }

  Vocabulary vocabulary_;
  std::string prefix_, suffix_;
  bool fuse_unknown_, ignore_merges_;
  std::int32_t unknown_ = -1;
  std::string missing_unknown_;      // the unknown token where it is named but not there, and its place
  std::vector<std::int32_t> bytes_;  // of <0x00> to <0xFF>; empty without byte_fallback
  Merges merges_;
};

}  // namespace

std::unique_ptr<WordModel> make_bpe(const JsonPlace& place) { return std::make_unique<Bpe>(place); }

}  // namespace weir
