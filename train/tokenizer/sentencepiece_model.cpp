#include "train/tokenizer/sentencepiece_model.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <set>
#include <unordered_map>

#include "core/error.h"
#include "core/text.h"
#include "train/tokenizer/charsmap.h"

namespace weir {
namespace {

using Model = SentencePieceModel;
using PieceType = Model::PieceType;

constexpr std::size_t kMaxPieces = std::size_t{1} << 20;
constexpr std::size_t kMaxPieceBytes = 4096;
constexpr std::size_t kMaxSurfaceBytes = 4096;
constexpr int kMaxNestedUserPieces = 64;  // user-defined pieces that begin one another: what the library has room for

// Field numbers of sentencepiece_model.proto.
enum ModelField : std::uint32_t { kPieces = 1, kTrainer = 2, kNormalizer = 3, kDenormalizer = 5 };
enum PieceField : std::uint32_t { kText = 1, kScore = 2, kPieceType = 3 };
enum TrainerField : std::uint32_t { kModelType = 3, kSuffix = 24, kByteFallback = 35, kUnknownSurface = 44 };
enum NormalizerField : std::uint32_t { kCharsmap = 2, kDummyPrefix = 3, kExtraWhitespaces = 4, kEscape = 5 };

// The numbers are those of the wire format.
enum class Wire : std::uint32_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw RunError(ExitCode::bad_data, fmt::format("{}: not a sound SentencePiece model: {}; fetch or train it again",
                                                 printable(path, 4096), why));
}

// Reads the fields of one message in the order in which they stand.
class Message {
 public:
  Message(const std::string& path, std::string_view bytes, std::size_t file_offset)
      : path_(path), rest_(bytes), offset_(file_offset) {}

  // Moves to the next field; false at the end.
  bool next() {
    if (rest_.empty()) return false;
    const std::uint64_t key = read_varint();
    number_ = static_cast<std::uint32_t>(key >> 3);
    if (key >> 35 != 0 || number_ == 0) damaged(fmt::format("the field number {} is out of range", key >> 3));
    wire_ = static_cast<Wire>(key & 7);
    switch (wire_) {
      case Wire::varint:
        integer_ = read_varint();
        return true;
      case Wire::fixed64:
        bytes_ = take(8);
        return true;
      case Wire::bytes:
        bytes_ = take(read_varint());
        return true;
      case Wire::fixed32:
        bytes_ = take(4);
        return true;
    }
    damaged(fmt::format("field {} has the unknown wire type {}", number_, key & 7));
  }

  std::uint32_t number() const { return number_; }
  std::size_t offset() const { return offset_; }

  std::uint64_t integer() const {
    expect(Wire::varint, "a whole number");
    return integer_;
  }
  bool boolean() const { return integer() != 0; }
  std::string_view bytes() const {
    expect(Wire::bytes, "bytes");
    return bytes_;
  }
  Message message() const {
    expect(Wire::bytes, "a message");
    return Message(path_, bytes_, offset_ - bytes_.size());
  }
  float real() const {
    expect(Wire::fixed32, "a float");
    std::uint32_t word = 0;
    for (std::size_t i = 0; i < 4; ++i) word |= std::uint32_t{static_cast<unsigned char>(bytes_[i])} << (8 * i);
    return std::bit_cast<float>(word);
  }

  [[noreturn]] void damaged(const std::string& why) const {
    refuse(path_, fmt::format("before byte {}: {}", offset_, why));
  }

 private:
  void expect(Wire wire, const char* what) const {
    if (wire_ != wire) damaged(fmt::format("field {} is not {}", number_, what));
  }

  std::uint64_t read_varint() {
    std::uint64_t result = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      result |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return result;
    }
    damaged("a number has more than ten bytes");
  }

  std::string_view take(std::uint64_t count) {
    if (count > rest_.size())
      damaged(fmt::format("a length of {} where {} left", counted(count, "byte"),
                          rest_.size() == 1 ? "1 is" : std::to_string(rest_.size()) + " are"));
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(taken.size());
    offset_ += taken.size();
    return taken;
  }

