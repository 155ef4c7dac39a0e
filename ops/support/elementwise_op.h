// What element-wise ops have in common: all but their formulas.
//
//   constinit UnaryOp sigmoid_op{"sigmoid", "sigmoid backward", Keeps::output, second};       // ops/sigmoid.cpp
//   Tensor sigmoid(const Tensor& x) { return sigmoid_op(x); }
//   const bool on_cpu = register_unary<cpu::Elementwise, sigmoid_op, Sigmoid, SigmoidBackward>();
//   const bool on_gpu = register_unary<Elementwise, sigmoid_op, Sigmoid, SigmoidBackward>();       // cuda/sigmoid.cu
//
// A formula is a functor on the accumulation type (float for bf16), without state but for the constant of a ScalarOp.
#pragma once

#include "core/host_device.h"
#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// What an op of one input keeps for its gradient.
enum class Keeps { input, output };

// y = f(x), dx = g(kept, dy), element by element; g is linear in dy.
struct UnaryOp {
  // The gradient of g(kept, dy) with respect to `kept`, times ddx, written in ops.
  using Second = Tensor (*)(const Tensor& kept, const Tensor& dy, const Tensor& ddx);

  const char* name;
  const char* backward_name;
  Keeps keeps;
  Second second = nullptr;  // none: zero wherever there is one
  Kernel<void(const Tensor& x, const Tensor& y)> forward_kernel{name};
  Kernel<void(const Tensor& kept, const Tensor& dy, const Tensor& dx)> backward_kernel{backward_name};

  Tensor operator()(const Tensor& x) const;
  Tensor backward(const Tensor& kept, const Tensor& dy) const;  // dx
};

// y = f(x, constant), element by element, with a derivative that does not depend on x.
struct ScalarOp {
  using Gradient = Tensor (*)(const Tensor& dy, double constant);

  const char* name;
  Gradient gradient;
  Kernel<void(const Tensor& x, double constant, const Tensor& y)> kernel{name};

  Tensor operator()(const Tensor& x, double constant) const;
};

// y = f(a, b), element by element, with broadcasting. The gradient is the op's own.
struct BinaryOp {
  const char* name;
  Kernel<void(const Tensor& a, const Tensor& b, const Tensor& y)> kernel{name};

  // Throws ArgumentError unless a and b have one dtype and broadcast.
  Tensor operator()(const Tensor& a, const Tensor& b) const;
};

// Gives an op the loops of a device's engine: a type with the device's `kind` and run<Out, In...>(out, f, inputs...).
template <class Engine, UnaryOp& op, class F, class G>
bool register_unary(F = {}, G = {}) {
  return op.forward_kernel.add(Engine::kind, [](const Tensor& x, const Tensor& y) {
    visit_floating(op.name, x.dtype(), [&]<class T>(Type<T>) { Engine::template run<T, T>(y, F{}, x); });
  }) && op.backward_kernel.add(Engine::kind, [](const Tensor& kept, const Tensor& dy, const Tensor& dx) {
    visit_floating(op.backward_name, dy.dtype(),
                   [&]<class T>(Type<T>) { Engine::template run<T, T, T>(dx, G{}, kept, dy); });
  });
}

template <class Engine, ScalarOp& op, template <class> class F>
bool register_scalar() {
  return op.kernel.add(Engine::kind, [](const Tensor& x, double constant, const Tensor& y) {
    visit_floating(op.name, x.dtype(), [&]<class T>(Type<T>) {
      using Value = accumulate_t<T>;
      Engine::template run<T, T>(y, F<Value>{static_cast<Value>(constant)}, x);
    });
  });
}

template <class Engine, BinaryOp& op, class F>
bool register_binary(F = {}) {
  return op.kernel.add(Engine::kind, [](const Tensor& a, const Tensor& b, const Tensor& y) {
    visit_floating(op.name, y.dtype(), [&]<class T>(Type<T>) { Engine::template run<T, T, T>(y, F{}, a, b); });
  });
}

}  // namespace weir
