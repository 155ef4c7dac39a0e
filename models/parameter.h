// The parameters of a model: named views over one flat arena, with a second arena for their gradients. So the optimiser
// is one pass, the gradient norm one reduction, and a checkpoint a list of views.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <span>
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

// What a buffer becomes at the end of a training step: from its value, and from the sum of what the forward passes of
// the step observed, all on the model's device. Runs without gradient, and inside what is recorded there: it reads
// nothing.
using BufferUpdate = std::function<Tensor(const Tensor& value, const Tensor& observed)>;

// A named tensor that is part of the model, but that no gradient trains: saved and loaded with the parameters, on their
// device and of their type; optimisers, gradient norms and counts of parameters leave it out.
struct Buffer {
  std::string name;  // "layer0.ff.expert_bias"
  Shape shape;
  Initialiser initialise;
  BufferUpdate update;  // none for a constant
  Tensor value;         // once allocated; no leaf
};

// What a forward pass in training saw of what a buffer follows. A pass returns it and changes nothing, so that a layer
// which is computed twice (activation checkpointing) counts once, and all passes of a step see the same values.
struct Observation {
  const Buffer* buffer;
  Tensor value;  // like those of the buffer's other observations, which are summed; without gradient
};

class ParameterSet {
 public:
  // Declares a parameter. The reference stays valid; its tensors are filled in by allocate().
  const Parameter& add(const std::string& name, const Shape& shape, Initialiser initialise);

  // Declares a buffer, likewise. Its name is that of no parameter.
  const Buffer& add_buffer(const std::string& name, const Shape& shape, Initialiser initialise,
                           BufferUpdate update = {});

  // Makes the arenas and the buffers, and runs the initialisers. A parameter's values depend on its name and the seed,
  // not on what else is declared, nor on the device.
  void allocate(DType dtype, std::uint64_t seed, Device device = {});
  // The values that allocate() gave them, again.
  void initialise(std::uint64_t seed) const;

  const std::deque<Parameter>& parameters() const { return parameters_; }
  const Parameter& at(const std::string& name) const;  // throws ArgumentError listing close names
  std::int64_t count() const;                          // scalars of the parameters, without padding
  const std::deque<Buffer>& buffers() const { return buffers_; }
  const Buffer& buffer(const std::string& name) const;  // throws ArgumentError

  // Moves the buffers that have an update on, given what all passes of a step observed; where `guard`, of rank 0 and on
  // the same device, is not finite, they keep their values. Throws ArgumentError where one was not observed.
  void update_buffers(std::span<const Observation> observations, const Tensor& guard) const;

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
  void check_new(const std::string& name, const Shape& shape) const;

  std::deque<Parameter> parameters_;
  std::deque<Buffer> buffers_;
  std::deque<std::int64_t> offsets_;
  Tensor values_, gradients_;
};

}  // namespace weir
