#include "core/device.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>

#include "core/caching_allocator.h"
#include "core/error.h"

namespace weir {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

// Large blocks lie on huge pages where the system gives them: a walk over a large matrix, above all along its columns
// or to random rows, then misses the processor's table of pages far less often.
void* allocate_from_system(std::size_t bytes) {
  if (void* block = nullptr; bytes < 2 * kHugePage)
    return posix_memalign(&block, Allocator::kAlignment, bytes) == 0 ? block : nullptr;
  void* const block = std::aligned_alloc(kHugePage, (bytes + kHugePage - 1) / kHugePage * kHugePage);
  if (block != nullptr) madvise(block, bytes, MADV_HUGEPAGE);  // a wish; nothing is lost where it is not heard
  return block;
}

class HostBackend final : public DeviceBackend {
 public:
  int count() const override { return 1; }
  std::string description(int) const override { return "this machine's processor"; }
  Allocator& allocator(int) override { return allocator_; }
  void copy_from_host(int, void* to, const void* host, std::size_t bytes) override { std::memcpy(to, host, bytes); }
  void copy_to_host(int, void* host, const void* from, std::size_t bytes) override { std::memcpy(host, from, bytes); }
  void zero(int, void* place, std::size_t bytes, std::size_t rows, std::size_t pitch) override {
    auto* row = static_cast<std::byte*>(place);
    for (std::size_t i = 0; i < rows; ++i, row += pitch) std::memset(row, 0, bytes);
  }
  void synchronize(int) override {}

 private:
  CachingAllocator allocator_{{.allocate = allocate_from_system,
                               .release = [](void* block, std::size_t) noexcept { std::free(block); },
                               .limit_bytes = memory_limit_bytes(),
                               .device = "cpu"}};
};

// Backends register themselves before main, in any order.
constinit std::array<DeviceBackend*, kDeviceKinds> backends{};

DeviceBackend* backend_of_kind(DeviceKind kind) {
  // Never destroyed: tensors with static lifetime may release their memory after main.
  static auto* host = new HostBackend;
  return kind == DeviceKind::cpu ? host : backends[static_cast<std::size_t>(kind)];
}

constexpr std::size_t kUnlimited = std::numeric_limits<std::size_t>::max();

// The number in a file; kUnlimited where there is none, as in "max".
std::size_t limit_in(const std::string& path) {
  std::size_t bytes = 0;
  std::ifstream file(path);
  return file >> bytes && bytes > 0 ? bytes : kUnlimited;
}

// The smallest limit of this process's control group and those around it; a container shows its own as the outermost.
std::size_t control_group_limit() {
  std::size_t limit = limit_in("/sys/fs/cgroup/memory.max");
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (!line.starts_with("0::/")) continue;  // 0: version 2, which has one tree
    for (std::string group = line.substr(3); group.size() > 1; group.resize(group.rfind('/')))
      limit = std::min(limit, limit_in("/sys/fs/cgroup" + group + "/memory.max"));
  }
  return limit;
}

// What ulimit -v leaves.
std::size_t address_space_left(std::size_t page) {
  rlimit space{};
  std::size_t pages = 0;
  if (getrlimit(RLIMIT_AS, &space) != 0 || space.rlim_cur == RLIM_INFINITY) return kUnlimited;
  std::ifstream("/proc/self/statm") >> pages;
  return space.rlim_cur - std::min<std::size_t>(space.rlim_cur, pages * page);
}

std::string what_is_there() {
  std::string names;
  for (Device device : available_devices())
    names += fmt::format("{}'{}'", names.empty() ? "" : ", ", device_name(device));
  if (const DeviceBackend* cuda = backend_of_kind(DeviceKind::cuda); cuda == nullptr)
    names += " (this build has no CUDA: configure it with -Dcuda=enabled)";
  else if (cuda->count() == 0)
    names += fmt::format(" ({})", cuda->description(0));
  return names;
}

}  // namespace

std::size_t memory_limit_bytes() {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGE_SIZE));
  const std::size_t physical = static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * page;
  return std::min({physical, control_group_limit(), address_space_left(page)});
}

bool add_device_backend(DeviceKind kind, DeviceBackend& backend) {
  DeviceBackend*& entry = backends[static_cast<std::size_t>(kind)];
  if (entry != nullptr) throw InternalError("two backends for one kind of device");
  entry = &backend;
  return true;
}

DeviceBackend& backend_of(Device device) {
  DeviceBackend* const backend = backend_of_kind(device.kind);
  if (backend == nullptr || device.index < 0 || device.index >= backend->count())
    throw RunError(ExitCode::unavailable,
                   fmt::format("device '{}' is not available; there is {}", device_name(device), what_is_there()));
  return *backend;
}

void DeviceBackend::begin_recording(int) {
  throw RunError(ExitCode::unavailable, "work of this kind of device cannot be recorded");
}
std::unique_ptr<Recording> DeviceBackend::end_recording(int) {
  throw InternalError("the end of a recording that never began");
}
void DeviceBackend::abandon_recording(int) noexcept {}

std::unique_ptr<Recording> record(Device device, const std::function<void()>& work) {
  DeviceBackend& backend = backend_of(device);
  backend.begin_recording(device.index);
  try {
    work();
  } catch (...) {
    backend.abandon_recording(device.index);
    throw;
  }
  return backend.end_recording(device.index);
}

std::string device_name(Device device) {
  if (device.kind == DeviceKind::meta) return "meta";
  return device.kind == DeviceKind::cpu ? "cpu" : fmt::format("cuda:{}", device.index);
}

Device device_from_name(const std::string& name) {
  if (name == "cpu") return {};
  Device device{DeviceKind::cuda, 0};
  const std::string_view index = std::string_view(name).substr(std::min<std::size_t>(name.size(), 5));
  const auto [end, error] = std::from_chars(index.data(), index.data() + index.size(), device.index);
  const bool numbered = name.starts_with("cuda:") && error == std::errc() && end == index.data() + index.size();
  if (name != "cuda" && !numbered)
    throw ArgumentError(fmt::format("unknown device '{}': choose cpu, cuda or cuda:INDEX", name));
  backend_of(device);
  return device;
}

std::vector<Device> available_devices() {
  std::vector<Device> devices;
  for (DeviceKind kind : {DeviceKind::cpu, DeviceKind::cuda})
    if (const DeviceBackend* backend = backend_of_kind(kind))
      for (int i = 0; i < backend->count(); ++i) devices.push_back({kind, i});
  return devices;
}

}  // namespace weir
