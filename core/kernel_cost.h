// What kernels have to do, counted where they are called: the cost of an op, of a benchmark, of a whole model. On the
// meta device nothing is computed, so that a model of any size is traced at once.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <type_traits>

#include "core/tensor.h"

namespace weir {

// Calls f for each tensor among the arguments, those in structs included: a struct that holds tensors names them in
// `void for_each_tensor(auto&& f) const`.
template <class F, class T>
void for_each_tensor_of(F&& f, const T& argument) {
  // A struct of this function's own: nvcc takes a `requires` with a lambda for false.
  struct Visitor {
    void operator()(const Tensor&) const {}
  };
  if constexpr (std::is_same_v<T, Tensor>)
    f(argument);
  else if constexpr (requires(const Visitor& visitor) { argument.for_each_tensor(visitor); })
    argument.for_each_tensor(f);
  else
    static_assert(std::is_trivially_copyable_v<T>, "an argument that may hold tensors has to name them");
}

struct KernelCost {
  double flops = 0;  // multiplications and additions, where they may be what takes the time: those of products
  double bytes = 0;  // to read and to write at least

  KernelCost& operator+=(const KernelCost& other) {
    flops += other.flops, bytes += other.bytes;
    return *this;
  }
};

// Of a tensor's elements, without pads; those that a view repeats count once. 0 where it is undefined.
double tensor_bytes(const Tensor& t);

// Of all tensors among the arguments.
template <class... Arguments>
double bytes_of(const Arguments&... arguments) {
  double bytes = 0;
  (for_each_tensor_of([&](const Tensor& t) { bytes += tensor_bytes(t); }, arguments), ...);
  return bytes;
}

// Of products: each multiplication, as many as the product of `extents`, comes with an addition.
template <class... Arguments>
KernelCost product_cost(std::initializer_list<std::int64_t> extents, const Arguments&... arguments) {
  double flops = 2;
  for (const std::int64_t extent : extents) flops *= static_cast<double>(extent);
  return {.flops = flops, .bytes = bytes_of(arguments...)};
}

// Counts the kernels that this thread calls, to the end of the scope. What a kernel calls in turn is part of it.
class CostTrace {
 public:
  CostTrace();
  ~CostTrace();
  CostTrace(const CostTrace&) = delete;
  CostTrace& operator=(const CostTrace&) = delete;

  const KernelCost& total() const { return total_; }

  // Where a kernel is called: counts it if this thread has a trace, and keeps what it calls from being counted.
  class Call {
   public:
    Call();
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    bool counts() const { return trace_ != nullptr; }
    void add(const KernelCost& cost) const { trace_->total_ += cost; }

   private:
    CostTrace* const trace_;
  };

 private:
  KernelCost total_;
  CostTrace* const before_;
};

// Of what `work` calls.
KernelCost cost_of(const std::function<void()>& work);

}  // namespace weir
