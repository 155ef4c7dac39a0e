// Optimiser, one step, generation, and a whole small run.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "autograd/autograd.h"
#include "core/error.h"
#include "core/file.h"
#include "core/parallel.h"
#include "core/stored_json.h"
#include "corpus_of.h"
#include "models/initialise.h"
#include "models/model_cost.h"
#include "models/transformer_xl.h"
#include "ops/global_norm.h"
#include "ops/support/samples.h"
#include "temporary_directory.h"
#include "tensor_checks.h"
#include "train/generate.h"
#include "train/optimizer/adamw.h"
#include "train/schedule.h"
#include "train/trainer.h"
#include "train/training_step.h"

using namespace weir;

namespace {

int random_byte(std::size_t i) { return static_cast<int>(RandomStream{3, 0, 0}.bits(i) % 11); }

Config small_config(const std::string& kind = "moe") {
  Config config;
  config.model = {.vocabulary = 256, .d_model = 16, .layers = 2, .heads = 2, .head_size = 8, .segment = 8};
  config.feedforward = {
      .kind = kind, .d_ff = 24, .experts = 4, .expert_size = 8, .k = 2, .regulariser = "none", .sub_keys = 6};
  config.train = {.batch_size = 4};
  config.optimizer = {.lr = 1e-2, .clip = 0};
  resolve(config);
  return config;
}

// A model with what its training steps need.
struct Bench {
  Bench(const Config& c, const Corpus& corpus, DType dtype = DType::float32)
      : config(c),
        model(config.model, config.feedforward),
        reader(corpus, {config.train.batch_size, config.model.segment}) {
    model.initialise(5, dtype);
    update.emplace(config, model);
  }
  TrainingStep::Result step(std::int64_t number, double lr) {
    const std::int64_t group = config.train.batch_size / config.train.accumulate;
    return (*update)(
        [&](std::int64_t g) {
          return reader.read({0, number % reader.blocks_per_epoch()}, g * group, group);
        },
        memories, number, lr, false);
  }
  const Config config;
  TransformerXl model;
  StreamReader reader;
  std::optional<TrainingStep> update;
  std::vector<Memory> memories;
};

// For models so small that threads would only wait for each other.
struct OneThread {
  OneThread() { set_thread_count(1); }
  ~OneThread() { set_thread_count(before); }
  const int before = thread_count();
};

}  // namespace

TEST_CASE("AdamW against a plain loop") {
  for (const double decay : {0.0, 0.1}) {
    CAPTURE(decay);
    ParameterSet set;
    set.add("a", {3, 5}, initialise::normal(1));
    set.add("b", {7}, initialise::normal(1));
    set.allocate(DType::float64, 4);
    AdamW optimizer(set, {.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6, .weight_decay = decay});
    std::vector<double> p, m(22), v(22);
    for (const Parameter& parameter : set.parameters())
      for (double value : parameter.value.values()) p.push_back(value);
    for (int t = 1; t <= 10; ++t) {
      const double lr = 0.1 / t, factor = t % 2 ? 1.0 : 0.3;
      std::vector<double> g;
      for (const Parameter& parameter : set.parameters()) {
        copy_into(random_tensor(parameter.shape, static_cast<std::uint64_t>(t)), gradient(parameter.value));
        for (double value : gradient(parameter.value).values()) g.push_back(value);
      }
      optimizer.step(lr, factor);
      for (std::size_t i = 0; i < p.size(); ++i) {
        p[i] -= lr * decay * p[i];
        m[i] = 0.8 * m[i] + 0.2 * factor * g[i];
        v[i] = 0.95 * v[i] + 0.05 * factor * g[i] * factor * g[i];
        p[i] -= lr * (m[i] / (1 - std::pow(0.8, t))) / (std::sqrt(v[i] / (1 - std::pow(0.95, t))) + 1e-6);
      }
    }
    std::vector<double> got;
    for (const Parameter& parameter : set.parameters())
      for (double value : parameter.value.values()) got.push_back(value);
    for (std::size_t i = 0; i < p.size(); ++i) CHECK(got[i] == doctest::Approx(p[i]).epsilon(1e-12));
    CHECK(optimizer.updates() == 10);
    // The padding of the arena stays zero.
    double all = 0, named = 0;
    for (double value : set.values().values()) all += std::abs(value);
    for (double value : got) named += std::abs(value);
    CHECK(all == doctest::Approx(named).epsilon(1e-14));
  }
}

TEST_CASE("gradient norm and clipping") {
  ParameterSet set;
  set.add("a", {300, 301}, initialise::constant(0));
  set.add("b", {7}, initialise::constant(0));
  set.allocate(DType::float32, 1);
  double squares = 0;
  for (const Parameter& p : set.parameters()) {
    copy_into(random_tensor(p.shape, 3), gradient(p.value));
    for (double g : gradient(p.value).values()) squares += g * g;
  }
  CHECK(global_norm(set.gradients()).item() == doctest::Approx(std::sqrt(squares)).epsilon(1e-12));
}

