// One suite over all op records: a new op is tested by registering itself.
// Repeat one op alone with  WEIR_OP=softmax build/tests/unit -tc="ops:*" , one device with WEIR_DEVICE=cuda
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <set>

#include "autograd/autograd.h"
#include "autograd/backward.h"
#include "autograd/grad_check.h"
#include "autograd/live_nodes.h"
#include "autograd/node.h"
#include "core/error.h"
#include "core/kernel_cost.h"
#include "core/parallel.h"
#include "ops/multiply.h"
#include "tests/source_dir.h"
#include "tests/unit/op_suite.h"
#include "tests/unit/tensor_checks.h"

using namespace weir;
using namespace weir::tests;

namespace {

const std::vector<OpRecord>& records() { return op_records(); }

// The first disagreement between an op's outputs and the reference's, or nothing.
std::string compare(std::span<const Tensor> got, std::span<const Tensor> expected, double tolerance) {
  if (got.size() != expected.size()) return fmt::format("{} outputs, reference has {}", got.size(), expected.size());
  for (std::size_t o = 0; o < got.size(); ++o) {
    if (got[o].shape() != expected[o].shape())
      return fmt::format("output {} has shape {}, reference {}", o, got[o].shape().str(), expected[o].shape().str());
    const std::vector<double> y = got[o].values(), r = expected[o].values();
    double scale = 1;
    for (double v : r) scale = std::max(scale, std::isfinite(v) ? std::abs(v) : 0);
    for (std::size_t i = 0; i < y.size(); ++i) {
      const bool same = y[i] == r[i] || (std::isnan(y[i]) && std::isnan(r[i]));
      if (!same && !(std::abs(y[i] - r[i]) <= tolerance * scale))
        return fmt::format("output {} element {}: {:.10g}, reference {:.10g}, tolerance {:.1g} of {:.3g}", o, i, y[i],
                           r[i], tolerance, scale);
    }
  }
  return "";
}

// The same values in other memory: transposed storage, a slice of something wider at an odd offset.
Tensor transposed_storage(const Tensor& t) {
  if (t.rank() < 2) return t;
  return transpose_view(clone(transpose_view(t, -1, -2)), -1, -2);
}
Tensor slice_of_wider(const Tensor& t) {
  if (t.rank() < 1) return t;
  const Tensor wide = Tensor::full(t.shape().with(-1, t.size(-1) + 3), 1.0, t.dtype(), t.device());
  const Tensor view = slice_view(wide, -1, 1, t.size(-1) + 1);
  copy_into(t, view);
  return view;
}

void check_against_reference(DType dtype, double Tolerance::*tolerance) {
  for_each_sample([&](const OpRecord& record, const Sample& sample, Device device) {
    if (dtype == DType::bf16 && !record.low_precision) return;
    // The reference sees the rounded inputs, so that only the op's own error is judged.
    const Sample rounded{.name = sample.name, .inputs = inputs_of(sample, dtype, {}), .run = {}, .reference = {}};
    const auto expected = sample.reference(inputs_of(rounded, DType::float64, {}));
    INFO(record.name, " / ", sample.name, " / ", std::string(dtype_name(dtype)), " / ", device_name(device));
    CHECK(compare(sample.run(inputs_of(sample, dtype, device)), expected, record.tolerance.*tolerance) == "");
  });
}

}  // namespace

TEST_CASE("ops: every file in ops/ has a record, every record is complete") {
  std::set<std::string> with_record;
  for (const OpRecord& record : records()) {
    INFO(record.name);
    with_record.insert(std::filesystem::path(record.source).filename().string());
    CHECK(record.samples != nullptr);
    CHECK(record.bad_samples != nullptr);
    CHECK(record.large != nullptr);
    CHECK_FALSE(record.summary.empty());
    CHECK_FALSE(record.signature.empty());
    bool zero_size = false, size_one = false, odd = false;
    for (const Sample& sample : record.samples()) {
      CHECK(sample.reference != nullptr);
      zero_size |=
          std::any_of(sample.inputs.begin(), sample.inputs.end(), [](const Tensor& t) { return t.numel() == 0; });
      size_one |=
          std::all_of(sample.inputs.begin(), sample.inputs.end(), [](const Tensor& t) { return t.numel() == 1; });
      for (const Tensor& t : sample.inputs)
        odd |= std::any_of(t.shape().begin(), t.shape().end(), [](auto n) { return n > 1 && n % 2; });
    }
    for (const BadSample& bad : record.bad_samples()) zero_size |= bad.name == "zero size";  // refused on purpose
    CHECK_MESSAGE(zero_size, "no zero-size sample");
    CHECK_MESSAGE(size_one, "no size-one sample");
    CHECK_MESSAGE(odd, "no sample with an odd extent");
    CHECK_MESSAGE(!record.bad_samples().empty(), "no bad sample");
  }
  for (const auto& file : std::filesystem::directory_iterator(std::filesystem::path(WEIR_SOURCE_DIR) / "ops"))
    if (file.path().extension() == ".cpp")
      CHECK_MESSAGE(with_record.contains(file.path().filename().string()), file.path().filename().string(),
                    " has no record (or the build was not configured again)");
}

TEST_CASE("ops: float64 agrees with the reference") { check_against_reference(DType::float64, &Tolerance::float64); }
TEST_CASE("ops: float32 agrees with the reference") { check_against_reference(DType::float32, &Tolerance::float32); }
TEST_CASE("ops: bf16 agrees with the reference") { check_against_reference(DType::bf16, &Tolerance::bf16); }

