#include "autograd/backward.h"

#include <fmt/format.h>

#include <utility>

#include "autograd/observe.h"
#include "core/error.h"

namespace weir {
namespace {

thread_local constinit const OpObserver* observer_of_thread = nullptr;

}  // namespace

ObserveOps::ObserveOps(OpObserver observer)
    : observer_(std::move(observer)), before_(std::exchange(observer_of_thread, &observer_)) {}

ObserveOps::~ObserveOps() { observer_of_thread = before_; }

void Saved::check_version() const {
  if (!value_.defined() || value_.version() == version_) return;
  throw ArgumentError(fmt::format(
      "{}: one of the tensors that it kept for backward, of shape {} and dtype {}, was written to since (version {}, "
      "kept at {}), so the gradient would be wrong; write to a clone(), or after backward",
      op_, value_.shape().str(), dtype_name(value_.dtype()), value_.version(), version_));
}

Tensor Saved::get() const {
  check_version();
  if (output_ < 0 || !gradients_enabled() || !is_floating(value_.dtype())) return value_;
  Tensor attached = value_.detach();
  attached.set_gradient_slot(std::make_shared<TensorGradient>(Edge{owner_.lock(), output_}));
  return attached;
}

Backward::Backward(const char* op, std::vector<Tensor> inputs, std::vector<Tensor> outputs) {
  if (observer_of_thread != nullptr) (*observer_of_thread)(op, inputs, outputs);
  if (!gradients_enabled()) return;
  std::vector<Edge> edges;
  bool wanted = false;
  for (const Tensor& t : inputs) {
    edges.push_back(t.defined() ? edge_of(t) : Edge{});
    wanted = wanted || edges.back();
  }
  if (!wanted) return;
  node_ = std::make_shared<Node>(op);
  node_->inputs = std::move(edges);
  outputs_ = std::move(outputs);
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const Tensor& y = outputs_[i];
    node_->outputs.push_back({y.shape(), y.dtype(), y.device()});
    if (is_floating(y.dtype())) y.set_gradient_slot(std::make_shared<TensorGradient>(Edge{node_, static_cast<int>(i)}));
  }
}

Backward::~Backward() {
  if (!node_ || (node_->gradient && !per_input_)) return;
  for (std::size_t i = node_->inputs.size(); i-- > 0;)
    if (node_->inputs[i] && !(per_input_ && (*per_input_)[i])) node_->unstated = static_cast<int>(i);
}

Saved Backward::keep(const Tensor& t) const {
  Saved saved;
  if (!node_ || !t.defined()) return saved;
  saved.op_ = node_->op;
  saved.version_ = t.version();
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (!outputs_[i].same_view(t)) continue;
    saved.value_ = t.detach();
    saved.owner_ = node_;
    saved.output_ = static_cast<int>(i);
    return saved;
  }
  saved.value_ = t;
  return saved;
}

Tensor LeafSum::get() const {
  if (!adds()) return {};
  const Tensor& sum = edge_.node->settled_gradient();
  if (sum.defined()) sum.bump_version();
  return sum;
}

Tensor LeafSum::to_overwrite(DType dtype) const {
  if (!adds()) return {};
  Node& leaf = *edge_.node;
  if (!leaf.gradient_is_zero || leaf.leaf_gradient.dtype() != dtype || !is_rows_form(leaf.leaf_gradient)) return {};
  leaf.gradient_is_zero = false;
  leaf.leaf_gradient.bump_version();
  return leaf.leaf_gradient;
}

LeafSum Backward::leaf_sum(int i) const {
  LeafSum sum;
  if (needed(i)) sum.edge_ = node_->inputs[static_cast<std::size_t>(i)];
  return sum;
}

void Backward::input(int i, std::function<Tensor(const Tensor& dy)> gradient) {
  if (!needed(i)) return;
  if (!per_input_) {
    per_input_ = std::make_shared<std::vector<std::function<Tensor(const Tensor&)>>>(node_->inputs.size());
    node_->gradient = [functions = per_input_](std::span<const Tensor> dys) {
      std::vector<Tensor> result(functions->size());
      for (std::size_t k = 0; k < result.size(); ++k)
        if ((*functions)[k]) result[k] = (*functions)[k](dys[0]);
      return result;
    };
  }
  (*per_input_)[static_cast<std::size_t>(i)] = std::move(gradient);
}

void Backward::all(GradientFunction gradient) {
  if (node_) node_->gradient = std::move(gradient);
}

void Backward::once_differentiable(GradientFunction gradient) {
  if (!node_) return;
  all([op = node_->op, f = std::move(gradient)](std::span<const Tensor> dys) {
    if (gradients_enabled())
      throw ArgumentError(
          fmt::format("{}: its gradient is a fused kernel and cannot be differentiated again; "
                      "use the op's composed form for second derivatives",
                      op));
    return f(dys);
  });
}

}  // namespace weir
