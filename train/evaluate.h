// Evaluation: the mean loss over a corpus, with its own memory length.
#pragma once

#include "models/transformer_xl.h"
#include "train/config.h"
#include "train/data.h"

namespace weir {

struct Evaluation {
  double nats_per_token = 0;
  std::int64_t tokens = 0;       // predicted
  std::int64_t batch_size = 0;   // streams really used: fewer than asked for where the corpus is short
  std::int64_t memory = 0;       // tokens
  double bits_per_byte() const;  // for byte corpora
};

// Every stream starts with empty memory and is read to its end (or until `config.max_tokens` are predicted). No
// dropout, no regulariser, no gradient.
// With `statistics`, what the feedforwards did is counted there, per layer and in full.
Evaluation evaluate(const TransformerXl& model, const ByteCorpus& corpus, const EvalConfig& config,
                    std::vector<FeedforwardStatistics>* statistics = nullptr);

}  // namespace weir