  const std::string& path_;
  std::string_view rest_;
  std::size_t offset_;  // of rest_ in the file
  std::uint32_t number_ = 0;
  Wire wire_ = Wire::varint;
  std::uint64_t integer_ = 0;
  std::string_view bytes_;
};

Model::Piece parse_piece(Message message) {
  Model::Piece piece;
  while (message.next()) {
    if (message.number() == kText) piece.text = message.bytes();
    if (message.number() == kScore) piece.score = message.real();
    if (message.number() == kPieceType) {
      if (message.integer() < 1 || message.integer() > 6)
        message.damaged(fmt::format("the piece type {} is unknown", message.integer()));
      piece.type = static_cast<PieceType>(message.integer());
    }
  }
  return piece;
}

void parse_trainer(Message message, Model& model) {
  while (message.next()) {
    if (message.number() == kSuffix) model.whitespace_as_suffix = message.boolean();
    if (message.number() == kByteFallback) model.byte_fallback = message.boolean();
    if (message.number() == kUnknownSurface) model.unknown_surface = message.bytes();
    if (message.number() == kModelType) {
      if (message.integer() < 1 || message.integer() > 4)
        message.damaged(fmt::format("the model type {} is unknown", message.integer()));
      model.type = static_cast<Model::Type>(message.integer());
    }
  }
}

void parse_normalization(Message message, Model::Normalization& normalization) {
  while (message.next()) {
    if (message.number() == kCharsmap) normalization.charsmap = message.bytes();
    if (message.number() == kDummyPrefix) normalization.add_dummy_prefix = message.boolean();
    if (message.number() == kExtraWhitespaces) normalization.remove_extra_whitespaces = message.boolean();
    if (message.number() == kEscape) normalization.escape_whitespaces = message.boolean();
  }
}

// What the checks of the pieces share.
class Checker {
 public:
  Checker(const std::string& path, const Model& model) : path_(path), model_(model) {}

  void run() {
    if (model_.pieces.empty()) refuse(path_, "there are no pieces");
    for (std::size_t i = 0; i < model_.pieces.size(); ++i) check_piece(i);
    check_kinds();
    check_nesting();
    if (model_.unknown_surface.size() > kMaxSurfaceBytes || !is_utf8(model_.unknown_surface))
      refuse(path_, fmt::format("unk_surface is not UTF-8 of at most {} bytes", kMaxSurfaceBytes));
  }

 private:
  void check_piece(std::size_t index) {
    const Model::Piece& piece = model_.pieces[index];
    const auto wrong = [&](const std::string& why) {
      refuse(path_, fmt::format("piece {} ('{}') {}", index, printable(piece.text, 40), why));
    };
    if (piece.text.empty()) wrong("is empty");
    if (piece.text.size() > kMaxPieceBytes) wrong(fmt::format("has more than {} bytes", kMaxPieceBytes));
    if (!is_utf8(piece.text)) wrong("is not UTF-8");
    if (piece.text.find('\0') != std::string::npos) wrong("contains a zero byte");
    if (!std::isfinite(piece.score)) wrong(fmt::format("has the score {}", piece.score));
    const auto [other, is_new] = indices_.emplace(piece.text, index);
    if (!is_new) wrong(fmt::format("is piece {} as well", other->second));
  }

  void check_kinds() const {
    std::size_t unknown = 0;
    std::set<std::string> bytes;
    for (const Model::Piece& piece : model_.pieces) {
      unknown += piece.type == PieceType::unknown;
      if (piece.type == PieceType::byte) bytes.insert(piece.text);
    }
    if (unknown != 1) refuse(path_, fmt::format("{} for what is unknown, expected 1", counted(unknown, "piece")));
    if (!model_.byte_fallback && !bytes.empty())
      refuse(path_, fmt::format("piece '{}' is a byte, but byte_fallback is off", printable(*bytes.begin(), 40)));
    if (!model_.byte_fallback) return;
    for (int byte = 0; byte < 256; ++byte)
      if (!bytes.contains(fmt::format("<0x{:02X}>", byte)))
        refuse(path_, fmt::format("byte_fallback is on, but the piece '<0x{:02X}>' is missing", byte));
    if (bytes.size() != 256) refuse(path_, "a byte piece is not named like '<0x0A>'");
  }

