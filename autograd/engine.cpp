// The reverse walk. Nodes are visited by descending id, so each is reached after everything that used its outputs, and
// gradients are summed in an order that depends on the graph alone.
#include <fmt/format.h>

#include <map>
#include <queue>
#include <unordered_map>
#include <utility>

#include "autograd/accumulate.h"
#include "autograd/autograd.h"
#include "autograd/node.h"
#include "core/error.h"

namespace weir {
namespace {

thread_local bool adding = false;

// Sets a flag until the end of the scope.
class Setting {
 public:
  Setting(bool& flag, bool value) : flag_(flag), before_(std::exchange(flag, value)) {}
  ~Setting() { flag_ = before_; }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;

 private:
  bool& flag_;
  bool before_;
};

using OutputKey = std::pair<const Node*, int>;

class Walk {
 public:
  explicit Walk(GradientOptions options) : options_(options) {}

  // Asks for the gradient of this output to be returned. It must be called before run().
  void capture(const Edge& edge) { captured_[{edge.node.get(), edge.output}] = {}; }
  Tensor captured(const Edge& edge) const { return captured_.at({edge.node.get(), edge.output}); }

  void arrive(const Edge& edge, Tensor dy) {
    Node& node = *edge.node;
    check(node, edge.output, dy);
    auto [place, fresh] = pending_.try_emplace(&node);
    if (fresh) {
      place->second.node = edge.node;
      place->second.dys.resize(node.outputs.size());
      queue_.push(&node);
    }
    Tensor& sum = place->second.dys[static_cast<std::size_t>(edge.output)];
    sum = sum.defined() ? accumulate(std::move(sum), dy) : std::move(dy);
  }

  void run() {
    const GradientMode mode(options_.create_graph);
    const Setting leaves(adding, captured_.empty());
    while (!queue_.empty()) {
      Node* const node = queue_.top();
      queue_.pop();
      auto entry = pending_.extract(node);
      visit(entry.mapped().node, std::move(entry.mapped().dys));
    }
  }

 private:
  struct Pending {
    std::shared_ptr<Node> node;
    std::vector<Tensor> dys;
  };
  struct EarlierId {
    bool operator()(const Node* a, const Node* b) const { return a->id < b->id; }
  };

  static void check(const Node& node, int output, const Tensor& dy) {
    const Node::Output& expected = node.outputs[static_cast<std::size_t>(output)];
    if (dy.shape() != expected.shape || dy.dtype() != expected.dtype)
      throw InternalError(
          fmt::format("the gradient that reached {} has shape {} and dtype {}, its output has {} and {}", node.op,
                      dy.shape().str(), dtype_name(dy.dtype()), expected.shape.str(), dtype_name(expected.dtype)));
  }

  void visit(const std::shared_ptr<Node>& node, std::vector<Tensor> dys) {
    for (std::size_t i = 0; i < dys.size(); ++i)
      if (const auto wanted = captured_.find({node.get(), static_cast<int>(i)}); wanted != captured_.end())
        wanted->second = dys[i];
    if (node->is_leaf) {
      if (captured_.empty()) add_to_leaf(*node, std::move(dys[0]));
      return;
    }
    if (node->unstated >= 0)
      throw ArgumentError(
          fmt::format("{0} states no gradient for its input {1}, which needs one; back.input({1}, ...) "
                      "in the op would",
                      node->op, node->unstated));
    if (!node->gradient)
      throw ArgumentError(
          fmt::format("backward: the graph behind {} was released by an earlier backward; "
                      "pass keep_graph to walk it twice",
                      node->op));
    std::vector<Tensor> dxs = node->gradient(dys);
    dys.clear();
    if (!options_.create_graph && !options_.keep_graph) node->gradient = nullptr;
    for (std::size_t i = 0; i < dxs.size(); ++i)
      if (node->inputs[i] && dxs[i].defined()) arrive(node->inputs[i], std::move(dxs[i]));
  }

  static void add_to_leaf(Node& leaf, Tensor dy) {
    if (std::exchange(leaf.gradient_is_zero, false))
      copy_into(dy, leaf.leaf_gradient);
    else if (leaf.leaf_gradient.defined())
      add_into(dy, leaf.leaf_gradient);
    else
      leaf.leaf_gradient = dy.unique() ? std::move(dy) : clone(dy.detach());
  }

