#include "models/transformer_xl.h"

#include <algorithm>

#include "autograd/autograd.h"
#include "core/error.h"
#include "ops/add.h"
#include "ops/concatenate.h"

namespace weir {
namespace {

std::string layer_name(std::size_t index) { return "layer" + std::to_string(index); }

// The last `length` positions of [memory; x], without gradient. Where x alone is long enough its storage is shared.
Tensor next_memory(const Tensor& memory, const Tensor& x, std::int64_t length) {
  const Tensor now = x.detach();
  if (length <= now.size(1)) return slice_view(now, 1, now.size(1) - length, now.size(1));
  if (!memory.defined()) return now;
  const std::int64_t kept = std::min(memory.size(1), length - now.size(1));
  const std::vector<Tensor> parts{slice_view(memory, 1, memory.size(1) - kept, memory.size(1)), now};
  return concatenate(parts, 1);
}

}  // namespace

TransformerXl::TransformerXl(const ModelConfig& model, const FeedforwardConfig& feedforward)
    : config_(model),
      embedding_(parameters_, "embedding", model.vocabulary, model.d_model),
      layers_([&] {
        std::vector<Layer> layers;
        for (std::size_t i = 0; i < static_cast<std::size_t>(model.layers); ++i)
          layers.push_back(
              {LayerNorm(parameters_, layer_name(i) + ".norm1", model.d_model),
               LayerNorm(parameters_, layer_name(i) + ".norm2", model.d_model),
               RelativeAttention(parameters_, layer_name(i) + ".attn", model),
               make_feedforward(parameters_, layer_name(i) + ".ff", static_cast<std::int64_t>(i), model, feedforward)});
        return layers;
      }()),
      out_norm_(parameters_, "out_norm", model.d_model),
      output_(parameters_, "output", model.vocabulary, model.d_model) {}

void TransformerXl::initialise(std::uint64_t seed, DType parameter_dtype) {
  activation_dtype_ = parameter_dtype == DType::float64 ? DType::float64 : dtype_from_name(config_.precision);
  parameters_.allocate(parameter_dtype, seed);
}

LanguageModelOutput TransformerXl::operator()(const Tensor& ids, const Memory& memory, std::int64_t memory_length,
                                              const ForwardContext& context) const {
  LanguageModelOutput out;
  Tensor x = dropout_if_training(embedding_(ids, activation_dtype_), config_.dropout, context, RandomPlace::embedding);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Tensor past = memory.layers.empty() ? Tensor() : memory.layers[i];
    if (memory_length > 0) out.memory.layers.push_back(next_memory(past, x, memory_length));
    const bool again = config_.checkpoint_activations && gradients_enabled();
    FeedforwardOutput layer = again ? run_layer_checkpointed(i, x, past, context) : run_layer(i, x, past, context);
    x = layer.y;
    if (layer.auxiliary_loss.defined())
      out.auxiliary_loss =
          out.auxiliary_loss.defined() ? out.auxiliary_loss + layer.auxiliary_loss : layer.auxiliary_loss;
    if (context.collect_statistics) out.statistics.push_back(std::move(layer.statistics));
  }
  out.logits = output_(dropout_if_training(out_norm_(x), config_.dropout, context, RandomPlace::output));
  return out;
}

FeedforwardOutput TransformerXl::run_layer(std::size_t index, const Tensor& x, const Tensor& memory,
                                           const ForwardContext& context) const {
  const Layer& layer = layers_[index];
  const auto number = static_cast<std::int64_t>(index);
  const std::vector<Tensor> parts{memory, x};
  const Tensor seen = memory.defined() ? concatenate(parts, 1) : x;       // [B, M + T, D]
  const Tensor attended = layer.attention(layer.norm1(seen), x.size(1));  // [B, T, D]
  const Tensor middle =
      x + dropout_if_training(attended, config_.dropout, context, RandomPlace::attention_output, number);
  FeedforwardOutput out = (*layer.feedforward)(layer.norm2(middle), context);
  out.y = middle + dropout_if_training(out.y, config_.dropout, context, RandomPlace::feedforward_output, number);
  return out;
}

FeedforwardOutput TransformerXl::run_layer_checkpointed(std::size_t index, const Tensor& x, const Tensor& memory,
                                                        const ForwardContext& context) const {
  // Outlives this call: backward runs the block again.
  const auto statistics = std::make_shared<FeedforwardStatistics>();
  const auto block = [this, index, memory, context, statistics](std::span<const Tensor> inputs) {
    FeedforwardOutput out = run_layer(index, inputs[0], memory, context);
    *statistics = std::move(out.statistics);
    std::vector<Tensor> outputs{out.y};
    if (out.auxiliary_loss.defined()) outputs.push_back(out.auxiliary_loss);
    return outputs;
  };
  const std::vector<Tensor> outputs = checkpoint(block, std::span(&x, 1));
  return {outputs[0], outputs.size() > 1 ? outputs[1] : Tensor(), *statistics};
}

}  // namespace weir
