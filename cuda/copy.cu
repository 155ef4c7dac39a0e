// Copies between views of one device's memory, with conversion, and fills.
#include "core/copy.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
namespace {

// By way of float for bf16, as on the CPU.
template <class To>
struct Convert {
  template <class From>
  __device__ To operator()(From value) const {
    if constexpr (std::is_same_v<To, bf16>)
      return bf16(static_cast<float>(value));
    else
      return static_cast<To>(value);
  }
};

template <class T>
struct Constant {
  T value;
  __device__ T operator()() const { return value; }
};

void copy(const Tensor& from, const Tensor& to) {
  visit_any(from.dtype(), [&]<class From>(Type<From>) {
    visit_any(to.dtype(), [&]<class To>(Type<To>) { elementwise<To, From>(to, Convert<To>{}, from); });
  });
}

void fill(const Tensor& t, double value) {
  visit_any(t.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    elementwise<T>(t, Constant<Value>{static_cast<Value>(value)});
  });
}

const bool registered = copy_kernel.add(DeviceKind::cuda, copy) && fill_kernel.add(DeviceKind::cuda, fill);

}  // namespace
}  // namespace weir::cuda
