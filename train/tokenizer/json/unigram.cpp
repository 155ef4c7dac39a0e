// Unigram: of all ways to cut a word into pieces, the one whose scores have the largest sum.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <unordered_map>

#include "core/error.h"
#include "core/text.h"
#include "train/tokenizer/json/trie.h"
#include "train/tokenizer/json/unicode.h"
#include "train/tokenizer/json/vocabulary.h"
#include "train/tokenizer/json/word_model.h"

namespace weir {
namespace {

constexpr std::size_t kMaxPiece = 4096;  // bytes
constexpr double kUnknownPenalty = 10;   // an unknown character scores so much less than the worst piece

class Unigram final : public WordModel {
 public:
  explicit Unigram(const JsonPlace& place) : where_(place.where()) {
    read_vocabulary(place.at("vocab"));
    if (const auto unknown = place.find("unk_id")) {
      unknown_ = static_cast<std::int32_t>(unknown->integer(0, std::numeric_limits<std::int32_t>::max()));
      if (static_cast<std::size_t>(unknown_) >= pieces_.size())
        unknown->refuse(fmt::format("{} is outside the vocabulary of {}", unknown_, pieces_.size()));
    }
    if (place.boolean_or("byte_fallback", false))
      for (int byte = 0; byte < 256; ++byte) bytes_.push_back(find(fmt::format("<0x{:02X}>", byte)));
  }

  std::int64_t encode(std::string_view word, std::vector<std::int32_t>& tokens) const override {
    std::int64_t unknown_bytes = 0;
    for (const std::string_view part : parts_of(word))
      if (!add(part, tokens)) unknown_bytes += std::ssize(part);
    return unknown_bytes;
  }

  void find_unknown(std::string_view word, std::vector<std::string>& unknown) const override {
    if (unknown_ < 0) return;  // such a text is refused
    for (const std::string_view part : parts_of(word))
      if (find(part) < 0 && !has_bytes(part)) unknown.emplace_back(part);
  }

  std::int32_t find(std::string_view piece) const override {
    const auto found = tokens_.find(piece);
    return found == tokens_.end() ? -1 : found->second;
  }
  std::size_t entries() const override { return pieces_.size(); }
  const Pieces& pieces() const override { return pieces_; }
  std::string name() const override { return "unigram"; }

 private:
  // Pieces, and runs of unknown characters.
  std::vector<std::string_view> parts_of(std::string_view word) const {
    const std::vector<Step> best = best_ways(word);
    std::vector<std::string_view> parts;  // from the end to the beginning
    bool unknown = false;                 // whether the last part is one of unknown characters
    for (std::size_t end = word.size(); end > 0; end = best[end].begin) {
      const Step& step = best[end];
      const std::string_view part = word.substr(step.begin, end - step.begin);
      const bool joins = unknown && step.token == unknown_;
      if (joins)
        parts.back() = word.substr(step.begin, part.size() + parts.back().size());
      else
        parts.push_back(part);
      unknown = step.token == unknown_;
    }
    std::reverse(parts.begin(), parts.end());
    return parts;
  }

  // The last piece on the best way to a place.
  struct Step {
    std::size_t begin = 0;
    std::int32_t token = -1;
    double score = 0;
    bool reached = false;
  };

  // Trainers that find a special token in their text write it twice; text becomes the later one.
  void read_vocabulary(const JsonPlace& place) {
    const JsonValue::List& list = place.list();
    if (list.size() > kMaxToken) place.refuse(fmt::format("more than {} pieces", kMaxToken));
    pieces_.reserve(list.size());
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < list.size(); ++i) {
      const JsonPlace entry = place.at(i);
      if (entry.list().size() != 2) entry.refuse("expected a piece and its score");
      const std::string& piece = entry.at(std::size_t{0}).text();
      if (piece.size() > kMaxPiece) entry.refuse(fmt::format("a piece of more than {} bytes", kMaxPiece));
      scores_.push_back(entry.at(1).number());
      least = std::min(least, scores_.back());
      pieces_.push_back(piece);
      tokens_.insert_or_assign(*pieces_.back(), static_cast<std::int32_t>(i));
    }
    std::vector<std::pair<std::string, std::int32_t>> entries;
    for (const auto& [piece, token] : tokens_)
      if (!piece.empty()) entries.emplace_back(piece, token);
    unknown_score_ = least - kUnknownPenalty;
    trie_ = std::make_unique<Trie>(std::move(entries));
  }

  // best[i]: how the best way to byte i ends. Of ways with equal scores, the one found first.
  std::vector<Step> best_ways(std::string_view word) const {
    std::vector<Step> best(word.size() + 1);
    for (std::size_t begin = 0; begin < word.size();) {
      std::size_t next = begin;
      next_code_point(word, next);
      bool single = false;  // whether some piece is this very character
      const auto consider = [&](std::size_t end, std::int32_t token, double score) {
        Step& step = best[end];
        const double sum = score + best[begin].score;
        if (!step.reached || sum > step.score) step = {begin, token, sum, true};
      };
      trie_->prefixes(word.substr(begin), [&](std::size_t bytes, std::int32_t token) {
        consider(begin + bytes, token, scores_[static_cast<std::size_t>(token)]);
        single |= begin + bytes == next;
      });
      if (!single) {
        if (unknown_ < 0) refuse_unknown(word.substr(begin, next - begin));
        consider(next, unknown_, unknown_score_);
      }
      begin = next;
    }
    return best;
  }

  // False where the part became the unknown token.
  bool add(std::string_view part, std::vector<std::int32_t>& tokens) const {
    const std::int32_t token = find(part);
    const bool in_bytes = token < 0 && has_bytes(part);
    if (!in_bytes) tokens.push_back(token >= 0 ? token : unknown_);
    if (in_bytes)
      for (const char byte : part) tokens.push_back(bytes_[static_cast<unsigned char>(byte)]);
    return token >= 0 || in_bytes;
  }

  bool has_bytes(std::string_view part) const {
    const auto is_known = [&](char byte) { return bytes_[static_cast<unsigned char>(byte)] >= 0; };
    return !bytes_.empty() && std::all_of(part.begin(), part.end(), is_known);
  }

  [[noreturn]] void refuse_unknown(std::string_view character) const {
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}: the character '{}' is not in the vocabulary and unk_id is not set; use a tokenizer "
                               "made for such text",
                               where_, printable(character)));
  }

  std::string where_;
  Pieces pieces_;
  std::vector<double> scores_;
  std::unordered_map<std::string_view, std::int32_t> tokens_;  // into pieces_
  std::unique_ptr<Trie> trie_;
  std::int32_t unknown_ = -1;
  double unknown_score_ = 0;
  std::vector<std::int32_t> bytes_;  // of <0x00> to <0xFF>; empty without byte_fallback
};

}  // namespace

std::unique_ptr<WordModel> make_unigram(const JsonPlace& place) { return std::make_unique<Unigram>(place); }

}  // namespace weir
