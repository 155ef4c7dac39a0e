// Causal attention on the GPU: which form serves, and the steps of backward. See the files of the two forms. Products
// of float32 are exact, whatever Float32Products allows.
#include "ops/causal_attention.h"

#include <type_traits>

#include "cuda/causal_attention_mma.cuh"
#include "cuda/causal_attention_plain.cuh"

namespace weir::cuda {
namespace {

using namespace attention;

constexpr const char* kName = "causal_attention";

template <class T>
bool on_tensor_cores(const CausalAttentionInputs& in) {
  return std::is_same_v<T, bf16> && in.q.size(3) <= kTileWidth;
}

void causal_attention(const CausalAttentionInputs& in, Float32Products, const Tensor& out, const Tensor& logsumexp) {
  check_width(kName, in.q.size(3));
  if (out.numel() == 0) return;
  visit_floating(kName, in.q.dtype(), [&]<class T>(Type<T>) {
    const HostCausalProblem<T> host(in, on_tensor_cores<T>(in));
    const auto rows = head_matrices<T>(out);
    const auto logs = per_query<accumulate_t<T>>(logsumexp);
    if constexpr (std::is_same_v<T, bf16>)
      if (on_tensor_cores<T>(in)) return mma_causal_forward(host.problem, out.device(), rows, logs);
    plain_causal_forward(host.problem, out.device(), rows, logs);
  });
}

template <class T, Of of>
void make_gradients(const CausalBackward<T, of>& t, Device device, bool tiles) {
  if constexpr (std::is_same_v<T, bf16>)
    if (tiles) return mma_causal_backward(t, device);
  plain_causal_backward(t, device);
}

template <class T>
void backward(const CausalAttentionInputs& in, const Tensor& out, const Tensor& logsumexp, const Tensor& dout,
              const CausalAttentionGradients& d) {
  using Sum = accumulate_t<T>;
  const bool tiles = on_tensor_cores<T>(in);
  const HostCausalProblem<T> host(in, tiles);
  const Tensor own_dout = tiles ? with_vector_rows(dout) : with_unit_rows(dout), means = Tensor::empty_like(logsumexp);
  const auto dout_rows = head_matrices<const T>(own_dout);
  const auto logs = per_query<Sum>(logsumexp), mean_of = per_query<Sum>(means);
  const Device device = out.device();
  make_means<T>(stream_of(device), out, dout_rows, mean_of);
  make_gradients<T>(CausalBackward<T, Of::queries>{host.problem, dout_rows, logs, mean_of, head_matrices<T>(d.dq), {}},
                    device, tiles);
  make_gradients<T>(CausalBackward<T, Of::keys>{host.problem, dout_rows, logs, mean_of, head_matrices<T>(d.dk),
                                                head_matrices<T>(d.dv)},
                    device, tiles);
}

void causal_attention_backward(const CausalAttentionInputs& in, const Tensor& out, const Tensor& logsumexp,
                               const Tensor& dout, Float32Products, const CausalAttentionGradients& d) {
  if (out.numel() == 0) {
    d.for_each_tensor([](const Tensor& gradient) { fill(gradient, 0); });
    return;
  }
  visit_floating(kName, in.q.dtype(), [&]<class T>(Type<T>) { backward<T>(in, out, logsumexp, dout, d); });
}

const bool registered = causal_attention_kernel.add(DeviceKind::cuda, causal_attention) &&
                        causal_attention_backward_kernel.add(DeviceKind::cuda, causal_attention_backward);

}  // namespace
}  // namespace weir::cuda
