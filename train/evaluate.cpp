#include "train/evaluate.h"
#include "train/batch_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "autograd/autograd.h"
#include "core/error.h"
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
  if (evaluation.unknown_share > 0) metrics.push_back({prefix + "/unknown_share", evaluation.unknown_share});
}

void check_predictable(const Corpus& corpus) {
  if (corpus.size() >= 2) return;
  throw RunError(ExitCode::bad_data,
                 fmt::format("{}: this part of the data has {}, but a model is measured on tokens that others "
                             "precede; give it 2 tokens or more",
                             printable(corpus.name(), 4096), counted(corpus.size(), "token")));
}

namespace {

// What is predicted of a corpus, as streams side by side.
struct Streams {
  std::int64_t targets, count;

  std::int64_t longer() const { return targets % count; }  // the first so many have one token more
  std::int64_t shortest() const { return targets / count; }
  std::int64_t start(std::int64_t b) const { return b * shortest() + std::min(b, longer()); }  // its first input
};

// Tokens place .. place + length - 1 of streams first .. last - 1, and the tokens after each.
Batch read_batch(const Corpus& corpus, const Streams& streams, std::int64_t first, std::int64_t last,
                 std::int64_t place, std::int64_t length) {
  const Shape shape{last - first, length};
  Batch batch{Tensor::empty(shape, DType::int32), Tensor::empty(shape, DType::int32)};
  const auto inputs = rows_of<std::int32_t>(batch.inputs), targets = rows_of<std::int32_t>(batch.targets);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(length + 1));
  for (std::int64_t b = first; b < last; ++b) {
    corpus.read(streams.start(b) + place, tokens);
    std::copy(tokens.begin(), tokens.end() - 1, inputs.row(b - first));
    std::copy(tokens.begin() + 1, tokens.end(), targets.row(b - first));
  }
  return batch;
}

Memory memory_of(const Memory& memory, std::int64_t first, std::int64_t last) {
  Memory part;
  for (const Tensor& layer : memory.layers) part.layers.push_back(slice_view(layer, 0, first, last));
  return part;
}

// Adds up the loss, segment by segment.
struct Meter {
  const LanguageModel& model;
  const Corpus& corpus;
  const Streams streams;
  const std::int64_t memory_length, max_tokens;
  std::vector<FeedforwardStatistics>* const statistics;
  const std::function<void()>& before_segment;
  double nats = 0;
  std::int64_t tokens = 0;

  // Reads streams first .. last - 1 from `place` on. `memory`, theirs, becomes that of their next segment.
  void add(std::int64_t first, std::int64_t last, std::int64_t place, std::int64_t length, Memory& memory) {
    const bool enough = max_tokens > 0 && tokens >= max_tokens;
    if (enough || first == last || length == 0) return;
    if (before_segment) before_segment();
    const Batch batch = read_batch(corpus, streams, first, last, place, length);
    const bool counted = statistics != nullptr;
    LanguageModelOutput out = model(to_device(batch.inputs, model.device()), memory, memory_length,
                                    {.collect_statistics = counted, .analyse = counted});
    nats += cross_entropy(out.logits, to_device(batch.targets, model.device())).item() *
            static_cast<double>(batch.targets.numel());
    tokens += batch.targets.numel();
    memory = std::move(out.memory);
    if (!counted) return;
    statistics->resize(out.statistics.size());
    for (std::size_t layer = 0; layer < out.statistics.size(); ++layer) (*statistics)[layer].add(out.statistics[layer]);
  }

  void add_all(std::int64_t segment) {
    Memory memory;
    std::int64_t place = 0;
    for (; place + segment <= streams.shortest(); place += segment) add(0, streams.count, place, segment, memory);
    // The last segments, of two lengths.
    const std::int64_t rest = streams.shortest() - place, longer = streams.longer();
    Memory of_longer = memory_of(memory, 0, longer), of_others = memory_of(memory, longer, streams.count);
    add(0, longer, place, rest + 1, of_longer);
    add(longer, streams.count, place, rest, of_others);
  }
};

}  // namespace

Evaluation evaluate(const LanguageModel& model, const Corpus& corpus, const EvalConfig& config,
                    std::vector<FeedforwardStatistics>* statistics, const std::function<void()>& before_segment) {
  check_predictable(corpus);
  const NoGradient guard;
  const std::int64_t segment = model.config().segment;
  Evaluation result;
  result.predictable = corpus.size() - 1;
  result.memory = config.memory < 0 ? model.config().memory_length() : config.memory;
  result.is_bytes = corpus.is_bytes();
  result.bytes_per_token = corpus.bytes_per_token();
  result.words_per_token = corpus.words_per_token();
  result.unknown_share = corpus.unknown_share();
  result.batch_size = std::clamp<std::int64_t>(result.predictable / segment, 1, config.batch_size);
  Meter meter{model,      corpus,        {result.predictable, result.batch_size}, result.memory, config.max_tokens,
              statistics, before_segment};
  meter.add_all(segment);
  result.tokens = meter.tokens;
  result.nats_per_token = meter.nats / static_cast<double>(meter.tokens);
  // The sign of what is no number says nothing, and would be printed.
  if (std::isnan(result.nats_per_token)) result.nats_per_token = std::numeric_limits<double>::quiet_NaN();
  return result;
}

}  // namespace weir
