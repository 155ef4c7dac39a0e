// The presets of the paper: complete, valid, with the published sizes and settings.
#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "models/feedforward_share.h"
#include "models/model_cost.h"
#include "train/paper_presets.h"
#include "train/presets.h"
#include "train/schedule.h"

using namespace weir;

namespace {

std::int64_t parameters_of(const std::string& name, std::vector<std::string> changes = {}) {
  const Config config = load_config(name, changes);
  return model_cost(config.model, config.feedforward, 1).parameters;
}

std::size_t presets_of(const std::string& scale) {
  std::size_t count = 0;
  for (const PaperPreset& preset : paper_presets()) count += preset.scale == scale;
  return count;
}

// A row of the paper, spelled out.
struct Spelled {
  const char* name;
  std::int64_t d_model, layers, heads, head_size, segment, batch_size, vocabulary, warmup;
  double dropout, clip;
  const char* kind;
  std::int64_t experts, expert_size, k;
  const char *selection, *gate, *regulariser;
  double weight, expert_dropout, dropout_experts;
  const char* init;
  double published;
  const char *unit, *table, *data;
};

const Spelled spelled[] = {
    {"wt103-small-sigma-moe",
     412,
     16,
     10,
     41,
     256,
     64,
     8000,
     0,
     0.1,
     0.25,
     "moe",
     16,
     128,
     4,
     "top-k",
     "sigmoid",
     "entropy",
     1e-3,
     0,
     0,
     "dense-equivalent",
     11.71,
     "ppl",
     "Tab. 3",
     "data/wikitext-103"},
    {"wt103-small-sigma-moe-ablation",
     412,
     16,
     10,
     41,
     256,
     64,
     8000,
     0,
     0.1,
     0.25,
     "moe",
     16,
     128,
     4,
     "top-k",
     "sigmoid",
     "entropy",
     1e-4,
     0,
     0,
     "dense-equivalent",
     11.59,
     "ppl",
     "Tab. 10",
     "data/wikitext-103"},
    {"wt103-small-star-sigma-moe",
     412,
     16,
     10,
     41,
     256,
     64,
     8000,
     0,
     0.1,
     0.25,
     "moe",
     128,
     128,
     4,
     "top-k",
     "sigmoid",
     "entropy",
     1e-3,
     0.05,
     0,
     "dense-equivalent",
     10.37,
     "ppl",
     "Tab. 10",
     "data/wikitext-103"},
    {"wt103-small-star-softmax-after-topk",
     412,
     16,
     10,
     41,
     256,
     64,
     8000,
     0,
     0.1,
     0.25,
     "moe",
     128,
     128,
     4,
     "top-k",
     "softmax-after-topk",
     "entropy-selected",
     1e-3,
     0.05,
     0,
     "dense-equivalent",
     11.27,
     "ppl",
     "Tab. 10",
     "data/wikitext-103"},
    {"wt103-big-standard-dropout",
     1024,
     18,
     16,
     64,
     512,
     64,
     8000,
     4000,
     0.2,
     0.25,
     "moe",
     32,
     128,
     4,
     "top-k",
     "sigmoid",
     "entropy",
     1e-3,
     0,
     0.2,
     "dense-equivalent",
     9.53,
     "ppl",
     "Tab. 10",
     "data/wikitext-103"},
    {"wt103-big-k8-g64",
     1024,
     18,
     16,
     64,
     512,
     64,
     8000,
     4000,
     0.2,
     0.25,
     "moe",
     64,
     64,
     8,
     "top-k",
     "sigmoid",
     "entropy",
     1e-3,
     0.1,
     0,
     "dense-equivalent",
     9.58,
     "ppl",
     "Tab. 10",
     "data/wikitext-103"},
    {"wt103-small-2ne-g64",
     412,
     16,
     10,
     41,
     256,
     64,
     8000,
     0,
     0.1,
     0.25,
     "moe",
     32,
     64,
     4,
     "top-k",
     "sigmoid",
     "entropy",
     1e-4,
     0,
     0,
     "dense-equivalent",
     11.81,
     "ppl",
     "Tab. 10",
     "data/wikitext-103"},
    {"wt103-small-k8",
     412,
     16,
     10,
     41,
     256,
     64,
     8000,
     0,
     0.1,
     0.25,
     "moe",
     16,
     128,
     8,
     "top-k",
     "sigmoid",
     "entropy",
     1e-4,
     0,
     0,
     "dense-equivalent",
     11.58,
     "ppl",
     "Tab. 10",
     "data/wikitext-103"},
    {"enwik8-sigma-moe",
     512,
     12,
     8,
     64,
     512,
     32,
     256,
     0,
     0.1,
     0.25,
     "moe",
     16,
     128,
     4,
     "top-k",
     "sigmoid",
     "entropy",
     1e-4,
     0.05,
     0,
     "dense-equivalent",
     1.08,
     "bpc",
     "Tab. 3",
     "data/enwik8"},
    {"enwik8-standard-init",
     512,
     12,
     8,
     64,
     512,
     32,
     256,
     0,
     0.1,
     0.25,
     "moe",
     16,
     128,
     4,
     "top-k",
     "sigmoid",
     "entropy",
     1e-4,
     0.05,
     0,
     "standard",
     1.08,
     "bpc",
     "Tab. 10",
     "data/enwik8"},
    {"enwik8-switch-k1-g512-dropout",
     512,
     12,
     8,
     64,
     512,
     32,
     256,
     0,
     0.1,
     0.25,
     "moe",
     4,
     512,
     1,
     "top-k",
     "softmax",
     "switch",
     1e-2,
     0,
     0.1,
     "switch",
     1.08,
     "bpc",
     "Tab. 10",
     "data/enwik8"},
    {"wt103-small-switch-k4-g128",
     412,
     16,
     10,
     41,
     256,
     64,
     8000,
     0,
     0.1,
     0.25,
     "moe",
     16,
     128,
     4,
     "top-k",
     "softmax",
     "switch",
     1e-2,
     0,
     0,
     "switch",
     12.05,
     "ppl",
     "Tab. 10",
     "data/wikitext-103"},
    {"c4-small-sigma-moe",
     412,
     16,
     10,
     41,
     256,
     64,
     8000,
     0,
     0.1,
     0.25,
     "moe",
     16,
     128,
     4,
     "top-k",
     "sigmoid",
     "none",
     0,
     0,
     0,
     "dense-equivalent",
     23.25,
     "ppl",
     "Tab. 5",
     "data/c4"},
    {"c4-small-s-base",
     412,
     16,
     10,
     41,
     256,
     64,
     8000,
     0,
     0.1,
     0.25,
     "moe",
     16,
     128,
     4,
     "sinkhorn",
     "sigmoid",
     "entropy",
     1e-4,
     0,
     0,
     "dense-equivalent",
     35.48,
     "ppl",
     "Tab. 5",
     "data/c4"},
    {"wt103-big-s-base-k1-g512",
     1024,
     18,
     16,
     64,
     512,
     64,
     8000,
     4000,
     0.2,
     0.25,
     "moe",
     8,
     512,
     1,
     "sinkhorn",
     "sigmoid",
     "entropy",
     1e-3,
     0.1,
     0,
     "dense-equivalent",
     9.77,
     "ppl",
     "Tab. 10",
     "data/wikitext-103"},
    {"pes2o-big-switch-k1-g512-dropout",
     1024,
     18,
     16,
     64,
     512,
     64,
     8000,
     4000,
     0.2,
     0.25,
     "moe",
     8,
     512,
     1,
     "top-k",
     "softmax",
     "switch",
     1e-2,
     0,
     0.2,
     "standard",
     11.56,
     "ppl",
     "Tab. 5",
     "data/peS2o"},
};

}  // namespace

