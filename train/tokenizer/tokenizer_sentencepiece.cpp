// Reads SentencePiece models through their library. Left out of builds that lack it.
#include <fmt/format.h>
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <array>
#include <optional>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "train/tokenizer/formats.h"
#include "train/tokenizer/sentencepiece_model.h"
#include "train/tokenizer/sentencepiece_removed.h"

namespace weir {
namespace {

namespace library = sentencepiece;

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{64} << 20;
constexpr std::size_t kMaxTextBytes = std::size_t{64} << 20;  // the library counts in int, after up to 1024-fold growth

// The library logs to stderr until told otherwise, and only its trainer can be told. Without input it does nothing
// else. Level 3 is what ends the process.
void silence_library() {
  static const bool done = [] {
    library::SentencePieceTrainer::Train({{"minloglevel", "3"}}).IgnoreError();
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
    removed_.emplace(model);
    check(processor_.LoadFromSerializedProto(serialize(model)), "load the model");
    line_ends_ = decode(encode("a\nb")).find('\n') != std::string::npos;
  }

  std::int64_t vocabulary() const override { return processor_.GetPieceSize(); }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    std::vector<std::int32_t> tokens;
    for_each_piece(text, [&](const Piece& piece) { tokens.push_back(static_cast<std::int32_t>(piece.id())); });
    return tokens;
  }

  std::vector<std::int32_t> encode_counting(std::string_view text, std::int64_t& unknown_bytes) const override {
    std::vector<std::int32_t> tokens;
    std::int64_t unknown = removed_->bytes(text);
    for_each_piece(text, [&](const Piece& piece) {
      tokens.push_back(static_cast<std::int32_t>(piece.id()));
      if (is_unknown(piece)) unknown += std::int64_t{piece.end()} - std::int64_t{piece.begin()};
    });
    unknown_bytes += std::min(unknown, std::ssize(text));  // what is removed inside of unknown text is in both
    return tokens;
  }

  std::vector<std::string> unknown(std::string_view text) const override {
    std::vector<std::string> found;
    for_each_piece(text, [&](const Piece& piece) {
      if (is_unknown(piece)) found.push_back(piece.piece());
    });
    return found;
  }

  bool keeps_line_ends() const override { return line_ends_; }

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
  using Piece = library::ImmutableSentencePieceText_ImmutableSentencePiece;

  bool is_unknown(const Piece& piece) const { return static_cast<int>(piece.id()) == processor_.unk_id(); }

  template <class Visit>
  void for_each_piece(std::string_view text, Visit visit) const {
    if (text.size() > kMaxTextBytes)
      throw ArgumentError(
          fmt::format("{}: a text of {} bytes cannot be encoded at once, at most {} can; "
                      "encode it line by line",
                      path_, text.size(), kMaxTextBytes));
    library::ImmutableSentencePieceText encoded;
    check(processor_.Encode(text, encoded.mutable_proto()), "encode a text");
    for (std::size_t i = 0; i < encoded.pieces_size(); ++i) visit(encoded.pieces(static_cast<int>(i)));
  }

  void check(const library::util::Status& status, const char* what) const {
    if (status.ok()) return;
    throw RunError(ExitCode::bad_data, fmt::format("{}: SentencePiece cannot {}: {}; fetch or train the model again",
                                                   path_, what, printable(status.error_message(), 400)));
  }

  std::string path_;
  SentencePieceModel::Type type_ = SentencePieceModel::Type::unigram;
  std::optional<RemovedText> removed_;
  bool line_ends_ = false;
  library::SentencePieceProcessor processor_;
};

std::unique_ptr<Tokenizer> open(const std::string& path) { return std::make_unique<SentencePieceTokenizer>(path); }

const bool registered = (tokenizer_formats().open_sentencepiece = open) != nullptr;

}  // namespace
}  // namespace weir
