// The alphabet of byte-level vocabularies: every byte has a printable character, so that any text is a text in it.
// Bytes that are printable in Latin-1 (0x21-0x7e, 0xa1-0xac, 0xae-0xff) stand for themselves, the other 68, in order,
// are U+0100, U+0101, ...: the space is "Ġ".
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace weir {

std::string to_byte_level(std::string_view bytes);

// The bytes that a text of that alphabet stands for; nothing where a character is not of it.
std::optional<std::string> from_byte_level(std::string_view text);

}  // namespace weir
