#include "train/optimizer/optimizer.h"

#include <algorithm>

#include "autograd/autograd.h"
#include "core/error.h"
#include "ops/scale.h"
#include "train/config.h"

namespace weir {
namespace {

bool contains(const std::vector<OptimizerStateKind>& kinds, const std::string& name) {
  return std::any_of(kinds.begin(), kinds.end(), [&](const OptimizerStateKind& kind) { return kind.name == name; });
}

}  // namespace

Optimizer::Optimizer(std::string kind, const ParameterSet& parameters, const ParameterGroups& groups,
                     const StateOf& state_of, const std::function<bool(const Parameter&)>& is_alone)
    : kind_(std::move(kind)), parameters_(parameters) {
  groups.check(parameters);
  ranges_ = ranges_of(parameters, groups, is_alone);
  std::vector<OptimizerStateKind> kinds;
  for (const Parameter& p : parameters.parameters())
    for (const OptimizerStateKind& k : state_of(p))
      if (!contains(kinds, k.name)) kinds.push_back(k);
  for (const OptimizerStateKind& k : kinds)
    state_.emplace_back(k, parameters, [&](const Parameter& p) { return contains(state_of(p), k.name); });
  const Device device = parameters.values().device();
  updates_ = Tensor::zeros({std::max<std::int64_t>(std::ssize(ranges_), 1)}, DType::float64, device);
  unsound_ = Tensor::zeros({}, DType::float64, device);
}

void Optimizer::step(const Tensor& learning_rate, const Tensor& factor) {
  const NoGradient guard;
  const Tensor &values = parameters_.values(), &gradients = parameters_.gradients();
  for (std::size_t i = 0; i < ranges_.size(); ++i) {
    const ParameterRange& range = ranges_[i];
    const Shape shape{range.end - range.begin};
    update({range, values.strided(shape, {1}, range.begin), gradients.strided(shape, {1}, range.begin), count(i),
            range.rate == 1 ? learning_rate : scale(learning_rate, range.rate)},
           factor);
  }
}

void Optimizer::step(double learning_rate, double factor) {
  const Device device = parameters_.values().device();
  step(Tensor::full({}, learning_rate, DType::float64, device), Tensor::full({}, factor, DType::float64, device));
}

std::vector<NamedTensor> Optimizer::named_state() const {
  std::vector<NamedTensor> tensors;
  for (const Parameter& p : parameters_.parameters())
    for (const StateArena& arena : state_)
      if (Tensor values = arena.of(p); values.defined()) tensors.push_back({arena.name() + "." + p.name, values});
  return tensors;
}

std::int64_t Optimizer::updates() const { return static_cast<std::int64_t>(update_count().item()); }

void Optimizer::forget() {
  for (const StateArena& arena : state_) fill(arena.values(), 0);
  set_updates(0);
}

void Optimizer::set_updates(std::int64_t updates) {
  fill(updates_, static_cast<double>(updates));
  fill(unsound_, 0);
}

const StateArena& Optimizer::state(const std::string& name) const {
  for (const StateArena& arena : state_)
    if (arena.name() == name) return arena;
  throw InternalError("optimizer.kind = \"" + kind_ + "\" keeps no '" + name + "'");
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config, const ParameterSet& parameters) {
  config.own.check();
  return registry<OptimizerKind>().find(config.kind).make(config, parameters);
}

void check_optimizer(const OptimizerConfig& config, const ParameterSet& parameters) {
  ParameterGroups(config.no_decay, config.rates).check(parameters);
  optimizer_state_count(config, parameters);
}

std::int64_t optimizer_state_count(const OptimizerConfig& config, const ParameterSet& parameters) {
  const OptimizerKind::Function kind = registry<OptimizerKind>().find(config.kind);
  std::int64_t count = 0;
  for (const Parameter& p : parameters.parameters()) count += std::ssize(kind.state_of(config, p)) * p.shape.product();
  return count;
}

double optimizer_state_bytes(const OptimizerConfig& config, const ParameterSet& parameters) {
  return sizeof(float) * static_cast<double>(optimizer_state_count(config, parameters)) /
         static_cast<double>(std::max<std::int64_t>(parameters.count(), 1));
}

bool same_optimizer_state(const OptimizerConfig& a, const OptimizerConfig& b, const ParameterSet& parameters) {
  const auto names = [](const OptimizerConfig& config, const Parameter& p) {
    std::vector<std::string> list;
    for (const OptimizerStateKind& kind : registry<OptimizerKind>().find(config.kind).state_of(config, p))
      list.push_back(kind.name);
    return list;
  };
  return a.kind == b.kind && std::all_of(parameters.parameters().begin(), parameters.parameters().end(),
                                         [&](const Parameter& p) { return names(a, p) == names(b, p); });
}

}  // namespace weir
