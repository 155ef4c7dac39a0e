// How an op states its gradient, beside its forward computation:
//
//   Tensor multiply(const Tensor& a, const Tensor& b) {
//     Tensor y = ...;
//     Backward back("multiply", {a, b}, {y});
//     back.input(0, [b = back.keep(b)](const Tensor& dy) { return dy * b.get(); });
//     back.input(1, [a = back.keep(a)](const Tensor& dy) { return dy * a.get(); });
//     return y;
//   }
//
// Contract: what a gradient reads later, and others can see, it must `keep`. Kept values must not be written to before
// backward: functions that write in place count it (Tensor::bump_version), and reading a kept value that was written to
// since is refused. Two kinds of writing are not seen, and give wrong gradients: through a pointer (data(), raw()) by
// someone who does not count it, and by replaying a recording. A gradient function for an input that needs none is
// dropped at once, with all it kept. Gradients written with ops can be differentiated again; those that call kernels
// directly cannot, and say so with `once_differentiable`.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

#include "autograd/autograd.h"
#include "autograd/node.h"
#include "core/tensor.h"

namespace weir {

// A tensor kept for the backward pass.
class Saved {
 public:
  Saved() = default;
  // The kept tensor; an output of the op comes back attached to its node, without keeping that node alive meanwhile.
  // Throws ArgumentError where it was written to since.
  Tensor get() const;

 private:
  void check_version() const;

  friend class Backward;
  const char* op_ = nullptr;
  Tensor value_;
  std::uint64_t version_ = 0;
  std::weak_ptr<Node> owner_;  // set for an output
  int output_ = -1;
};

// The gradient that a leaf holds. A gradient function may write to it in place and return nothing for that input.
// Both functions give an undefined tensor where that cannot be: the input is no leaf or has no gradient yet, or this
// walk returns gradients instead of adding them to leaves.
class LeafSum {
 public:
  // To add to: what touches few rows of a large parameter then never makes, clears or adds a tensor of its size.
  Tensor get() const;
  // To write all of, where the gradient counts as zero, has this dtype and is in rows form; from now on it counts as
  // written.
  Tensor to_overwrite(DType dtype) const;

 private:
  bool adds() const { return edge_ && edge_.node->is_leaf && adding_to_leaves(); }

  friend class Backward;
  Edge edge_;
};

class Backward {
 public:
  Backward(const char* op, std::vector<Tensor> inputs, std::vector<Tensor> outputs);
  // Where an input needs a gradient and none was stated, backward will say so.
  ~Backward();
  Backward(const Backward&) = delete;
  Backward& operator=(const Backward&) = delete;

  // True where this call is recorded at all.
  bool active() const { return node_ != nullptr; }
  // True where input i needs a gradient.
  bool needed(int i) const { return node_ != nullptr && static_cast<bool>(node_->inputs[static_cast<std::size_t>(i)]); }

  // Keeps an input or output for the gradient functions. Empty where the call is not recorded.
  Saved keep(const Tensor& t) const;

  // For writing to the gradient of input i in place.
  LeafSum leaf_sum(int i) const;

  // Defines the gradient of one input of a single-output op.
  void input(int i, std::function<Tensor(const Tensor& dy)> gradient);
  // Defines the gradients of all inputs at once, one result per input.
  void all(GradientFunction gradient);
  // As `all`, for a gradient that calls kernels: asking to differentiate it again throws ArgumentError.
  void once_differentiable(GradientFunction gradient);

 private:
  std::shared_ptr<Node> node_;
  std::vector<Tensor> outputs_;
  std::shared_ptr<std::vector<std::function<Tensor(const Tensor&)>>> per_input_;
};

}  // namespace weir
