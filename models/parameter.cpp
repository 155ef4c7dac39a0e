#include "models/parameter.h"

#include <fmt/format.h>

#include <algorithm>

#include "autograd/autograd.h"
#include "core/error.h"
#include "ops/add.h"
#include "ops/where_finite.h"

namespace weir {
namespace {

// Initialisers draw at a step that training never reaches, so that they share no numbers with dropout.
constexpr std::uint32_t kInitialStep = 0xFFFFFFFF;

// FNV-1a: the stream of a parameter is its name.
std::uint32_t stream_of(const std::string& name) {
  std::uint32_t hash = 2166136261u;
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

std::int64_t storage_elements(const Shape& shape, DType dtype) {
  if (shape.product() == 0) return 0;
  const std::int64_t elements = shape.rank() == 0 ? 1 : shape.product() / shape[-1] * padded_cols(shape[-1], dtype);
  const auto line = static_cast<std::int64_t>(Allocator::kAlignment / dtype_size(dtype));
  return (elements + line - 1) / line * line;
}

// Initialisers write on the CPU; what lives elsewhere is drawn there and copied.
void draw(const Initialiser& initialise, const std::string& name, std::uint64_t seed, const Tensor& value) {
  const bool on_cpu = value.device().kind == DeviceKind::cpu;
  const Tensor drawn = on_cpu ? value.detach() : Tensor::empty(value.shape(), value.dtype());
  initialise(drawn, {seed, stream_of(name), kInitialStep});
  if (on_cpu)
    value.bump_version();
  else
    copy_into(drawn, value);
}

// The sum of what was observed of a buffer, in the order of the passes.
Tensor sum_of(const Buffer& buffer, std::span<const Observation> observations) {
  Tensor sum;
  for (const Observation& o : observations)
    if (o.buffer == &buffer) sum = sum.defined() ? sum + o.value : o.value;
  if (sum.defined()) return sum;
  throw ArgumentError(
      fmt::format("the buffer '{}' follows what the model observes, but no forward pass of this step returned an "
                  "observation of it: a model has to return those of its layers (LanguageModelOutput::observations)",
                  buffer.name));
}

}  // namespace

void ParameterSet::check_new(const std::string& name, const Shape& shape) const {
  if (values_.defined()) throw InternalError("parameter '" + name + "' was declared after allocate()");
  const auto same = [&](const auto& declared) { return declared.name == name; };
  if (std::any_of(parameters_.begin(), parameters_.end(), same) || std::any_of(buffers_.begin(), buffers_.end(), same))
    throw ArgumentError("parameter '" + name + "' is declared twice");
  check_extents(name.c_str(), shape);
}

const Parameter& ParameterSet::add(const std::string& name, const Shape& shape, Initialiser initialise) {
  check_new(name, shape);
  return parameters_.emplace_back(Parameter{name, shape, std::move(initialise), {}});
}

const Buffer& ParameterSet::add_buffer(const std::string& name, const Shape& shape, Initialiser initialise,
                                       BufferUpdate update) {
  check_new(name, shape);
  return buffers_.emplace_back(Buffer{name, shape, std::move(initialise), std::move(update), {}});
}

void ParameterSet::allocate(DType dtype, std::uint64_t seed, Device device) {
  const bool on_meta = device.kind == DeviceKind::meta;  // no arena there: all together may be too much for a tensor
  std::int64_t total = 0;
  for (const Parameter& p : parameters_) {
    offsets_.push_back(total);
    if (!on_meta) total += storage_elements(p.shape, dtype);
  }
  values_ = Tensor::zeros({total}, dtype, device);
  gradients_ = Tensor::zeros({total}, dtype, device);
  const auto place = [&](const Tensor& arena, const Parameter& p) {
    return on_meta ? Tensor::empty(p.shape, dtype, device) : view_in(arena, p);
  };
  for (Parameter& p : parameters_) {
    p.value = place(values_, p);
    require_gradient(p.value);
    set_gradient_buffer(p.value, place(gradients_, p));
  }
  for (Buffer& b : buffers_) b.value = Tensor::zeros(b.shape, dtype, device);
  initialise(seed);
}

void ParameterSet::initialise(std::uint64_t seed) const {
  if (values_.device().kind == DeviceKind::meta) return;
  for (const Parameter& p : parameters_) draw(p.initialise, p.name, seed, p.value);
  for (const Buffer& b : buffers_) draw(b.initialise, b.name, seed, b.value);
}

const Parameter& ParameterSet::at(const std::string& name) const {
  for (const Parameter& p : parameters_)
    if (p.name == name) return p;
  throw ArgumentError(fmt::format("the model has no parameter '{}'", name));
}

const Buffer& ParameterSet::buffer(const std::string& name) const {
  for (const Buffer& b : buffers_)
    if (b.name == name) return b;
  throw ArgumentError(fmt::format("the model has no buffer '{}'", name));
}

void ParameterSet::update_buffers(std::span<const Observation> observations, const Tensor& guard) const {
  const NoGradient no_gradient;
  for (const Buffer& b : buffers_) {
    if (!b.update) continue;
    const Tensor updated = b.update(b.value, sum_of(b, observations));
    copy_into(where_finite(converted(guard, b.value.dtype()), updated, b.value), b.value);
  }
}

const Tensor& ParameterSet::gradients() const {
  for (const Parameter& p : parameters_) gradient(p.value);  // where nothing arrived, zeros are written now
  return gradients_;
}

void ParameterSet::zero_gradients() const {
  for (const Parameter& p : parameters_) zero_gradient(p.value);
}

std::int64_t ParameterSet::count() const {
  std::int64_t total = 0;
  for (const Parameter& p : parameters_) total += p.shape.product();
  return total;
}

ParameterSet::Place ParameterSet::place_of(const Parameter& parameter) const {
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    if (&parameters_[i] == &parameter)
      return {offsets_[i], i + 1 < offsets_.size() ? offsets_[i + 1] : values_.numel()};
  throw InternalError("parameter '" + parameter.name + "' belongs to another set");
}

Tensor ParameterSet::view_in(const Tensor& arena, const Parameter& parameter) const {
  return arena.strided(parameter.shape, padded_strides(parameter.shape, arena.dtype()), place_of(parameter).begin);
}

}  // namespace weir