TEST_CASE("ops: a fused op and its composed form are one function") {
  int fused = 0;
  for_each_sample([&](const OpRecord& record, const Sample& sample, Device device) {
    if (sample.composed == nullptr) return;
    ++fused;
    Sample composed = sample;
    composed.run = sample.composed;
    for (const auto& [dtype, tolerance] : {std::pair{DType::float64, 1e-12}, std::pair{DType::float32, 2e-5}}) {
      const auto inputs = inputs_of(sample, dtype, device);
      INFO(record.name, " / ", sample.name, " / ", std::string(dtype_name(dtype)), " / ", device_name(device));
      CHECK(compare(forward_and_gradients(sample, inputs, record.differentiable),
                    forward_and_gradients(composed, inputs, record.differentiable), tolerance) == "");
    }
  });
  if (std::getenv("WEIR_OP") == nullptr) CHECK(fused > 50);
}

// Shapes, dtypes, and what a call costs do not depend on values, so that a model can be traced without any.
TEST_CASE("ops: on the meta device a call makes what it makes elsewhere, and costs the same") {
  const auto described = [](std::span<const Tensor> tensors) {
    std::string text;
    for (const Tensor& t : tensors)
      text += t.defined() ? t.shape().str() + " " + std::string(dtype_name(t.dtype())) + ", " : "none, ";
    return text;
  };
  for (const OpRecord& record : chosen_records())
    for (const Sample& sample : record.samples()) {
      const auto traced = [&](Device device) {
        const std::vector<Tensor> inputs = inputs_of(sample, DType::float32, device);
        const CostTrace trace;
        const std::string made = described(forward_and_gradients(sample, inputs, record.differentiable));
        return std::pair{made, trace.total()};
      };
      INFO(record.name, " / ", sample.name);
      const auto [there, cost] = traced({});
      const auto [on_meta, meta_cost] = traced({DeviceKind::meta});
      CHECK(on_meta == there);
      CHECK(meta_cost.flops == cost.flops);
      CHECK(meta_cost.bytes == cost.bytes);
    }
}

TEST_CASE("ops: transposed and sliced inputs give the same result") {
  for_each_sample([](const OpRecord& record, const Sample& sample, Device device) {
    const std::vector<Tensor> plain = inputs_of(sample, DType::float64, device);
    const auto expected = forward_and_gradients(sample, plain, record.differentiable);
    for (Tensor (*rearrange)(const Tensor&) : {transposed_storage, slice_of_wider}) {
      std::vector<Tensor> inputs;
      for (const Tensor& t : plain) inputs.push_back(rearrange(t));
      INFO(record.name, " / ", sample.name, " / ", device_name(device));
      CHECK(compare(forward_and_gradients(sample, inputs, record.differentiable), expected, 1e-12) == "");
    }
  });
}

TEST_CASE("ops: gradients agree with finite differences") {
  for_each_sample([](const OpRecord& record, const Sample& sample, Device device) {
    const bool empty =
        std::any_of(sample.inputs.begin(), sample.inputs.end(), [](const Tensor& t) { return t.numel() == 0; });
    if (!record.differentiable || empty) return;
    INFO(record.name, " / ", sample.name, " / ", device_name(device));
    CHECK(grad_check(sample.run, inputs_of(sample, DType::float64, device),
                     {.second_order = record.twice_differentiable}) == "");
  });
}

TEST_CASE("ops: a call's graph goes with its tensors") {
  for_each_sample([](const OpRecord& record, const Sample& sample, Device device) {
    if (!record.differentiable) return;
    const std::int64_t before = live_nodes();
    {
      std::vector<Tensor> inputs = inputs_of(sample, DType::float32, device);
      for (Tensor& t : inputs)
        if (is_floating(t.dtype())) require_gradient(t = t.detach());
      sample.run(inputs);
    }
    INFO(record.name, " / ", sample.name, " / ", device_name(device));
    CHECK(live_nodes() == before);
  });
}

TEST_CASE("ops: an op whose gradient holds its own output is found") {
  const std::int64_t before = live_nodes();
  std::weak_ptr<GradientSlot> slot;
  {
    const Tensor x = require_gradient(Tensor::full({2}, 3, DType::float32)), y = clone(x.detach());
    Backward back("holds its output", {x}, {y});
    back.input(0, [y](const Tensor& dy) { return dy * y; });
    slot = y.gradient_slot();
  }
  CHECK(live_nodes() == before + 2);  // the op, and the leaf
  REQUIRE_FALSE(slot.expired());
  static_cast<TensorGradient&>(*slot.lock()).edge.node->gradient = nullptr;
  CHECK(live_nodes() == before);
}

TEST_CASE("ops: one and two threads give the same bits") {
  for_each_sample([](const OpRecord& record, const Sample& sample, Device device) {
    if (device.kind != DeviceKind::cpu) return;
    const int before = thread_count();
    for (DType dtype : {DType::float32, DType::bf16}) {
      if (dtype == DType::bf16 && !record.low_precision) continue;
      const auto inputs = inputs_of(sample, dtype, device);
      set_thread_count(1);
      const auto one = forward_and_gradients(sample, inputs, record.differentiable);
      set_thread_count(2);
      const auto two = forward_and_gradients(sample, inputs, record.differentiable);
      INFO(record.name, " / ", sample.name, " / ", std::string(dtype_name(dtype)));
      for (std::size_t i = 0; i < one.size(); ++i) CHECK(same_bits(one[i], two[i]));
    }
    set_thread_count(before);
  });
}

TEST_CASE("ops: bad calls are refused with their message") {
  for (const OpRecord& record : chosen_records()) {
    for (const BadSample& bad : record.bad_samples()) {
      std::string message = "nothing was thrown";
      try {
        bad.run();
      } catch (const ArgumentError& error) {
        message = error.what();
      }
      INFO(record.name, " / ", bad.name, ": ", message);
      CHECK(message.find(bad.message) != std::string::npos);
    }
  }
}
