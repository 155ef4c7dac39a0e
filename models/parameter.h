// The parameters of a model: named views over one flat arena, with a second arena for their gradients. So the optimiser
// is one pass, the gradient norm one reduction, and a checkpoint a list of views.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>

#include "core/philox.h"
#include "core/tensor.h"

namespace weir {

// Writes the initial values of a parameter, whose random numbers come from that stream alone.
using Initialiser = std::function<void(const Tensor& values, const RandomStream& random)>;

struct Parameter {
  std::string name;  // "layer0.attn.w_q"
  Shape shape;
  Initialiser initialise;
  Tensor value;  // a leaf, once allocated: gradient(value) reads what has arrived (autograd/autograd.h)
};

class ParameterSet {
 public:
  // Declares a parameter. The reference stays valid; its tensors are filled in by allocate().
  const Parameter& add(const std::string& name, const Shape& shape, Initialiser initialise);

  // Makes the arenas and runs the initialisers. A parameter's values depend on its name and the seed, not on what else
  // is declared, nor on the device.
  void allocate(DType dtype, std::uint64_t seed, Device device = {});
  // The values that allocate() gave them, again.
  void initialise(std::uint64_t seed) const;

  const std::deque<Parameter>& parameters() const { return parameters_; }
  const Parameter& at(const std::string& name) const;  // throws ArgumentError listing close names
  std::int64_t count() const;                          // scalars, without padding

  // The arenas: rank 1, padding included (it stays zero).
  const Tensor& values() const { return values_; }
  const Tensor& gradients() const;
  // Costs nothing: each gradient is overwritten by what arrives first (see zero_gradient of autograd.h).
  void zero_gradients() const;
  // The elements of an arena that hold a parameter and its padding: begin to end.
  struct Place {
    std::int64_t begin, end;
  };
  Place place_of(const Parameter& parameter) const;
  // A view of `arena` shaped and placed like the parameter.
  Tensor view_in(const Tensor& arena, const Parameter& parameter) const;

 private:
  std::deque<Parameter> parameters_;
  std::deque<std::int64_t> offsets_;
  Tensor values_, gradients_;
};

}  // namespace weir
