// What people call our settings who come from other programs.
#pragma once

#include <span>

#include "core/fields.h"

namespace weir {

std::span<const Synonyms> synonyms_of_settings();

}  // namespace weir