TEST_CASE("paper presets: settings of some rows, spelled out") {
  for (const Spelled& s : spelled) {
    CAPTURE(s.name);
    const Config c = load_config(s.name);
    CHECK(c.model.d_model == s.d_model);
    CHECK(c.model.layers == s.layers);
    CHECK(c.model.heads == s.heads);
    CHECK(c.model.head_size == s.head_size);
    CHECK(c.model.segment == s.segment);
    CHECK(c.model.memory == s.segment);
    CHECK(c.model.vocabulary == s.vocabulary);
    CHECK(c.model.dropout == s.dropout);
    CHECK(c.train.batch_size == s.batch_size);
    CHECK(c.train.steps == 100'000);
    CHECK(c.optimizer.lr == 2.5e-4);
    CHECK(c.optimizer.warmup_steps == s.warmup);
    CHECK(c.optimizer.weight_decay == 0);
    CHECK(c.optimizer.clip == s.clip);
    CHECK(c.eval.every == 2000);
    CHECK(c.eval.memory == s.segment);
    CHECK(c.checkpoint.every == 10'000);
    CHECK(c.data.train == s.data);
    const FeedforwardConfig& f = c.feedforward;
    CHECK(f.kind == s.kind);
    CHECK(f.experts == s.experts);
    CHECK(f.expert_size == s.expert_size);
    CHECK(f.k == s.k);
    CHECK(f.scores == "linear");
    CHECK(f.selection == s.selection);
    CHECK(f.gate == s.gate);
    CHECK(f.regulariser == s.regulariser);
    CHECK((f.regulariser_weight == s.weight || f.regulariser == "none"));
    CHECK(f.expert_dropout == s.expert_dropout);
    CHECK(f.dropout_experts == s.dropout_experts);
    CHECK(f.init == s.init);
    const PaperPreset* const preset = find_paper_preset(s.name);
    REQUIRE(preset != nullptr);
    CHECK(preset->published.value == s.published);
    CHECK(preset->published.unit == s.unit);
    CHECK(preset->published.table == s.table);
  }
}

TEST_CASE("paper presets: dense, Top-K and PKM rows") {
  const auto feedforward = [](const char* name) { return load_config(name).feedforward; };
  CHECK(feedforward("wt103-small-dense").d_ff == 2053);
  CHECK(feedforward("wt103-small-star-dense").d_ff == 16480);
  CHECK(feedforward("wt103-big-dense").d_ff == 4110);
  CHECK(feedforward("enwik8-dense").d_ff == 2053);
  for (const char* name : {"wt103-small-dense", "wt103-small-star-dense", "c4-small-dense", "pes2o-small-dense"})
    CHECK(load_config(name).optimizer.clip == 0.1);
  for (const char* name : {"wt103-big-dense", "enwik8-dense", "c4-big-dense", "wt103-small-k1", "wt103-small-pkm"})
    CHECK(load_config(name).optimizer.clip == 0.25);
  const Config kept = load_config("wt103-small-top-k-64");
  CHECK(kept.feedforward.kind == "top-k");
  CHECK(kept.feedforward.k == 64);
  CHECK(kept.feedforward.d_ff == 2053);
  CHECK(kept.optimizer.clip == 0.1);
  CHECK(find_paper_preset("wt103-big-top-k-64") == nullptr);
  const FeedforwardConfig memory = feedforward("wt103-big-pkm-relu-init");
  CHECK(memory.kind == "pkm");
  CHECK(memory.sub_keys == 89);
  CHECK(memory.key_heads == 4);
  CHECK(memory.activation == "relu");
  CHECK(memory.init == "dense-equivalent");
  CHECK(memory.k >= memory.sub_keys);  // all values are used
  CHECK(feedforward("enwik8-pkm-values-softmax").sub_keys == 46);
  CHECK(feedforward("enwik8-pkm-values-softmax").activation == "softmax");
  CHECK(feedforward("enwik8-pkm-values-softmax").init == "standard");
  CHECK(feedforward("wt103-small-pkm") == feedforward("wt103-small-pkm-relu"));
  CHECK(find_paper_preset("c4-small-pkm") == nullptr);
}

TEST_CASE("paper presets: the warmed-up rate ends where the authors' does") {
  const Config c = load_config("wt103-big-dense");
  const std::int64_t last = c.train.steps - 1;
  const double progress = decay_progress(c.optimizer, c.train, 1, last, 0);
  const double expected = 0.5 * 2.5e-4 * (1 + std::cos(std::acos(-1.0) * static_cast<double>(last - 4000) / 1e5));
  CHECK(learning_rate(c.optimizer, last, progress) == doctest::Approx(expected).epsilon(1e-9));
}

TEST_CASE("paper presets: as many as the tables have results, each valid, each name once") {
  CHECK(presets_of("WikiText-103, 47M parameters") == 31);   // Tab. 1: 4, Tab. 2: 5, Tab. 3: 2, Tab. 10: 20
  CHECK(presets_of("WikiText-103, 237M parameters") == 21);  // Tab. 10: 20, Sec. 6.3: 1
  CHECK(presets_of("WikiText-103, 262M parameters") == 22);
  CHECK(presets_of("enwik8, 41M parameters") == 29);
  for (const char* scale :
       {"C4, 47M parameters", "C4, 262M parameters", "peS2o, 47M parameters", "peS2o, 262M parameters"})
    CHECK(presets_of(scale) == 4);
  std::set<std::string> names;
  for (const std::string& name : preset_names()) {
    CAPTURE(name);
    CHECK(names.insert(name).second);
    const Config config = load_config(name);  // throws where it is not valid
    CHECK(config.name == name);
    CHECK(parameters_of(name) > 500'000);
    CHECK(!preset_help(name).empty());
  }
}

TEST_CASE("paper presets: the authors' parameter counts, less one unused scalar per layer") {
  CHECK(parameters_of("wt103-small-dense") == 47'260'136 - 16);
  CHECK(parameters_of("wt103-small-sigma-moe") == 47'260'248 - 16);
  CHECK(parameters_of("wt103-big-dense") == 262'479'968 - 18);
  CHECK(parameters_of("wt103-big-sigma-moe") == 262'461'284 - 18);
  CHECK(parameters_of("wt103-small-star-sigma-moe") == 237'004'376 - 16);
  CHECK(parameters_of("wt103-small-star-dense") == 237'696'536 - 16);
  CHECK(parameters_of("wt103-small-switch-k1-g512") == 47'181'144 - 16);
  CHECK(parameters_of("enwik8-dense") == 41'286'996 - 12);
  CHECK(parameters_of("enwik8-sigma-moe") == 41'293'080 - 12);
  CHECK(parameters_of("enwik8-dense", {"model.vocabulary=205"}) == 41'234'721 - 12);
  CHECK(parameters_of("wt103-small-pkm", {"feedforward.sub_keys=46"}) == 35'315'544 - 16);
  CHECK(parameters_of("wt103-small-pkm", {"feedforward.sub_keys=62"}) == 47'128'408 - 16);
  CHECK(parameters_of("wt103-small-pkm-values-relu") == 35'315'544 - 16);
  CHECK(parameters_of("wt103-small-pkm-relu") == 47'128'408 - 16);
}

TEST_CASE("paper presets: feedforward arithmetic") {
  const auto exact = [](const char* name) {
    const Config c = load_config(name);
    return flops_percent(c.model, c.feedforward, find_paper_preset(name)->dense_d_ff);
  };
  const auto paper = [](const char* name) { return paper_flops_percent(load_config(name).feedforward); };
  CHECK(exact("wt103-small-sigma-moe") == doctest::Approx(25.33).epsilon(1e-4));
  CHECK(exact("wt103-small-star-sigma-moe") == doctest::Approx(3.50).epsilon(2e-3));
  CHECK(exact("wt103-big-sigma-moe") == doctest::Approx(12.85).epsilon(3e-4));
  CHECK(exact("enwik8-sigma-moe") == doctest::Approx(25.33).epsilon(1e-4));
  CHECK(exact("wt103-small-dense") == doctest::Approx(100));
  CHECK(paper("wt103-small-2ne-g64") == 12.5);
  CHECK(paper("wt103-small-star-k1") == doctest::Approx(0.78125));
  CHECK(paper("wt103-small-dense") == 100.0);
  CHECK(!paper("wt103-small-pkm"));
  // Parameter-matched dense widths are those that the authors chose, up to rounding.
  for (const char* name : {"wt103-small-sigma-moe", "wt103-big-sigma-moe", "enwik8-sigma-moe"}) {
    const Config c = load_config(name);
    CHECK(std::abs(matched_d_ff(c.model, c.feedforward) - find_paper_preset(name)->dense_d_ff) <= 1);
  }
}

TEST_CASE("paper presets: a published result belongs to the row's model alone") {
  CHECK(published_result(load_config("wt103-small-k1"))->value == 12.26);
  CHECK(published_result(load_config("wt103-small-k1", std::vector<std::string>{"model.precision=float32"})));
  CHECK(!published_result(load_config("wt103-small-k1", std::vector<std::string>{"feedforward.k=2"})));
  CHECK(!published_result(load_config("wt103-small-k1", std::vector<std::string>{"model.layers=4"})));
  CHECK(!published_result(load_config("quickstart")));
}
