#include "train/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "autograd/autograd.h"
#include "core/text.h"
#include "ops/cross_entropy.h"

namespace weir {

double Evaluation::perplexity() const { return std::exp(nats_per_token); }

std::optional<double> Evaluation::bits_per_byte() const {
  if (!bytes_per_token) return std::nullopt;
  return nats_per_token / std::numbers::ln2 / *bytes_per_token;
}

std::optional<double> Evaluation::word_perplexity() const {
  if (!words_per_token) return std::nullopt;
  return std::exp(nats_per_token / *words_per_token);
}

std::string describe(const Evaluation& evaluation) {
  std::vector<std::string> parts;
  if (!evaluation.is_bytes) parts.push_back(fmt::format("perplexity {:.2f} per token", evaluation.perplexity()));
  if (const auto bits = evaluation.bits_per_byte()) parts.push_back(fmt::format("{:.4f} bits per byte", *bits));
  if (const auto words = evaluation.word_perplexity())
    parts.push_back(fmt::format("perplexity {:.2f} per word", *words));
  return join(parts, ", ");
}

void append_quality(std::vector<Metric>& metrics, const std::string& prefix, const Evaluation& evaluation) {
  metrics.push_back({prefix + "/loss", evaluation.nats_per_token});
  if (!evaluation.is_bytes) metrics.push_back({prefix + "/perplexity", evaluation.perplexity()});
  if (const auto bits = evaluation.bits_per_byte()) metrics.push_back({prefix + "/bits_per_byte", *bits});
  if (const auto words = evaluation.word_perplexity()) metrics.push_back({prefix + "/word_perplexity", *words});
}

Evaluation evaluate(const TransformerXl& model, const Corpus& corpus, const EvalConfig& config,
                    std::vector<FeedforwardStatistics>* statistics) {
  const NoGradient guard;
  const std::int64_t segment = model.config().segment;
  Evaluation result;
  result.memory = config.memory < 0 ? model.config().memory_length() : config.memory;
  result.is_bytes = corpus.is_bytes();
  result.bytes_per_token = corpus.bytes_per_token();
  result.words_per_token = corpus.words_per_token();
  result.batch_size = std::clamp<std::int64_t>((corpus.size() - 1) / segment, 1, config.batch_size);
  const StreamReader reader(corpus, result.batch_size, segment, "data.valid_fraction");
  Memory memory;
  const ForwardContext context{.collect_statistics = statistics != nullptr, .analyse = statistics != nullptr};
  double sum = 0;
  for (std::int64_t block = 0; block < reader.blocks_per_stream(); ++block) {
    if (config.max_tokens > 0 && result.tokens >= config.max_tokens) break;
    const Batch batch = reader.read(block, 0, result.batch_size);
    LanguageModelOutput out = model(to_device(batch.inputs, model.device()), memory, result.memory, context);
    sum += cross_entropy(out.logits, to_device(batch.targets, model.device())).item() *
           static_cast<double>(batch.targets.numel());
    result.tokens += batch.targets.numel();
    memory = std::move(out.memory);
    if (statistics == nullptr) continue;
    statistics->resize(out.statistics.size());
    for (std::size_t layer = 0; layer < out.statistics.size(); ++layer) (*statistics)[layer].add(out.statistics[layer]);
  }
  result.nats_per_token = sum / static_cast<double>(result.tokens);
  return result;
}

}  // namespace weir
