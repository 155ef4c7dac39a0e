// How exact products of float32 matrices have to be, dense ones and those with a matrix per group.
#pragma once

namespace weir {

// ieee: factors keep their 24 bits. tf32: a device may round them to 11 or more, which tensor cores, or the matrix unit
// of a CPU, multiply several times faster; sums stay in float32. A device without such products computes in ieee.
enum class Float32Products { ieee, tf32 };

// What is asked for on the calling thread: ieee where nobody said otherwise. Gradients are computed as their op was.
Float32Products float32_products();

// Asks for something until the end of the scope.
class Float32ProductsScope {
 public:
  explicit Float32ProductsScope(Float32Products products);
  ~Float32ProductsScope();
  Float32ProductsScope(const Float32ProductsScope&) = delete;
  Float32ProductsScope& operator=(const Float32ProductsScope&) = delete;

 private:
  Float32Products before_;
};

}  // namespace weir
