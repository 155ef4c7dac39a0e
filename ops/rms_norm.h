#pragma once

#include "core/kernel.h"
#include "core/tensor.h"
#include "ops/layer_norm.h"

namespace weir {

// y = x / sqrt(mean of x^2 + eps) * weight, the mean over each row (Zhang and Sennrich, "Root mean square layer
// normalization", NeurIPS 2019): layer norm without the mean and the bias. It is precise also for rows whose squares
// are out of range; a row of zeros stays one. x: [..., D], weight: [D]; both of one floating dtype, or x bf16 and
// weight float32.
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps = 1e-5);

// The same from square, mean, sqrt and divide, in weight's dtype; squares may leave its range.
Tensor rms_norm_composed(const Tensor& x, const Tensor& weight, double eps = 1e-5);

// statistics: of each row its RowNorm, whose mean is 0.
extern Kernel<void(const Tensor& x, const Tensor& weight, double eps, const Tensor& y, const RowStatistics& statistics)>
    rms_norm_kernel;
// dx: undefined where it is not wanted; dweight: always computed.
extern Kernel<void(const Tensor& x, const Tensor& weight, const RowStatistics& statistics, const Tensor& dy,
                   const Tensor& dx, const Tensor& dweight)>
    rms_norm_backward_kernel;

}  // namespace weir
