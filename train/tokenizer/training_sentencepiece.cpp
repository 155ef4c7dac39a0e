// Trains SentencePiece models with their library. Left out of builds that lack it.
#include <fmt/format.h>
#include <sentencepiece_trainer.h>

#include <charconv>
#include <exception>
#include <optional>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "core/text.h"
#include "train/tokenizer/formats.h"

namespace weir {
namespace {

namespace library = sentencepiece;

// The characters of <unk>, <s> and </s>, which the library cuts out of a text before it trains on it. Where a character
// that is required does not occur, the library ends the process.
constexpr const char* kRequired = "</unks>";

// Lines for the library's trainer, and `last` where it is not empty. An exception of the caller waits until the library
// has returned.
class Lines final : public library::SentenceIterator {
 public:
  Lines(const NextLine& next_line, std::string last) : next_line_(next_line), last_(std::move(last)) { Next(); }

  bool done() const override { return done_; }
  const std::string& value() const override { return line_; }
  library::util::Status status() const override { return {}; }
  void Next() override {
    try {
      more_ = more_ && next_line_(line_);
      if (!more_) line_ = std::exchange(last_, "");
      done_ = !more_ && line_.empty();
      if (more_ && line_.size() <= kLongestTrainingLine && line_.find_first_not_of(" \t\r") != std::string::npos)
        any_ = true;
    } catch (...) {
      error_ = std::current_exception();
      done_ = true;
    }
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }
  bool any() const { return any_; }  // lines that can be trained on

 private:
  const NextLine& next_line_;
  std::string last_, line_;
  bool more_ = true, done_ = false, any_ = false;
  std::exception_ptr error_;
};

// The number behind `words` in a message of the library.
std::optional<std::int64_t> number_after(std::string_view message, std::string_view words) {
  const std::size_t at = message.find(words);
  if (at == std::string_view::npos) return std::nullopt;
  std::int64_t number = 0;
  const char* const begin = message.data() + at + words.size();
  const auto end = std::from_chars(begin, message.data() + message.size(), number);
  return end.ec == std::errc() ? std::optional(number) : std::nullopt;
}

// The library names the limits of a text in its own words, between file names and assertions.
std::string why_not(const Lines& lines, const SentencePieceTraining& settings, std::string_view message) {
  const std::int64_t vocabulary = settings.vocabulary;
  if (!lines.any())
    return fmt::format(
        "it has no line of 1 to {} bytes that is not blank; give a text of lines ('fold -s' breaks long ones)",
        kLongestTrainingLine);
  if (message.find("required_chars") != std::string_view::npos)
    if (const auto least = number_after(message, " vs "))
      return fmt::format(
          "a vocabulary of {} pieces is too small for it: its characters, with <unk>, <s>{}, take {} pieces; give {} "
          "or more",
          vocabulary, settings.keep_layout ? ", </s>, their letters, tab and line end" : " and </s>", *least, *least);
  if (message.find("too high") != std::string_view::npos)
    if (const auto most = number_after(message, "<= "))
      return fmt::format(
          "a vocabulary of {} pieces is too large for it: it yields {} at most; give {} or fewer, or more "
          "text",
          vocabulary, *most, *most);
  return "the library gives no reason that we know; use another text or another size of the vocabulary";
}

std::string train(const SentencePieceTraining& settings, const NextLine& next_line) {
  if (settings.model_type != "bpe" && settings.model_type != "unigram")
    throw ArgumentError(
        fmt::format("a SentencePiece model of type '{}' cannot be trained; the types are bpe and unigram",
                    printable(settings.model_type)));
  if (settings.vocabulary < 4 || settings.vocabulary > 1'000'000)
    throw ArgumentError(
        fmt::format("a vocabulary of {} pieces cannot be trained; give 4 to 1000000", settings.vocabulary));
  Lines lines(next_line, settings.keep_layout ? kRequired : "");
  std::string model;
  std::unordered_map<std::string, std::string> options{{"model_type", settings.model_type},
                                                       {"vocab_size", std::to_string(settings.vocabulary)},
                                                       {"split_digits", settings.split_digits ? "true" : "false"},
                                                       {"minloglevel", "3"}};  // silent
  if (settings.keep_layout)
    options.insert({{"remove_extra_whitespaces", "false"},
                    {"allow_whitespace_only_pieces", "true"},
                    {"user_defined_symbols", "\n,\t"},
                    {"required_chars", kRequired}});
  const library::util::Status status = library::SentencePieceTrainer::Train(options, &lines, &model);
  lines.rethrow();
  if (!status.ok())
    throw RunError(ExitCode::bad_data, fmt::format("SentencePiece cannot train on this text: {}",
                                                   why_not(lines, settings, status.error_message())));
  return model;
}

const bool registered = (tokenizer_formats().train_sentencepiece = train) != nullptr;

}  // namespace
}  // namespace weir
