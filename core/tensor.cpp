#include "core/tensor.h"

#include <fmt/format.h>

#include <cstring>

#include "core/error.h"
#include "core/gradient_mode.h"
#include "core/parallel.h"

namespace weir {

Storage::Storage(std::size_t bytes, Device device)
    : data_(bytes == 0 ? nullptr : allocator(device).allocate(bytes)), bytes_(bytes), device_(device) {}

Storage::~Storage() {
  if (data_ != nullptr) allocator(device_).release(data_, bytes_);
}

void Tensor::undefined() { throw ArgumentError("an undefined tensor was used"); }

void Tensor::wrong_type(DType asked) const {
  throw InternalError(fmt::format("asked for the {} elements of a {} tensor", dtype_name(asked), dtype_name(dtype())));
}

// --- layout -------------------------------------------------------------------------------------------------------

std::int64_t padded_cols(std::int64_t cols, DType dtype) {
  const auto per_16_bytes = static_cast<std::int64_t>(16 / dtype_size(dtype));
  return (cols + per_16_bytes - 1) / per_16_bytes * per_16_bytes;
}

namespace {

Strides strides_for_row(const Shape& shape, std::int64_t row_stride) {
  Strides strides = Strides::filled(shape.rank(), 1);
  std::int64_t next = row_stride;
  for (int i = shape.rank() - 2; i >= 0; --i) {
    strides[i] = next;
    next *= shape[i];
  }
  return strides;
}

}  // namespace

Strides packed_strides(const Shape& shape) { return strides_for_row(shape, shape.rank() > 0 ? shape[-1] : 1); }

Strides padded_strides(const Shape& shape, DType dtype) {
  return strides_for_row(shape, shape.rank() > 0 ? padded_cols(shape[-1], dtype) : 1);
}

bool is_rows_form(const Tensor& t) {
  const Shape& shape = t.shape();
  const Strides& strides = t.strides();
  if (t.numel() == 0 || t.rank() == 0) return true;
  if (shape[-1] > 1 && strides[-1] != 1) return false;
  std::int64_t expected = -1;  // unknown until the first outer axis with more than one element
  for (int i = t.rank() - 2; i >= 0; --i) {
    if (shape[i] == 1) continue;
    if (expected >= 0 && strides[i] != expected) return false;
    if (expected < 0 && strides[i] < shape[-1]) return false;  // overlapping rows (stride 0 and the like)
    expected = strides[i] * shape[i];
  }
  return true;
}

Tensor rows_form(const Tensor& t) { return is_rows_form(t) ? t : clone(t.detach()); }

template <class T>
Rows<T> rows_of(const Tensor& t) {
  if (!is_rows_form(t)) throw InternalError(fmt::format("a tensor of shape {} is not in rows form", t.shape().str()));
  T* const data = t.numel() == 0 ? nullptr : t.data<T>();
  if (t.rank() == 0) return {data, 1, 1, 1};
  const std::int64_t cols = t.size(-1);
  std::int64_t rows = 1, stride = padded_cols(cols, t.dtype());
  bool found = false;
  for (int i = t.rank() - 2; i >= 0; --i) {
    rows *= t.size(i);
    if (!found && t.size(i) > 1) stride = t.strides()[i], found = true;
  }
  return {data, rows, cols, stride};
}

template Rows<double> rows_of(const Tensor&);
template Rows<float> rows_of(const Tensor&);
template Rows<bf16> rows_of(const Tensor&);
template Rows<std::int32_t> rows_of(const Tensor&);
template Rows<std::int64_t> rows_of(const Tensor&);
template Rows<std::uint8_t> rows_of(const Tensor&);
template Rows<bool> rows_of(const Tensor&);

// --- construction -------------------------------------------------------------------------------------------------

namespace {

// The pad beside each row is part of the promise that a kernel may load 16 bytes anywhere.
void zero_pad(const Tensor& t) {
  if (t.rank() == 0 || t.numel() == 0) return;
  const std::int64_t cols = t.size(-1), stride = padded_cols(cols, t.dtype());
  if (stride == cols) return;
  const std::size_t element = dtype_size(t.dtype()), pitch = static_cast<std::size_t>(stride) * element,
                    used = static_cast<std::size_t>(cols) * element;
  backend_of(t.device())
      .zero(t.device().index, static_cast<std::byte*>(t.raw()) + used, pitch - used,
            static_cast<std::size_t>(t.numel() / cols), pitch);
}

}  // namespace

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  check_extents("tensor", shape);
  auto body = std::make_shared<Body>();
  body->shape = shape;
  body->strides = padded_strides(shape, dtype);
  body->dtype = dtype;
  const std::int64_t elements =
      shape.rank() == 0 ? 1 : (shape[-1] == 0 ? 0 : shape.product() / shape[-1] * padded_cols(shape[-1], dtype));
  body->storage = std::make_shared<Storage>(static_cast<std::size_t>(elements) * dtype_size(dtype), device);
  Tensor t(std::move(body));
  zero_pad(t);
  return t;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  if (const std::size_t bytes = t.storage()->bytes(); bytes > 0)
    backend_of(device).zero(device.index, t.storage()->data(), bytes, 1, bytes);
  return t;
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  fill(t, value);
  return t;
}

