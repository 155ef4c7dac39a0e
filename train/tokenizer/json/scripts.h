// Scripts, as the pre-tokenizer UnicodeScripts tells them apart.
#pragma once

#include <cstdint>

namespace weir {

// A number for each script; 0: none. Hiragana and Katakana are one with Han, the space is of no script.
int script_of(std::uint32_t code_point);

}  // namespace weir
