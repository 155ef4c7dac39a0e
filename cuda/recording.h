// The recordings of core/device.h: a graph and the memory that it keeps to itself.
#pragma once

#include <memory>

#include "core/caching_allocator.h"
#include "core/device.h"
#include "cuda/graph.h"

namespace weir::cuda {

// What a backend keeps per device to make recordings of its stream.
class Recorder {
 public:
  void begin(Device device, Stream stream, CachingAllocator& memory);
  std::unique_ptr<Recording> end();
  void abandon() noexcept;

  // Throws ArgumentError while a recording is made; `what` is what cannot be part of one.
  void refuse(const char* what) const;

 private:
  bool active_ = false;
  Device device_;
  Stream stream_{};
  CachingAllocator* memory_ = nullptr;
};

}  // namespace weir::cuda
