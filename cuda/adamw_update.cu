// One thread settles the coefficients, which need powers in float64, and counts the update; then one pass over the
// arenas, 16 bytes of each at a time.
#include "ops/adamw_update.h"

#include <bit>

#include "cuda/pack.cuh"
#include "cuda/runtime.h"

namespace weir::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void settle(double* updates, const double* learning_rate, const double* factor, AdamWSettings settings,
                       AdamWCoefficients* coefficients) {
  *coefficients = adamw_coefficients(*updates, *learning_rate, *factor, settings);
  if (coefficients->applies) *updates += 1;
}

// `vectors`: all four begin on 16 bytes.
template <class T>
__global__ void __launch_bounds__(kThreads)
    update(T* values, const T* gradients, T* first, T* second, std::int64_t n, bool vectors, AdamWSettings settings,
           const AdamWCoefficients* coefficients, double* unsound) {
  const AdamWCoefficients c = *coefficients;
  if (!c.applies) return;
  const AdamWElement<accumulate_t<T>> updater(settings, c);
  const std::int64_t stride = std::int64_t{gridDim.x} * kThreads,
                     thread = std::int64_t{blockIdx.x} * kThreads + threadIdx.x, packs = vectors ? n / kPack<T> : 0;
  SizeBits<accumulate_t<T>> largest = 0;
  const auto update_one = [&](T& p, T gradient, T& m, T& v) {
    const auto size = updater(p, gradient, m, v);
    largest = size > largest ? size : largest;
  };
  for (std::int64_t i = thread; i < packs; i += stride) {
    auto p = reinterpret_cast<Pack<T>*>(values)[i];
    const auto g = reinterpret_cast<const Pack<T>*>(gradients)[i];
    auto m = reinterpret_cast<Pack<T>*>(first)[i], v = reinterpret_cast<Pack<T>*>(second)[i];
    for (int j = 0; j < kPack<T>; ++j) update_one(p.values[j], g.values[j], m.values[j], v.values[j]);
    reinterpret_cast<Pack<T>*>(values)[i] = p;
    reinterpret_cast<Pack<T>*>(first)[i] = m;
    reinterpret_cast<Pack<T>*>(second)[i] = v;
  }
  for (std::int64_t i = packs * kPack<T> + thread; i < n; i += stride)
    update_one(values[i], gradients[i], first[i], second[i]);
  // Whoever writes, writes the same.
  if (!is_sound<accumulate_t<T>>(largest) && unsound != nullptr)
    atomicExch(reinterpret_cast<unsigned long long*>(unsound), std::bit_cast<unsigned long long>(1.0));
}

void adamw_update(const Tensor& values, const Tensor& gradients, const AdamWState& state, const Tensor& learning_rate,
                  const Tensor& factor, const AdamWSettings& settings) {
  const Stream stream = stream_of(values.device());
  const Tensor space =
      Tensor::empty({static_cast<std::int64_t>(sizeof(AdamWCoefficients))}, DType::uint8, values.device());
  double* const unsound = state.unsound.defined() ? state.unsound.data<double>() : nullptr;
  auto* const coefficients = static_cast<AdamWCoefficients*>(space.raw());
  launch<settle>({1, 1}, stream, state.updates.data<double>(), learning_rate.data<double>(), factor.data<double>(),
                 settings, coefficients);
  visit_floating("adamw_update", values.dtype(), [&]<class T>(Type<T>) {
    const bool vectors = rows_hold_packs(rows_of<T>(values), rows_of<T>(gradients), rows_of<T>(state.first_moment),
                                         rows_of<T>(state.second_moment));
    launch<update<T>>({blocks_for(values.numel(), kThreads * 16 / sizeof(T)), kThreads}, stream, values.data<T>(),
                      gradients.data<T>(), state.first_moment.data<T>(), state.second_moment.data<T>(), values.numel(),
                      vectors, settings, coefficients, unsound);
  });
}

const bool registered = adamw_update_kernel.add(DeviceKind::cuda, adamw_update);

}  // namespace
}  // namespace weir::cuda
