// Indices out of range on the emulated GPU: noted by a kernel, thrown when the host next waits for the device.
#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "core/error.h"
#include "ops/cross_entropy.h"
#include "ops/gather_rows.h"
#include "ops/take_along.h"

using namespace weir;

namespace {

constexpr Device kGpu{DeviceKind::cuda, 0};

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const ArgumentError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

Tensor indices(const std::vector<double>& values) {
  return Tensor::from_values({static_cast<std::int64_t>(values.size())}, values, DType::int32, kGpu);
}

}  // namespace

TEST_CASE("indices on a GPU: one out of range is left out and thrown at the next wait") {
  const Tensor x = Tensor::full({3, 2}, 1.5, DType::float32, kGpu);
  const Tensor y = gather_rows(x, indices({2, 3, 0}));
  CHECK(message_of([&] { synchronize(kGpu); }) ==
        "gather_rows: element 1 of index is 3, expected 0 <= index < 3 (found on cuda:0, which left it out)");
  CHECK(y.values() == std::vector<double>{1.5, 1.5, 0, 0, 1.5, 1.5});
}

TEST_CASE("indices on a GPU: a copy to the host throws as well, and only once") {
  const Tensor x = Tensor::full({2, 4}, 1, DType::bf16, kGpu);
  const Tensor index = Tensor::full({2, 3}, -1, DType::int64, kGpu);
  const Tensor y = take_along(x, index);
  CHECK(message_of([&] { y.values(); }).find("of index is -1, expected 0 <= index < 4") != std::string::npos);
  CHECK(y.values() == std::vector<double>(6));
  synchronize(kGpu);
}

TEST_CASE("indices on a GPU: the first op that meets one is named") {
  const Tensor x = Tensor::full({2, 4}, 1, DType::float32, kGpu);
  gather_rows(x, indices({5}));
  take_along(x, Tensor::full({2, 1}, 4, DType::int32, kGpu));
  CHECK(message_of([&] { synchronize(kGpu); }).starts_with("gather_rows: element 0 of index is 5"));
  synchronize(kGpu);
}

TEST_CASE("indices on a GPU: a target that is no class makes the loss NaN and is thrown") {
  const Tensor logits = Tensor::full({3, 4}, 1, DType::float32, kGpu);
  const Tensor loss = cross_entropy(logits, indices({1, 4, 0}));
  CHECK(message_of([&] { synchronize(kGpu); }).starts_with("cross_entropy: element 1 of targets is 4"));
  CHECK(std::isnan(loss.item()));
}
