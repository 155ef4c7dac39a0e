// The meta device: tensors that have a shape, a dtype and a place in memory that does not exist. Ops check their
// arguments and make their outputs there as anywhere, and no kernel runs, so that what a step allocates and computes
// is known without doing it.
#include <algorithm>

#include "core/caching_allocator.h"
#include "core/device.h"
#include "core/error.h"

namespace weir {
namespace {

// Counts for each thread on its own: a trace is the work of one thread. Blocks are as large as those of a real device.
struct MetaMemory {
  MemoryStatistics statistics;
  std::uintptr_t next = Allocator::kAlignment;  // addresses tell blocks apart; nothing is there
};
thread_local constinit MetaMemory memory;

class MetaAllocator final : public Allocator {
 public:
  void* allocate(std::size_t bytes) override {
    MemoryStatistics& s = memory.statistics;
    s.in_use_bytes += size_class(bytes);
    s.peak_bytes = std::max(s.peak_bytes, s.in_use_bytes);
    ++s.system_allocations;
    void* const block = reinterpret_cast<void*>(memory.next);  // NOLINT(performance-no-int-to-ptr)
    memory.next += size_class(bytes);
    return block;
  }
  void release(void*, std::size_t bytes) noexcept override { memory.statistics.in_use_bytes -= size_class(bytes); }
  void trim() noexcept override {}
  std::size_t limit_bytes() const override { return static_cast<std::size_t>(-1); }
  MemoryStatistics statistics() const override { return memory.statistics; }
  void reset_peak() noexcept override { memory.statistics.peak_bytes = memory.statistics.in_use_bytes; }
};

class MetaBackend final : public DeviceBackend {
 public:
  int count() const override { return 1; }
  std::string description(int) const override { return "shapes alone"; }
  Allocator& allocator(int) override { return allocator_; }
  void copy_from_host(int, void*, const void*, std::size_t) override {}
  void copy_to_host(int, void*, const void*, std::size_t) override {
    throw ArgumentError("a tensor on the meta device has no values to read");
  }
  void zero(int, void*, std::size_t, std::size_t, std::size_t) override {}
  void synchronize(int) override {}

 private:
  MetaAllocator allocator_;
};

const bool registered = [] {
  static auto* backend = new MetaBackend;  // never destroyed, as the CPU's
  return add_device_backend(DeviceKind::meta, *backend);
}();

}  // namespace
}  // namespace weir
