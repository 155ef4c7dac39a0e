// The emulated GPU's memory: one range of this process's addresses, which only kernels and copies may touch.
//
// On a GPU a host that follows a device pointer faults. So does it here where the processor has protection keys: the
// range is closed to a thread except while a DeviceAccess lives on it.
#pragma once

#include <cstddef>

namespace weir::emulator {

// Opens device memory to the running thread: held by launches and by copies. May be nested.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

// Blocks of device memory, aligned to a page; null where the range is used up.
void* allocate_device_memory(std::size_t bytes);
void release_device_memory(void* block, std::size_t bytes) noexcept;

// True where a stray access of the host faults.
bool is_fenced();

}  // namespace weir::emulator
