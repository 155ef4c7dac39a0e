// Relative attention on the GPU: which form serves, and the steps of backward. See the files of the two forms. Products
// of float32 are exact, whatever Float32Products allows.
#include "ops/relative_attention.h"

#include "cuda/relative_attention_mma.cuh"
#include "cuda/relative_attention_mma_backward.cuh"
#include "cuda/relative_attention_plain.cuh"

namespace weir::cuda {
namespace {

using namespace attention;

constexpr const char* kName = "relative_attention";

template <class T>
bool on_tensor_cores(const RelativeAttentionInputs& in) {
  return std::is_same_v<T, bf16> && in.q.size(3) <= kTileWidth;
}

void relative_attention(const RelativeAttentionInputs& in, Float32Products, const Tensor& out,
                        const Tensor& logsumexp) {
  check_width(kName, in.q.size(3));
  if (out.numel() == 0) return;
  visit_floating(kName, in.q.dtype(), [&]<class T>(Type<T>) {
    const HostProblem<T> host(in, on_tensor_cores<T>(in));
    const auto rows = head_matrices<T>(out);
    const auto logs = per_query<accumulate_t<T>>(logsumexp);
    if constexpr (std::is_same_v<T, bf16>)
      if (on_tensor_cores<T>(in)) return mma_forward(host.problem, out.device(), rows, logs);
    plain_forward(host.problem, out.device(), rows, logs);
  });
}

template <class T>
void backward(const RelativeAttentionInputs& in, const Tensor& out, const Tensor& logsumexp, const Tensor& dout,
              const RelativeAttentionInputs& d) {
  using Sum = accumulate_t<T>;
  const bool tiles = on_tensor_cores<T>(in);
  const HostProblem<T> host(in, tiles);
  const Problem<T>& p = host.problem;
  const Device device = out.device();
  const Owners owners(p);
  const Tensor own_dout = tiles ? with_vector_rows(dout) : with_unit_rows(dout), means = Tensor::empty_like(logsumexp);
  const Tensor partial = Tensor::empty(Shape{owners.count * partial_floats(p)}, dtype_of<Sum>(), device);
  const BackwardTensors<T> t{head_matrices<const T>(own_dout),
                             per_query<Sum>(logsumexp),
                             per_query<Sum>(means),
                             head_matrices<T>(d.q),
                             head_matrices<T>(d.kv),
                             head_matrices<T>(d.kv, d.kv.strides()[3]),
                             partial.data<Sum>()};
  const Stream stream = stream_of(device);
  const auto heads = static_cast<unsigned>(p.heads);
  make_means(stream, out, t.dout, t.means);
  if constexpr (std::is_same_v<T, bf16>)
    if (tiles) mma_backward(p, device, owners, t);
  if (!tiles) plain_backward(p, device, owners, t);
  launch<reduce_partial_kernel<T>>({dim3(blocks_for((std::int64_t{p.keys} + 2) * p.width, 128), heads), 128}, stream, p,
                                   t.partial, owners.groups, head_matrices<T>(d.r), d.u.data<Sum>(), d.u.strides()[0],
                                   d.v.data<Sum>(), d.v.strides()[0]);
  launch<reduce_dscale_kernel<T>>({1, kWarp}, stream, p, t.partial, owners.count, d.scale.data<Sum>());
}

void relative_attention_backward(const RelativeAttentionInputs& in, const Tensor& out, const Tensor& logsumexp,
                                 const Tensor& dout, Float32Products, const RelativeAttentionInputs& d) {
  if (out.numel() == 0) {
    for (const Tensor& gradient : {d.q, d.kv, d.r, d.u, d.v, d.scale}) fill(gradient, 0);
    return;
  }
  visit_floating(kName, in.q.dtype(), [&]<class T>(Type<T>) { backward<T>(in, out, logsumexp, dout, d); });
}

const bool registered = relative_attention_kernel.add(DeviceKind::cuda, relative_attention) &&
                        relative_attention_backward_kernel.add(DeviceKind::cuda, relative_attention_backward);

}  // namespace
}  // namespace weir::cuda
