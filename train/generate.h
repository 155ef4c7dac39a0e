// Text from a model, token by token.
#pragma once

#include <string>

#include "models/transformer_xl.h"
#include "train/data.h"

namespace weir {

struct GenerateOptions {
  std::int64_t tokens = 200;
  double temperature = 0.8;  // 0: always the most likely token
  std::int64_t top_k = 0;    // sample among the k most likely; 0: among all
  std::uint64_t seed = 1;
  std::string context{};  // bytes the model reads before the prompt
};

// Continues `prompt` (bytes; a line end where prompt and context are both empty) and returns the new bytes. The model
// sees as much as in training: its segment and its memory.
std::string generate(const TransformerXl& model, const std::string& prompt, const GenerateOptions& options);

// The start of a corpus, as much of it as a model sees. In training the memory is full but for the first step, so a
// model that starts from a few bytes alone is out of its element; with such a context it is not.
std::string context_from(const ByteCorpus& corpus, const ModelConfig& config);

}  // namespace weir
