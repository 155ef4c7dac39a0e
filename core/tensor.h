// Tensor: a strided view of a piece of storage. Copying a Tensor copies the handle, never the elements.
//
// Rows are padded in storage, not in shape: a fresh tensor whose last axis is not a multiple of 16 bytes has its row
// stride rounded up, and the pad holds zeros (412 bf16 values take 416). Kernels may therefore load 16 bytes at a time
// at any width, and must leave the pad zero. Views may have any strides; an op asks for what it needs with `rows_form`.
//
// A Tensor knows nothing of gradients; autograd hangs its own record on it through `GradientSlot`.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/dtype.h"
#include "core/shape.h"

namespace weir {

// A block of device memory, released with its last owner.
class Storage {
 public:
  Storage(std::size_t bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

  // How often bump_version() was called. Autograd compares: what it kept must be at the version that it kept.
  std::uint64_t version() const { return version_.load(std::memory_order_relaxed); }
  void bump_version() { version_.fetch_add(1, std::memory_order_relaxed); }

 private:
  void* data_ = nullptr;
  std::size_t bytes_;
  Device device_;
  std::atomic<std::uint64_t> version_{0};
};

// Where autograd keeps what it knows about a tensor. Core never looks inside.
struct GradientSlot {
  virtual ~GradientSlot() = default;
};

class Tensor {
 public:
  Tensor() = default;  // undefined: only defined() and assignment are allowed

  // Fresh tensors in the padded row layout. `empty` leaves the elements unspecified (the pad is zero).
  static Tensor empty(const Shape& shape, DType dtype, Device device = {});
  static Tensor zeros(const Shape& shape, DType dtype, Device device = {});
  static Tensor full(const Shape& shape, double value, DType dtype, Device device = {});
  static Tensor empty_like(const Tensor& other) { return empty(other.shape(), other.dtype(), other.device()); }
  static Tensor zeros_like(const Tensor& other) { return zeros(other.shape(), other.dtype(), other.device()); }
  // Row-major values, converted to `dtype`.
  static Tensor from_values(const Shape& shape, std::span<const double> values, DType dtype = DType::float64,
                            Device device = {});
  static Tensor scalar(double value, DType dtype) { return full({}, value, dtype); }

  bool defined() const { return body_ != nullptr; }
  const Shape& shape() const { return body().shape; }
  const Strides& strides() const { return body().strides; }
  int rank() const { return shape().rank(); }
  std::int64_t size(int axis) const { return shape()[axis]; }
  std::int64_t numel() const { return shape().product(); }
  DType dtype() const { return body().dtype; }
  Device device() const { return body().storage->device(); }
  const std::shared_ptr<Storage>& storage() const { return body().storage; }

  // First element. Throws InternalError when T is not the tensor's element type.
  template <class T>
  T* data() const {
    if (dtype_of<T>() != dtype()) wrong_type(dtype_of<T>());
    return static_cast<T*>(raw());
  }
  void* raw() const {
    auto* const storage = static_cast<std::byte*>(body().storage->data());  // null where there are no elements
    return storage == nullptr ? nullptr : storage + body().offset * static_cast<std::int64_t>(dtype_size(dtype()));
  }

  // Another view of the same storage; `offset` counts elements from this view's first element. Carries no gradient.
  Tensor strided(const Shape& shape, const Strides& strides, std::int64_t offset = 0) const;
  // The same elements without autograd's record.
  Tensor detach() const { return strided(shape(), strides(), 0); }

  // Row-major copies of the elements, for tests, metrics and messages.
  std::vector<double> values() const;
  double item() const;  // the only element; throws ArgumentError when there is not exactly one

  const std::shared_ptr<GradientSlot>& gradient_slot() const { return body().gradient; }
  void set_gradient_slot(std::shared_ptr<GradientSlot> slot) const { body().gradient = std::move(slot); }
  bool same_view(const Tensor& other) const;  // same storage, place, shape and strides
  bool unique() const;                        // nobody else can see these elements

  // Every function that writes to a tensor it is given calls this; views share the count. Who writes through data(),
  // raw() or rows_of(), where nobody sees it, does so himself.
  void bump_version() const { body().storage->bump_version(); }
  std::uint64_t version() const { return body().storage->version(); }

 private:
  struct Body {
    std::shared_ptr<Storage> storage;
    Shape shape;
    Strides strides;
    std::int64_t offset = 0;  // elements
    DType dtype = DType::float32;
    std::shared_ptr<GradientSlot> gradient;
  };
  explicit Tensor(std::shared_ptr<Body> body) : body_(std::move(body)) {}
  Body& body() const {
    if (!body_) undefined();
    return *body_;
  }
  [[noreturn]] static void undefined();
  [[noreturn]] void wrong_type(DType asked) const;

  std::shared_ptr<Body> body_;
};

// --- layout -------------------------------------------------------------------------------------------------------

// Elements from one row to the next in a fresh tensor with `cols` columns: cols rounded up to 16 bytes.
std::int64_t padded_cols(std::int64_t cols, DType dtype);
// The strides of a fresh tensor of that shape.
Strides padded_strides(const Shape& shape, DType dtype);
// The strides without any padding.
Strides packed_strides(const Shape& shape);

// A tensor seen as a matrix: the last axis is a row of `cols` unit-stride elements, rows are `stride` elements apart.
// Without elements `data` is null, and so is every row.
template <class T>
struct Rows {
  T* data;
  std::int64_t rows, cols, stride;
  constexpr T* row(std::int64_t i) const { return data == nullptr ? nullptr : data + i * stride; }
};

// True where the last axis has unit stride and the outer axes collapse into one with a single stride.
bool is_rows_form(const Tensor& t);
// `t` itself if it is in rows form, else a fresh copy that is. Carries no gradient.
Tensor rows_form(const Tensor& t);
// The matrix behind a tensor in rows form (rank 0 is 1x1). Throws InternalError for others.
template <class T>
Rows<T> rows_of(const Tensor& t);

// --- views: same storage; ops/ has the differentiable versions ------------------------------------------------------

// These, and the copies below that return a tensor, carry no gradient: of a tensor that requires one, while gradients
// are enabled, they throw ArgumentError, and t.detach() says that none is wanted.

Tensor permute_view(const Tensor& t, std::span<const int> axes);
Tensor transpose_view(const Tensor& t, int axis_a, int axis_b);
Tensor slice_view(const Tensor& t, int axis, std::int64_t begin, std::int64_t end);
Tensor broadcast_view(const Tensor& t, const Shape& shape);               // stride 0 along stretched axes
std::optional<Tensor> reshape_view(const Tensor& t, const Shape& shape);  // nothing where a copy would be needed
Tensor reshaped(const Tensor& t, const Shape& shape);                     // a view, or else a copy without row padding

// --- copies -------------------------------------------------------------------------------------------------------

// Element by element, with conversion of dtype, also between devices, and without gradient. Shapes must be equal; the
// views must not overlap.
void copy_into(const Tensor& from, const Tensor& to);
Tensor clone(const Tensor& t);                     // fresh, in the padded row layout
Tensor converted(const Tensor& t, DType dtype);    // `t` itself where the dtype is right already
Tensor to_device(const Tensor& t, Device device);  // `t` itself where it is there already
void fill(const Tensor& t, double value);

// For functions that drop gradients: throws ArgumentError where `t` requires one and gradients are enabled.
// `differentiable`: what to use in place of `function`, "slice() of ops/slice.h, or t".
void refuse_gradient(const Tensor& t, const char* function, const char* differentiable);

}  // namespace weir
