#include "autograd/node.h"

#include <atomic>
#include <utility>

namespace weir {

Node::Node(const char* name) : op(name) {
  static std::atomic<std::uint64_t> counter{0};
  id = counter.fetch_add(1, std::memory_order_relaxed);
}

// A long chain is taken apart in a loop: destroying it link by link would need a stack as deep as the chain.
Node::~Node() {
  std::vector<std::shared_ptr<Node>> doomed;
  const auto take_inputs = [&doomed](Node& node) {
    for (Edge& edge : node.inputs)
      if (edge.node) doomed.push_back(std::move(edge.node));
    node.gradient = nullptr;  // kept tensors lead to the same nodes, which `doomed` still holds
  };
  take_inputs(*this);
  while (!doomed.empty()) {
    const std::shared_ptr<Node> node = std::move(doomed.back());
    doomed.pop_back();
    if (node.use_count() == 1) take_inputs(*node);
  }
}

const Tensor& Node::settled_gradient() {
  if (std::exchange(gradient_is_zero, false)) fill(leaf_gradient, 0);
  return leaf_gradient;
}

Edge edge_of(const Tensor& t) {
  const auto* slot = static_cast<const TensorGradient*>(t.gradient_slot().get());
  return slot == nullptr ? Edge{} : slot->edge;
}

}  // namespace weir
