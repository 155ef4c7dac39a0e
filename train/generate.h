// Text from a model, token by token.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "models/language_model.h"
#include "train/data.h"
#include "train/tokenizer/tokenizer.h"

namespace weir {

struct GenerateOptions {
  std::int64_t tokens = 200;
  double temperature = 0.8;  // 0: always the most likely token
  std::int64_t top_k = 0;    // sample among the k most likely; 0: among all
  std::uint64_t seed = 1;
  std::vector<std::int32_t> context{};   // tokens the model reads before the prompt
  std::function<void()> before_token{};  // called before each; what it throws ends the text
};

// Continues `prompt` (a line end where prompt and context are both empty) and returns the text of the new tokens. The
// model sees as much as in training: its segment and its memory.
std::string generate(const LanguageModel& model, const Tokenizer& tokenizer, const std::string& prompt,
                     const GenerateOptions& options);

// The start of a corpus, as much of it as a model sees. In training the memory is full but for the first step, so a
// model that starts from a few tokens alone is out of its element; with such a context it is not.
std::vector<std::int32_t> context_from(const Corpus& corpus, const ModelConfig& config);

}  // namespace weir
