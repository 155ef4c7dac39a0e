#include "models/gpt.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "core/error.h"
#include "models/initialise.h"
#include "ops/causal_attention.h"
#include "ops/concatenate.h"
#include "ops/dropout.h"
#include "ops/linear.h"
#include "ops/reshape.h"
#include "ops/rotary.h"
#include "ops/slice.h"

namespace weir {

void GptSettings::visit(FieldVisitor& v) {
  v.field("norm", norm, registry<NormKind>().names(), registry<NormKind>().help("before each part of a layer").c_str());
  v.field("tied", tied, "make the logits with the embedding, without a matrix and a bias of their own");
  v.field("rotary_base", rotary_base, {.max = 1e12, .above = 1},
          "pair i of P / 2 in a head is rotated by position * base^(-2 i / P)");
}

namespace {

void validate(const ModelConfig& model) {
  const auto refuse = [](const std::string& setting, const char* meaning, const std::string& usual) {
    throw ArgumentError(
        fmt::format("{} is for model.kind = \"transformer-xl\", where it {}, but model.kind = \"gpt\": "
                    "give {}, or the other kind",
                    setting, meaning, usual));
  };
  if (model.attention != "relative")
    refuse(fmt::format("model.attention = {}", quote(model.attention)), "chooses the attention",
           "model.attention = \"relative\"");
  if (model.norm != "pre")
    refuse(fmt::format("model.norm = {}", quote(model.norm)), "says what the norms feed", "model.norm = \"pre\"");
  if (model.head_size % 2 != 0)
    throw ArgumentError(
        fmt::format("model.head_size = {} is odd, but model.kind = \"gpt\" rotates a head's elements in pairs: make "
                    "head_size even",
                    model.head_size));
}

const Parameter& add_matrix(ParameterSet& parameters, const std::string& name, const ModelConfig& model,
                            std::int64_t rows, std::int64_t columns) {
  return parameters.add(name, {rows, columns}, initialise::truncated_normal(model.matrix_std(columns)));
}

class Layer final : public DecoderLayer {
 public:
  Layer(ParameterSet& parameters, const std::string& name, std::int64_t layer, const ModelConfig& model,
        const FeedforwardConfig& feedforward)
      : layer_(layer),
        heads_(model.heads),
        head_size_(model.head_size),
        dropout_(model.dropout),
        rotary_base_(model.own.get<GptSettings>().rotary_base),
        norm1_(make_norm(parameters, name + ".norm1", model)),
        norm2_(make_norm(parameters, name + ".norm2", model)),
        w_q_(add_matrix(parameters, name + ".attn.w_q", model, heads_ * head_size_, model.d_model)),
        w_kv_(add_matrix(parameters, name + ".attn.w_kv", model, 2 * heads_ * head_size_, model.d_model)),
        w_o_(add_matrix(parameters, name + ".attn.w_o", model, model.d_model, heads_ * head_size_)),
        feedforward_(make_feedforward(parameters, name + ".ff", layer, model, feedforward)) {}

  static std::unique_ptr<Norm> make_norm(ParameterSet& parameters, const std::string& name, const ModelConfig& model) {
    return registry<NormKind>().find(model.own.get<GptSettings>().norm)(parameters, name, model.d_model);
  }

  Output operator()(const Tensor& x, const Tensor& memory, const ForwardContext& context) const override {
    const double p = context.training ? dropout_ : 0;
    Output out;
    const Tensor attended = attend((*norm1_)(x), memory, context, out.carried);  // [B, T, D]
    const Tensor middle = add_dropout(x, attended, p, context.random(RandomPlace::attention_output, layer_));
    out.feedforward = (*feedforward_)((*norm2_)(middle), context);
    const Tensor branch = std::exchange(out.feedforward.y, {});
    out.y = add_dropout(middle, branch, p, context.random(RandomPlace::feedforward_output, layer_));
    return out;
  }

  Tensor next_memory(const Tensor&, const Tensor&, const Output& output, std::int64_t length) const override {
    return last_positions({}, output.carried, length);
  }
  Shape memory_shape(std::int64_t sequences, std::int64_t length) const override {
    return {sequences, length, 2, heads_, head_size_};
  }
  const Feedforward& feedforward() const override { return *feedforward_; }
  std::int64_t idle_parameters() const override { return feedforward_->idle_parameters(); }

 private:
  // x [B, T, D], after norm1; memory [B, M, 2, H, P] -> [B, T, D]. `seen`: its keys and values, then those of x.
  Tensor attend(const Tensor& x, const Tensor& memory, const ForwardContext& context, Tensor& seen) const {
    const std::int64_t batch = x.size(0), queries = x.size(1);
    const Tensor kv = reshape(linear(x, w_kv_.value, context.products), {batch, queries, 2, heads_, head_size_});
    const std::vector<Tensor> parts{memory, kv};
    const Tensor all = memory.defined() ? concatenate(parts, 1) : kv;  // [B, S, 2, H, P]
    seen = all.detach();
    const std::int64_t keys = all.size(1);
    const auto half = [&](std::int64_t i) {
      return reshape(slice(all, 2, i, i + 1), {batch, keys, heads_, head_size_});
    };
    const Tensor q = reshape(linear(x, w_q_.value, context.products), {batch, queries, heads_, head_size_});
    const Tensor out = causal_attention(rotary(q, keys - queries, rotary_base_), rotary(half(0), 0, rotary_base_),
                                        half(1), 1 / std::sqrt(static_cast<double>(head_size_)), context.products);
    return linear(reshape(out, {batch, queries, heads_ * head_size_}), w_o_.value, context.products);
  }

  std::int64_t layer_, heads_, head_size_;
  double dropout_, rotary_base_;
  std::unique_ptr<Norm> norm1_, norm2_;
  const Parameter &w_q_, &w_kv_, &w_o_;
  std::unique_ptr<Feedforward> feedforward_;
};

}  // namespace

Gpt::Gpt(const ModelConfig& model, const FeedforwardConfig& feedforward)
    : DecoderModel(
          model,
          [&](ParameterSet& parameters, const std::string& name, std::int64_t layer) {
            return std::make_unique<Layer>(parameters, name, layer, model, feedforward);
          },
          [&](ParameterSet& parameters, const std::string& name) { return Layer::make_norm(parameters, name, model); },
          model.own.get<GptSettings>().tied ? Output::embedding : Output::own_matrix) {
  validate(model);
}

namespace {
const bool norms_added =
    registry<NormKind>().add({"layer", "layer norm", by_constructor<LayerNorm>}) &&
    registry<NormKind>().add({"rms", "the root mean square alone, without mean and shift", by_constructor<RmsNorm>});
const bool added = registry<ModelKind>().add(
    {"gpt", "a pre-norm decoder with rotary positions", by_constructor<Gpt>, OwnSettings::of<GptSettings>()});
}  // namespace
}  // namespace weir
