// Copies between any two views, with conversion; declared in core/tensor.h.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "core/copy.h"
#include "core/error.h"
#include "core/kernel.h"
#include "core/loop_space.h"
#include "core/parallel.h"
#include "core/tensor.h"

namespace weir {
namespace {

template <class To, class From>
To convert(From value) {
  if constexpr (std::is_same_v<To, From>)
    return value;
  else if constexpr (std::is_same_v<To, bf16>)
    return bf16(static_cast<float>(value));
  else if constexpr (std::is_same_v<From, bf16>)
    return static_cast<To>(static_cast<float>(value));
  else
    return static_cast<To>(value);
}

template <class From, class To>
void copy_row(const From* from, std::int64_t from_step, To* to, std::int64_t to_step, std::int64_t n) {
  if (from_step == 1 && to_step == 1) {
    if constexpr (std::is_same_v<From, To>)
      std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(To));
    else
      for (std::int64_t i = 0; i < n; ++i) to[i] = convert<To>(from[i]);
  } else {
    for (std::int64_t i = 0; i < n; ++i) to[i * to_step] = convert<To>(from[i * from_step]);
  }
}

}  // namespace

constinit Kernel<void(const Tensor&, const Tensor&)> copy_kernel{"copy"};
constinit Kernel<void(const Tensor&, double)> fill_kernel{"fill"};

namespace {

// Calls piece(n, offsets) for pieces that cover a loop space, each n elements of the inner loop; offsets[k] is where it
// begins in operand k.
template <std::size_t N, class F>
void for_pieces(const LoopSpace<N>& space, F&& piece) {
  constexpr std::int64_t kPiece = 4096;
  const std::int64_t cols = space.shape[-1], rows = space.shape.product() / cols, pieces = (cols + kPiece - 1) / kPiece;
  parallel_for(rows * pieces, grain_for(std::min(cols, kPiece)), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t row = item / pieces, first = item % pieces * kPiece;
      std::array<std::int64_t, N> offsets;
      for (std::size_t k = 0; k < N; ++k) offsets[k] = space.offset(k, row) + first * space.strides[k][-1];
      piece(std::min(kPiece, cols - first), offsets);
    }
  });
}

void copy_cpu(const Tensor& from, const Tensor& to) {
  const LoopSpace<2> space(from.shape(), {from.strides(), to.strides()});
  visit_any(from.dtype(), [&]<class From>(Type<From>) {
    visit_any(to.dtype(), [&]<class To>(Type<To>) {
      const From* const source = from.data<From>();
      To* const target = to.data<To>();
      for_pieces(space, [&](std::int64_t n, const std::array<std::int64_t, 2>& offsets) {
        copy_row(source + offsets[0], space.strides[0][-1], target + offsets[1], space.strides[1][-1], n);
      });
    });
  });
}

void fill_cpu(const Tensor& t, double value) {
  const LoopSpace<1> space(t.shape(), {t.strides()});
  const std::int64_t step = space.strides[0][-1];
  visit_any(t.dtype(), [&]<class T>(Type<T>) {
    T* const target = t.data<T>();
    for_pieces(space, [&](std::int64_t n, const std::array<std::int64_t, 1>& offsets) {
      T* const to = target + offsets[0];
      const T filling = convert<T>(value);
      if (step == 1)
        std::fill_n(to, n, filling);
      else
        for (std::int64_t i = 0; i < n; ++i) to[i * step] = filling;
    });
  });
}

const bool cpu = copy_kernel.add(DeviceKind::cpu, copy_cpu) && fill_kernel.add(DeviceKind::cpu, fill_cpu);

// A fresh tensor fills its storage, so that its bytes are its elements and the pad, in the same place on any device.
bool is_whole(const Tensor& t) {
  return t.raw() == t.storage()->data() && t.strides() == padded_strides(t.shape(), t.dtype());
}

bool is_packed(const Tensor& t) { return t.strides() == packed_strides(t.shape()); }

bool is_on_cpu(const Tensor& t) { return t.device().kind == DeviceKind::cpu; }

// `bytes` from where `from` begins to where `to` does; one of the two is on the CPU.
void send(const Tensor& from, const Tensor& to, std::size_t bytes) {
  if (is_on_cpu(to))
    backend_of(from.device()).copy_to_host(from.device().index, to.raw(), from.raw(), bytes);
  else
    backend_of(to.device()).copy_from_host(to.device().index, to.raw(), from.raw(), bytes);
}

// Between devices bytes travel, of fresh tensors; views and conversions are made on either side.
Tensor moved(const Tensor& t, Device device) {
  if (!is_on_cpu(t) && device.kind != DeviceKind::cpu) return moved(moved(t, {}), device);
  const Tensor source = is_whole(t) ? t : clone(t), target = Tensor::empty(t.shape(), t.dtype(), device);
  if (const std::size_t bytes = target.storage()->bytes(); bytes > 0) send(source, target, bytes);
  return target;
}

// Whether the elements of one are those of the other byte for byte, with nothing between them, and may travel.
bool can_be_sent(const Tensor& from, const Tensor& to) {
  return is_on_cpu(from) != is_on_cpu(to) && from.dtype() == to.dtype() && is_packed(from) && is_packed(to);
}

}  // namespace

void copy_into(const Tensor& from, const Tensor& to) {
  if (from.shape() != to.shape())
    throw ArgumentError(fmt::format("copy: shape {} does not fit {}", from.shape().str(), to.shape().str()));
  if (from.numel() == 0) return;
  to.bump_version();
  if (can_be_sent(from, to)) {
    refuse_gradient(from, "to_device", "t");
    return send(from, to, static_cast<std::size_t>(from.numel()) * dtype_size(from.dtype()));
  }
  copy_kernel(to.device(), to_device(from, to.device()), to);
}

Tensor clone(const Tensor& t) {
  refuse_gradient(t, "clone", "t");
  Tensor copy = Tensor::empty(t.shape(), t.dtype(), t.device());
  copy_into(t, copy);
  return copy;
}

Tensor reshaped(const Tensor& t, const Shape& shape) {
  if (auto view = reshape_view(t, shape)) return *view;
  const Tensor flat = Tensor::empty({t.numel()}, t.dtype(), t.device());
  copy_into(t, flat.strided(t.shape(), packed_strides(t.shape())));
  return flat.strided(shape, packed_strides(shape));
}

Tensor converted(const Tensor& t, DType dtype) {
  if (t.dtype() == dtype) return t;
  refuse_gradient(t, "converted", "cast() of ops/cast.h, or t");
  Tensor copy = Tensor::empty(t.shape(), dtype, t.device());
  copy_into(t, copy);
  return copy;
}

Tensor to_device(const Tensor& t, Device device) {
  if (t.device() == device) return t;
  refuse_gradient(t, "to_device", "t");
  return moved(t, device);
}

void fill(const Tensor& t, double value) {
  if (t.numel() == 0) return;
  t.bump_version();
  fill_kernel(t.device(), t, value);
}

}  // namespace weir
