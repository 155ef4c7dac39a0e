#include "train/paper_presets.h"

#include <algorithm>
#include <array>

#include "core/error.h"

namespace weir {
namespace {

// What the rows of one column of the tables share.
struct Scale {
  const char* name;
  const char* title;
  const char* data;  // the folder that `weir prepare` makes
  std::int64_t vocabulary, d_model, layers, heads, head_size, segment, batch_size;
  double dropout;
  std::int64_t warmup_steps;
  double dense_clip;  // of dense and Top-K; all others clip at 0.25
  std::int64_t d_ff;
  std::int64_t experts;                     // of 128 hidden units
  std::int64_t value_keys, parameter_keys;  // sub-keys of PKM: as many values as d_ff, as many parameters
  double main_weight, weight;               // of the entropy term: in the main result, in the ablations and S-BASE
  double expert_dropout;
  const char* switch_init;
  const char* unit;
};

using Feedforward = FeedforwardConfig (*)(const Scale&);

struct Row {
  const char* variant;
  const char* help;
  Feedforward feedforward;
  const char* table;
  std::array<double, 8> published;  // per scale, in the order below; 0: the paper has no such row
};

// The fp16 autocast of the authors' runs becomes bf16, which has float32's range and so needs no loss scaling.
constexpr Scale wikitext_small = {.name = "wt103-small",
                                  .title = "WikiText-103, 47M parameters",
                                  .data = "data/wikitext-103",
                                  .vocabulary = 8000,
                                  .d_model = 412,
                                  .layers = 16,
                                  .heads = 10,
                                  .head_size = 41,
                                  .segment = 256,
                                  .batch_size = 64,
                                  .dropout = 0.1,
                                  .warmup_steps = 0,
                                  .dense_clip = 0.1,
                                  .d_ff = 2053,
                                  .experts = 16,
                                  .value_keys = 46,
                                  .parameter_keys = 62,
                                  .main_weight = 1e-3,
                                  .weight = 1e-4,
                                  .expert_dropout = 0,
                                  .switch_init = "switch",
                                  .unit = "ppl"};

constexpr Scale wikitext_star = [] {
  Scale s = wikitext_small;
  s.name = "wt103-small-star";
  s.title = "WikiText-103, 237M parameters";
  s.d_ff = 16480;
  s.experts = 128;
  s.value_keys = s.parameter_keys = 0;
  s.weight = 1e-3;
  s.expert_dropout = 0.05;
  return s;
}();

constexpr Scale wikitext_big = {.name = "wt103-big",
                                .title = "WikiText-103, 262M parameters",
                                .data = "data/wikitext-103",
                                .vocabulary = 8000,
                                .d_model = 1024,
                                .layers = 18,
                                .heads = 16,
                                .head_size = 64,
                                .segment = 512,
                                .batch_size = 64,
                                .dropout = 0.2,
                                .warmup_steps = 4000,
                                .dense_clip = 0.25,
                                .d_ff = 4110,
                                .experts = 32,
                                .value_keys = 64,
                                .parameter_keys = 89,
                                .main_weight = 1e-3,
                                .weight = 1e-3,
                                .expert_dropout = 0.1,
                                .switch_init = "switch",
                                .unit = "ppl"};

constexpr Scale enwik8 = {.name = "enwik8",
                          .title = "enwik8, 41M parameters",
                          .data = "data/enwik8",
                          .vocabulary = 256,
                          .d_model = 512,
                          .layers = 12,
                          .heads = 8,
                          .head_size = 64,
                          .segment = 512,
                          .batch_size = 32,
                          .dropout = 0.1,
                          .warmup_steps = 0,
                          .dense_clip = 0.25,
                          .d_ff = 2053,
                          .experts = 16,
                          .value_keys = 46,
                          .parameter_keys = 62,
                          .main_weight = 1e-4,
                          .weight = 1e-4,
                          .expert_dropout = 0.05,
                          .switch_init = "switch",
                          .unit = "bpc"};

// C4 and peS2o take the shapes of WikiText-103, have no PKM rows, and differ in what regularises them.
constexpr Scale web_small(const char* name, const char* title, const char* data) {
  Scale s = wikitext_small;
  s.name = name;
  s.title = title;
  s.data = data;
  s.value_keys = s.parameter_keys = 0;
  s.main_weight = 0;
  return s;
}

constexpr Scale web_big(const char* name, const char* title, const char* data) {
  Scale s = wikitext_big;
  s.name = name;
  s.title = title;
  s.data = data;
  s.value_keys = s.parameter_keys = 0;
  s.switch_init = "standard";
  return s;
}

constexpr Scale scales[] = {
    wikitext_small,
    wikitext_star,
    wikitext_big,
    enwik8,
    web_small("c4-small", "C4, 47M parameters", "data/c4"),
    web_big("c4-big", "C4, 262M parameters", "data/c4"),
    web_small("pes2o-small", "peS2o, 47M parameters", "data/peS2o"),
    web_big("pes2o-big", "peS2o, 262M parameters", "data/peS2o"),
};

FeedforwardConfig dense(const Scale& s) {
  FeedforwardConfig f;
  f.kind = "dense";
  f.d_ff = s.d_ff;
  f.regulariser = "none";
  return f;
}

template <std::int64_t k>
FeedforwardConfig top_k(const Scale& s) {
  FeedforwardConfig f = dense(s);
  f.kind = "top-k";
  f.k = k;
  return f;
}

// The authors' runs ask for 128 values per head, more than there are sub-keys, and so use all values.
FeedforwardConfig pkm(std::int64_t sub_keys, const char* activation, const char* init) {
  FeedforwardConfig f;
  f.kind = "pkm";
  f.k = 128;
  f.sub_keys = sub_keys;
  f.activation = activation;
  f.init = init;
  f.regulariser = "none";
  return f;
}

// K experts of G hidden units; as many experts as hold the scale's hidden units together.
template <std::int64_t k, std::int64_t g>
FeedforwardConfig experts(const Scale& s) {
  FeedforwardConfig f;
  f.kind = "moe";
  f.experts = s.experts * 128 / g;
  f.expert_size = g;
  f.k = k;
  f.expert_dropout = s.expert_dropout;
  f.regulariser_weight = s.weight;
  return f;
}

FeedforwardConfig sigma_moe(const Scale& s) {
  FeedforwardConfig f = experts<4, 128>(s);
  f.regulariser_weight = s.main_weight;
  if (s.main_weight == 0) f.regulariser = "none";
  return f;
}

FeedforwardConfig standard_dropout(const Scale& s) {
  FeedforwardConfig f = experts<4, 128>(s);
  f.expert_dropout = 0;
  f.dropout_experts = s.dropout;
  return f;
}

// With the authors' regulariser, which sees the selected scores alone.
FeedforwardConfig softmax_after_top_k(const Scale& s) {
  FeedforwardConfig f = experts<4, 128>(s);
  f.gate = "softmax-after-topk";
  f.regulariser = "entropy-selected";
  return f;
}

FeedforwardConfig softmax_before_top_k(const Scale& s) {
  FeedforwardConfig f = experts<4, 128>(s);
  f.gate = "softmax";
  return f;
}

FeedforwardConfig standard_init(const Scale& s) {
  FeedforwardConfig f = experts<4, 128>(s);
  f.init = "standard";
  return f;
}

FeedforwardConfig no_regularisation(const Scale& s) {
  FeedforwardConfig f = experts<4, 128>(s);
  f.regulariser = "none";
  f.regulariser_weight = 0;
  f.expert_dropout = 0;
  return f;
}

template <std::int64_t k, std::int64_t g>
FeedforwardConfig switch_moe(const Scale& s) {
  FeedforwardConfig f = experts<k, g>(s);
  f.gate = "softmax";
  f.regulariser = "switch";
  f.regulariser_weight = 1e-2;
  f.expert_dropout = 0;
  f.init = s.switch_init;
  return f;
}

template <std::int64_t k, std::int64_t g>
FeedforwardConfig switch_dropout(const Scale& s) {
  FeedforwardConfig f = switch_moe<k, g>(s);
  f.dropout_experts = s.dropout;
  return f;
}

template <std::int64_t k, std::int64_t g>
FeedforwardConfig s_base(const Scale& s) {
  FeedforwardConfig f = experts<k, g>(s);
  f.selection = "sinkhorn";
  return f;
}

// Published values: the paper's Tables 1, 2, 3, 5 and 10 and its Section 6.3.
const Row rows[] = {
    {"dense", "dense", dense, "Tab. 3", {11.81, 10.03, 9.46, 1.08, 23.76, 17.79, 14.34, 10.91}},
    {"top-k-64", "Top-K, 64 hidden units kept", top_k<64>, "Tab. 1", {11.86}},
    {"top-k-128", "Top-K, 128 hidden units kept", top_k<128>, "Tab. 1", {11.74, 0, 9.26, 1.07}},
    {"top-k-256", "Top-K, 256 hidden units kept", top_k<256>, "Tab. 1", {11.74, 0, 9.34, 1.08}},
    {"top-k-512", "Top-K, 512 hidden units kept", top_k<512>, "Tab. 1", {11.68, 0, 9.36, 1.08}},
    {"pkm-values-softmax",
     "PKM with softmax, about as many values as dense hidden units",
     [](const Scale& s) { return pkm(s.value_keys, "softmax", "standard"); },
     "Tab. 2",
     {14.11, 0, 11.29, 1.20}},
    {"pkm-values-relu",
     "PKM with ReLU, about as many values as dense hidden units",
     [](const Scale& s) { return pkm(s.value_keys, "relu", "standard"); },
     "Tab. 2",
     {13.32, 0, 10.16, 1.12}},
    {"pkm-softmax",
     "PKM with softmax, about as many parameters as dense",
     [](const Scale& s) { return pkm(s.parameter_keys, "softmax", "standard"); },
     "Tab. 2",
     {13.96, 0, 11.10, 1.16}},
    {"pkm-relu",
     "PKM with ReLU, about as many parameters as dense",
     [](const Scale& s) { return pkm(s.parameter_keys, "relu", "standard"); },
     "Tab. 2",
     {12.77, 0, 9.98, 1.11}},
    {"pkm-relu-init",
     "PKM with ReLU, as many parameters, values initialised as in a dense layer",
     [](const Scale& s) { return pkm(s.parameter_keys, "relu", "dense-equivalent"); },
     "Tab. 2",
     {12.75, 0, 9.96, 1.11}},
    {"sigma-moe",
     "sigma-MoE, K = 4, G = 128",
     sigma_moe,
     "Tab. 3",
     {11.71, 10.37, 9.44, 1.08, 23.25, 17.46, 14.12, 10.91}},
    {"sigma-moe-ablation",
     "sigma-MoE with the regulariser's weight of the ablations, which start from it",
     experts<4, 128>,
     "Tab. 10",
     {11.59}},
    {"standard-dropout",
     "sigma-MoE, dropout of hidden units instead of experts",
     standard_dropout,
     "Tab. 10",
     {12.01, 10.27, 9.53, 1.08}},
    {"softmax-after-topk",
     "sigma-MoE, softmax over the selected scores",
     softmax_after_top_k,
     "Tab. 10",
     {11.89, 11.27, 9.58, 1.09}},
    {"softmax-before-topk",
     "sigma-MoE, softmax over all scores",
     softmax_before_top_k,
     "Tab. 10",
     {12.05, 10.54, 9.62, 1.09}},
    {"standard-init",
     "sigma-MoE, second matrix initialised by the expert's width",
     standard_init,
     "Tab. 10",
     {11.80, 10.59, 9.67, 1.08}},
    {"no-reg",
     "sigma-MoE without regulariser and expert dropout",
     no_regularisation,
     "Tab. 10",
     {11.83, 10.41, 9.51, 1.08}},
    {"k8-g64", "sigma-MoE, K = 8, G = 64", experts<8, 64>, "Tab. 10", {11.63, 10.30, 9.58, 1.08}},
    {"k2-g256", "sigma-MoE, K = 2, G = 256", experts<2, 256>, "Tab. 10", {11.84, 10.44, 9.56, 1.09}},
    {"k1-g512", "sigma-MoE, K = 1, G = 512", experts<1, 512>, "Tab. 10", {11.90, 10.83, 9.58, 1.09}},
    {"2ne-g64", "sigma-MoE, K = 4, G = 64, twice as many experts", experts<4, 64>, "Tab. 10", {11.81, 10.53, 0, 1.08}},
    {"k1", "sigma-MoE, K = 1, G = 128", experts<1, 128>, "Tab. 10", {12.26, 11.30, 0, 1.09}},
    {"k2", "sigma-MoE, K = 2, G = 128", experts<2, 128>, "Tab. 10", {11.90, 10.66, 0, 1.09}},
    {"k8", "sigma-MoE, K = 8, G = 128", experts<8, 128>, "Tab. 10", {11.58, 10.22, 0, 1.08}},
    {"switch-k1-g512-dropout",
     "Switch, K = 1, G = 512, dropout in the experts",
     switch_dropout<1, 512>,
     "Tab. 10",
     {12.27, 11.24, 9.68, 1.08, 24.47, 18.29, 14.74, 11.56}},
    {"switch-k1-g512", "Switch, K = 1, G = 512", switch_moe<1, 512>, "Tab. 10", {11.88, 11.10, 9.77, 1.10}},
    {"switch-k4-g128", "Switch, K = 4, G = 128", switch_moe<4, 128>, "Tab. 10", {12.05, 11.37, 0, 1.10}},
    {"switch-k1-g128-dropout",
     "Switch, K = 1, G = 128, dropout in the experts",
     switch_dropout<1, 128>,
     "Tab. 10",
     {12.61, 11.89, 0, 1.11}},
    {"switch-k1-g128", "Switch, K = 1, G = 128", switch_moe<1, 128>, "Tab. 10", {12.35, 11.78, 0, 1.10}},
    {"s-base",
     "S-BASE, K = 4, G = 128",
     s_base<4, 128>,
     "Tab. 10",
     {13.01, 10.96, 10.50, 1.17, 35.48, 18.53, 16.61, 11.72}},
    {"s-base-k1-g512", "S-BASE, K = 1, G = 512", s_base<1, 512>, "Tab. 10", {12.32, 11.31, 9.77, 1.32}},
};

bool is_column_of_table_5(const Scale& scale) { return &scale - scales >= 4; }

std::string table_of(const Row& row, const Scale& scale) {
  if (is_column_of_table_5(scale)) return "Tab. 5";
  if (scale.name != std::string("wt103-small-star") || row.table != std::string("Tab. 3")) return row.table;
  return row.variant == std::string("dense") ? "Sec. 6.3" : "Tab. 10";
}

Config config_of(const Scale& s, const Row& row) {
  Config c;
  c.model.vocabulary = s.vocabulary;
  c.model.d_model = s.d_model;
  c.model.layers = s.layers;
  c.model.heads = s.heads;
  c.model.head_size = s.head_size;
  c.model.dropout = s.dropout;
  c.model.segment = s.segment;
  c.model.precision = "bf16";
  c.feedforward = row.feedforward(s);
  c.data.train = s.data;
  c.train.batch_size = s.batch_size;
  c.train.steps = 100'000;
  c.train.log_every = 100;
  c.optimizer.lr = 2.5e-4;
  c.optimizer.warmup_steps = s.warmup_steps;
  c.optimizer.decay_steps = 100'000;  // from the end of the warm-up, so that a warm-up leaves the rate a little above 0
  c.optimizer.clip = c.feedforward.kind == "dense" || c.feedforward.kind == "top-k" ? s.dense_clip : 0.25;
  c.eval.every = 2000;
  c.eval.batch_size = s.batch_size;
  c.checkpoint.every = 10'000;
  c.sample.every = 10'000;
  return c;
}

struct Cell {
  const Scale* scale;
  const Row* row;
};

// The cells of the tables that hold a result, in the order of paper_presets().
const std::vector<Cell>& cells() {
  static const std::vector<Cell> all = [] {
    std::vector<Cell> found;
    for (std::size_t s = 0; s < std::size(scales); ++s)
      for (const Row& row : rows)
        if (row.published[s] > 0) found.push_back({&scales[s], &row});
    return found;
  }();
  return all;
}

}  // namespace

const std::vector<PaperPreset>& paper_presets() {
  static const std::vector<PaperPreset> all = [] {
    std::vector<PaperPreset> presets;
    for (const auto& [scale, row] : cells())
      presets.push_back({.name = std::string(scale->name) + "-" + row->variant,
                         .scale = scale->title,
                         .help = row->help,
                         .dense_d_ff = scale->d_ff,
                         .published = {.value = row->published[static_cast<std::size_t>(scale - scales)],
                                       .unit = scale->unit,
                                       .table = table_of(*row, *scale)}});
    return presets;
  }();
  return all;
}

const PaperPreset* find_paper_preset(const std::string& name) {
  const std::string full = name.ends_with("-pkm") ? name + "-relu" : name;
  for (const PaperPreset& preset : paper_presets())
    if (preset.name == full) return &preset;
  return nullptr;
}

Config paper_preset_config(const PaperPreset& preset) {
  const auto [scale, row] = cells().at(static_cast<std::size_t>(&preset - paper_presets().data()));
  Config config = config_of(*scale, *row);
  config.name = preset.name;
  return config;
}

std::optional<PublishedResult> published_result(const Config& config) {
  const PaperPreset* const preset = find_paper_preset(config.name);
  if (preset == nullptr) return {};
  Config row = paper_preset_config(*preset);
  resolve(row);
  row.model.precision = config.model.precision;
  row.model.checkpoint_activations = config.model.checkpoint_activations;
  if (row.model != config.model || row.feedforward != config.feedforward) return {};
  return preset->published;
}

}  // namespace weir
