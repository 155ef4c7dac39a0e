// Ruins training runs and looks at what becomes of them:
//
//   build/tests/divergence [--trials N] [--first N]
//
// Each trial trains a small model and, once, before a random step, writes NaN, infinity or 1e30 into one element of a
// weight (of an expert, or of any parameter), of a moment, or for one step only of the output's bias (so the loss) or
// of a norm's gain (so the activations); or multiplies the learning rate by 1000 for 20 steps. It must be noticed
// within two steps, and the run must come to the loss of one that was left alone, within 0.02 bits per byte, with a
// good checkpoint. Prints a line per trial and the counts; the exit code is 0 where none failed. Trial N is the same in
// every run.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <optional>
#include <string>

#include "core/error.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "models/transformer_xl.h"
#include "train/trainer.h"
#include "unit/temporary_directory.h"

using namespace weir;

namespace {

constexpr std::int64_t kSteps = 700, kHot = 20;
constexpr double kTolerance = 0.02;  // bits per byte

// Words of a small vocabulary, in no order.
void write_text(const std::string& path) {
  constexpr std::array words = {"weir",   "water", "stone", "the", "over",  "falls",
                                "expert", "of",    "token", "a",   "reads", "river"};
  std::ofstream file(path, std::ios::binary);
  const RandomStream random{9, 0, 0};
  for (std::uint64_t i = 0; i < 40000; ++i)
    file << words[random.bits(i) % words.size()] << (random.bits(i + 100000) % 11 == 0 ? '\n' : ' ');
}

Config small_config(const std::string& text) {
  Config config;
  config.model = {.vocabulary = 256, .d_model = 32, .layers = 2, .heads = 2, .head_size = 16, .segment = 32};
  config.model.dropout = 0.05;
  config.feedforward = {.kind = "moe", .experts = 4, .expert_size = 16, .k = 2, .expert_dropout = 0.05};
  config.data.train = text;
  config.train = {.batch_size = 4, .steps = kSteps};
  config.train.log_every = kSteps;
  config.optimizer = {.lr = 3e-3, .warmup_steps = 20, .min_lr = 3e-4};
  config.eval = {.every = 0, .batch_size = 8};
  config.sample.every = 0;
  config.checkpoint.every = 25;
  resolve(config);
  validate(config);
  return config;
}

struct Injection {
  std::string what, parameter;
  std::int64_t step = 0, element = 0;
  double value = 0;
};

// A number below `end`, the i-th of the trial.
std::int64_t below(std::int64_t trial, std::uint64_t i, std::int64_t end) {
  const RandomStream random{1, static_cast<std::uint32_t>(trial), 0};
  return static_cast<std::int64_t>(random.bits(i)) % end;
}

Injection injection_of(std::int64_t trial, const ParameterSet& parameters) {
  constexpr std::array kinds = {"loss", "activation", "expert", "weight", "first moment", "second moment", "rate"};
  constexpr std::array values = {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
                                 1e30};
  Injection made{.what = kinds[static_cast<std::size_t>(trial) % kinds.size()],
                 .parameter = {},
                 .step = 0,
                 .element = 0,
                 .value = values[static_cast<std::size_t>(trial) / kinds.size() % values.size()]};
  made.step = below(trial, 0, kSteps - (made.what == "rate" ? kHot : 2));
  const auto names = [&](const std::string& part) {
    std::vector<std::string> found;
    for (const Parameter& p : parameters.parameters())
      if (p.name.find(part) != std::string::npos) found.push_back(p.name);
    return found;
  };
  const std::vector<std::string> among = names(made.what == "loss"         ? "output.bias"
                                               : made.what == "activation" ? "norm"
                                               : made.what == "expert"     ? ".ff.w"
                                                                           : "");
  made.parameter = among[static_cast<std::size_t>(below(trial, 1, static_cast<std::int64_t>(among.size())))];
  made.element = below(trial, 2, parameters.at(made.parameter).shape.product());
  return made;
}

// One element of a tensor that may have padded rows.
Tensor element_of(const Tensor& tensor, std::int64_t i) {
  std::int64_t offset = 0;
  for (int axis = tensor.rank() - 1; axis >= 0; --axis) {
    offset += i % tensor.size(axis) * tensor.strides()[axis];
    i /= tensor.size(axis);
  }
  return tensor.strided({}, {}, offset);
}

// Called before every step of a run.
class Injector {
 public:
  explicit Injector(const Injection& injection) : injection_(injection) {}

  void operator()(const StepInputs& inputs) {
    const std::int64_t since = injected_at_ ? calls_ - *injected_at_ : -1;
    if (injected_at_ && !noticed_after_ && (inputs.state.bad_in_a_row > 0 || inputs.state.rollbacks > 0))
      noticed_after_ = since;
    if (!injected_at_ && inputs.state.step == injection_.step) {
      injected_at_ = calls_;
      inject(inputs);
    } else if (since == 1 && (injection_.what == "loss" || injection_.what == "activation") &&
               inputs.state.rollbacks == 0) {
      fill(place(inputs), before_);
    } else if (since > 0 && since < kHot && injection_.what == "rate") {
      inputs.learning_rate *= 1000;
    }
    ++calls_;
  }

