// Devices and their memory. A device is a kind and an index; memory comes from that device's allocator, which keeps
// freed blocks for reuse, so that a training loop stops asking the system after its first steps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weir {

// On meta, tensors have shapes and no values. A kernel does nothing there, unless it makes tensors of its own: then it
// makes them. For counting what work costs (kernel_cost.h).
enum class DeviceKind : std::uint8_t { cpu, cuda, meta };
inline constexpr int kDeviceKinds = 3;

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;
  bool operator==(const Device&) const = default;
};

std::string device_name(Device device);  // "cpu", "cuda:0", "meta"
// "cpu", "cuda" (the first) or "cuda:1". Throws ArgumentError for a name of another form, and RunError(unavailable),
// which says what is there, for a device that is not.
Device device_from_name(const std::string& name);
// Every device this process can compute on, the CPU first.
std::vector<Device> available_devices();

// Memory this process may use: physical memory, or what the control group or `ulimit -v` leaves of it.
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
  virtual void trim() noexcept = 0;             // gives kept blocks back to the system
  virtual std::size_t limit_bytes() const = 0;  // all that may be handed out
  virtual MemoryStatistics statistics() const = 0;
  virtual void reset_peak() noexcept = 0;
};

// Work of a device that was asked for once and can be done again as a whole, at little cost to the host. A replay uses
// the same memory with what is in it by then; tensors made during the recording are filled by each replay.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void replay() = 0;  // asks for the work; returns at once
};

// What a kind of device brings beside its kernels: memory, and bytes in and out. Work on a device is done in the order
// in which it was asked for; what reaches the host has been waited for.
class DeviceBackend {
 public:
  virtual ~DeviceBackend() = default;
  virtual int count() const = 0;  // devices of this kind
  // One device in words for people: "NVIDIA H200, compute capability 9.0"; for count() = 0, why there is none.
  virtual std::string description(int index) const = 0;
  virtual Allocator& allocator(int index) = 0;
  virtual void copy_from_host(int index, void* to, const void* host, std::size_t bytes) = 0;
  virtual void copy_to_host(int index, void* host, const void* from, std::size_t bytes) = 0;
  // Writes zeros into `bytes` at the start of each of `rows` places that lie `pitch` bytes apart.
  virtual void zero(int index, void* place, std::size_t bytes, std::size_t rows, std::size_t pitch) = 0;
  virtual bool is_emulated() const { return false; }  // by the processor, for tests
  virtual void synchronize(int index) = 0;  // returns when all work asked for is done; throws what went wrong in it

  // Users call record(), below. Between begin and end work is not done but recorded; end undoes begin even where it
  // throws.
  virtual bool can_record() const { return false; }
  virtual void begin_recording(int index);
  virtual std::unique_ptr<Recording> end_recording(int index);
  virtual void abandon_recording(int index) noexcept;
};

// Registers the backend of a kind, which lives for ever; true, so that it can initialise a variable.
bool add_device_backend(DeviceKind kind, DeviceBackend& backend);
// The backend of a device; throws RunError(unavailable) if that device is not there.
DeviceBackend& backend_of(Device device);

inline Allocator& allocator(Device device) { return backend_of(device).allocator(device.index); }
inline void synchronize(Device device) { backend_of(device).synchronize(device.index); }

// True where record() works: on GPUs.
inline bool can_record(Device device) { return backend_of(device).can_record(); }
// Calls `work` once, on this thread, which alone uses the device meanwhile; its work on the device is recorded and not
// done. Memory that it allocates or releases stays with the recording until that is destroyed; tensors from before
// that it uses must live as long. Throws ArgumentError where `work` reads from the device, writes to it from the host,
// or waits for it, and RunError(unavailable) where the device cannot record.
//
//   const auto step = record(device, [&] { train_step(); });
//   for (...) step->replay();
std::unique_ptr<Recording> record(Device device, const std::function<void()>& work);

}  // namespace weir
