#include "core/dtype.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace weir {
namespace {

struct Entry {
  DType dtype;
  const char* name;
  std::size_t size;
};

constexpr std::array<Entry, 7> kTable{{{DType::float64, "float64", 8},
                                       {DType::float32, "float32", 4},
                                       {DType::bf16, "bf16", 2},
                                       {DType::int32, "int32", 4},
                                       {DType::int64, "int64", 8},
                                       {DType::uint8, "uint8", 1},
                                       {DType::boolean, "bool", 1}}};

}  // namespace

std::size_t dtype_size(DType dtype) { return kTable[static_cast<std::size_t>(dtype)].size; }
const char* dtype_name(DType dtype) { return kTable[static_cast<std::size_t>(dtype)].name; }

DType dtype_from_name(const std::string& name) {
  std::string known;
  for (const Entry& entry : kTable) {
    if (name == entry.name) return entry.dtype;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", entry.name);
  }
  throw ArgumentError(fmt::format("unknown dtype '{}': choose one of {}", name, known));
}

void detail::refuse_dtype(const char* where, DType got, const char* allowed) {
  throw ArgumentError(fmt::format("{}: expected dtype {}, got {}", where, allowed, dtype_name(got)));
}

}  // namespace weir
