// Bytes between host and device by way of pinned memory, which a GPU reaches without the driver's help.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <mutex>

namespace weir::cuda {

// Two buffers of the host that take turns: while the GPU copies one, the processor fills or empties the other. They
// are made at the first copy and kept. One Staging serves one stream; its device is the current one in every call.
class Staging {
 public:
  // Queues the copy and returns when `host` may change.
  void to_device(cudaStream_t stream, void* to, const void* host, std::size_t bytes);
  // Returns when the bytes are in `host`.
  void to_host(cudaStream_t stream, void* host, const void* from, std::size_t bytes);

 private:
  static constexpr std::size_t kBytes = std::size_t{4} << 20;

  struct Buffer {
    std::byte* bytes = nullptr;
    cudaEvent_t copied = nullptr;  // recorded behind the last copy from or to it
  };

  void prepare();

  std::mutex mutex_;
  std::array<Buffer, 2> buffers_;
};

}  // namespace weir::cuda
