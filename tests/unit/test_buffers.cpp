// Buffers: state of a model that no gradient trains. What moves them on, when, and that a run which stops loses none.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/autograd.h"
#include "core/error.h"
#include "models/initialise.h"
#include "models/relative_attention.h"
#include "models/transformer_xl.h"
#include "op_suite.h"
#include "ops/add.h"
#include "ops/mean.h"
#include "ops/reshape.h"
#include "ops/scale.h"
#include "ops/support/samples.h"
#include "tensor_checks.h"
#include "train/training_step.h"

using namespace weir;
using namespace weir::tests;

namespace {

// An attention that keeps the mean of its inputs over all passes: half of the old value and half of the new one.
class WatchingAttention final : public Attention {
 public:
  WatchingAttention(ParameterSet& parameters, const std::string& name, std::int64_t, const ModelConfig& model)
      : inner_(parameters, name, model),
        seen_(parameters.add_buffer(
            name + ".seen", {1}, initialise::constant(1),
            [](const Tensor& value, const Tensor& observed) { return scale(value + observed, 0.5); })) {}
  AttentionOutput operator()(const Tensor& x, const Tensor& values, std::int64_t queries,
                             const ForwardContext& context) const override {
    AttentionOutput out = inner_(x, values, queries, context);
    if (context.training) {
      const NoGradient guard;
      out.observations.push_back({&seen_, reshape(mean(converted(x.detach(), seen_.value.dtype())), {1})});
    }
    return out;
  }

 private:
  RelativeAttention inner_;
  const Buffer& seen_;
};

const bool added = registry<AttentionKind>().add(
    {"watching", "for a test: relative, and it keeps a mean", by_constructor<WatchingAttention>});

Config small_config() {
  Config config;
  config.model = {.vocabulary = 32, .d_model = 20, .layers = 2, .heads = 2, .head_size = 9, .segment = 8};
  config.model.dropout = 0.1;
  config.feedforward = {.kind = "moe", .experts = 5, .expert_size = 8, .k = 2};
  config.train = {.batch_size = 4, .accumulate = 2};
  config.optimizer.lr = 1e-2;
  resolve(config);
  return config;
}

Batch batch_of(const Config& config, std::int64_t step, std::int64_t group) {
  const std::int64_t streams = config.train.batch_size / config.train.accumulate, segment = config.model.segment;
  const Tensor all = random_indices({streams, segment + 1}, static_cast<std::uint64_t>(10 * step + group + 1),
                                    config.model.vocabulary, DType::int32);
  return {clone(slice_view(all, 1, 0, segment)), clone(slice_view(all, 1, 1, segment + 1))};
}

struct Run {
  explicit Run(const Config& c, Device device = {}, StepMode mode = StepMode::recorded)
      : config(c), model(config.model, config.feedforward) {
    model.initialise(5, DType::float32, device);
    update.emplace(config, model, mode);
  }
  TrainingStep::Result step(std::int64_t number, const StepLimits& limits = TrainingStep::kNoLimits) {
    return (*update)([&](std::int64_t group) { return batch_of(config, number, group); }, memories, number,
                     config.optimizer.lr, false, limits);
  }
  const Config config;
  TransformerXl model;
  std::optional<TrainingStep> update;
  std::vector<Memory> memories;
};

}  // namespace

TEST_CASE("buffers: beside the parameters, but no part of what is optimised and counted") {
  ParameterSet set;
  set.add("weight", {3, 4}, initialise::constant(2));
  const Buffer& follows = set.add_buffer("follows", {2}, initialise::constant(1),
                                         [](const Tensor& value, const Tensor& observed) { return value + observed; });
  const Buffer& constant = set.add_buffer("constant", {3}, initialise::normal(1));
  CHECK(error_message([&] { set.add("follows", {1}, initialise::constant(0)); }).find("declared twice") !=
        std::string::npos);
  CHECK(error_message([&] { set.add_buffer("weight", {1}, initialise::constant(0)); }).find("declared twice") !=
        std::string::npos);
  for (const Device device : available_devices()) {
    ParameterSet same;
    same.add("weight", {3, 4}, initialise::constant(2));
    same.add_buffer("constant", {3}, initialise::normal(1));
    same.allocate(DType::float64, 3, device);
    CHECK(same.buffer("constant").value.device() == device);
    CHECK_FALSE(requires_gradient(same.buffer("constant").value));
    if (!set.values().defined()) set.allocate(DType::float64, 3);
    CHECK(same_bits(to_device(same.buffer("constant").value, {}), constant.value));
  }
  CHECK(set.count() == 12);
  CHECK(set.parameters().size() == 1);
  ParameterSet without;
  without.add("weight", {3, 4}, initialise::constant(2));
  without.allocate(DType::float64, 3);
  CHECK(set.values().numel() == without.values().numel());

  const Tensor drawn = clone(constant.value), fine = Tensor::full({}, 0.5, DType::float64);
  const auto seen = [&](double value) { return Observation{&follows, Tensor::full({2}, value, DType::float64)}; };
  set.update_buffers(std::vector{seen(2), seen(5)}, fine);
  CHECK(follows.value.values() == std::vector<double>{8, 8});
  for (const double bad : {double{NAN}, double{INFINITY}})
    set.update_buffers(std::vector{seen(bad)}, Tensor::full({}, bad, DType::float64));
  CHECK(follows.value.values() == std::vector<double>{8, 8});
  CHECK(error_message([&] { set.update_buffers({}, fine); }).find("the buffer 'follows'") != std::string::npos);
  fill(constant.value, 0);
  set.initialise(3);
  CHECK(same_bits(constant.value, drawn));
  CHECK(follows.value.values() == std::vector<double>{1, 1});
}

TEST_CASE("buffers: an attention may have some as well") {
  Config config = small_config();
  config.model.attention = "watching";
  config.train.accumulate = 1;
  for (const Device device : available_devices()) {
    Run run(config, device);
    const auto seen = [&] { return run.model.parameters().buffer("layer0.attn.seen").value.item(); };
    CHECK(seen() == 1);
    run.step(0);
    CHECK(std::abs(seen() - 0.5) < 0.1);  // what a layer norm gives has a mean near 0
    run.step(1);
    CHECK(std::abs(seen() - 0.25) < 0.1);
  }
}
