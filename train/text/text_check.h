// Tells text from other data: by the first bytes of a file, and by its encoding.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace weir {

enum class TextContent {
  text,        // UTF-8
  texts,       // the same, with a zero byte after each
  json_lines,  // only the first bytes are looked at: lines are judged one by one by whoever reads them
  bytes,       // anything: taken as it is, packed or not
};

struct TextOptions {
  TextContent content = TextContent::text;
  std::string bytes_setting{};  // what a user sets where any bytes are meant, for messages; empty: nothing does that
};

// TextContent::text for "utf-8", TextContent::bytes for "bytes": the values of settings and options named "encoding".
TextContent text_content(const std::string& encoding);

// How a file is packed, and the command that unpacks it.
struct Packing {
  std::string_view name, command;
};

constexpr std::size_t kHeadBytes = 512;  // enough for the functions below

// Of a file with these first bytes; null where it is not packed in a way that open_text() knows.
const Packing* packing_of(std::string_view head);

// Throws RunError(bad_data), with what it is and what to do, where a file's first bytes are those of something else
// than text. Zip archives are known by the name of their first member: documents and models are such archives.
void refuse_other_kinds(std::string_view head, const std::string& label, const TextOptions& options);

// Counts the bytes of a text, piece by piece, that are not UTF-8. A character that is cut off at the beginning or the
// end is no fault, since texts are cut to lengths in bytes.
class Utf8Check {
 public:
  void update(std::span<const char> bytes);

  std::uint64_t bytes() const { return bytes_; }                                 // seen
  std::uint64_t invalid() const { return invalid_; }                             // of them
  std::optional<std::uint64_t> first_invalid() const { return first_invalid_; }  // byte offset
  std::optional<std::uint64_t> first_zero() const { return first_zero_; }        // of a zero byte
  const char* likely_utf16() const;  // "UTF-16LE" or "UTF-16BE" where the zero bytes suggest it, else null

 private:
  void begin_character(unsigned char byte);
  void give_up();  // on the character at hand, none of whose bytes is text
  void add_invalid(std::uint64_t offset, std::uint64_t count);

  std::uint64_t bytes_ = 0, invalid_ = 0;
  std::optional<std::uint64_t> first_invalid_, first_zero_;
  std::uint64_t zeros_[2] = {};  // zero bytes at even and at odd offsets
  bool any_character_ = false;
  int had_ = 0, missing_ = 0;                     // bytes of the character at hand
  unsigned char lowest_ = 0x80, highest_ = 0xbf;  // what its next one may be
};

// Throws RunError(bad_data) where what was seen holds zero bytes, or more than one byte in a hundred is not UTF-8.
void refuse_other_encodings(const Utf8Check& seen, const std::string& label, const TextOptions& options);

}  // namespace weir
