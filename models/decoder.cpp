#include "models/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "autograd/autograd.h"
#include "core/error.h"
#include "ops/add.h"
#include "ops/concatenate.h"

namespace weir {
namespace {

void add_to(Tensor& sum, const Tensor& term) {
  if (term.defined()) sum = sum.defined() ? sum + term : term;
}

std::vector<std::unique_ptr<DecoderLayer>> make_layers(ParameterSet& parameters, const ModelConfig& config,
                                                       const DecoderModel::MakeLayer& make) {
  if (config.layers % config.distinct_layers() != 0)
    throw ArgumentError(
        fmt::format("model.layers = {} is not a multiple of model.layer_group = {}: the group is repeated as a whole; "
                    "change one of them, or give model.layer_group = 0 for layers of their own",
                    config.layers, config.layer_group));
  std::vector<std::unique_ptr<DecoderLayer>> layers;
  for (std::int64_t i = 0; i < config.distinct_layers(); ++i)
    layers.push_back(make(parameters, "layer" + std::to_string(i), i));
  return layers;
}

}  // namespace

Tensor last_positions(const Tensor& before, const Tensor& now, std::int64_t length) {
  if (length <= now.size(1)) return slice_view(now, 1, now.size(1) - length, now.size(1));
  if (!before.defined()) return now;
  const std::int64_t kept = std::min(before.size(1), length - now.size(1));
  const std::vector<Tensor> parts{slice_view(before, 1, before.size(1) - kept, before.size(1)), now};
  return concatenate(parts, 1);
}

std::vector<Tensor*> DecoderLayer::Output::with_gradient() {
  std::vector<Tensor*> all{&y, &attention.auxiliary_loss, &feedforward.auxiliary_loss};
  for (Tensor& t : attention.regulariser_inputs) all.push_back(&t);
  for (Tensor& t : feedforward.regulariser_inputs) all.push_back(&t);
  std::erase_if(all, [](const Tensor* t) { return !t->defined(); });
  return all;
}

DecoderModel::DecoderModel(const ModelConfig& config, const MakeLayer& make_layer, const MakeNorm& make_norm,
                           Output output)
    : LanguageModel(config),
      embedding_(declare(), "embedding", config.vocabulary, config.d_model),
      layers_(make_layers(declare(), config, make_layer)),
      out_norm_(make_norm(declare(), "out_norm")),
      output_(output == Output::embedding
                  ? nullptr
                  : std::make_unique<OutputProjection>(declare(), "output", config.vocabulary, config.d_model)) {}

LanguageModelOutput DecoderModel::operator()(const Tensor& ids, const Memory& memory, std::int64_t memory_length,
                                             const ForwardContext& given) const {
  const ModelConfig& c = config();
  ForwardContext context = given;
  context.products = c.float32_products();
  LanguageModelOutput out;
  Tensor x = dropout_if_training(embedding_(ids, activation_dtype()), c.dropout, context, RandomPlace::embedding);
  std::vector<DecoderLayer::Output> outputs(static_cast<std::size_t>(c.layers));
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Tensor past = memory.layers.empty() ? Tensor() : memory.layers[i];
    const bool again = c.checkpoint_activations && gradients_enabled();
    outputs[i] = again ? run_checkpointed(i, x, past, context) : run(i, x, past, context);
    if (memory_length > 0) out.memory.layers.push_back(layer(i).next_memory(past, x, outputs[i], memory_length));
    x = std::exchange(outputs[i].y, {});
    outputs[i].carried = {};
    for (auto* observed : {&outputs[i].attention.observations, &outputs[i].feedforward.observations})
      std::move(observed->begin(), observed->end(), std::back_inserter(out.observations));
    if (context.collect_statistics) out.statistics.push_back(std::move(outputs[i].feedforward.statistics));
  }
  out.auxiliary_loss = auxiliary_loss(outputs);
  out.logits = logits(dropout_if_training((*out_norm_)(x), c.dropout, context, RandomPlace::output), context);
  return out;
}

Tensor DecoderModel::logits(const Tensor& x, const ForwardContext& context) const {
  return output_ ? (*output_)(x, context) : embedding_.logits(x, context);
}

DecoderLayer::Output DecoderModel::run(std::size_t index, const Tensor& x, const Tensor& memory,
                                       const ForwardContext& context) const {
  const auto number = static_cast<std::int64_t>(index);
  ForwardContext here = context;
  here.shared_layer = config().layers > config().distinct_layers();
  here.layers_before = number - number % config().distinct_layers();
  return layer(index)(x, memory, here);
}

DecoderLayer::Output DecoderModel::run_checkpointed(std::size_t index, const Tensor& x, const Tensor& memory,
                                                    const ForwardContext& context) const {
  // Outlives this call: backward runs the block again.
  const auto last = std::make_shared<DecoderLayer::Output>();
  const auto block = [this, index, memory, context, last](std::span<const Tensor> inputs) {
    *last = run(index, inputs[0], memory, context);
    std::vector<Tensor> outputs;
    for (const Tensor* t : last->with_gradient()) outputs.push_back(*t);
    return outputs;
  };
  const std::vector<Tensor> outputs = checkpoint(block, std::span(&x, 1));
  DecoderLayer::Output out = std::exchange(*last, {});
  std::size_t i = 0;
  for (Tensor* t : out.with_gradient()) *t = outputs[i++];
  return out;
}

// Of a shared layer there is one term over all its repeats.
Tensor DecoderModel::auxiliary_loss(std::span<const DecoderLayer::Output> outputs) const {
  Tensor sum;
  for (const DecoderLayer::Output& layer : outputs) {
    add_to(sum, layer.attention.auxiliary_loss);
    add_to(sum, layer.feedforward.auxiliary_loss);
  }
  for (std::size_t distinct = 0; distinct < layers_.size(); ++distinct) {
    std::vector<RegulariserInputs> attention, feedforward;
    for (std::size_t i = distinct; i < outputs.size(); i += layers_.size()) {
      attention.push_back(outputs[i].attention.regulariser_inputs);
      feedforward.push_back(outputs[i].feedforward.regulariser_inputs);
    }
    add_to(sum, layers_[distinct]->attention_loss(join_calls(attention)));
    add_to(sum, layers_[distinct]->feedforward().auxiliary_loss(join_calls(feedforward)));
  }
  return sum;
}

std::vector<Shape> DecoderModel::memory_shapes(std::int64_t sequences, std::int64_t length) const {
  std::vector<Shape> shapes;
  for (std::size_t i = 0; i < static_cast<std::size_t>(config().layers); ++i)
    shapes.push_back(layer(i).memory_shape(sequences, length));
  return shapes;
}

std::int64_t DecoderModel::active_parameters() const {
  std::int64_t active = parameters().count();
  if (output_) active -= (config().vocabulary - 1) * config().d_model;  // of the embedding
  for (const auto& layer : layers_) active -= layer->idle_parameters();
  return active;
}

}  // namespace weir
