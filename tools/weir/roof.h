// What this machine reaches at best, measured in the run itself and on all threads, for a benchmark to stand beside.
#pragma once

#include "core/dtype.h"
#include "core/tensor.h"
#include "tools/weir/bench.h"

namespace weir {

// The roof of work that consists of matrix products of float32 or bf16: the best of three large products, each by us
// and by a library that shares it out itself (ops/cpu/library_gemm.h), medians as all times are. Both, because the
// library's threads wait for one another and are the slower ones where other programs run. None on devices other than
// the CPU.
Roof matrix_roof(DType dtype, Device device = {});

// Reading a float32 tensor from one end to the other.
Timing time_read(const BenchOptions& options, const Tensor& values);

}  // namespace weir
