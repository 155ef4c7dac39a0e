// Every kernel on the emulated GPU, threads and blocks in natural and in reverse order: where a thread reads what
// another writes without a barrier, or a block what another block writes, the two orders differ.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "cuda/emulator/device_memory.h"
#include "cuda/emulator/launch.h"
#include "tests/unit/op_suite.h"

using namespace weir;
using namespace weir::tests;

namespace {

std::vector<Tensor> in_order(emulator::Order order, const OpRecord& record, const Sample& sample, DType dtype) {
  emulator::set_order(order);
  auto results = forward_and_gradients(sample, inputs_of(sample, dtype, {DeviceKind::cuda, 0}), record.differentiable);
  emulator::set_order(emulator::Order::natural);
  return results;
}

}  // namespace

TEST_CASE("kernels: natural and reverse order of threads and blocks give the same bits") {
  for (const OpRecord& record : chosen_records()) {
    for (const Sample& sample : record.samples())
      for (DType dtype : {DType::float32, DType::bf16}) {
        if (dtype == DType::bf16 && !record.low_precision) continue;
        const auto natural = in_order(emulator::Order::natural, record, sample, dtype);
        const auto reverse = in_order(emulator::Order::reverse, record, sample, dtype);
        INFO(record.name, " / ", sample.name, " / ", std::string(dtype_name(dtype)));
        for (std::size_t i = 0; i < natural.size(); ++i) CHECK(same_bits(natural[i], reverse[i]));
      }
  }
}

TEST_CASE("kernels: device memory is closed to the host") {
  if (!emulator::is_fenced()) return;
  MESSAGE("a stray access of the host faults");
  const Tensor t = Tensor::full({4}, 1.5, DType::float32, {DeviceKind::cuda, 0});
  CHECK(t.values() == std::vector<double>(4, 1.5));
  const emulator::DeviceAccess access;
  CHECK(*t.data<float>() == 1.5f);
}
