// A stretch of a text on its way to tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/error.h"

namespace weir {

struct Segment {
  std::string text;
  // Bytes at the front that stand for the first character of the whole text as it was given: what "first" means where
  // something is put before the first word alone.
  std::size_t head = 0;
  std::int32_t token = -1;  // of an added token, which nothing touches any more
};

// A text may grow while it is normalised, but not without end: twice this is the most that is ever held.
constexpr std::size_t kMaxSegmentBytes = std::size_t{256} << 20;

inline void append_bounded(std::string& text, std::string_view more) {
  if (more.size() > kMaxSegmentBytes - text.size())
    throw ArgumentError("a text grows beyond 256 MiB while it is normalised; encode it line by line");
  text += more;
}

}  // namespace weir
