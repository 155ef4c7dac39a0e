// The recorded graph. Each differentiable call leaves one Node; edges lead from a node to the nodes that made its
// inputs. The engine knows nodes only by what stands here, no op by name.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/tensor.h"

namespace weir {

struct Node;

// One output of a node; no node where no gradient is wanted.
struct Edge {
  std::shared_ptr<Node> node;
  int output = 0;
  explicit operator bool() const { return node != nullptr; }
};

// From the gradients of a node's outputs to those of its inputs, in order. A gradient that did not arrive (an output
// nobody used) is undefined; an undefined result means "no gradient for this input". Arguments must not be written to.
using GradientFunction = std::function<std::vector<Tensor>(std::span<const Tensor>)>;

struct Node {
  struct Output {
    Shape shape;
    DType dtype;
    Device device;
  };

  explicit Node(const char* name);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  const char* op;
  std::uint64_t id;  // larger than the id of every node before it: descending id is a reverse topological order
  std::vector<Edge> inputs;
  std::vector<Output> outputs;
  GradientFunction gradient;  // empty in a leaf, and once the graph was released
  int unstated = -1;          // an input whose gradient the op forgot to state
  bool is_leaf = false;
  Tensor leaf_gradient;               // a leaf's accumulated gradient; undefined until the first backward
  bool gradient_is_zero = false;      // it counts as zeros, whatever its memory holds until it is written
  std::shared_ptr<Node> next_doomed;  // while a graph is taken apart

  // The leaf's gradient, its zeros written where it only counted as such.
  const Tensor& settled_gradient();
};

// What autograd hangs on a tensor.
struct TensorGradient final : GradientSlot {
  explicit TensorGradient(Edge e) : edge(std::move(e)) {}
  Edge edge;
};

Edge edge_of(const Tensor& t);  // empty if the tensor takes no part in a graph

// Whether the walk under way on this thread adds gradients to leaves.
bool adding_to_leaves();

}  // namespace weir
