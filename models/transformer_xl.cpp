#include "models/transformer_xl.h"

#include <fmt/format.h>

#include <utility>

#include "core/error.h"
#include "ops/concatenate.h"
#include "ops/dropout.h"

namespace weir {
namespace {

void validate(const ModelConfig& model, const FeedforwardConfig& feedforward) {
  if (model.norm == "peri" && model.attention != "switch-head")
    throw ArgumentError(
        fmt::format("model.norm = \"peri\" keeps values out of the layer norm, which model.attention = \"{}\" cannot; "
                    "choose model.attention = \"switch-head\" or model.norm = \"pre\"",
                    model.attention));
  if (model.norm == "peri" && feedforward.kind != "moe")
    throw ArgumentError(
        fmt::format("model.norm = \"peri\" gives the layer norm to the selection of experts, which feedforward.kind = "
                    "\"{}\" has not; choose feedforward.kind = \"moe\" or model.norm = \"pre\"",
                    feedforward.kind));
}

class Layer final : public DecoderLayer {
 public:
  Layer(ParameterSet& parameters, const std::string& name, std::int64_t layer, const ModelConfig& model,
        const FeedforwardConfig& feedforward)
      : layer_(layer),
        d_model_(model.d_model),
        dropout_(model.dropout),
        peri_(model.norm == "peri"),
        norm1_(parameters, name + ".norm1", model.d_model),
        norm2_(parameters, name + ".norm2", model.d_model),
        attention_(make_attention(parameters, name + ".attn", layer, model)),
        feedforward_(make_feedforward(parameters, name + ".ff", layer, model, feedforward)) {}

  Output operator()(const Tensor& x, const Tensor& memory, const ForwardContext& context) const override {
    const std::vector<Tensor> parts{memory, x};
    const Tensor seen = memory.defined() ? concatenate(parts, 1) : x;  // [B, M + T, D]
    const Tensor normed = norm1_(seen);
    Output out;
    out.attention = (*attention_)(normed, peri_ ? seen : normed, x.size(1), context);
    const double p = context.training ? dropout_ : 0;
    const auto [middle, middle_normed] =  // [B, T, D]
        norm2_.of_sum(x, std::exchange(out.attention.y, {}), p, context.random(RandomPlace::attention_output, layer_));
    out.feedforward =
        peri_ ? feedforward_->routed(middle, middle_normed, context) : (*feedforward_)(middle_normed, context);
    const Tensor branch = std::exchange(out.feedforward.y, {});
    out.y = add_dropout(middle, branch, p, context.random(RandomPlace::feedforward_output, layer_));
    return out;
  }

  Tensor next_memory(const Tensor& memory, const Tensor& x, const Output&, std::int64_t length) const override {
    return last_positions(memory, x.detach(), length);
  }
  Shape memory_shape(std::int64_t sequences, std::int64_t length) const override {
    return {sequences, length, d_model_};
  }
  std::int64_t idle_parameters() const override {
    return attention_->idle_parameters() + feedforward_->idle_parameters();
  }
  const Feedforward& feedforward() const override { return *feedforward_; }
  Tensor attention_loss(const RegulariserInputs& inputs) const override { return attention_->auxiliary_loss(inputs); }
  const Attention& attention() const { return *attention_; }

 private:
  std::int64_t layer_, d_model_;
  double dropout_;
  bool peri_;
  LayerNorm norm1_, norm2_;
  std::unique_ptr<Attention> attention_;
  std::unique_ptr<Feedforward> feedforward_;
};

}  // namespace

TransformerXl::TransformerXl(const ModelConfig& model, const FeedforwardConfig& feedforward)
    : DecoderModel(
          model,
          [&](ParameterSet& parameters, const std::string& name, std::int64_t layer) {
            return std::make_unique<Layer>(parameters, name, layer, model, feedforward);
          },
          [&](ParameterSet& parameters, const std::string& name) {
            return std::make_unique<LayerNorm>(parameters, name, model.d_model);
          },
          Output::own_matrix) {
  validate(model, feedforward);
}

const Attention& TransformerXl::attention(std::size_t index) const {
  return static_cast<const Layer&>(layer(index)).attention();
}

namespace {
const bool added = registry<ModelKind>().add(
    {"transformer-xl", "relative positions and a memory of the segments before", by_constructor<TransformerXl>});
}  // namespace
}  // namespace weir
