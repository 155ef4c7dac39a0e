// Compares Weir with what the authors' published code computed: `build/tests/reference [--device D] DIRECTORY`.
//
// Every *.safetensors in the directory is one case; its metadata says which kind. Each case runs in float64 and in
// float32 and prints a line with its largest relative error, max |ours - theirs| / max |theirs| over the tensors.
// Fails if one disagrees or a kind is unknown. tests/reference/README.md describes the files.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "autograd/autograd.h"
#include "core/error.h"
#include "core/safetensors.h"
#include "models/feedforward.h"
#include "models/relative_attention.h"
#include "models/transformer_xl.h"
#include "ops/add.h"
#include "ops/clip_factor.h"
#include "ops/concatenate.h"
#include "ops/cross_entropy.h"
#include "ops/multiply.h"
#include "ops/sum.h"
#include "train/schedule.h"
#include "train/training_step.h"

using namespace weir;

namespace {

// The largest relative error so far, and whether all were within their tolerance.
class Comparison {
 public:
  void add(const std::string& name, const Tensor& ours, const Tensor& theirs, double tolerance) {
    if (!ours.defined() || ours.numel() != theirs.numel()) {
      fail(fmt::format("{}: our result has another size", name));
      return;
    }
    const std::vector<double> a = ours.values(), b = theirs.values();
    double difference = 0, scale = 1e-30;
    for (std::size_t i = 0; i < a.size(); ++i) {
      difference = std::isfinite(a[i]) ? std::max(difference, std::abs(a[i] - b[i])) : INFINITY;
      scale = std::max(scale, std::abs(b[i]));
    }
    const double error = difference / scale;
    worst_ = std::max(worst_, error);
    if (!(error <= tolerance)) fail(fmt::format("{}: relative error {:.2g}, allowed {:.0g}", name, error, tolerance));
  }
  void add(const std::string& name, double ours, double theirs, double tolerance) {
    add(name, Tensor::from_values({}, std::vector{ours}), Tensor::from_values({}, std::vector{theirs}), tolerance);
  }
  void fail(const std::string& reason) {
    if (reason_.empty()) reason_ = reason;
  }
  double worst() const { return worst_; }
  const std::string& reason() const { return reason_; }

 private:
  double worst_ = 0;
  std::string reason_;
};

class Case {
 public:
  Case(const std::string& path, DType dtype, Device device) : file_(path), dtype_(dtype), device_(device) {}

  std::string text(const std::string& key) const {
    const auto place = file_.metadata().find(key);
    if (place == file_.metadata().end()) throw ArgumentError(fmt::format("the metadata has no '{}'", key));
    return place->second;
  }
  std::string text(const std::string& key, const std::string& otherwise) const {
    return file_.metadata().contains(key) ? text(key) : otherwise;
  }
  double number(const std::string& key) const {
    const std::string value = text(key);
    double result = 0;
    if (std::from_chars(value.data(), value.data() + value.size(), result).ec != std::errc())
      throw ArgumentError(fmt::format("metadata '{}' is not a number", key));
    return result;
  }
  std::int64_t integer(const std::string& key) const { return static_cast<std::int64_t>(number(key)); }
  bool has(const std::string& name) const { return file_.has(name); }
  const SafetensorsFile& file() const { return file_; }

  Tensor exact(const std::string& name) const { return file_.load(name); }  // on the CPU
  Tensor load(const std::string& name) const { return to_device(converted(file_.load(name), dtype_), device_); }
  Tensor leaf(const std::string& name) const { return require_gradient(load(name)); }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  bool is_double() const { return dtype_ == DType::float64; }