Tensor Tensor::from_values(const Shape& shape, std::span<const double> values, DType dtype, Device device) {
  if (shape.product() != static_cast<std::int64_t>(values.size()))
    throw ArgumentError(fmt::format("from_values: shape {} has {} elements, {} values were given", shape.str(),
                                    shape.product(), values.size()));
  Tensor source = empty(shape, DType::float64);
  const auto rows = rows_of<double>(source);
  for (std::int64_t r = 0; r < rows.rows && rows.cols > 0; ++r)
    std::memcpy(rows.row(r), values.data() + r * rows.cols, static_cast<std::size_t>(rows.cols) * sizeof(double));
  return to_device(converted(source, dtype), device);
}

Tensor Tensor::strided(const Shape& shape, const Strides& strides, std::int64_t offset) const {
  auto view = std::make_shared<Body>();
  view->storage = body().storage;
  view->shape = shape;
  view->strides = strides;
  view->offset = body().offset + offset;
  view->dtype = dtype();
  return Tensor(std::move(view));
}

std::vector<double> Tensor::values() const {
  std::vector<double> result(static_cast<std::size_t>(numel()));
  if (result.empty()) return result;
  const Tensor source = rows_form(converted(to_device(detach(), {}), DType::float64));
  const auto rows = rows_of<double>(source);
  for (std::int64_t r = 0; r < rows.rows; ++r)
    std::memcpy(result.data() + r * rows.cols, rows.row(r), static_cast<std::size_t>(rows.cols) * sizeof(double));
  return result;
}

double Tensor::item() const {
  if (numel() != 1) throw ArgumentError(fmt::format("item: expected one element, got shape {}", shape().str()));
  return values()[0];
}

bool Tensor::same_view(const Tensor& other) const {
  return defined() && other.defined() && body().storage == other.body().storage &&
         body().offset == other.body().offset && dtype() == other.dtype() && shape() == other.shape() &&
         strides() == other.strides();
}

bool Tensor::unique() const { return body_.use_count() == 1 && body().storage.use_count() == 1; }

// --- gradients ----------------------------------------------------------------------------------------------------

namespace {
thread_local constinit bool recording = true;
}

bool gradients_enabled() { return recording; }
GradientMode::GradientMode(bool enabled) : before_(recording) { recording = enabled; }
GradientMode::~GradientMode() { recording = before_; }

void refuse_gradient(const Tensor& t, const char* function, const char* differentiable) {
  if (!recording || t.gradient_slot() == nullptr) return;
  throw ArgumentError(
      fmt::format("{}: this tensor requires a gradient, which {} would drop; use {}.detach() where none is wanted",
                  function, function, differentiable));
}

// --- views --------------------------------------------------------------------------------------------------------

