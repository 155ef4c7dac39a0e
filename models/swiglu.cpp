// The gated feedforward of Shazeer (2020): W_down dropout(SiLU(W_gate x) * W_up x), without biases.
#include <fmt/format.h>

#include "core/text.h"
#include "models/feedforward.h"
#include "models/initialise.h"
#include "models/layers.h"
#include "ops/linear.h"
#include "ops/multiply.h"
#include "ops/silu.h"

namespace weir {
namespace {

// w_gate, w_up [d_ff, D], w_down [D, d_ff]: truncated normals of std sqrt(2 / (layers * fan_in)).
class SwiGlu final : public Feedforward {
 public:
  SwiGlu(ParameterSet& parameters, const std::string& name, std::int64_t layer, const ModelConfig& model,
         const FeedforwardConfig& config)
      : layer_(layer),
        dropout_(model.dropout),
        w_gate_(parameters.add(name + ".w_gate", {config.d_ff, model.d_model}, matrix(model, model.d_model))),
        w_up_(parameters.add(name + ".w_up", {config.d_ff, model.d_model}, matrix(model, model.d_model))),
        w_down_(parameters.add(name + ".w_down", {model.d_model, config.d_ff}, matrix(model, config.d_ff))) {}

  FeedforwardOutput operator()(const Tensor& x, const ForwardContext& context) const override {
    const Tensor active =
        silu(linear(x, w_gate_.value, context.products)) * linear(x, w_up_.value, context.products);  // [B, T, d_ff]
    const Tensor hidden = dropout_if_training(active, dropout_, context, RandomPlace::hidden, layer_);
    FeedforwardOutput out;
    out.y = linear(hidden, w_down_.value, context.products);
    if (context.analyse) count_active(out.statistics, hidden);
    return out;
  }

  std::string text() const override { return fmt::format("SwiGLU: {}", counted(w_down_.shape[1], "hidden unit")); }

 private:
  static Initialiser matrix(const ModelConfig& model, std::int64_t fan_in) {
    return initialise::truncated_normal(model.matrix_std(fan_in));
  }

  std::int64_t layer_;
  double dropout_;
  const Parameter &w_gate_, &w_up_, &w_down_;
};

const bool added = registry<FeedforwardKind>().add(
    {.name = "swiglu", .help = "gated, three matrices", .function = by_constructor<SwiGlu>, .reads = {"d_ff"}});

}  // namespace
}  // namespace weir
