#include "train/generate.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "autograd/autograd.h"
#include "core/error.h"
#include "core/philox.h"

namespace weir {
namespace {

// An index drawn from softmax(logits / temperature) over the top_k largest.
std::size_t draw(const std::vector<double>& logits, const GenerateOptions& options, double uniform) {
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  if (options.temperature <= 0) return order[0];
  if (options.top_k > 0) order.resize(std::min(order.size(), static_cast<std::size_t>(options.top_k)));
  std::vector<double> weights;
  for (std::size_t i : order) weights.push_back(std::exp((logits[i] - logits[order[0]]) / options.temperature));
  double rest = uniform * std::accumulate(weights.begin(), weights.end(), 0.0);
  for (std::size_t i = 0; i < order.size(); ++i)
    if ((rest -= weights[i]) < 0) return order[i];
  return order.back();
}

Tensor as_ids(const std::string& text) {
  const std::vector<double> bytes(reinterpret_cast<const unsigned char*>(text.data()),
                                  reinterpret_cast<const unsigned char*>(text.data()) + text.size());
  return Tensor::from_values({1, static_cast<std::int64_t>(text.size())}, bytes, DType::uint8);
}

}  // namespace

std::string generate(const TransformerXl& model, const std::string& prompt, const GenerateOptions& options) {
  const NoGradient guard;
  const std::int64_t segment = model.config().segment, memory_length = segment + model.config().memory_length();
  const RandomStream random = ForwardContext{.seed = options.seed}.random(RandomPlace::sampling);
  Memory memory;
  std::string next = options.context + prompt, text;
  if (next.empty()) next = "\n";
  while (static_cast<std::int64_t>(text.size()) < options.tokens) {
    const std::string chunk = next.substr(0, static_cast<std::size_t>(segment));
    LanguageModelOutput out = model(as_ids(chunk), memory, memory_length, {});
    memory = std::move(out.memory);
    next.erase(0, chunk.size());
    if (!next.empty()) continue;  // more to read before the first new byte
    const Tensor last = slice_view(out.logits, 1, out.logits.size(1) - 1, out.logits.size(1));
    const auto byte = static_cast<char>(draw(last.values(), options, random.uniform(text.size())));
    text += byte;
    next = byte;
  }
  return text;
}

std::string context_from(const ByteCorpus& corpus, const ModelConfig& config) {
  const std::int64_t length = std::min(corpus.size(), config.segment + config.memory_length());
  return {reinterpret_cast<const char*>(corpus.tokens().data()), static_cast<std::size_t>(length)};
}

}  // namespace weir
