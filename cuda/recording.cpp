#include "cuda/recording.h"

#include <fmt/format.h>

#include "core/error.h"
#include "cuda/runtime.h"

namespace weir::cuda {
namespace {

class GraphRecording final : public Recording {
 public:
  GraphRecording(Device device, Graph graph, CachingAllocator& memory, CachingAllocator::PoolId pool)
      : device_(device), graph_(std::move(graph)), memory_(memory), pool_(pool) {}
  // Work that comes after on the stream may use the memory, for it comes after the last replay.
  ~GraphRecording() override { memory_.free_pool(pool_); }

  void replay() override { cuda::replay(graph_, stream_of(device_)); }

 private:
  const Device device_;
  const Graph graph_;
  CachingAllocator& memory_;
  const CachingAllocator::PoolId pool_;
};

}  // namespace

void Recorder::begin(Device device, Stream stream, CachingAllocator& memory) {
  refuse("another recording");
  begin_capture(stream);
  memory.begin_pool();
  active_ = true;
  device_ = device;
  stream_ = stream;
  memory_ = &memory;
}

std::unique_ptr<Recording> Recorder::end() {
  active_ = false;
  const CachingAllocator::PoolId pool = memory_->end_pool();
  try {
    return std::make_unique<GraphRecording>(device_, end_capture(stream_), *memory_, pool);
  } catch (...) {
    memory_->free_pool(pool);
    throw;
  }
}

void Recorder::abandon() noexcept {
  active_ = false;
  abandon_capture(stream_);
  memory_->free_pool(memory_->end_pool());
}

void Recorder::refuse(const char* what) const {
  if (active_)
    throw ArgumentError(
        fmt::format("{} while work of {} is being recorded: a replay could not repeat it; do it before or after", what,
                    device_name(device_)));
}

}  // namespace weir::cuda
