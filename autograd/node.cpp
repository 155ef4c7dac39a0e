#include "autograd/node.h"

#include <atomic>
#include <utility>

#include "autograd/live_nodes.h"

namespace weir {
namespace {

constinit std::atomic<std::int64_t> live{0};

}  // namespace

std::int64_t live_nodes() { return live.load(std::memory_order_relaxed); }

Node::Node(const char* name) : op(name) {
  static std::atomic<std::uint64_t> counter{0};
  id = counter.fetch_add(1, std::memory_order_relaxed);
  live.fetch_add(1, std::memory_order_relaxed);
}

// A long chain is taken apart in a loop: destroying it link by link would need a stack as deep as the chain. The nodes
// still to go are a list through themselves, since there may be no memory for another.
Node::~Node() {
  live.fetch_sub(1, std::memory_order_relaxed);
  std::shared_ptr<Node> doomed;
  const auto take_inputs = [&doomed](Node& node) {
    node.gradient = nullptr;  // the tensors that it kept lead to the same nodes, which the edges still hold
    for (Edge& edge : node.inputs) {
      const std::shared_ptr<Node> input = std::move(edge.node);
      if (input.use_count() != 1) continue;
      input->next_doomed = std::move(doomed);
      doomed = input;
    }
  };
  take_inputs(*this);
  while (doomed != nullptr) {
    const std::shared_ptr<Node> node = std::move(doomed);
    doomed = std::move(node->next_doomed);
    take_inputs(*node);
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