TEST_CASE("accumulated gradients are those of the whole batch") {
  const TemporaryDirectory folder;
  const Corpus corpus = corpus_of(folder, 400, random_byte);
  for (const std::string kind : {"dense", "top-k", "pkm", "moe"}) {
    Config whole = small_config(kind), parts = whole;
    parts.train.accumulate = 2;
    Bench a(whole, corpus, DType::float64), b(parts, corpus, DType::float64);
    for (std::int64_t step = 0; step < 3; ++step) {
      const auto first = a.step(step, 0), second = b.step(step, 0);
      CHECK(first.loss == doctest::Approx(second.loss).epsilon(1e-13));
      CHECK(first.gradient_norm == doctest::Approx(second.gradient_norm).epsilon(1e-12));
      CHECK(first.gradient_norm > 0.01);
      CHECK(max_difference(a.model.parameters().gradients(), b.model.parameters().gradients()) < 1e-12);
    }
    CHECK(b.memories.size() == 2);
    CHECK(b.memories[1].layers[0].shape() == Shape{2, 8, 16});
  }
}

TEST_CASE("a step is skipped where the gradient is not finite") {
  const TemporaryDirectory folder;
  const Corpus corpus = corpus_of(folder, 400, random_byte);
  // An infinite bias makes the loss infinite; huge embeddings overflow in the backward pass or before it.
  for (const double poison : {double{INFINITY}, double{NAN}, 3e38}) {
    CAPTURE(poison);
    Bench bench(small_config(), corpus);
    CHECK(bench.step(0, 1e-2).applied);
    const bool huge = std::isfinite(poison);
    fill(bench.model.parameters().at(huge ? "output.weight" : "output.bias").value, poison);
    const Tensor weights = clone(bench.model.parameters().values());
    const Tensor m = clone(bench.update->optimizer().state("m").values()),
                 v = clone(bench.update->optimizer().state("v").values());
    CHECK_FALSE(bench.step(1, 1e-2).applied);
    CHECK(same_bits(bench.model.parameters().values(), weights));
    CHECK(same_bits(bench.update->optimizer().state("m").values(), m));
    CHECK(same_bits(bench.update->optimizer().state("v").values(), v));
    CHECK(bench.update->optimizer().updates() == 1);
  }
}

TEST_CASE("generation") {
  const OneThread quick;
  const Config config = small_config();
  TransformerXl model(config.model, config.feedforward);
  model.initialise(5);
  const std::string prompt = "a prompt that is longer than two segments";
  const auto text = [&](double temperature, std::uint64_t seed, std::int64_t top_k = 0) {
    return generate(model, ByteTokenizer(), prompt,
                    {.tokens = 8, .temperature = temperature, .top_k = top_k, .seed = seed});
  };
  CHECK(text(0.8, 1).size() == 8);
  CHECK(text(0.8, 1) == text(0.8, 1));
  CHECK(text(0.8, 1) != text(0.8, 2));
  CHECK(text(0, 1) == text(0, 2));
  CHECK(text(0.8, 1, 1) == text(0, 1));
  CHECK(generate(model, ByteTokenizer(), "", {.tokens = 5}) == generate(model, ByteTokenizer(), "\n", {.tokens = 5}));

  // The most likely byte after each prefix, with all of the text as memory. Memory reaches back 16 positions a layer.
  const std::string short_prompt = "hello";
  std::string expected = short_prompt;
  const NoGradient guard;
  for (int i = 0; i < 8; ++i) {
    const std::vector<double> ids(expected.begin(), expected.end());
    const auto n = static_cast<std::int64_t>(expected.size());
    const auto logits = model(Tensor::from_values({1, n}, ids, DType::uint8), {}, 0, {}).logits.values();
    const auto last = logits.end() - 256;
    expected += static_cast<char>(std::max_element(last, logits.end()) - last);
  }
  CHECK(short_prompt + generate(model, ByteTokenizer(), short_prompt, {.tokens = 8, .temperature = 0}) == expected);
  CHECK(generate(model, ByteTokenizer(), "lo", {.tokens = 8, .temperature = 0, .context = {'h', 'e', 'l'}}) ==
        generate(model, ByteTokenizer(), "hello", {.tokens = 8, .temperature = 0}));
}

