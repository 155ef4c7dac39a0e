// Printing on standard output, with fmt's formats.
#pragma once

#include <fmt/core.h>

#include <utility>

#include "core/output.h"

namespace weir {

template <class... Values>
void print(fmt::format_string<Values...> format, Values&&... values) {
  standard_output().write(fmt::format(format, std::forward<Values>(values)...));
}

}  // namespace weir
