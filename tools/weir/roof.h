// What this machine reaches at best, measured in the run itself and on all threads, for a benchmark to stand beside.
#pragma once

#include "core/dtype.h"
#include "core/float32_products.h"
#include "core/tensor.h"
#include "tools/weir/bench.h"
#include "tools/weir/matrix_product.h"

namespace weir {

// The roof of work that consists of matrix products of float32, as exact as `products` says, or of bf16; times are
// medians, as all are.
// On the CPU: the best of three large products, each by us and by a library that shares it out itself
// (ops/cpu/library_gemm.h) and always multiplies float32 exactly. Both, because the library's threads wait for one
// another and are the slower ones where other programs run.
// On other devices: the best of our matmul's products of square matrices, each twice as wide as the one before.
Roof matrix_roof(DType dtype, Device device = {}, Float32Products products = Float32Products::ieee);

// The CPU's roof of the same work while something else is measured, which a clock that changes would make unfair to
// measure at another time: a large product, timed whenever `measure` is called.
class RoofBeside {
 public:
  explicit RoofBeside(DType dtype, Float32Products products = Float32Products::ieee);

  void measure();
  Roof roof() const;  // by the mean of the times

 private:
  MatrixProduct product_;
  std::int64_t runs_ = 0;
  double seconds_ = 0;
};

// Copies a float32 tensor of so many MiB, which should be more than the caches hold.
inline constexpr std::int64_t kRoofMebibytes = 256;
BenchCase time_copy(const BenchOptions& options, std::int64_t mebibytes, Device device);

// The better of such a copy and of reading as much.
Roof memory_roof(Device device);

// Reads a float32 tensor from one end to the other: on the CPU pads included, on other devices by `sum` along its rows.
BenchCase time_read(const BenchOptions& options, const Tensor& values);

}  // namespace weir