TEST_CASE("training learns, in float32 and bf16, with experts and without") {
  const OneThread quick;
  const TemporaryDirectory folder;
  const Corpus corpus = corpus_of(folder, 2000, [](std::size_t i) { return "abcde fgh"[i % 9]; });
  for (const std::string precision : {"float32", "bf16"})
    for (const std::string kind : {"dense", "top-k", "pkm", "moe"}) {
      CAPTURE(precision);
      CAPTURE(kind);
      Config config = small_config(kind);
      config.model.precision = precision;
      Bench bench(config, corpus);
      double first = 0, last = 0;
      for (std::int64_t step = 0; step < 60; ++step) {
        const auto result = bench.step(step, 1e-2);
        CHECK(result.applied);
        (step == 0 ? first : last) = result.loss;
      }
      CHECK(first > 4);
      CHECK(last < 0.5);
    }
}

// Step and loss of each line of a run's metrics.
std::vector<std::tuple<std::int64_t, std::string, double>> series_of(const RunDirectory& run) {
  std::vector<std::tuple<std::int64_t, std::string, double>> lines;
  std::ifstream file(run.file("metrics.jsonl"));
  for (std::string line; std::getline(file, line);) {
    const StoredJson json = StoredJson::parse(line, "metrics", refuse_stored);
    const char* const name = json.has("valid/loss") ? "valid/loss" : "train/loss";
    lines.emplace_back(json.count("step"), name, json.number(name));
  }
  return lines;
}

TEST_CASE("a whole run learns a repetitive text, and resumes bit for bit") {
  const OneThread quick;
  const TemporaryDirectory folder;
  const Corpus corpus = corpus_of(folder, 6000, [](std::size_t i) { return "the weir holds back. "[i % 21]; });
  Config config = small_config();
  config.data.train = corpus.name();
  config.feedforward.regulariser = "entropy";
  config.model.dropout = 0.05;
  config.feedforward.expert_dropout = 0.05;
  config.train.steps = 100;
  config.train.accumulate = 2;
  config.optimizer.clip = 1;
  config.eval.every = config.checkpoint.every = config.sample.every = 40;
  config.sample.tokens = 5;
  resolve(config);
  validate(config);
  const RunDirectory run(folder / "run");
  // Before each segment of the evaluation, each token of the sample, and step 41.
  int asked_at_40 = 0, asked_at_100 = 0;
  const TrainingResult result = train(config, run, {.quiet = true, .should_stop = [&](std::int64_t steps) {
                                                      asked_at_40 += steps == 40;
                                                      asked_at_100 += steps == 100;
                                                      return false;
                                                    }});
  CHECK(result.outcome == Outcome::finished);
  CHECK(result.steps == 100);
  CHECK(result.tokens == 100 * 4 * 8);
  CHECK(result.validation.bits_per_byte().value() < 0.5);
  const std::string samples = read_file(run.file("samples.txt"), 1 << 20);
  for (const char* head : {"--- step 40\n", "--- step 80\n", "--- step 100\n"})
    CHECK(samples.find(head) != std::string::npos);
  // The first line is about the first update, which has the full rate.
  const std::string metrics = read_file(run.file("metrics.jsonl"), 1 << 20);
  CHECK(metrics.substr(0, metrics.find('\n')).find("\"train/learning_rate\":0.01,") != std::string::npos);

  const RunDirectory interrupted(folder / "interrupted");
  const TrainingResult part =
      train(config, interrupted, {.quiet = true, .should_stop = [](std::int64_t steps) { return steps == 53; }});
  CHECK(part.outcome == Outcome::stopped);
  CHECK(part.steps == 53);
  const TrainingResult rest = train(config, interrupted, {.resume = true, .quiet = true});
  CHECK(rest.steps == 100);
  CHECK(rest.validation.nats_per_token == result.validation.nats_per_token);
  const auto bytes = [](const std::string& path) { return read_file(path + "/model.safetensors", 1 << 24); };
  CHECK(bytes(rest.checkpoint) == bytes(result.checkpoint));

  // Stopped in the middle of an evaluation, of a sample, and of the last evaluation: it is done again when the run
  // resumes, and metrics and checkpoints are those of the whole run.
  const auto stopped_at = [&](std::int64_t step, int times_asked, const std::string& name, bool evaluated) {
    const RunDirectory cut(folder / name);
    int asked = 0;
    const TrainingResult stopped = train(config, cut, {.quiet = true, .should_stop = [&](std::int64_t steps) {
                                                         return steps == step && ++asked == times_asked;
                                                       }});
    CHECK(stopped.outcome == Outcome::stopped);
    CHECK(stopped.steps == step);
    CHECK(read_file(stopped.checkpoint + "/state.json", 1 << 20).find("\"pending\": true") != std::string::npos);
    CHECK((std::get<1>(series_of(cut).back()) == "valid/loss") == evaluated);
    CHECK(!std::filesystem::exists(cut.file("samples.txt")) == (step == 40));
    for (int resumed = 0; resumed < 2; ++resumed) {  // the second time there is nothing left to do
      const TrainingResult to_the_end = train(config, cut, {.resume = true, .quiet = true});
      CHECK(to_the_end.outcome == Outcome::finished);
      CHECK(to_the_end.validation.nats_per_token == result.validation.nats_per_token);
      CHECK(bytes(to_the_end.checkpoint) == bytes(result.checkpoint));
      CHECK(read_file(to_the_end.checkpoint + "/state.json", 1 << 20).find("\"pending\": false") != std::string::npos);
      CHECK(series_of(cut) == series_of(run));
    }
    CHECK(read_file(cut.file("samples.txt"), 1 << 20) == read_file(run.file("samples.txt"), 1 << 20));
  };
  stopped_at(40, 2, "in-evaluation", false);
  stopped_at(40, asked_at_40 - 1, "in-sample", true);
  stopped_at(100, 2, "in-last-evaluation", false);
  stopped_at(100, asked_at_100, "in-last-sample", true);

  // Another batch or model, or a text that is now shorter than the place it was left at, cannot be gone on with.
  const auto refused = [&](const std::string& change) {
    Config other = config;
    apply_override(fields_of(other), change);
    return error_message([&] { train(other, interrupted, {.resume = true, .quiet = true}); });
  };
  for (const std::string key :
       {"train.batch_size=6", "train.accumulate=1", "model.segment=4", "model.d_model=24", "model.layers=3",
        "model.heads=1", "model.memory=0", "model.precision=bf16", "feedforward.experts=5", "feedforward.kind=dense"}) {
    CAPTURE(key);
    CHECK(refused(key).starts_with(key.substr(0, key.find('=')) + " = "));
    CHECK(refused(key).find("was begun with") != std::string::npos);
  }
  CHECK(refused("feedforward.k=1") == "");
  CHECK(refused("model.precision=tf32") == "");
  Config shorter_text = config;
  shorter_text.data.train =
      corpus_of(folder, 400, [](std::size_t i) { return "the weir holds back. "[i % 21]; }).name();
  const std::string message = error_message([&] { train(shorter_text, interrupted, {.resume = true, .quiet = true}); });
  CAPTURE(message);
  CHECK(message.find("begun with other data (5700 tokens") != std::string::npos);
  // So is a text of the same length in which one byte differs.
  Config other_text = config;
  other_text.data.train =
      corpus_of(folder, 6000, [](std::size_t i) { return i == 4000 ? '!' : "the weir holds back. "[i % 21]; }).name();
  CHECK(error_message([&] { train(other_text, interrupted, {.resume = true, .quiet = true}); }).find("other data") !=
        std::string::npos);
}

