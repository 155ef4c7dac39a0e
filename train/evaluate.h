// Evaluation: the mean loss over a corpus, with its own memory length.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/transformer_xl.h"
#include "train/config.h"
#include "train/data.h"
#include "train/metrics.h"

namespace weir {

struct Evaluation {
  double nats_per_token = 0;
  std::int64_t tokens = 0;      // predicted
  std::int64_t batch_size = 0;  // streams really used: fewer than asked for where the corpus is short
  std::int64_t memory = 0;      // tokens
  bool is_bytes = true;         // tokens are the bytes of the text
  std::optional<double> bytes_per_token, words_per_token;  // of the corpus

  // Of another tokenizer's model only the last two say the same; they are known where the corpus counts bytes and
  // words.
  double perplexity() const;                      // per token: exp(nats per token)
  std::optional<double> bits_per_byte() const;    // all nats of the text / ln 2 / its bytes
  std::optional<double> word_perplexity() const;  // exp(all nats of the text / its words)
};

// Every stream starts with empty memory and is read to its end (or until `config.max_tokens` are predicted). No
// dropout, no regulariser, no gradient.
Evaluation evaluate(const TransformerXl& model, const Corpus& corpus, const EvalConfig& config);

// "1.2345 bits per byte" where tokens are bytes; otherwise "perplexity 11.81 per token", and what else is known.
std::string describe(const Evaluation& evaluation);

// Adds PREFIX/loss and, as describe() does, PREFIX/bits_per_byte, PREFIX/perplexity, PREFIX/word_perplexity.
void append_quality(std::vector<Metric>& metrics, const std::string& prefix, const Evaluation& evaluation);

}  // namespace weir