  GradientOptions options_;
  std::unordered_map<Node*, Pending> pending_;
  std::priority_queue<Node*, std::vector<Node*>, EarlierId> queue_;
  std::map<OutputKey, Tensor> captured_;
};

void start(Walk& walk, std::span<const Tensor> outputs, std::span<const Tensor> dys) {
  if (outputs.size() != dys.size())
    throw ArgumentError(fmt::format("backward: {} outputs and {} gradients", outputs.size(), dys.size()));
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Edge edge = edge_of(outputs[i]);
    if (!edge) throw ArgumentError("backward: the output does not depend on any tensor that requires a gradient");
    if (dys[i].shape() != outputs[i].shape() || dys[i].dtype() != outputs[i].dtype())
      throw ArgumentError(fmt::format("backward: output {} has shape {} and dtype {}, its gradient {} and {}", i,
                                      outputs[i].shape().str(), dtype_name(outputs[i].dtype()), dys[i].shape().str(),
                                      dtype_name(dys[i].dtype())));
    walk.arrive(edge, dys[i]);
  }
}

Node& leaf_of(const char* what, const Tensor& t) {
  const Edge edge = edge_of(t);
  if (!edge || !edge.node->is_leaf)
    throw ArgumentError(fmt::format("{}: expected a leaf (a tensor passed to require_gradient)", what));
  return *edge.node;
}

}  // namespace

bool adding_to_leaves() { return adding; }

const Tensor& require_gradient(const Tensor& t) {
  if (!is_floating(t.dtype()))
    throw ArgumentError(fmt::format("require_gradient: expected a floating dtype, got {}", dtype_name(t.dtype())));
  auto node = std::make_shared<Node>("leaf");
  node->is_leaf = true;
  node->outputs.push_back({t.shape(), t.dtype(), t.device()});
  t.set_gradient_slot(std::make_shared<TensorGradient>(Edge{std::move(node), 0}));
  return t;
}

bool requires_gradient(const Tensor& t) { return static_cast<bool>(edge_of(t)); }
Tensor gradient(const Tensor& leaf) { return leaf_of("gradient", leaf).settled_gradient(); }

void zero_gradient(const Tensor& leaf) {
  Node& node = leaf_of("zero_gradient", leaf);
  node.gradient_is_zero = node.leaf_gradient.defined();
}

void clear_gradient(const Tensor& leaf) {
  Node& node = leaf_of("clear_gradient", leaf);
  node.leaf_gradient = Tensor();
  node.gradient_is_zero = false;
}

void set_gradient_buffer(const Tensor& leaf, const Tensor& buffer) {
  if (buffer.shape() != leaf.shape() || buffer.dtype() != leaf.dtype())
    throw ArgumentError(fmt::format("set_gradient_buffer: shape {} and dtype {} expected, got {} and {}",
                                    leaf.shape().str(), dtype_name(leaf.dtype()), buffer.shape().str(),
                                    dtype_name(buffer.dtype())));
  Node& node = leaf_of("set_gradient_buffer", leaf);
  node.leaf_gradient = buffer;
  node.gradient_is_zero = false;
}

void backward(const Tensor& loss) {
  if (loss.numel() != 1)
    throw ArgumentError(fmt::format("backward: expected a loss of one element, got shape {}", loss.shape().str()));
  const Tensor one = Tensor::full(loss.shape(), 1.0, loss.dtype(), loss.device());
  backward(std::span(&loss, 1), std::span(&one, 1));
}

void backward(std::span<const Tensor> outputs, std::span<const Tensor> dys) {
  Walk walk({});
  start(walk, outputs, dys);
  walk.run();
}

std::vector<Tensor> gradients(std::span<const Tensor> outputs, std::span<const Tensor> inputs,
                              std::span<const Tensor> dys, GradientOptions options) {
  Walk walk(options);
  for (const Tensor& input : inputs) {
    const Edge edge = edge_of(input);
    if (!edge) throw ArgumentError("gradients: an input does not require a gradient");
    walk.capture(edge);
  }
  start(walk, outputs, dys);
  walk.run();
  std::vector<Tensor> result;
  for (const Tensor& input : inputs) {
    const Tensor dx = walk.captured(edge_of(input));
    result.push_back(dx.defined() ? dx : Tensor::zeros_like(input));
  }
  return result;
}

}  // namespace weir