TEST_CASE("training asks the system for no memory after its second step") {
  const OneThread guard;  // with more, how many scratch blocks are in use at once depends on their timing
  const TemporaryDirectory folder;
  const Corpus corpus = corpus_of(folder, 2000, random_byte);
  for (const std::string kind : {"dense", "top-k", "pkm", "moe"}) {
    CAPTURE(kind);
    Config config = small_config(kind);
    config.feedforward.regulariser = "entropy";
    config.model.dropout = 0.1;
    Bench bench(config, corpus);
    std::vector<std::uint64_t> requests;
    for (std::int64_t step = 0; step < 6; ++step) {
      bench.step(step, 1e-3);
      requests.push_back(allocator({}).statistics().system_allocations);
    }
    CHECK(requests.back() == requests[1]);
  }
}

TEST_CASE("the estimate of training memory is near the measured peak") {
  const TemporaryDirectory folder;
  const Corpus corpus = corpus_of(folder, 10000, random_byte);
  for (const std::string kind : {"dense", "top-k", "pkm", "moe"})
    for (const bool checkpointed : {false, true}) {
      CAPTURE(kind);
      CAPTURE(checkpointed);
      Config config;
      config.model = {.d_model = 128, .layers = 4, .heads = 4, .head_size = 32, .segment = 128};
      config.model.checkpoint_activations = checkpointed;
      config.feedforward = {.kind = kind, .d_ff = 513, .experts = 8, .expert_size = 64, .k = 2, .sub_keys = 23};
      config.train.batch_size = 8;
      resolve(config);
      Allocator& memory = allocator({});
      const std::size_t before = memory.statistics().in_use_bytes;
      Bench bench(config, corpus);
      bench.step(0, 1e-3);
      memory.reset_peak();
      bench.step(1, 1e-3);
      const auto measured = static_cast<double>(memory.statistics().peak_bytes - before);
      const auto estimate =
          static_cast<double>(model_cost(config.model, config.feedforward, config.train.batch_size).training_bytes);
      CAPTURE(measured);
      CAPTURE(estimate);
      CHECK(estimate / measured < 1.1);
      CHECK(estimate / measured > 0.85);
    }
}
