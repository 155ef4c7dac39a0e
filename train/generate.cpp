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

Tensor as_ids(std::span<const std::int32_t> tokens, Device device) {
  const Tensor ids = Tensor::empty({1, std::ssize(tokens)}, DType::int32);
  std::copy(tokens.begin(), tokens.end(), ids.data<std::int32_t>());
  return to_device(ids, device);
}

// The last tokens of `all`, as they read after the others: a piece that begins a word has no blank before it when it
// is decoded alone.
std::string decode_after(const Tokenizer& tokenizer, std::span<const std::int32_t> all, std::size_t before) {
  const std::string text = tokenizer.decode(all), start = tokenizer.decode(all.first(before));
  return text.starts_with(start) ? text.substr(start.size()) : tokenizer.decode(all.subspan(before));
}

}  // namespace

std::string generate(const LanguageModel& model, const Tokenizer& tokenizer, const std::string& prompt,
                     const GenerateOptions& options) {
  const NoGradient guard;
  const std::int64_t segment = model.config().segment, memory_length = segment + model.config().memory_length();
  const RandomStream random = ForwardContext{.seed = options.seed}.random(RandomPlace::sampling);
  std::vector<std::int32_t> tokens = options.context;
  for (std::int32_t token : tokenizer.encode(prompt)) tokens.push_back(token);
  if (tokens.empty()) tokens = tokenizer.encode("\n");
  if (tokens.empty()) tokens = {0};  // of a tokenizer that drops line ends
  const std::size_t before = tokens.size();
  Memory memory;
  for (std::size_t read = 0;;) {
    if (options.before_token) options.before_token();
    const auto count = std::min(tokens.size() - read, static_cast<std::size_t>(segment));
    LanguageModelOutput out =
        model(as_ids(std::span(tokens).subspan(read, count), model.device()), memory, memory_length, {});
    memory = std::move(out.memory);
    read += count;
    if (read < tokens.size()) continue;  // more to read before the first new token
    const std::uint64_t made = tokens.size() - before;
    const Tensor last = slice_view(out.logits, 1, out.logits.size(1) - 1, out.logits.size(1));
    tokens.push_back(static_cast<std::int32_t>(draw(last.values(), options, random.uniform(made))));
    if (static_cast<std::int64_t>(made) + 1 == options.tokens) return decode_after(tokenizer, tokens, before);
  }
}

std::vector<std::int32_t> context_from(const Corpus& corpus, const ModelConfig& config) {
  const std::int64_t length = std::min(corpus.size(), config.segment + config.memory_length());
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(length));
  corpus.read(0, tokens);
  return tokens;
}

}  // namespace weir
