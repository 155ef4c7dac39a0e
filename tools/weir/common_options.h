// Options that several commands have.
#pragma once

#include <cstdint>
#include <string>

#include "tools/weir/command_line.h"

namespace weir {

inline void device_option(OptionVisitor& v, std::string& name) {
  v.option("--device NAME", name, "where to compute: cpu, cuda or cuda:INDEX");
}

// 0, the default: all.
inline void threads_option(OptionVisitor& v, std::int64_t& threads) {
  v.option("--threads N", threads, {.min = 1, .max = 4096}, "threads on the processor; default all");
}

}  // namespace weir