 private:
  SafetensorsFile file_;
  DType dtype_;
  Device device_;
};

// The gate of a case in this project's words.
std::string gate_name(const std::string& gate, bool after_topk) {
  if (after_topk && gate == "softmax") return "softmax-after-topk";
  return gate;
}

void check_choice(const char* what, const std::string& value, std::initializer_list<const char*> known) {
  for (const char* k : known)
    if (value == k) return;
  throw ArgumentError(fmt::format("{} '{}' is unknown here", what, value));
}

FeedforwardConfig moe_config(const Case& c, const std::string& prefix) {
  FeedforwardConfig config;
  config.kind = "moe";
  config.experts = c.integer(prefix + "n_experts");
  config.expert_size = c.integer(prefix + "expert_size");
  config.k = c.integer(prefix + "k");
  config.gate = gate_name(c.text(prefix + "gate"), c.text(prefix + "gate_after_topk", "false") == "true");
  if (config.gate == "s-base") {
    config.selection = "sinkhorn", config.gate = "sigmoid";
    check_choice("sinkhorn_iterations", c.text(prefix + "sinkhorn_iterations", "3"), {"3"});
  }
  config.regulariser = c.text(prefix + "reg");
  config.regulariser_weight = c.number(prefix + "reg_coefficient");
  check_choice("gate", config.gate, {"sigmoid", "softmax", "softmax-after-topk"});
  check_choice("regulariser", config.regulariser, {"none", "entropy", "switch"});
  // With this gate the authors' code takes the entropy of the selected scores alone.
  if (config.gate == "softmax-after-topk" && config.regulariser == "entropy") config.regulariser = "entropy-selected";
  return config;
}

// Parameters called `name.x` take the tensor `x` of the file, below `prefix`.
void load_parameters(const Case& c, const ParameterSet& parameters, const std::string& strip,
                     const std::string& prefix) {
  for (const Parameter& p : parameters.parameters()) c.file().load_into(prefix + p.name.substr(strip.size()), p.value);
}

void check_moe(const Case& c, Comparison& comparison) {
  const double tolerance = c.is_double() ? 1e-9 : 1e-4;
  ModelConfig model;
  model.d_model = c.file().shape("x")[-1];
  ParameterSet parameters;
  const auto feedforward = make_feedforward(parameters, "ff", 0, model, moe_config(c, ""));
  parameters.allocate(c.dtype(), 1, c.device());
  load_parameters(c, parameters, "ff.", "");
  const Tensor x = c.leaf("x");
  const FeedforwardOutput out = (*feedforward)(x, {.training = c.text("training") == "true"});
  const Tensor loss = sum(out.y * c.load("dy"));
  backward(out.auxiliary_loss.defined() ? loss + out.auxiliary_loss : loss);
  comparison.add("y", out.y, c.exact("y"), tolerance);
  const double reg = out.auxiliary_loss.defined() ? out.auxiliary_loss.item() : 0;
  comparison.add("reg", reg, c.exact("reg").values()[0], tolerance);
  comparison.add("dx", gradient(x), c.exact("dx"), tolerance);
  for (const Parameter& p : parameters.parameters())
    comparison.add("d_" + p.name.substr(3), gradient(p.value), c.exact("d_" + p.name.substr(3)), tolerance);
}

FeedforwardConfig pkm_config(const Case& c, const std::string& prefix) {
  FeedforwardConfig config;
  config.kind = "pkm";
  config.sub_keys = c.integer(prefix + "sub_keys");
  config.key_heads = c.integer(prefix + "heads");
  config.k = c.integer(prefix + "k");
  config.activation = c.text(prefix + "activation", "relu");
  check_choice("activation", config.activation, {"relu", "softmax"});
  return config;
}

void check_pkm(const Case& c, Comparison& comparison) {
  const double tolerance = c.is_double() ? 1e-9 : 1e-4;
  ModelConfig model;
  model.d_model = c.file().shape("x")[-1];
  ParameterSet parameters;
  const auto feedforward = make_feedforward(parameters, "ff", 0, model, pkm_config(c, ""));
  parameters.allocate(c.dtype(), 1, c.device());
  load_parameters(c, parameters, "ff.", "");
  const Tensor x = c.leaf("x");
  const Tensor y = (*feedforward)(x, {.training = true}).y;
  backward(sum(y * c.load("dy")));
  comparison.add("y", y, c.exact("y"), tolerance);
  comparison.add("dx", gradient(x), c.exact("dx"), tolerance);
  for (const Parameter& p : parameters.parameters())
    comparison.add("d_" + p.name.substr(3), gradient(p.value), c.exact("d_" + p.name.substr(3)), tolerance);
}

void check_attention(const Case& c, Comparison& comparison) {
  const double tolerance = c.is_double() ? 1e-9 : 1e-4;
  ModelConfig model;
  model.d_model = c.file().shape("x")[-1];
  model.heads = c.integer("heads");
  model.head_size = c.integer("head_size");
  ParameterSet parameters;
  const RelativeAttention attention(parameters, "attn", model);
  parameters.allocate(c.dtype(), 1, c.device());
  load_parameters(c, parameters, "attn.", "");
  const Tensor x = c.leaf("x");
  std::vector<Tensor> seen{x};
  if (c.has("memory")) seen.insert(seen.begin(), c.leaf("memory"));
  const Tensor all = concatenate(seen, 1);
  const Tensor y = attention(all, all, x.size(1), {}).y;
  backward(sum(y * c.load("dy")));
  comparison.add("y", y, c.exact("y"), tolerance);
  comparison.add("dx", gradient(x), c.exact("dx"), tolerance);
  if (c.has("memory")) comparison.add("d_memory", gradient(seen[0]), c.exact("d_memory"), tolerance);
  for (const Parameter& p : parameters.parameters())
    comparison.add("d_" + p.name.substr(5), gradient(p.value), c.exact("d_" + p.name.substr(5)), tolerance);
}

Config lm_config(const Case& c) {
  Config config;
  config.model = {.vocabulary = c.integer("vocabulary"),
                  .d_model = c.integer("d_model"),
                  .layers = c.integer("layers"),
                  .heads = c.integer("heads"),
                  .head_size = c.integer("head_size"),
                  .segment = c.integer("segment"),
                  .memory = c.integer("memory")};
  const std::string kind = c.text("feedforward");
  check_choice("feedforward", kind, {"dense", "topk", "pkm", "moe"});
  if (kind == "moe")
    config.feedforward = moe_config(c, "ff_");
  else if (kind == "pkm")
    config.feedforward = pkm_config(c, "ff_");
  else if (kind == "topk")
    config.feedforward = {.kind = "top-k", .d_ff = c.integer("d_ff"), .k = c.integer("ff_k")};
  else
    config.feedforward = {.kind = "dense", .d_ff = c.integer("d_ff")};
  config.train = {.batch_size = c.integer("batch"), .steps = c.integer("steps")};
  config.optimizer.lr = c.number("lr");
  config.optimizer.clip = c.number("clip");
  return config;
}

// Segment number `index` of data [segments, T + 1, B].
Batch segment_of(const Tensor& data, std::int64_t index) {
  const Tensor segment = reshaped(slice_view(data, 0, index, index + 1), {data.size(1), data.size(2)});
  const Tensor streams = transpose_view(segment, 0, 1);  // [B, T + 1]
  return {clone(slice_view(streams, 1, 0, data.size(1) - 1)), clone(slice_view(streams, 1, 1, data.size(1)))};
}

std::vector<double> evaluation_losses(const TransformerXl& model, const Tensor& data, std::int64_t memory_length) {
  const NoGradient guard;
  Memory memory;
  std::vector<double> losses;
  for (std::int64_t i = 0; i < data.size(0); ++i) {
    const Batch batch = segment_of(data, i);
    LanguageModelOutput out = model(batch.inputs, memory, memory_length, {});
    losses.push_back(cross_entropy(out.logits, batch.targets).item());
    memory = std::move(out.memory);
  }
  return losses;
}

// Logits and clipped gradients of the second step: its weights differ from the initial ones and its memory is not
// empty.
void check_second_step(const Case& c, const TransformerXl& model, const Tensor& logits, double norm, double clip,
                       Comparison& comparison) {
  const double tolerance = c.is_double() ? 1e-7 : 1e-3;
  const double factor = clip_factor(Tensor::scalar(norm, DType::float64), clip).item();
  comparison.add("step1.logits", permute_view(logits, std::vector{1, 0, 2}), c.exact("step1.logits"), tolerance);
  for (const Parameter& p : model.parameters().parameters()) {
    std::vector<double> clipped = gradient(p.value).values();
    for (double& g : clipped) g *= factor;
    const std::string name = "step1.clipped_grad." + p.name;
    comparison.add(name, Tensor::from_values(p.shape, clipped), c.exact(name), tolerance);
  }
}

void check_lm(const Case& c, Comparison& comparison) {
  const double tolerance = c.is_double() ? 1e-7 : 1e-3;
  const Config config = lm_config(c);
  TransformerXl model(config.model, config.feedforward);
  model.initialise(1, c.dtype(), c.device());
  load_parameters(c, model.parameters(), "", "init.");
  TrainingStep update(config, model);
  std::vector<Memory> memories(1);
  const Tensor data = to_device(c.exact("data"), c.device());
  std::vector<double> losses, regs, norms;
  for (std::int64_t step = 0; step < data.size(0); ++step) {
    const Batch batch = segment_of(data, step);
    Tensor logits;
    if (step == 1) {
      const NoGradient guard;
      logits = model(batch.inputs, memories[0], config.model.memory, {}).logits;
    }
    const double progress = static_cast<double>(step) / static_cast<double>(data.size(0));
    const auto result = update([&](std::int64_t) { return batch; }, memories, step,
                               learning_rate(config.optimizer, step, progress), false);
    losses.push_back(result.loss);
    regs.push_back(result.auxiliary_loss);
    norms.push_back(result.gradient_norm);
    if (step == 1) check_second_step(c, model, logits, result.gradient_norm, config.optimizer.clip, comparison);
  }
  const auto series = [&](const std::string& name, const std::vector<double>& ours) {
    comparison.add(name, Tensor::from_values({static_cast<std::int64_t>(ours.size())}, ours), c.exact(name), tolerance);
  };
  series("losses", losses);
  series("regs", regs);
  series("grad_norms", norms);
  series("eval_losses", evaluation_losses(model, to_device(c.exact("eval_data"), c.device()), config.model.segment));
  series("eval_long_losses",
         evaluation_losses(model, to_device(c.exact("eval_long_data"), c.device()), 4 * config.model.segment));
  if (!c.is_double()) return;  // a selection that flips at rounding changes the final weights
  for (const Parameter& p : model.parameters().parameters())
    comparison.add("final." + p.name, p.value, c.exact("final." + p.name), tolerance);
}

// Forward and backward pass, the pass after it with what it left as memory, and the steps of AdamW.
void check_gpt(const Case& c, Comparison& comparison) {
  const double tolerance = c.is_double() ? 1e-9 : 1e-4, later = c.is_double() ? 1e-9 : 1e-3;
  std::vector<std::string> settings;
  std::istringstream lines(c.text("settings"));
  for (std::string line; std::getline(lines, line);) settings.push_back(line);
  const Config config = parse_config("", "case.toml", settings);
  const auto model = make_language_model(config.model, config.feedforward);
  model->initialise(1, c.dtype(), c.device());
  load_parameters(c, model->parameters(), "", "init.");
  const Tensor data = to_device(c.exact("data"), c.device());  // [2, B, T + 1]
  const auto batch_of = [&](std::int64_t index) {
    const Tensor tokens = reshaped(slice_view(data, 0, index, index + 1), {data.size(1), data.size(2)});
    return Batch{clone(slice_view(tokens, 1, 0, data.size(2) - 1)), clone(slice_view(tokens, 1, 1, data.size(2)))};
  };
  const Batch first = batch_of(0), second = batch_of(1);
  model->parameters().zero_gradients();
  const LanguageModelOutput out = (*model)(first.inputs, {}, config.model.segment, {.training = true});
  const Tensor loss = cross_entropy(out.logits, first.targets);
  const Tensor total = out.auxiliary_loss.defined() ? loss + out.auxiliary_loss : loss;
  comparison.add("logits", out.logits, c.exact("logits"), tolerance);
  comparison.add("loss", loss, c.exact("loss"), tolerance);
  comparison.add("total", total, c.exact("total"), tolerance);
  backward(total);
  const Tensor gradients = model->parameters().gradients();
  for (const Parameter& p : model->parameters().parameters())
    comparison.add("grad." + p.name, model->parameters().view_in(gradients, p), c.exact("grad." + p.name), tolerance);
  {
    const NoGradient guard;
    comparison.add("logits_after", (*model)(second.inputs, out.memory, 0, {}).logits, c.exact("logits_after"), later);
  }
  TrainingStep update(config, *model);
  std::vector<Memory> memories;
  std::vector<double> losses;
  for (std::int64_t step = 0; step < config.train.steps; ++step) {
    const auto read = [&](std::int64_t) { return step % 2 == 0 ? first : second; };
    losses.push_back(update(read, memories, step, config.optimizer.lr, false).loss);
  }
  comparison.add("losses", Tensor::from_values({config.train.steps}, losses), c.exact("losses"), later);
  if (!c.is_double()) return;
  for (const Parameter& p : model->parameters().parameters())
    comparison.add("final." + p.name, p.value, c.exact("final." + p.name), later);
}

Comparison check(const std::string& path, DType dtype, Device device) {
  Comparison comparison;
  try {
    const Case c(path, dtype, device);
    const std::string kind = c.text("kind");
    if (kind == "moe")
      check_moe(c, comparison);
    else if (kind == "pkm")
      check_pkm(c, comparison);
    else if (kind == "attention")
      check_attention(c, comparison);
    else if (kind == "lm")
      check_lm(c, comparison);
    else if (kind == "gpt")
      check_gpt(c, comparison);
    else
      comparison.fail(fmt::format("kind '{}' is unknown", kind));
  } catch (const Error& error) {
    comparison.fail(error.what());
  }
  return comparison;
}

std::vector<std::string> case_files(const std::string& directory) {
  std::vector<std::string> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error))
    if (entry.path().extension() == ".safetensors") paths.push_back(entry.path().string());
  if (error) throw RunError(ExitCode::io, fmt::format("{}: {}", directory, error.message()));
  std::sort(paths.begin(), paths.end());
  return paths;
}