Tensor permute_view(const Tensor& t, std::span<const int> axes) {
  refuse_gradient(t, "permute_view", "permute() of ops/permute.h, or t");
  if (static_cast<int>(axes.size()) != t.rank())
    throw ArgumentError(fmt::format("permute: {} axes named for shape {}", axes.size(), t.shape().str()));
  Shape shape;
  Strides strides;
  unsigned seen = 0;
  for (int axis : axes) {
    const int a = normalise_axis("permute", axis, t.rank());
    if (seen >> a & 1u) throw ArgumentError(fmt::format("permute: axis {} is named twice", axis));
    seen |= 1u << a;
    shape.push_back(t.size(a));
    strides.push_back(t.strides()[a]);
  }
  return t.strided(shape, strides);
}

Tensor transpose_view(const Tensor& t, int axis_a, int axis_b) {
  refuse_gradient(t, "transpose_view", "transpose() of ops/permute.h, or t");
  const int a = normalise_axis("transpose", axis_a, t.rank()), b = normalise_axis("transpose", axis_b, t.rank());
  Shape shape = t.shape();
  Strides strides = t.strides();
  std::swap(shape[a], shape[b]);
  std::swap(strides[a], strides[b]);
  return t.strided(shape, strides);
}

Tensor slice_view(const Tensor& t, int axis, std::int64_t begin, std::int64_t end) {
  refuse_gradient(t, "slice_view", "slice() of ops/slice.h, or t");
  const int a = normalise_axis("slice", axis, t.rank());
  if (begin < 0 || begin > end || end > t.size(a))
    throw ArgumentError(
        fmt::format("slice: [{}, {}) is out of range for axis {} of shape {}", begin, end, axis, t.shape().str()));
  return t.strided(t.shape().with(a, end - begin), t.strides(), begin * t.strides()[a]);
}

Tensor broadcast_view(const Tensor& t, const Shape& shape) {
  refuse_gradient(t, "broadcast_view", "broadcast_to() of ops/broadcast_to.h, or t");
  if (broadcast_shapes("broadcast_to", t.shape(), shape) != shape)
    throw ArgumentError(fmt::format("broadcast_to: shape {} does not stretch to {}", t.shape().str(), shape.str()));
  Strides strides = Strides::filled(shape.rank(), 0);
  for (int i = 1; i <= t.rank(); ++i)
    if (t.size(-i) == shape[-i]) strides[-i] = t.strides()[-i];
  return t.strided(shape, strides);
}

std::optional<Tensor> reshape_view(const Tensor& t, const Shape& shape) {
  refuse_gradient(t, "reshape_view", "reshape() of ops/reshape.h, or t");
  if (shape.product() != t.numel())
    throw ArgumentError(fmt::format("reshape: shape {} has {} elements, {} has {}", t.shape().str(), t.numel(),
                                    shape.str(), shape.product()));
  if (t.numel() == 0) return t.strided(shape, packed_strides(shape));
  // Walk both shapes from the end; a run of old axes that lies evenly in memory may be cut anew.
  Strides strides = Strides::filled(shape.rank(), 1);
  int to = shape.rank() - 1;
  for (int from = t.rank() - 1; from >= 0;) {
    std::int64_t run = t.size(from), inner = t.strides()[from];
    int first = from - 1;
    while (first >= 0 && (t.size(first) == 1 || run == 1 || t.strides()[first] == inner * run)) {
      if (run == 1 && t.size(first) != 1) inner = t.strides()[first];
      run *= t.size(first--);
    }
    std::int64_t stride = inner, filled = 1;
    while (to >= 0 && filled * shape[to] <= run && run % (filled * shape[to]) == 0) {
      strides[to] = stride;
      stride *= shape[to];
      filled *= shape[to--];
      if (filled == run && (to < 0 || shape[to] != 1)) break;
    }
    if (filled != run) return std::nullopt;
    from = first;
  }
  return t.strided(shape, strides);
}

}  // namespace weir
