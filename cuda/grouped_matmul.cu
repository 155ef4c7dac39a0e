#include "ops/grouped_matmul.h"

#include "cuda/grouped_gemm.cuh"

namespace weir::cuda {
namespace {

void grouped_matmul(const Tensor& x, const Tensor& weight, const Tensor& offsets, bool transposed,
                    Float32Products products, const Tensor& y) {
  visit_floating("grouped_matmul", x.dtype(), [&]<class T>(Type<T>) {
    const Tensor rows = aligned_rows<T>(x), factors = aligned_rows<T>(converted(weight, x.dtype()));
    const GatheredRows<T> a{rows_of<T>(rows)};
    const GroupedMatrices<T> b{rows_of<T>(factors), weight.size(1)};
    const Store<T> store{rows_of<T>(y)};
    with_tiles<T>(products, [&]<class Tiles>(Type<Tiles>) {
      const RowTiles tiles(rows_form(offsets), x.size(0), Tiles::kRows, 0);
      if (transposed)
        multiply_rows<Tiles, true>(x.device(), a, b, tiles, store);
      else
        multiply_rows<Tiles, false>(x.device(), a, b, tiles, store);
    });
  });
}

void grouped_matmul_weight(const Tensor& x, const Tensor& dy, const Tensor& offsets, Float32Products products,
                           const Tensor& dweight) {
  visit_floating("grouped_matmul", x.dtype(), [&]<class T>(Type<T>) {
    const DType sum = dtype_of<accumulate_t<T>>();
    const Tensor input = aligned_rows<T>(x), gradient = aligned_rows<T>(converted(dy, x.dtype()));
    const Tensor sums = dweight.dtype() == sum ? dweight : Tensor::empty(dweight.shape(), sum, dweight.device());
    const GatheredRows<T> a{rows_of<T>(input)}, b{rows_of<T>(gradient)};
    with_tiles<T>(products,
                  [&]<class Tiles>(Type<Tiles>) { multiply_groups<Tiles>(a, b, rows_form(offsets), x.size(0), sums); });
    if (dweight.dtype() != sum) copy_into(sums, dweight);
  });
}

const bool registered = grouped_matmul_kernel.add(DeviceKind::cuda, grouped_matmul) &&
                        grouped_matmul_weight_kernel.add(DeviceKind::cuda, grouped_matmul_weight);

}  // namespace
}  // namespace weir::cuda
