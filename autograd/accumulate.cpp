#include "autograd/accumulate.h"

#include <fmt/format.h>

#include "autograd/backward.h"
#include "core/error.h"
#include "core/parallel.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&)> add_into_kernel{"add_into"};

void add_into(const Tensor& from, const Tensor& to) {
  if (from.shape() != to.shape() || from.dtype() != to.dtype())
    throw InternalError(fmt::format("a gradient of shape {} and dtype {} cannot be added to one of {} and {}",
                                    from.shape().str(), dtype_name(from.dtype()), to.shape().str(),
                                    dtype_name(to.dtype())));
  to.bump_version();
  add_into_kernel(to.device(), from, to);
}

namespace {

void add_into_cpu(const Tensor& from, const Tensor& to) {
  if (!is_rows_form(to)) {
    const Tensor sum = clone(to);
    add_into_cpu(from, sum);
    copy_into(sum, to);
    return;
  }
  const Tensor source = rows_form(from);
  visit_floating("add_into", to.dtype(), [&]<class T>(Type<T>) {
    const auto a = rows_of<T>(source), b = rows_of<T>(to);
    parallel_for(b.rows, grain_for(b.cols), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const T* const x = a.row(r);
        T* const y = b.row(r);
        for (std::int64_t c = 0; c < b.cols; ++c)
          y[c] = T(static_cast<accumulate_t<T>>(y[c]) + static_cast<accumulate_t<T>>(x[c]));
      }
    });
  });
}

const bool on_cpu = add_into_kernel.add(DeviceKind::cpu, add_into_cpu);

}  // namespace

Tensor accumulate(Tensor a, const Tensor& b) {
  if (!gradients_enabled() && a.unique()) {
    add_into(b, a);
    return a;
  }
  Tensor sum = clone(a.detach());
  add_into(b, sum);
  Backward back("accumulate", {a, b}, {sum});
  back.input(0, [](const Tensor& dy) { return dy; });
  back.input(1, [](const Tensor& dy) { return dy; });
  return sum;
}

}  // namespace weir
