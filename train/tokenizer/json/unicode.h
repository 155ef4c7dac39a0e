// Unicode as tokenizer.json needs it: code points, classes of characters, normal forms, grapheme clusters. The tables
// are utf8proc's. All texts but the argument of to_valid_utf8 must be UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weir {

// What is not UTF-8 becomes U+FFFD, once per maximal sequence that began well.
std::string to_valid_utf8(std::string_view text);

// The code point at `at`, which moves behind it.
std::uint32_t next_code_point(std::string_view text, std::size_t& at);
void append_code_point(std::string& text, std::uint32_t code_point);

bool is_white_space(std::uint32_t code_point);      // the property White_Space
bool is_word_character(std::uint32_t code_point);   // \w of UTS 18: letters, marks, decimal digits, connectors, joiners
bool is_numeric(std::uint32_t code_point);          // categories Nd, Nl, No
bool is_punctuation(std::uint32_t code_point);      // categories P*, and the symbols of ASCII
bool is_combining_mark(std::uint32_t code_point);   // categories M*
bool is_nonspacing_mark(std::uint32_t code_point);  // category Mn
bool is_control(std::uint32_t code_point);          // categories Cc, Cf, Co
void append_lowercase(std::string& text, std::uint32_t code_point);

enum class NormalForm { nfc, nfd, nfkc, nfkd };
std::string normalize(std::string_view text, NormalForm form);

// The end of the extended grapheme cluster that begins at `begin`.
std::size_t grapheme_end(std::string_view text, std::size_t begin);

}  // namespace weir