  // Sorted, a text directly follows those that begin it, with only texts between them that one of them begins too.
  void check_nesting() const {
    std::set<std::string_view> texts;
    for (const Model::Piece& piece : model_.pieces)
      if (piece.type == PieceType::user_defined) texts.insert(piece.text);
    std::vector<std::string_view> beginnings;
    for (const std::string_view text : texts) {
      while (!beginnings.empty() && !text.starts_with(beginnings.back())) beginnings.pop_back();
      beginnings.push_back(text);
      if (beginnings.size() > kMaxNestedUserPieces)
        refuse(path_, fmt::format("more than {} user-defined pieces begin one another", kMaxNestedUserPieces));
    }
  }

  const std::string& path_;
  const Model& model_;
  std::unordered_map<std::string_view, std::size_t> indices_;
};

// The writing side of Message.
class MessageWriter {
 public:
  void integer(std::uint32_t number, std::uint64_t value) {
    key(number, Wire::varint);
    varint(value);
  }
  void bytes(std::uint32_t number, std::string_view value) {
    key(number, Wire::bytes);
    varint(value.size());
    out_ += value;
  }
  void real(std::uint32_t number, float value) {
    key(number, Wire::fixed32);
    const auto word = std::bit_cast<std::uint32_t>(value);
    for (int i = 0; i < 4; ++i) out_ += static_cast<char>(word >> (8 * i) & 0xff);
  }
  const std::string& text() const { return out_; }

 private:
  void key(std::uint32_t number, Wire wire) { varint(std::uint64_t{number} << 3 | static_cast<std::uint32_t>(wire)); }
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_ += static_cast<char>(value | 0x80);
    out_ += static_cast<char>(value);
  }

  std::string out_;
};

std::string serialize(const Model::Normalization& normalization) {
  MessageWriter writer;
  writer.bytes(kCharsmap, normalization.charsmap);
  writer.integer(kDummyPrefix, normalization.add_dummy_prefix);
  writer.integer(kExtraWhitespaces, normalization.remove_extra_whitespaces);
  writer.integer(kEscape, normalization.escape_whitespaces);
  return writer.text();
}

}  // namespace

SentencePieceModel parse_sentencepiece_model(const std::string& path, std::string_view bytes) {
  Model model;
  Message message(path, bytes, 0);
  while (message.next()) {
    if (message.number() == kPieces) {
      if (model.pieces.size() == kMaxPieces) message.damaged(fmt::format("there are more than {} pieces", kMaxPieces));
      model.pieces.push_back(parse_piece(message.message()));
    }
    if (message.number() == kTrainer) parse_trainer(message.message(), model);
    if (message.number() == kNormalizer) parse_normalization(message.message(), model.normalization);
    if (message.number() == kDenormalizer) parse_normalization(message.message(), model.denormalization);
  }
  Checker(path, model).run();
  Charsmap(printable(path, 4096) + ": normalizer_spec", model.normalization.charsmap);
  Charsmap(printable(path, 4096) + ": denormalizer_spec", model.denormalization.charsmap);
  return model;
}

std::string serialize(const SentencePieceModel& model) {
  MessageWriter writer;
  for (const Model::Piece& piece : model.pieces) {
    MessageWriter entry;
    entry.bytes(kText, piece.text);
    entry.real(kScore, piece.score);
    entry.integer(kPieceType, static_cast<std::uint64_t>(piece.type));
    writer.bytes(kPieces, entry.text());
  }
  MessageWriter trainer;
  trainer.integer(kModelType, static_cast<std::uint64_t>(model.type));
  trainer.integer(kSuffix, model.whitespace_as_suffix);
  trainer.integer(kByteFallback, model.byte_fallback);
  trainer.bytes(kUnknownSurface, model.unknown_surface);
  writer.bytes(kTrainer, trainer.text());
  writer.bytes(kNormalizer, serialize(model.normalization));
  if (!model.denormalization.charsmap.empty()) writer.bytes(kDenormalizer, serialize(model.denormalization));
  return writer.text();
}

}  // namespace weir
