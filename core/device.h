// Devices and their memory. A device is a kind and an index; memory comes from that device's allocator, which keeps
// freed blocks for reuse, so that a training loop stops asking the system after its first steps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace weir {

enum class DeviceKind : std::uint8_t { cpu, cuda };
inline constexpr int kDeviceKinds = 2;

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;
  bool operator==(const Device&) const = default;
};

std::string device_name(Device device);            // "cpu", "cuda:0"
Device device_from_name(const std::string& name);  // throws RunError(unavailable) for a device that is not there

// Memory this process may use: physical memory, or the control group's limit where that is smaller.
std::size_t memory_limit_bytes();

struct MemoryStatistics {
  std::size_t in_use_bytes = 0;          // handed out now
  std::size_t peak_bytes = 0;            // largest in_use_bytes so far
  std::size_t reserved_bytes = 0;        // in use + kept for reuse
  std::uint64_t system_allocations = 0;  // requests that went to the system
};

class Allocator {
 public:
  static constexpr std::size_t kAlignment = 64;

  virtual ~Allocator() = default;
  // Never null for bytes > 0; contents unspecified; aligned to kAlignment. Throws RunError(out_of_memory).
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* block, std::size_t bytes) noexcept = 0;
  virtual void trim() noexcept = 0;  // gives kept blocks back to the system
  virtual MemoryStatistics statistics() const = 0;
  virtual void reset_peak() noexcept = 0;
};

// The allocator of a device; throws RunError(unavailable) if that device is not there.
Allocator& allocator(Device device);

}  // namespace weir
