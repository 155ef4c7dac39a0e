#include "models/transformer_xl.h"

#include <algorithm>
#include <utility>

#include "autograd/autograd.h"
#include "core/error.h"
#include "ops/add.h"
#include "ops/concatenate.h"
#include "ops/dropout.h"

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

void add_to(Tensor& sum, const Tensor& term) {
  if (term.defined()) sum = sum.defined() ? sum + term : term;
}

}  // namespace

TransformerXl::TransformerXl(const ModelConfig& model, const FeedforwardConfig& feedforward)
    : config_(model),
      embedding_(parameters_, "embedding", model.vocabulary, model.d_model),
      layers_([&] {
        std::vector<Layer> layers;
        for (std::size_t i = 0; i < static_cast<std::size_t>(model.distinct_layers()); ++i)
          layers.push_back(
              {LayerNorm(parameters_, layer_name(i) + ".norm1", model.d_model),
               LayerNorm(parameters_, layer_name(i) + ".norm2", model.d_model),
               make_attention(parameters_, layer_name(i) + ".attn", static_cast<std::int64_t>(i), model),
               make_feedforward(parameters_, layer_name(i) + ".ff", static_cast<std::int64_t>(i), model, feedforward)});
        return layers;
      }()),
      out_norm_(parameters_, "out_norm", model.d_model),
      output_(parameters_, "output", model.vocabulary, model.d_model) {
  validate(model, feedforward);
}

void TransformerXl::initialise(std::uint64_t seed, DType parameter_dtype, Device device) {
  activation_dtype_ = parameter_dtype == DType::float64 ? DType::float64 : config_.activation_dtype();
  parameters_.allocate(parameter_dtype, seed, device);
}

LanguageModelOutput TransformerXl::operator()(const Tensor& ids, const Memory& memory, std::int64_t memory_length,
                                              const ForwardContext& context) const {
  const Float32ProductsScope products(config_.float32_products());
  LanguageModelOutput out;
  Tensor x = dropout_if_training(embedding_(ids, activation_dtype_), config_.dropout, context, RandomPlace::embedding);
  std::vector<LayerOutput> outputs(static_cast<std::size_t>(config_.layers));
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Tensor past = memory.layers.empty() ? Tensor() : memory.layers[i];
    if (memory_length > 0) out.memory.layers.push_back(next_memory(past, x, memory_length));
    const bool again = config_.checkpoint_activations && gradients_enabled();
    outputs[i] = again ? run_layer_checkpointed(i, x, past, context) : run_layer(i, x, past, context);
    x = std::exchange(outputs[i].feedforward.y, {});
    if (context.collect_statistics) out.statistics.push_back(std::move(outputs[i].feedforward.statistics));
  }
  out.auxiliary_loss = auxiliary_loss(outputs);
  out.logits = output_(dropout_if_training(out_norm_(x), config_.dropout, context, RandomPlace::output));
  return out;
}

TransformerXl::LayerOutput TransformerXl::run_layer(std::size_t index, const Tensor& x, const Tensor& memory,
                                                    const ForwardContext& context) const {
  const Layer& layer = parameters_of(index);
  const auto number = static_cast<std::int64_t>(index);
  ForwardContext here = context;
  here.shared_layer = config_.layers > config_.distinct_layers();
  here.layers_before = number - number % config_.distinct_layers();
  const bool peri = config_.norm == "peri";
  const std::vector<Tensor> parts{memory, x};
  const Tensor seen = memory.defined() ? concatenate(parts, 1) : x;  // [B, M + T, D]
  const Tensor normed = layer.norm1(seen);
  LayerOutput out;
  out.attention = (*layer.attention)(normed, peri ? seen : normed, x.size(1), here);
  const double p = context.training ? config_.dropout : 0;
  const auto [middle, middle_normed] =  // [B, T, D]
      layer.norm2.of_sum(x, std::exchange(out.attention.y, {}), p,
                         context.random(RandomPlace::attention_output, number));
  out.feedforward =
      peri ? layer.feedforward->routed(middle, middle_normed, here) : (*layer.feedforward)(middle_normed, here);
  Tensor& y = out.feedforward.y;
  y = add_dropout(middle, y, p, context.random(RandomPlace::feedforward_output, number));
  return out;
}

TransformerXl::LayerOutput TransformerXl::run_layer_checkpointed(std::size_t index, const Tensor& x,
                                                                 const Tensor& memory,
                                                                 const ForwardContext& context) const {
  // Outlives this call: backward runs the block again.
  const auto last = std::make_shared<LayerOutput>();
  const auto block = [this, index, memory, context, last](std::span<const Tensor> inputs) {
    *last = run_layer(index, inputs[0], memory, context);
    std::vector<Tensor> outputs;
    for (const Tensor* t : last->tensors()) outputs.push_back(*t);
    return outputs;
  };
  const std::vector<Tensor> outputs = checkpoint(block, std::span(&x, 1));
  LayerOutput out = std::exchange(*last, {});
  std::size_t i = 0;
  for (Tensor* t : out.tensors()) *t = outputs[i++];
  return out;
}

std::vector<Tensor*> TransformerXl::LayerOutput::tensors() {
  std::vector<Tensor*> all{&feedforward.y, &attention.auxiliary_loss, &feedforward.auxiliary_loss};
  for (Tensor& t : attention.regulariser_inputs) all.push_back(&t);
  for (Tensor& t : feedforward.regulariser_inputs) all.push_back(&t);
  std::erase_if(all, [](const Tensor* t) { return !t->defined(); });
  return all;
}

// Of a shared layer there is one term over all its repeats.
Tensor TransformerXl::auxiliary_loss(std::span<const LayerOutput> outputs) const {
  Tensor sum;
  for (const LayerOutput& layer : outputs) {
    add_to(sum, layer.attention.auxiliary_loss);
    add_to(sum, layer.feedforward.auxiliary_loss);
  }
  for (std::size_t distinct = 0; distinct < layers_.size(); ++distinct) {
    std::vector<RegulariserInputs> attention, feedforward;
    for (std::size_t i = distinct; i < outputs.size(); i += layers_.size()) {
      attention.push_back(outputs[i].attention.regulariser_inputs);
      feedforward.push_back(outputs[i].feedforward.regulariser_inputs);
    }
    add_to(sum, layers_[distinct].attention->auxiliary_loss(join_calls(attention)));
    add_to(sum, layers_[distinct].feedforward->auxiliary_loss(join_calls(feedforward)));
  }
  return sum;
}

}  // namespace weir
