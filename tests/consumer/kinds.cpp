// A program outside the project that adds one of each kind of thing that a training run is put together from, without
// an edit of the library: a model, a feedforward with settings of its own, parts of routers (a gate, a selection that
// carries state, one in which experts choose tokens), an optimiser, a schedule of the learning rate and an order of the
// data. Then it trains with them, from a configuration like any other.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "models/feedforward.h"
#include "models/initialise.h"
#include "models/language_model.h"
#include "models/layers.h"
#include "models/routing/part.h"
#include "ops/add.h"
#include "ops/cast.h"
#include "ops/divide.h"
#include "ops/exp.h"
#include "ops/linear.h"
#include "ops/multiply.h"
#include "ops/permute.h"
#include "ops/relu.h"
#include "ops/reshape.h"
#include "ops/scale.h"
#include "ops/scatter_add_rows.h"
#include "ops/sort_by_expert.h"
#include "ops/square.h"
#include "ops/subtract.h"
#include "ops/sum.h"
#include "ops/take_along.h"
#include "ops/top_k.h"
#include "train/batch_source.h"
#include "train/optimizer/optimizer.h"
#include "train/run_directory.h"
#include "train/schedule.h"
#include "train/trainer.h"

using namespace weir;

// --- a feedforward, with a section [squared] in the configuration ---------------------------------------------------

struct SquaredSettings {
  double scale = 1;
  void visit(FieldVisitor& v) { v.field("scale", scale, {.min = 0, .max = 100}, "factor on what the layer adds"); }
  bool operator==(const SquaredSettings&) const = default;
};

// scale * W2 relu(W1 x)^2
class Squared final : public Feedforward {
 public:
  Squared(ParameterSet& parameters, const std::string& name, std::int64_t, const ModelConfig& model,
          const FeedforwardConfig& config)
      : scale_(config.own.get<SquaredSettings>().scale),
        w1_(parameters.add(name + ".w1", {config.d_ff, model.d_model}, initialise::normal(0.1))),
        w2_(parameters.add(name + ".w2", {model.d_model, config.d_ff}, initialise::normal(0.1))) {}

  FeedforwardOutput operator()(const Tensor& x, const ForwardContext& context) const override {
    FeedforwardOutput out;
    const Tensor hidden = square(relu(linear(x, w1_.value, context.products)));
    out.y = scale(linear(hidden, w2_.value, context.products), scale_);
    return out;
  }
  std::string text() const override { return "squared ReLU: " + std::to_string(w1_.shape[0]) + " hidden units"; }

 private:
  double scale_;
  const Parameter &w1_, &w2_;
};

const bool feedforward_added = registry<FeedforwardKind>().add(
    {"squared", "ReLU squared", by_constructor<Squared>, OwnSettings::of<SquaredSettings>()});

// --- parts of routers -----------------------------------------------------------------------------------------------

Tensor exponential_gate(const routing::Scored& scored, const Tensor& index) {
  return exp(take_along(scored.logits, index));
}
const bool gate_added = registry<routing::Gate>().add({"exponential", "e to the score", exponential_gate});

// The k largest of score - usage: an expert's usage is its share of the pairs, averaged over some ten steps.
routing::Selection::Choose rested(const routing::RouterParameters& declare) {
  const Buffer& usage = declare.add_buffer(
      "usage", initialise::constant(0),
      [](const Tensor& value, const Tensor& chosen) { return scale(value, 0.9) + scale(chosen / sum(chosen), 0.1); });
  return [&usage](const routing::Scored& scored, const routing::Call& call) -> routing::Choice {
    const Tensor index = top_k(scored.ranked(scored.logits - usage.value), call.k).indices;  // [N, K]
    const Tensor pairs = reshape(index, {index.numel()});
    const Tensor ones = Tensor::full({index.numel(), 1}, 1, scored.logits.dtype(), index.device());
    call.observe(usage, reshape(scatter_add_rows(ones, pairs, usage.shape[0]), usage.shape));
    return index;
  };
}
const bool rested_added = registry<routing::Selection>().add({"rested", "experts get tired", rested});

// Every expert takes the tokens that score best with it, in evaluation too: no model of a text that is to be continued.
routing::Choice greedy_experts(const routing::Scored& scored, const routing::Call& call) {
  const std::int64_t tokens = scored.logits.size(0), experts = scored.logits.size(1);
  const std::int64_t each = (tokens * call.k + experts - 1) / experts;
  const Tensor taken = top_k(transpose(scored.ranked(scored.logits), 0, 1), each).indices;  // [E, C]
  const Tensor row = sort_by_expert(Tensor::zeros(taken.shape(), DType::int32, taken.device()), 1).tokens;
  return {reshape(row, {experts * each, 1}), reshape(taken, {experts * each})};
}
const bool greedy_added =
    registry<routing::Selection>().add({"greedy-experts", "experts choose", routing::stateless<greedy_experts>});

// --- a model: the next token from this one alone --------------------------------------------------------------------

class Bigram final : public LanguageModel {
 public:
  Bigram(const ModelConfig& model, const FeedforwardConfig& feedforward)
      : LanguageModel(model),
        embedding_(declare(), "embedding", model.vocabulary, model.d_model),
        norm_(declare(), "norm", model.d_model),
        feedforward_(make_feedforward(declare(), "ff", 0, model, feedforward)),
        output_(declare(), "output", model.vocabulary, model.d_model) {}

