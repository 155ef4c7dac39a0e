#include "train/optimizer/muon.h"

#include <algorithm>
#include <cmath>

#include "ops/add.h"
#include "ops/add_scalar.h"
#include "ops/divide.h"
#include "ops/matmul.h"
#include "ops/scale.h"
#include "ops/sgd_update.h"
#include "ops/sqrt.h"
#include "ops/square.h"
#include "ops/sum.h"
#include "train/config.h"
#include "train/optimizer/adamw.h"

namespace weir {
namespace {

// Hidden matrices, or several side by side: [m, n], [E, m, n].
bool is_orthogonalised(const std::vector<std::string>& left_to_adamw, const Parameter& p) {
  return p.shape.rank() >= 2 && p.shape[-1] > 1 && p.shape[-2] > 1 &&
         std::none_of(left_to_adamw.begin(), left_to_adamw.end(),
                      [&](const std::string& pattern) { return matches_pattern(pattern, p.name); });
}

std::vector<std::string> patterns_of(const MuonConfig& config) { return parse_patterns("muon.adamw", config.adamw); }

std::vector<OptimizerStateKind> muon_state(const std::vector<std::string>& left_to_adamw, const Parameter& p) {
  if (is_orthogonalised(left_to_adamw, p)) return {{"momentum", kLargestSound}};
  return adamw_state();
}

}  // namespace

void MuonConfig::visit(FieldVisitor& v) {
  v.field("momentum", momentum, {.above = 0, .below = 1}, "share of the last direction that is added to the gradient");
  v.field("nesterov", nesterov, "look ahead along the direction (Nesterov's momentum)");
  v.field("ns_steps", ns_steps, {.min = 1, .max = 100}, "of Newton and Schulz, towards an orthogonal matrix");
  v.field("rate", rate, {.max = 1e6, .above = 0},
          "learning rate of the matrices, in units of that of the rest, which is optimizer.lr");
  v.field("adamw", adamw,
          "names, with * for any characters, of the parameters that get AdamW, as vectors do: comma-separated");
  v.field("products", products, {"float32", "bf16"}, "element type of those steps' products; published with bf16");
}

Tensor newton_schulz(const Tensor& g, std::int64_t iterations, bool in_bf16) {
  constexpr double kA = 3.4445, kB = -4.7750, kC = 2.0315;
  constexpr int kMatrix[] = {-2, -1};
  const Tensor norm = sqrt(sum(square(g), kMatrix, true));  // [..., 1, 1]
  const Tensor start = g / add_scalar(norm, 1e-7);
  const int row = g.rank() - 2, column = g.rank() - 1;
  const bool tall = g.size(row) > g.size(column);
  Tensor x = in_bf16 && g.dtype() == DType::float32 ? converted(start, DType::bf16) : start;
  for (std::int64_t i = 0; i < iterations; ++i) {
    // The smaller of the two products, which have the same singular values; b x = x b then.
    const Tensor transposed = transpose_view(x, row, column);
    const Tensor a = tall ? matmul(transposed, x) : matmul(x, transposed);
    const Tensor b = add(scale(a, kB), scale(matmul(a, a), kC));
    x = add(scale(x, kA), tall ? matmul(x, b) : matmul(b, x));
  }
  return converted(x, g.dtype());
}

Muon::Muon(const ParameterSet& parameters, const MuonConfig& config, const AdamWSettings& adamw,
           const ParameterGroups& groups)
    : Optimizer(
          "muon", parameters, groups,
          [patterns = patterns_of(config)](const Parameter& p) { return muon_state(patterns, p); },
          [patterns = patterns_of(config)](const Parameter& p) { return is_orthogonalised(patterns, p); }),
      config_(config),
      adamw_(adamw),
      backwards_(Tensor::full({}, -1, DType::float64, parameters.values().device())) {}

void Muon::update(const Part& part, const Tensor& factor) {
  if (part.range.alone != nullptr) return update_matrices(part, factor);
  AdamWSettings settings = adamw_;
  if (!part.range.decays) settings.weight_decay = 0;
  adamw_update(part.values, part.gradients,
               {state("m").of(part.range), state("v").of(part.range), part.updates, unsound()}, part.learning_rate,
               factor, settings);
}

void Muon::update_matrices(const Part& part, const Tensor& factor) {
  const Shape& shape = part.range.alone->shape;
  const Strides strides = padded_strides(shape, part.values.dtype());
  // From zeros with a rate of -1 SGD comes to its own direction. Published code keeps 1 - momentum times as much, which
  // leaves the orthogonal matrix as it is.
  const Tensor direction = Tensor::zeros_like(part.values);
  sgd_update(direction, part.gradients, {state("momentum").of(part.range), {}, unsound()}, backwards_, factor,
             {.momentum = config_.momentum, .nesterov = config_.nesterov});
  const Tensor orthogonal =
      newton_schulz(direction.strided(shape, strides), config_.ns_steps, config_.products == "bf16");
  // Wherever there are more rows than columns, as published: so that the size of what comes out stays.
  const double tall = static_cast<double>(shape[-2]) / static_cast<double>(shape[-1]);
  const Tensor update = Tensor::zeros_like(part.values);
  copy_into(scale(orthogonal, std::sqrt(std::max(1.0, tall))), update.strided(shape, strides));
  const Tensor decision = add_scalar(scale(factor, 0), 1);  // not a number where the factor is not finite
  sgd_update(part.values, update, {{}, part.updates, unsound()}, scale(part.learning_rate, config_.rate), decision,
             {.weight_decay = part.range.decays ? adamw_.weight_decay : 0, .decoupled = true});
}

namespace {

const bool added = registry<OptimizerKind>().add(
    {"muon",
     "momentum made orthogonal, for hidden matrices; AdamW for the rest",
     {.make = [](const OptimizerConfig& config, const ParameterSet& parameters) -> std::unique_ptr<Optimizer> {
        return std::make_unique<Muon>(parameters, config.own.get<MuonConfig>(), adamw_settings(config),
                                      ParameterGroups(config.no_decay, config.rates));
      },
      .state_of = [](const OptimizerConfig& config,
                     const Parameter& p) { return muon_state(patterns_of(config.own.get<MuonConfig>()), p); },
      .keeps = "Muon's momentum and AdamW's moments"},
     OwnSettings::of<MuonConfig>()});

}  // namespace
}  // namespace weir
