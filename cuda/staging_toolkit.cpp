#include <algorithm>
#include <cstring>

#include "cuda/staging.h"
#include "cuda/toolkit_check.h"

namespace weir::cuda {

void Staging::prepare() {
  for (Buffer& buffer : buffers_) {
    if (buffer.bytes == nullptr) {
      void* place = nullptr;
      check(cudaHostAlloc(&place, kBytes, cudaHostAllocDefault), "cudaHostAlloc");
      buffer.bytes = static_cast<std::byte*>(place);
    }
    if (buffer.copied == nullptr)
      check(cudaEventCreateWithFlags(&buffer.copied, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  }
}

void Staging::to_device(cudaStream_t stream, void* to, const void* host, std::size_t bytes) {
  std::lock_guard lock(mutex_);
  prepare();
  for (std::size_t begin = 0, turn = 0; begin < bytes; begin += kBytes, ++turn) {
    Buffer& buffer = buffers_[turn % 2];
    const std::size_t size = std::min(kBytes, bytes - begin);
    check(cudaEventSynchronize(buffer.copied), "cudaEventSynchronize");
    std::memcpy(buffer.bytes, static_cast<const std::byte*>(host) + begin, size);
    check(cudaMemcpyAsync(static_cast<std::byte*>(to) + begin, buffer.bytes, size, cudaMemcpyHostToDevice, stream),
          "cudaMemcpyAsync");
    check(cudaEventRecord(buffer.copied, stream), "cudaEventRecord");
  }
}

void Staging::to_host(cudaStream_t stream, void* host, const void* from, std::size_t bytes) {
  std::lock_guard lock(mutex_);
  prepare();
  const std::size_t pieces = (bytes + kBytes - 1) / kBytes;
  const auto size = [&](std::size_t piece) { return std::min(kBytes, bytes - piece * kBytes); };
  // Piece i is asked for before piece i - 1 is taken out of the other buffer.
  for (std::size_t piece = 0; piece <= pieces; ++piece) {
    if (piece < pieces) {
      Buffer& buffer = buffers_[piece % 2];
      check(cudaMemcpyAsync(buffer.bytes, static_cast<const std::byte*>(from) + piece * kBytes, size(piece),
                            cudaMemcpyDeviceToHost, stream),
            "cudaMemcpyAsync");
      check(cudaEventRecord(buffer.copied, stream), "cudaEventRecord");
    }
    if (piece > 0) {
      const Buffer& buffer = buffers_[(piece - 1) % 2];
      check(cudaEventSynchronize(buffer.copied), "cudaEventSynchronize");
      std::memcpy(static_cast<std::byte*>(host) + (piece - 1) * kBytes, buffer.bytes, size(piece - 1));
    }
  }
}

}  // namespace weir::cuda
