// One pass over the arenas, 16 bytes of each at a time. Each thread reads learning rate and factor from the device's
// memory; nobody reads the count of updates, so one thread may write it meanwhile.
#include "ops/sgd_update.h"

#include <bit>
#include <cmath>

#include "cuda/pack.cuh"
#include "cuda/runtime.h"

namespace weir::cuda {
namespace {

constexpr int kThreads = 256;

// The numbers in the device's memory; `updates` and `unsound` may be null.
struct Numbers {
  const double *learning_rate, *factor;
  double *updates, *unsound;
};

// `vectors`: all begin on 16 bytes. Without kMomentum `kept` is null.
template <class T, bool kMomentum>
__global__ void __launch_bounds__(kThreads) update(T* values, const T* gradients, T* kept, std::int64_t n, bool vectors,
                                                   SgdSettings settings, Numbers numbers) {
  const double factor = *numbers.factor;
  if (!std::isfinite(factor)) return;
  const SgdElement<accumulate_t<T>> updater(settings, *numbers.learning_rate, factor);
  const std::int64_t stride = std::int64_t{gridDim.x} * kThreads,
                     thread = std::int64_t{blockIdx.x} * kThreads + threadIdx.x, packs = vectors ? n / kPack<T> : 0;
  if (thread == 0 && numbers.updates != nullptr) *numbers.updates += 1;
  SizeBits<accumulate_t<T>> largest = 0;
  const auto note = [&](SizeBits<accumulate_t<T>> size) { largest = size > largest ? size : largest; };
  for (std::int64_t i = thread; i < packs; i += stride) {
    auto p = reinterpret_cast<Pack<T>*>(values)[i];
    const auto g = reinterpret_cast<const Pack<T>*>(gradients)[i];
    if constexpr (kMomentum) {
      auto b = reinterpret_cast<Pack<T>*>(kept)[i];
      for (int j = 0; j < kPack<T>; ++j) note(updater(p.values[j], g.values[j], b.values[j]));
      reinterpret_cast<Pack<T>*>(kept)[i] = b;
    } else {
      for (int j = 0; j < kPack<T>; ++j) note(updater(p.values[j], g.values[j]));
    }
    reinterpret_cast<Pack<T>*>(values)[i] = p;
  }
  for (std::int64_t i = packs * kPack<T> + thread; i < n; i += stride) {
    if constexpr (kMomentum)
      note(updater(values[i], gradients[i], kept[i]));
    else
      note(updater(values[i], gradients[i]));
  }
  // Whoever writes, writes the same.
  if (!is_sound<accumulate_t<T>>(largest) && numbers.unsound != nullptr)
    atomicExch(reinterpret_cast<unsigned long long*>(numbers.unsound), std::bit_cast<unsigned long long>(1.0));
}

void sgd_update(const Tensor& values, const Tensor& gradients, const SgdState& state, const Tensor& learning_rate,
                const Tensor& factor, const SgdSettings& settings) {
  const Stream stream = stream_of(values.device());
  const Numbers numbers{learning_rate.data<double>(), factor.data<double>(),
                        state.updates.defined() ? state.updates.data<double>() : nullptr,
                        state.unsound.defined() ? state.unsound.data<double>() : nullptr};
  visit_floating("sgd_update", values.dtype(), [&]<class T>(Type<T>) {
    const LaunchShape size{blocks_for(values.numel(), kThreads * 16 / sizeof(T)), kThreads};
    const bool vectors = rows_hold_packs(rows_of<T>(values), rows_of<T>(gradients));
    if (state.momentum.defined())
      launch<update<T, true>>(size, stream, values.data<T>(), gradients.data<T>(), state.momentum.data<T>(),
                              values.numel(), vectors && rows_hold_packs(rows_of<T>(state.momentum)), settings,
                              numbers);
    else
      launch<update<T, false>>(size, stream, values.data<T>(), gradients.data<T>(), static_cast<T*>(nullptr),
                               values.numel(), vectors, settings, numbers);
  });
}

const bool registered = sgd_update_kernel.add(DeviceKind::cuda, sgd_update);

}  // namespace
}  // namespace weir::cuda
