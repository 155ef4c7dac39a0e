#include "train/evaluate.h"

#include <algorithm>
#include <numbers>

#include "autograd/autograd.h"
#include "ops/cross_entropy.h"

namespace weir {

double Evaluation::bits_per_byte() const { return nats_per_token / std::numbers::ln2; }

Evaluation evaluate(const TransformerXl& model, const ByteCorpus& corpus, const EvalConfig& config,
                    std::vector<FeedforwardStatistics>* statistics) {
  const NoGradient guard;
  const std::int64_t segment = model.config().segment;
  Evaluation result;
  result.memory = config.memory < 0 ? model.config().memory_length() : config.memory;
  result.batch_size = std::clamp<std::int64_t>((corpus.size() - 1) / segment, 1, config.batch_size);
  const StreamReader reader(corpus, result.batch_size, segment, "data.valid_fraction");
  Memory memory;
  const ForwardContext context{.collect_statistics = statistics != nullptr, .analyse = statistics != nullptr};
  double sum = 0;
  for (std::int64_t block = 0; block < reader.blocks_per_stream(); ++block) {
    if (config.max_tokens > 0 && result.tokens >= config.max_tokens) break;
    const Batch batch = reader.read(block, 0, result.batch_size);
    LanguageModelOutput out = model(batch.inputs, memory, result.memory, context);
    sum += cross_entropy(out.logits, batch.targets).item() * static_cast<double>(batch.targets.numel());
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
