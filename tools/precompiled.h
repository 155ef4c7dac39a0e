#ifndef WEIR_TOOLS_PRECOMPILED_H  // compilers warn of a #pragma once here, for this file is compiled by itself
#define WEIR_TOOLS_PRECOMPILED_H
// The headers that most sources include, parsed once where a build precompiles headers (-Db_pch=true). No source needs
// it: each names what it uses, and the build without it, which is the default because compiler caches refuse
// precompiled headers, shows that.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#endif
