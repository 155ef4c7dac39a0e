#include "train/tokenizer/json/base64.h"

#include <fmt/format.h>

namespace weir {

std::string decode_base64(const JsonPlace& place, std::size_t max_bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string_view text = place.text();
  if (text.size() / 4 * 3 > max_bytes + 2) place.refuse(fmt::format("more than {} bytes", max_bytes));
  if (text.size() % 4 != 0) place.refuse("not base64: the length is not a multiple of 4");
  for (int padding = 0; padding < 2 && text.ends_with('='); ++padding) text.remove_suffix(1);
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  std::uint32_t bits = 0;
  int count = 0;  // of the bits that wait
  for (const char c : text) {
    const std::size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) place.refuse(fmt::format("not base64: the byte 0x{:02x}", c & 0xff));
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 0xff);
  }
  return bytes;
}

}  // namespace weir
