// Graphs of the emulator: recorded work is not done, and a replay does it on what memory holds by then.
#include <doctest/doctest.h>

#include <vector>

#include "cuda/graph.h"

using namespace weir::cuda;

namespace {

__global__ void add_multiple(float* sum, const float* values, float factor, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) sum[i] = sum[i] * 0.5f + factor * values[i];
}

__global__ void increment(float* values) { values[threadIdx.x] += 1; }

// One step: values += 1, sum = sum / 2 + 3 values; `factor` is a local variable that is gone at the replay.
void step(Stream stream, std::vector<float>& sum, std::vector<float>& values) {
  const float factor = 3;
  launch<increment>({1, 64}, stream, values.data());
  launch<add_multiple>({2, 32}, stream, sum.data(), values.data(), factor, 64);
}

}  // namespace

TEST_CASE("graph: five replays give the bits of five steps") {
  weir::emulator::Queue queue;
  std::vector<float> sum(64, 0.1f), values(64, 0.3f), eager_sum = sum, eager_values = values;
  begin_capture(&queue);
  step(&queue, sum, values);
  const Graph graph = end_capture(&queue);
  CHECK(sum == eager_sum);  // nothing was done yet
  CHECK(values == eager_values);
  for (int i = 0; i < 5; ++i) {
    replay(graph, &queue);
    step(&queue, eager_sum, eager_values);
    CHECK(sum == eager_sum);
    CHECK(values == eager_values);
  }
  CHECK(values[0] == doctest::Approx(5.3));
}

TEST_CASE("graph: a launch that the hardware refuses is refused when it is recorded") {
  weir::emulator::Queue queue;
  begin_capture(&queue);
  float value = 0;
  CHECK_THROWS_AS((launch<increment>({1, 2000}, &queue, &value)), weir::emulator::KernelError);
  abandon_capture(&queue);
  CHECK(!queue.capturing());
}
