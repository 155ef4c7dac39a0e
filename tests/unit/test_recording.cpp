// Work of a device, recorded and replayed; on every device that can.
#include <doctest/doctest.h>

#include <optional>

#include "core/error.h"
#include "ops/relu.h"
#include "tests/unit/op_suite.h"
#include "tests/unit/tensor_checks.h"

using namespace weir;
using namespace weir::tests;

namespace {

std::vector<Device> recording_devices() {
  std::vector<Device> devices;
  for (const Device device : chosen_devices())
    if (can_record(device)) devices.push_back(device);
  return devices;
}

constexpr std::int64_t kCols = 37;

// What a training step has: state that every step changes, temporaries, zeroing, copies, kernels.
struct Step {
  Tensor state, result;

  explicit Step(Device device)
      : state(to_device(Tensor::from_values({3, kCols}, ramp(), DType::float32), device)),
        result(Tensor::zeros({3, kCols}, DType::float32, device)) {}

  static std::vector<double> ramp() {
    std::vector<double> values(3 * kCols);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i) * 0.37 - 20;
    return values;
  }

  // The state's columns move round by one, and lose bits on the way; the result is their relu, without one column.
  void run() const {
    const Tensor before = clone(state);
    copy_into(slice_view(before, 1, 1, kCols), slice_view(state, 1, 0, kCols - 1));
    copy_into(converted(slice_view(before, 1, 0, 1), DType::bf16), slice_view(state, 1, kCols - 1, kCols));
    Tensor made = Tensor::zeros({3, kCols}, DType::float32, state.device());
    copy_into(relu(slice_view(state, 1, 0, kCols - 1)), slice_view(made, 1, 0, kCols - 1));
    copy_into(made, result);
  }
};

}  // namespace

TEST_CASE("recording: five replays give the bits of five steps") {
  for (const Device device : recording_devices()) {
    const Step eager(device), recorded(device);
    const auto step = record(device, [&] { recorded.run(); });
    CHECK(same_bits(recorded.state, eager.state));  // nothing was done yet
    for (int i = 0; i < 5; ++i) {
      eager.run();
      // Memory that is asked for between replays is not theirs.
      const Tensor other = Tensor::full({3, kCols}, 99, DType::float32, device);
      step->replay();
      CHECK(same_bits(recorded.state, eager.state));
      CHECK(same_bits(recorded.result, eager.result));
      CHECK(other.values() == std::vector<double>(3 * kCols, 99));
    }
  }
}

TEST_CASE("recording: a tensor made in it is filled by each replay and keeps its memory") {
  for (const Device device : recording_devices()) {
    const Tensor x = Tensor::full({5}, 2, DType::float32, device);
    std::optional<Tensor> y;
    {
      const auto work = record(device, [&] { y = relu(x); });
      fill(x, 3);
      work->replay();
      CHECK(y->values() == std::vector<double>(5, 3));
      fill(x, -1);
      work->replay();
      CHECK(y->values() == std::vector<double>(5, 0));
    }
    CHECK(y->values() == std::vector<double>(5, 0));
  }
}

TEST_CASE("recording: memory of a recording serves others when it is gone") {
  for (const Device device : recording_devices()) {
    const auto in_use = allocator(device).statistics().in_use_bytes;
    allocator(device).trim();
    const auto reserved = allocator(device).statistics().reserved_bytes;
    {
      const auto work = record(device, [&] { relu(Tensor::full({1000}, 2, DType::float32, device)); });
      allocator(device).trim();
      CHECK(allocator(device).statistics().reserved_bytes > reserved);
      CHECK(allocator(device).statistics().in_use_bytes == in_use);
    }
    allocator(device).trim();
    CHECK(allocator(device).statistics().reserved_bytes == reserved);
  }
}

TEST_CASE("recording: what a replay could not repeat is refused, and the device goes on") {
  for (const Device device : recording_devices()) {
    const Tensor x = Tensor::full({5}, 2, DType::float32, device);
    const Tensor host = Tensor::full({5}, 7, DType::float32);
    CHECK_THROWS_WITH_AS(record(device, [&] { x.values(); }), doctest::Contains("a copy to the host"), ArgumentError);
    CHECK_THROWS_WITH_AS(record(device, [&] { to_device(host, device); }), doctest::Contains("a copy from the host"),
                         ArgumentError);
    CHECK_THROWS_WITH_AS(record(device, [&] { synchronize(device); }), doctest::Contains("waiting for the device"),
                         ArgumentError);
    CHECK_THROWS_WITH_AS(record(device, [&] { record(device, [] {}); }), doctest::Contains("another recording"),
                         ArgumentError);
    CHECK(relu(x).values() == std::vector<double>(5, 2));
  }
}

TEST_CASE("recording: a device that cannot record says so") {
  CHECK(!can_record({}));
  CHECK_THROWS_WITH_AS(record({}, [] {}), doctest::Contains("cannot be recorded"), RunError);
}
