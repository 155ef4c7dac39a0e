// Text to tokens and back: one interface, so that everything else counts tokens and asks nothing more.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::int64_t vocabulary() const = 0;  // tokens are 0 .. vocabulary() - 1; not all of them need be in use
  // A line, a document, a prompt: pieces of text that are encoded apart from one another. Adds no special tokens.
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
  // The same; adds to `unknown_bytes` how much of the text no token tells of, in bytes of the text: what has none, and
  // what is removed before.
  virtual std::vector<std::int32_t> encode_counting(std::string_view text, std::int64_t& unknown_bytes) const;
  // What of a text has no token, in order and as often as it is there: characters, runs of them or whole words, as the
  // tokenizer has them after normalising. They become its unknown token, or vanish.
  virtual std::vector<std::string> unknown(std::string_view text) const;
  // Whether a line is encoded with its end; else that would be lost, or be a blank.
  virtual bool keeps_line_ends() const { return true; }
  // Refuses tokens outside the vocabulary with ArgumentError.
  virtual std::string decode(std::span<const std::int32_t> tokens) const = 0;
  // A token as its vocabulary writes it, such as "▁the" or "<0x0A>"; empty for one that is not in use.
  virtual std::string piece(std::int32_t token) const = 0;
  // For people, in a few words: "SentencePiece, BPE, 8000 pieces".
  virtual std::string describe() const = 0;

 protected:
  void check_token(std::int32_t token) const;
};

// Every byte is a token.
class ByteTokenizer final : public Tokenizer {
 public:
  std::int64_t vocabulary() const override { return 256; }
  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(std::span<const std::int32_t> tokens) const override;
  std::string piece(std::int32_t token) const override;
  std::string describe() const override { return "bytes"; }
};

// How tokens name what made them: in prepared data, runs and checkpoints by the file of a tokenizer, or by this name
// where every byte is a token, for which there is no file.
inline constexpr const char* kByteTokenizer = "bytes";
inline bool is_byte_tokenizer(std::string_view name) { return name == kByteTokenizer; }

// kByteTokenizer, or a file: what ends in .model is read as SentencePiece, what ends in .json as a tokenizer.json of
// Hugging Face. Tokenizers can be used by several threads at a time.
std::unique_ptr<Tokenizer> open_tokenizer(const std::string& path);

}  // namespace weir
