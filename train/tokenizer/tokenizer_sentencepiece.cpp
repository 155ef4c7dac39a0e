// SentencePiece through its library. Left out of builds that lack it.
#include <fmt/format.h>
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <array>
#include <exception>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "train/tokenizer/formats.h"
#include "train/tokenizer/sentencepiece_model.h"

namespace weir {
namespace {

namespace library = sentencepiece;

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{64} << 20;
constexpr std::size_t kMaxTextBytes = std::size_t{64} << 20;  // the library counts in int, after up to 1024-fold growth
constexpr const char* kSilent = "3";                          // nothing but what ends the process is logged

// The library logs to stderr until told otherwise, and only its trainer can be told. Without input it does nothing
// else.
void silence_library() {
  static const bool done = [] {
    library::SentencePieceTrainer::Train({{"minloglevel", kSilent}}).IgnoreError();
    return true;
  }();
  static_cast<void>(done);
}

class SentencePieceTokenizer final : public Tokenizer {
 public:
  explicit SentencePieceTokenizer(const std::string& path) : path_(printable(path, 4096)) {
    silence_library();
    const SentencePieceModel model = parse_sentencepiece_model(path, read_file(path, kMaxFileBytes));
    type_ = model.type;
    check(processor_.LoadFromSerializedProto(serialize(model)), "load the model");
  }

  std::int64_t vocabulary() const override { return processor_.GetPieceSize(); }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    if (text.size() > kMaxTextBytes)
      throw ArgumentError(
          fmt::format("{}: a text of {} bytes cannot be encoded at once, at most {} can; "
                      "encode it line by line",
                      path_, text.size(), kMaxTextBytes));
    std::vector<int> tokens;
    check(processor_.Encode(text, &tokens), "encode a text");
    return tokens;
  }

  std::string decode(std::span<const std::int32_t> tokens) const override {
    for (const std::int32_t token : tokens) check_token(token);
    std::string text;
    check(processor_.Decode(std::vector<int>(tokens.begin(), tokens.end()), &text), "decode tokens");
    return text;
  }

  std::string piece(std::int32_t token) const override {
    check_token(token);
    return processor_.IdToPiece(token);
  }

  std::string describe() const override {
    constexpr std::array kNames{"unigram", "BPE", "words", "characters"};
    return fmt::format("SentencePiece, {}, {} pieces", kNames[static_cast<std::size_t>(type_) - 1], vocabulary());
  }

 private:
  void check(const library::util::Status& status, const char* what) const {
    if (status.ok()) return;
    throw RunError(ExitCode::bad_data, fmt::format("{}: SentencePiece cannot {}: {}; fetch or train the model again",
                                                   path_, what, printable(status.error_message(), 400)));
  }

  std::string path_;
  SentencePieceModel::Type type_ = SentencePieceModel::Type::unigram;
  library::SentencePieceProcessor processor_;
};

// Lines for the library's trainer. An exception of the caller waits until the library has returned.
class Lines final : public library::SentenceIterator {
 public:
  explicit Lines(const NextLine& next_line) : next_line_(next_line) { Next(); }

  bool done() const override { return done_; }
  const std::string& value() const override { return line_; }
  library::util::Status status() const override { return {}; }
  void Next() override {
    try {
      done_ = !next_line_(line_);
    } catch (...) {
      error_ = std::current_exception();
      done_ = true;
    }
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  const NextLine& next_line_;
  std::string line_;
  bool done_ = false;
  std::exception_ptr error_;
};

std::string train(const SentencePieceTraining& settings, const NextLine& next_line) {
  if (settings.model_type != "bpe" && settings.model_type != "unigram")
    throw ArgumentError(
        fmt::format("a SentencePiece model of type '{}' cannot be trained; the types are bpe and unigram",
                    printable(settings.model_type)));
  if (settings.vocabulary < 4 || settings.vocabulary > 1'000'000)
    throw ArgumentError(
        fmt::format("a vocabulary of {} pieces cannot be trained; give 4 to 1000000", settings.vocabulary));
  Lines lines(next_line);
  std::string model;
  const library::util::Status status =
      library::SentencePieceTrainer::Train({{"model_type", settings.model_type},
                                            {"vocab_size", std::to_string(settings.vocabulary)},
                                            {"split_digits", settings.split_digits ? "true" : "false"},
                                            {"minloglevel", kSilent}},
                                           &lines, &model);
  lines.rethrow();
  if (!status.ok())
    throw RunError(ExitCode::bad_data,
                   fmt::format("SentencePiece cannot train on this text: {}; use more text or a smaller vocabulary",
                               printable(status.error_message(), 400)));
  return model;
}

std::unique_ptr<Tokenizer> open(const std::string& path) { return std::make_unique<SentencePieceTokenizer>(path); }

const bool registered = set_sentencepiece_format({open, train});

}  // namespace
}  // namespace weir
