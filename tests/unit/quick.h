// WEIR_QUICK=1 asks for less repetition, where sanitizers make everything many times as slow.
#pragma once

#include <cstdlib>

namespace weir::tests {

inline bool quick() { return std::getenv("WEIR_QUICK") != nullptr; }

}  // namespace weir::tests
