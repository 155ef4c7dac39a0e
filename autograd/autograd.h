// Reverse-mode differentiation, define by run: calls made while gradients are enabled are recorded; `backward` walks
// the record in reverse. Gradients are tensors of the dtype and shape of what they belong to.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "core/gradient_mode.h"
#include "core/tensor.h"

namespace weir {

// Makes `t` a leaf whose gradient is accumulated by backward(). Returns t.
const Tensor& require_gradient(const Tensor& t);
bool requires_gradient(const Tensor& t);
// The accumulated gradient of a leaf; undefined if none has arrived.
Tensor gradient(const Tensor& leaf);
// Gives a leaf a place to accumulate into (a view of the model's gradient arena). It is added to,
// never overwritten but after zero_gradient().
void set_gradient_buffer(const Tensor& leaf, const Tensor& buffer);
// Makes the gradient zero without touching its memory: what arrives first is written there, not added, and gradient()
// fills it with zeros where nothing has arrived. Other views of the buffer show its old values until then.
void zero_gradient(const Tensor& leaf);
void clear_gradient(const Tensor& leaf);

// Adds d(sum of outputs * dys)/d(leaf) to every leaf that the outputs depend on. `dys` may be left out for one-element
// outputs (1 is taken). The graph is released afterwards: a second backward over it throws ArgumentError.
void backward(const Tensor& loss);
void backward(std::span<const Tensor> outputs, std::span<const Tensor> dys);

struct GradientOptions {
  bool create_graph = false;  // record the gradient's own computation, so that it can be differentiated again
  bool keep_graph = false;    // allow another backward over the same graph (implied by create_graph)
};
// The gradients of sum(outputs * dys) with respect to `inputs`, returned instead of accumulated; zeros where an input
// has no influence.
std::vector<Tensor> gradients(std::span<const Tensor> outputs, std::span<const Tensor> inputs,
                              std::span<const Tensor> dys, GradientOptions options = {});

// Activation checkpointing: runs `block` without recording and runs it again during backward, trading time for the
// memory of everything the block would have kept. The block must be a pure function of its inputs and of leaves
// (random numbers by RandomStream are). Inputs that were written to in between are refused; leaves and other tensors
// that the block reads must stay as they are until backward, and nobody watches them. Gradients of the leaves inside
// reach backward(), not gradients().
std::vector<Tensor> checkpoint(const std::function<std::vector<Tensor>(std::span<const Tensor>)>& block,
                               std::span<const Tensor> inputs);

}  // namespace weir
