// What every optimiser is: an update of all parameters by their gradients, and what it keeps from one to the next.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "models/parameter.h"
#include "train/optimizer/groups.h"
#include "train/optimizer/kind.h"
#include "train/optimizer/state_arena.h"

namespace weir {

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  const std::string& kind() const { return kind_; }

  // One update with gradients times `factor`, both float64 of rank 0 on the parameters' device, so that nobody has to
  // read what was computed there; nothing happens where the factor is not finite.
  void step(const Tensor& learning_rate, const Tensor& factor);
  void step(double learning_rate, double factor = 1);

  // This and the number of updates made are what a checkpoint keeps.
  const std::deque<StateArena>& state() const { return state_; }
  const StateArena& state(const std::string& name) const;
  // "m.NAME" and so on, parameter by parameter.
  std::vector<NamedTensor> named_state() const;
  std::int64_t updates() const;
  // The same where it is counted: float64 of rank 0 on the parameters' device.
  Tensor update_count() const { return count(0); }

  void forget();  // state and count of updates, as if none had been made
  // For weights and state that were put in place of the old ones, which may have been unsound.
  void set_updates(std::int64_t updates);
  // float64 of rank 0 on the parameters' device: 1 once an update left a weight or what is kept not finite or absurd.
  const Tensor& unsound() const { return unsound_; }

 protected:
  using StateOf = std::function<std::vector<OptimizerStateKind>(const Parameter&)>;
  // Throws ArgumentError where a pattern of a group matches no parameter.
  Optimizer(std::string kind, const ParameterSet& parameters, const ParameterGroups& groups, const StateOf& state_of,
            const std::function<bool(const Parameter&)>& is_alone = {});

  // The part of a step that concerns one range; values, gradients [end - begin].
  struct Part {
    const ParameterRange& range;
    Tensor values, gradients;
    Tensor updates;        // the range's own count of them: float64 of rank 0, to be raised by 1
    Tensor learning_rate;  // the range's own
  };
  virtual void update(const Part& part, const Tensor& factor) = 0;

 private:
  Tensor count(std::size_t range) const { return updates_.strided({}, {}, static_cast<std::int64_t>(range)); }

  const std::string kind_;
  const ParameterSet& parameters_;
  std::vector<ParameterRange> ranges_;
  std::deque<StateArena> state_;
  Tensor updates_;  // float64 [ranges], all the same
  Tensor unsound_;
};

// The optimiser that config.kind names. Throws ArgumentError where there is none, or where a setting does not fit the
// parameters.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config, const ParameterSet& parameters);

// The rest is known before the parameters are allocated.

// Throws what make_optimizer() would.
void check_optimizer(const OptimizerConfig& config, const ParameterSet& parameters);
// Numbers that it keeps: what a checkpoint holds beside the parameters.
std::int64_t optimizer_state_count(const OptimizerConfig& config, const ParameterSet& parameters);
// The same in memory, in float32, for each parameter on average.
double optimizer_state_bytes(const OptimizerConfig& config, const ParameterSet& parameters);
// Whether what one keeps is what the other needs.
bool same_optimizer_state(const OptimizerConfig& a, const OptimizerConfig& b, const ParameterSet& parameters);

}  // namespace weir
