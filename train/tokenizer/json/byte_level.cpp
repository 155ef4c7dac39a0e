#include "train/tokenizer/json/byte_level.h"

#include <array>

#include "train/tokenizer/json/unicode.h"

namespace weir {
namespace {

constexpr std::size_t kAlphabetEnd = 0x100 + 68;

constexpr bool is_printable(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

struct Alphabet {
  std::array<std::string, 256> characters;  // of each byte: one or two bytes
  std::array<int, kAlphabetEnd> bytes{};    // of each character; -1: none

  Alphabet() {
    bytes.fill(-1);
    std::uint32_t next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const std::uint32_t character = is_printable(byte) ? byte : next++;
      append_code_point(characters[byte], character);
      bytes[character] = static_cast<int>(byte);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

std::string to_byte_level(std::string_view bytes) {
  const Alphabet& letters = alphabet();
  std::string text(2 * bytes.size(), '\0');
  char* end = text.data();
  for (const char byte : bytes) {
    const std::string& character = letters.characters[static_cast<unsigned char>(byte)];
    *end++ = character[0];
    if (character.size() == 2) *end++ = character[1];
  }
  text.resize(static_cast<std::size_t>(end - text.data()));
  return text;
}

std::optional<std::string> from_byte_level(std::string_view text) {
  const Alphabet& letters = alphabet();
  std::string bytes;
  for (std::size_t at = 0; at < text.size();) {
    const std::uint32_t character = next_code_point(text, at);
    if (character >= kAlphabetEnd || letters.bytes[character] < 0) return std::nullopt;
    bytes += static_cast<char>(letters.bytes[character]);
  }
  return bytes;
}

}  // namespace weir