  // Steps until it showed; none where the run ended before that.
  std::optional<std::int64_t> noticed_after() const { return noticed_after_; }
  std::int64_t steps_afterwards() const { return injected_at_ ? calls_ - *injected_at_ : -1; }

 private:
  Tensor place(const StepInputs& inputs) const {
    const Parameter& parameter = inputs.parameters.at(injection_.parameter);
    if (!injection_.what.ends_with("moment")) return element_of(parameter.value.detach(), injection_.element);
    const Optimizer& optimizer = inputs.optimizer;
    return element_of(inputs.parameters.view_in(injection_.what == "first moment" ? optimizer.state("m").values()
                                                                                  : optimizer.state("v").values(),
                                                parameter),
                      injection_.element);
  }

  void inject(const StepInputs& inputs) {
    if (injection_.what == "rate") {
      inputs.learning_rate *= 1000;
      return;
    }
    before_ = place(inputs).item();
    fill(place(inputs), injection_.value);
  }

  const Injection injection_;
  std::int64_t calls_ = 0;
  double before_ = 0;
  std::optional<std::int64_t> injected_at_, noticed_after_;
};

// Empty where the trial went as it should.
std::string fault_of(const TrainingResult& result, const Injector& injector, double undisturbed) {
  if (!injector.noticed_after() && injector.steps_afterwards() > 2) return "not noticed";
  if (!injector.noticed_after() && result.rollbacks == 0) return "not noticed before the end";
  if (injector.noticed_after().value_or(0) > 2)
    return fmt::format("noticed after {} steps only", *injector.noticed_after());
  if (result.steps != kSteps) return fmt::format("ended at step {}", result.steps);
  verify_checkpoint(result.checkpoint);
  const double bits = result.validation.bits_per_byte().value();
  if (!(bits <= undisturbed + kTolerance)) return fmt::format("came to {:.4f} bits per byte", bits);
  return "";
}

struct Counts {
  std::int64_t passed = 0, failed = 0, rollbacks = 0;
  double worst = 0;
};

void run_trial(std::int64_t trial, const Config& config, const std::string& folder, double undisturbed,
               Counts& counts) {
  TransformerXl model(config.model, config.feedforward);
  model.initialise(1);
  const Injection injection = injection_of(trial, model.parameters());
  std::string what = fmt::format("trial {}: {} at step {}", trial, injection.what, injection.step);
  if (injection.what != "rate")
    what += fmt::format(", {}[{}] = {}", injection.parameter, injection.element, injection.value);
  Injector injector(injection);
  std::string fault;
  try {
    const RunDirectory run(fmt::format("{}/trial{}", folder, trial));
    const TrainingResult result =
        train(config, run, {.quiet = true, .before_step = [&](const StepInputs& inputs) { injector(inputs); }});
    fault = fault_of(result, injector, undisturbed);
    counts.rollbacks += result.rollbacks;
    const double bits = result.validation.bits_per_byte().value();
    counts.worst = std::max(counts.worst, bits - undisturbed);
    what += fmt::format(": noticed after {}, {} roll-backs, {:+.4f} bits per byte",
                        injector.noticed_after().value_or(-1), result.rollbacks, bits - undisturbed);
  } catch (const Error& error) {
    fault = error.what();
  }
  std::filesystem::remove_all(fmt::format("{}/trial{}", folder, trial));
  ++(fault.empty() ? counts.passed : counts.failed);
  fmt::print("{}{}\n", what, fault.empty() ? "" : "; FAILED: " + fault);
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, std::int64_t> options = {{"--trials", 20}, {"--first", 0}};
  for (int i = 1; i + 1 < argc; i += 2) options[argv[i]] = std::stoll(argv[i + 1]);
  const TemporaryDirectory folder;
  set_thread_count(1);
  write_text(folder / "text");
  const Config config = small_config(folder / "text");
  const TrainingResult whole = train(config, RunDirectory(folder / "undisturbed"), {.quiet = true});
  const double undisturbed = whole.validation.bits_per_byte().value();
  fmt::print("undisturbed: {:.4f} bits per byte\n", undisturbed);
  Counts counts;
  for (std::int64_t i = 0; i < options["--trials"]; ++i)
    run_trial(options["--first"] + i, config, folder.path(), undisturbed, counts);
  fmt::print("{} roll-backs; at most {:+.4f} bits per byte\n", counts.rollbacks, counts.worst);
  fmt::print("{} passed, {} failed\n", counts.passed, counts.failed);
  return counts.failed == 0 ? 0 : 1;
}
