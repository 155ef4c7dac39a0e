#include "core/float32_products.h"

#include <utility>

namespace weir {
namespace {

thread_local Float32Products asked_for = Float32Products::ieee;

}  // namespace

Float32Products float32_products() { return asked_for; }

Float32ProductsScope::Float32ProductsScope(Float32Products products) : before_(std::exchange(asked_for, products)) {}
Float32ProductsScope::~Float32ProductsScope() { asked_for = before_; }

}  // namespace weir
