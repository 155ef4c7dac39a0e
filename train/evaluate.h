// Evaluation: the mean loss over a corpus, with its own memory length.
//
// Every token but the first has a context and is predicted once: n - 1 of n. They are cut into B streams of consecutive
// tokens whose lengths differ by one at most, and each stream into segments of T, the last of which may be shorter. A
// stream starts with the token before its first target, and with empty memory.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "models/language_model.h"
#include "train/config.h"
#include "train/data.h"
#include "train/metrics.h"

namespace weir {

struct Evaluation {
  double nats_per_token = 0;
  std::int64_t tokens = 0;       // predicted
  std::int64_t predictable = 0;  // tokens of the corpus that have a context: all but the first
  std::int64_t batch_size = 0;   // streams really used: fewer than asked for where the corpus is short
  std::int64_t memory = 0;       // tokens
  bool is_bytes = true;          // tokens are the bytes of the text
  std::optional<double> bytes_per_token, words_per_token;  // of the corpus

  double unknown_share = 0;  // of the corpus's text: what has no token, which makes the figures too low

  // Of another tokenizer's model only the last two say the same; they are known where the corpus counts bytes and
  // words.
  double perplexity() const;                      // per token: exp(nats per token)
  std::optional<double> bits_per_byte() const;    // all nats of the text / ln 2 / its bytes
  std::optional<double> word_perplexity() const;  // exp(all nats of the text / its words)
};

// Throws RunError(bad_data) where the corpus has no token with a context.
void check_predictable(const Corpus& corpus);

// All streams are read to their ends, or until `config.max_tokens` are predicted. No dropout, no regulariser, no
// gradient.
// With `statistics`, what the feedforwards did is counted there, per layer and in full. `before_segment` is called as
// the name says; what it throws ends the evaluation.
Evaluation evaluate(const LanguageModel& model, const Corpus& corpus, const EvalConfig& config,
                    std::vector<FeedforwardStatistics>* statistics = nullptr,
                    const std::function<void()>& before_segment = {});

// "1.2345 bits per byte" where tokens are bytes; otherwise "perplexity 11.81 per token", and what else is known.
std::string describe(const Evaluation& evaluation);

// Adds PREFIX/loss and, as describe() does, PREFIX/bits_per_byte, PREFIX/perplexity, PREFIX/word_perplexity,
// and PREFIX/unknown_share where it is above 0.
void append_quality(std::vector<Metric>& metrics, const std::string& prefix, const Evaluation& evaluation);

}  // namespace weir