  LanguageModelOutput operator()(const Tensor& ids, const Memory&, std::int64_t,
                                 const ForwardContext& context) const override {
    const Tensor x = embedding_(ids, activation_dtype());  // [B, T, D]
    FeedforwardOutput layer = (*feedforward_)(norm_(x), context);
    LanguageModelOutput out;
    out.logits = output_(x + layer.y, context);
    out.auxiliary_loss = layer.auxiliary_loss;
    out.observations = layer.observations;
    if (context.collect_statistics) out.statistics = {layer.statistics};
    return out;
  }
  std::vector<Shape> memory_shapes(std::int64_t, std::int64_t) const override { return {}; }

 private:
  Embedding embedding_;
  LayerNorm norm_;
  std::unique_ptr<Feedforward> feedforward_;
  OutputProjection output_;
};

const bool model_added = registry<ModelKind>().add({"bigram", "looks at one token", by_constructor<Bigram>});

// --- an optimiser: plain gradient descent ---------------------------------------------------------------------------

class Descent final : public Optimizer {
 public:
  Descent(const ParameterSet& parameters, const ParameterGroups& groups)
      : Optimizer("descent", parameters, groups, [](const Parameter&) { return std::vector<OptimizerStateKind>(); }) {}

 private:
  void update(const Part& part, const Tensor& factor) override {
    if (!std::isfinite(factor.item())) return;  // read here, as it is for the CPU alone
    const Tensor rate = cast(part.learning_rate * factor, part.values.dtype());
    copy_into(part.values - part.gradients * rate, part.values);
    fill(part.updates, part.updates.item() + 1);
  }
};

const bool optimizer_added = registry<OptimizerKind>().add(
    {"descent",
     "plain gradient descent",
     {.make = [](const OptimizerConfig& config, const ParameterSet& parameters) -> std::unique_ptr<Optimizer> {
        return std::make_unique<Descent>(parameters, ParameterGroups(config.no_decay, config.rates));
      },
      .state_of = [](const OptimizerConfig&, const Parameter&) { return std::vector<OptimizerStateKind>(); },
      .keeps = "nothing"}});

// --- a schedule -----------------------------------------------------------------------------------------------------

const bool schedule_added = registry<ScheduleKind>().add(
    {"square", "down to min_lr, fast at first", [](const OptimizerConfig& config, double progress) {
       return config.min_lr + (config.lr - config.min_lr) * (1 - progress) * (1 - progress);
     }});

// --- an order of the data: the blocks of the streams from the last to the first -------------------------------------

class Backwards final : public BatchSource {
 public:
  Backwards(const Corpus& corpus, const BatchShape& shape) : streams_(corpus, shape) {}
  std::int64_t blocks_per_epoch() const override { return streams_.blocks_per_epoch(); }
  Batch read(const BatchPlace& place, std::int64_t first, std::int64_t count) const override {
    return streams_.read({place.epoch, blocks_per_epoch() - 1 - place.block}, first, count);
  }
  bool is_continuous() const override { return false; }

 private:
  StreamReader streams_;
};

const bool order_added = registry<BatchKind>().add({"backwards", "the last block first", by_constructor<Backwards>});

// --- training with them ---------------------------------------------------------------------------------------------

// Bits per byte of a text that says the same again and again; true where a short run learns it.
bool learns(const std::string& folder, const std::string& name, std::vector<std::string> settings) {
  settings.insert(settings.end(), {"data.train=" + folder + "/text.txt", "model.memory=0", "data.order=backwards",
                                   "optimizer.schedule=square", "train.steps=60", "train.batch_size=4",
                                   "model.segment=16", "model.d_model=16", "model.layers=1", "model.heads=2",
                                   "model.head_size=8", "eval.every=0", "sample.every=0"});
  const Config config = load_config("quickstart", settings);
  const RunDirectory run(folder + "/" + name);
  const TrainingResult result = train(config, run, {.quiet = true});
  const double bits = result.validation.nats_per_token / std::log(2.0);
  std::printf("%s: %.3f bits per byte after %lld steps\n", name.c_str(), bits, static_cast<long long>(result.steps));
  return bits < 2;
}

int main() {
  std::string folder = (std::filesystem::temp_directory_path() / "weir-kinds-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) return 1;
  std::ofstream text(folder + "/text.txt");
  for (int i = 0; i < 400; ++i) text << "the cat sat on the mat\n";
  text.close();
  bool right = false;
  try {
    right = learns(folder, "squared",
                   {"feedforward.kind=squared", "feedforward.d_ff=32", "squared.scale=0.5", "optimizer.lr=0.01"}) &&
            learns(folder, "bigram",
                   {"model.kind=bigram", "feedforward.kind=moe", "feedforward.experts=4", "feedforward.expert_size=8",
                    "feedforward.k=2", "feedforward.gate=exponential", "optimizer.kind=descent", "optimizer.lr=2",
                    "optimizer.rates=embedding=5"}) &&
            learns(folder, "rested",
                   {"model.kind=bigram", "feedforward.kind=moe", "feedforward.experts=4", "feedforward.expert_size=8",
                    "feedforward.selection=rested", "optimizer.lr=0.02"}) &&
            learns(folder, "greedy-experts",
                   {"feedforward.kind=moe", "feedforward.experts=4", "feedforward.expert_size=8",
                    "feedforward.selection=greedy-experts", "optimizer.lr=0.02"});
    std::printf("%s\n", right ? "all of them train" : "a run did not learn its text");
  } catch (const Error& error) {
    std::printf("%s\n", error.what());
  }
  std::filesystem::remove_all(folder);
  return right ? 0 : 1;
}
