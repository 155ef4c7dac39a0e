// Kernels of devices that can record: every run of an op gives the same bits, and so does the replay of a recorded one,
// which shows that the op neither waits for the device nor copies between it and the host.
#include <doctest/doctest.h>

#include "core/error.h"
#include "tests/unit/op_suite.h"
#include "tests/unit/tensor_checks.h"

using namespace weir;
using namespace weir::tests;

namespace {

template <class F>
void for_each_run(F&& f) {
  for_each_sample([&](const OpRecord& record, const Sample& sample, Device device) {
    if (!can_record(device)) return;
    for (DType dtype : {DType::float32, DType::bf16}) {
      if (dtype == DType::bf16 && !record.low_precision) continue;
      INFO(record.name, " / ", sample.name, " / ", std::string(dtype_name(dtype)), " / ", device_name(device));
      try {
        f(record, sample, device, inputs_of(sample, dtype, device));
      } catch (const Error& error) {
        FAIL_CHECK(std::string(error.what()));
      }
    }
  });
}

}  // namespace

TEST_CASE("repeat: every run of an op gives the same bits") {
  for_each_run([](const OpRecord& record, const Sample& sample, Device, const std::vector<Tensor>& inputs) {
    const std::vector<Tensor> once = forward_and_gradients(sample, inputs, record.differentiable);
    for (int run = 0; run < 2; ++run)
      check_same_bits(forward_and_gradients(sample, inputs, record.differentiable), once);
  });
}

TEST_CASE("repeat: the replay of a recorded op gives the same bits") {
  for_each_run([](const OpRecord& op, const Sample& sample, Device device, const std::vector<Tensor>& inputs) {
    const std::vector<Tensor> eager = forward_and_gradients(sample, inputs, op.differentiable);
    std::vector<Tensor> recorded;
    const auto work = record(device, [&] { recorded = forward_and_gradients(sample, inputs, op.differentiable); });
    for (int replay = 0; replay < 2; ++replay) {
      work->replay();
      check_same_bits(recorded, eager);
    }
  });
}
