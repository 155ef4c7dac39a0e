// The emulated GPU as a device of Weir.
#include <cstring>

#include "core/caching_allocator.h"
#include "core/device.h"
#include "cuda/emulator/device_memory.h"
#include "cuda/runtime.h"

namespace weir {
namespace {

using emulator::DeviceAccess;

// Memory is handed out full of NaN (bytes of 0xFF), so that a kernel that reads what nobody wrote shows.
class PoisoningAllocator final : public Allocator {
 public:
  void* allocate(std::size_t bytes) override {
    void* const block = blocks_.allocate(bytes);
    const DeviceAccess access;
    std::memset(block, 0xFF, bytes);
    return block;
  }
  void release(void* block, std::size_t bytes) noexcept override { blocks_.release(block, bytes); }
  void trim() noexcept override { blocks_.trim(); }
  MemoryStatistics statistics() const override { return blocks_.statistics(); }
  void reset_peak() noexcept override { blocks_.reset_peak(); }

 private:
  CachingAllocator blocks_{{.allocate = emulator::allocate_device_memory,
                            .release = emulator::release_device_memory,
                            .limit_bytes = memory_limit_bytes(),
                            .device = "cuda:0"}};
};

class EmulatedBackend final : public DeviceBackend {
 public:
  int count() const override { return 1; }
  std::string description(int) const override { return "a GPU emulated by this machine's processor"; }
  Allocator& allocator(int) override { return allocator_; }
  void copy_from_host(int, void* to, const void* host, std::size_t bytes) override {
    const DeviceAccess access;
    std::memcpy(to, host, bytes);
  }
  void copy_to_host(int, void* host, const void* from, std::size_t bytes) override {
    const DeviceAccess access;
    std::memcpy(host, from, bytes);
  }
  void zero(int, void* place, std::size_t bytes, std::size_t rows, std::size_t pitch) override {
    const DeviceAccess access;
    auto* row = static_cast<std::byte*>(place);
    for (std::size_t i = 0; i < rows; ++i, row += pitch) std::memset(row, 0, bytes);
  }
  void synchronize(int) override {}

 private:
  PoisoningAllocator allocator_;
};

// Never destroyed: tensors with static lifetime may release their memory after main.
const bool registered = add_device_backend(DeviceKind::cuda, *new EmulatedBackend);

}  // namespace

cuda::Stream cuda::stream_of(Device) { return {}; }

}  // namespace weir
