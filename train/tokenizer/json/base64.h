// Base64, decoded (RFC 4648, with padding).
#pragma once

#include <string>

#include "train/tokenizer/json/document.h"

namespace weir {

// Refuses what is not base64 and what gives more than `max_bytes`.
std::string decode_base64(const JsonPlace& place, std::size_t max_bytes);

}  // namespace weir