int run(std::span<char*> arguments) {
  std::string directory;
  Device device;
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    if (std::strcmp(arguments[i], "--device") == 0 && i + 1 < arguments.size())
      device = device_from_name(arguments[++i]);
    else if (directory.empty() && arguments[i][0] != '-')
      directory = arguments[i];
    else
      throw ArgumentError(fmt::format("'{}' is not understood; usage: reference [--device D] DIRECTORY", arguments[i]));
  }
  if (directory.empty()) throw ArgumentError("usage: reference [--device D] DIRECTORY");
  int passed = 0, failed = 0;
  for (const std::string& path : case_files(directory)) {
    const Comparison f64 = check(path, DType::float64, device), f32 = check(path, DType::float32, device);
    const std::string reason = !f64.reason().empty()  ? "float64: " + f64.reason()
                               : f32.reason().empty() ? ""
                                                      : "float32: " + f32.reason();
    fmt::print("{:<4} {:<44} float64 {:.1e}  float32 {:.1e}  {}\n", reason.empty() ? "ok" : "FAIL",
               std::filesystem::path(path).filename().string(), f64.worst(), f32.worst(), reason);
    ++(reason.empty() ? passed : failed);
  }
  fmt::print("{} passed, {} failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv, static_cast<std::size_t>(argc)});
  } catch (const Error& error) {
    fmt::print(stderr, "reference: {}\n", error.what());
    return static_cast<int>(error.code());
  }
}
