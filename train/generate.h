// Text from a model, token by token.
#pragma once

#include <functional>
#include <string>

#include "models/transformer_xl.h"

namespace weir {

struct GenerateOptions {
  std::int64_t tokens = 200;
  double temperature = 0.8;  // 0: always the most likely token
  std::int64_t top_k = 0;    // sample among the k most likely; 0: among all
  std::uint64_t seed = 1;
};

// Continues `prompt` (bytes; an empty one counts as a line end) and returns the new bytes; `on_text` sees each at once.
// The model sees as much as in training: its segment and its memory.
std::string generate(const TransformerXl& model, const std::string& prompt, const GenerateOptions& options,
                     const std::function<void(char)>& on_text = {});

}  // namespace weir
