// The emulated GPU as a device of Weir.
#include <cstdlib>
#include <cstring>

#include "core/caching_allocator.h"
#include "core/device.h"
#include "cuda/emulator/device_memory.h"
#include "cuda/index_check.h"
#include "cuda/recording.h"
#include "cuda/runtime.h"

namespace weir {
namespace {

using emulator::DeviceAccess;

// Memory is handed out full of NaN (bytes of 0xFF), so that a kernel that reads what nobody wrote shows; at every
// replay of a recording, too.
class PoisoningAllocator final : public Allocator {
 public:
  explicit PoisoningAllocator(cuda::Stream stream) : stream_(stream) {}
  void* allocate(std::size_t bytes) override {
    void* const block = blocks_.allocate(bytes);
    stream_->submit([block, bytes] {
      const DeviceAccess access;
      std::memset(block, 0xFF, bytes);
    });
    return block;
  }
  void release(void* block, std::size_t bytes) noexcept override { blocks_.release(block, bytes); }
  void trim() noexcept override { blocks_.trim(); }
  std::size_t limit_bytes() const override { return blocks_.limit_bytes(); }
  MemoryStatistics statistics() const override { return blocks_.statistics(); }
  void reset_peak() noexcept override { blocks_.reset_peak(); }

  CachingAllocator& blocks() { return blocks_; }

 private:
  cuda::Stream stream_;
  CachingAllocator blocks_{{.allocate = emulator::allocate_device_memory,
                            .release = emulator::release_device_memory,
                            .limit_bytes = memory_limit_bytes(),
                            .device = "cuda:0"}};
};

class EmulatedBackend final : public DeviceBackend {
 public:
  int count() const override { return 1; }
  bool is_emulated() const override { return true; }
  std::string description(int) const override { return "a GPU emulated by this machine's processor"; }
  Allocator& allocator(int) override { return allocator_; }
  void copy_from_host(int, void* to, const void* host, std::size_t bytes) override {
    recorder_.refuse("a copy from the host");
    const DeviceAccess access;
    std::memcpy(to, host, bytes);
  }
  void copy_to_host(int index, void* host, const void* from, std::size_t bytes) override {
    recorder_.refuse("a copy to the host");
    {
      const DeviceAccess access;
      std::memcpy(host, from, bytes);
    }
    cuda::check_indices({DeviceKind::cuda, index});
  }
  void zero(int, void* place, std::size_t bytes, std::size_t rows, std::size_t pitch) override {
    queue_.submit([place, bytes, rows, pitch] {
      const DeviceAccess access;
      auto* row = static_cast<std::byte*>(place);
      for (std::size_t i = 0; i < rows; ++i, row += pitch) std::memset(row, 0, bytes);
    });
  }
  void synchronize(int index) override {
    recorder_.refuse("waiting for the device");
    cuda::check_indices({DeviceKind::cuda, index});
  }

  bool can_record() const override { return true; }
  void begin_recording(int index) override { recorder_.begin({DeviceKind::cuda, index}, &queue_, allocator_.blocks()); }
  std::unique_ptr<Recording> end_recording(int) override { return recorder_.end(); }
  void abandon_recording(int) noexcept override { recorder_.abandon(); }

  cuda::Stream stream() { return &queue_; }

 private:
  emulator::Queue queue_;
  PoisoningAllocator allocator_{&queue_};
  cuda::Recorder recorder_;
};

// Never destroyed: tensors with static lifetime may release their memory after main.
EmulatedBackend& backend() {
  static auto* const the_backend = new EmulatedBackend;
  return *the_backend;
}

const bool registered = add_device_backend(DeviceKind::cuda, backend());

}  // namespace

cuda::Stream cuda::stream_of(Device) { return backend().stream(); }
void* cuda::host_memory_for_kernels(Device, std::size_t bytes) { return std::calloc(1, bytes); }

}  // namespace weir
