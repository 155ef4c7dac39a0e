// The method stands in layer_norm_rows.cuh.
#include "cuda/layer_norm_rows.cuh"
#include "ops/support/parameters.h"

namespace weir::cuda {
namespace {

void layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, const Tensor& y,
                const RowStatistics& statistics) {
  if (x.numel() == 0) return;
  const Tensor in = rows_form(x);
  visit_with_parameters("layer_norm", x.dtype(), weight.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    launch_norm<T, P>(x.device(), rows_of<T>(in), weight, bias, eps, rows_of<T>(y), statistics);
  });
}

void layer_norm_backward(const Tensor& x, const Tensor& weight, const RowStatistics& statistics, const Tensor& dy,
                         const Tensor& dx, const Tensor& dweight, const Tensor& dbias) {
  if (x.numel() == 0) {
    fill(dweight, 0);
    fill(dbias, 0);
    return;
  }
  const Tensor in = rows_form(x), gradients = rows_form(dy);
  visit_with_parameters("layer_norm", x.dtype(), weight.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    const StoreDx<T> store{dx.defined() ? rows_of<T>(dx) : Rows<T>{}};
    launch_layer_norm_backward<T, P>(x.device(), rows_of<T>(in), weight, statistics, rows_of<T>(gradients), store,
                                     rows_hold_packs(store.dx), dweight, dbias);
  });
}

const bool registered = layer_norm_kernel.add(DeviceKind::cuda, layer_norm) &&
                        layer_norm_backward_kernel.add(DeviceKind::cuda, layer_norm_backward);

}  // namespace
}  // namespace weir::cuda
