#pragma once

#include "core/kernel.h"
#include "core/tensor.h"

namespace weir {

// The mean over all targets of log(sum over v of e^logits[..., v]) - logits[..., target], in nats: a tensor of rank 0,
// float64 for float64 logits, else float32. logits: [..., V]; targets: [...] of int64, int32 or uint8, values 0..V-1,
// at least one.
//
// Nobody needs the logits of a training step once the loss is known, and they may be its largest tensor: with
// LogitsAfterwards::gradient the backward pass overwrites them with their gradient. It may then run once only.
enum class LogitsAfterwards { kept, gradient };
Tensor cross_entropy(const Tensor& logits, const Tensor& targets, LogitsAfterwards afterwards = LogitsAfterwards::kept);

// loss: rank 0; logsumexp: [rows], both of the loss's dtype.
extern Kernel<void(const Tensor& logits, const Tensor& targets, const Tensor& loss, const Tensor& logsumexp)>
    cross_entropy_kernel;
// dlogits, which may be logits = (softmax(logits) - onehot(targets)) * dloss / rows.
extern Kernel<void(const Tensor& logits, const Tensor& targets, const Tensor& logsumexp, const Tensor& dloss,
                   const Tensor& dlogits)>
    cross_entropy_backward_kernel;

}  // namespace weir
