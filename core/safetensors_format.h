// What the safetensors reader and writer share: the format's names and limits.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "core/dtype.h"

namespace weir::safetensors {

static_assert(std::endian::native == std::endian::little, "safetensors data is little endian");

inline constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
inline constexpr const char* kMetadata = "__metadata__";

struct FormatDType {
  DType dtype;
  const char* name;
};

inline constexpr std::array<FormatDType, 7> kDTypes{{{DType::float64, "F64"},
                                                     {DType::float32, "F32"},
                                                     {DType::bf16, "BF16"},
                                                     {DType::int64, "I64"},
                                                     {DType::int32, "I32"},
                                                     {DType::uint8, "U8"},
                                                     {DType::boolean, "BOOL"}}};

inline const char* format_name(DType dtype) {
  return std::find_if(kDTypes.begin(), kDTypes.end(), [dtype](const auto& d) { return d.dtype == dtype; })->name;
}

}  // namespace weir::safetensors
