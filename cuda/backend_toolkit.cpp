// NVIDIA GPUs as devices of Weir.
#include <fmt/format.h>
#include <nvtx3/nvToolsExt.h>

#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "core/caching_allocator.h"
#include "core/device.h"
#include "core/profile_range.h"
#include "cuda/index_check.h"
#include "cuda/recording.h"
#include "cuda/runtime.h"
#include "cuda/staging.h"
#include "cuda/toolkit_check.h"

namespace weir {
namespace {

using cuda::check;

// One GPU. CUDA's `ordinal` counts GPUs that Weir cannot use as well, Weir's index does not. The stream is made when it
// is first asked for, and with it the driver's context of that GPU.
class Gpu {
 public:
  Gpu(int index, int ordinal, const cudaDeviceProp& properties)
      : description_(fmt::format("{}, compute capability {}.{}, {:.0f} GiB", properties.name, properties.major,
                                 properties.minor, static_cast<double>(properties.totalGlobalMem) / (1 << 30))),
        ordinal_(ordinal),
        allocator_({.allocate = [this](std::size_t bytes) { return allocate(bytes); },
                    .release = [this](void* block, std::size_t) { release(block); },
                    .limit_bytes = properties.totalGlobalMem,
                    .device = device_name({DeviceKind::cuda, index}),
                    .now = [this] { return memory(); }}) {}

  const std::string& description() const { return description_; }
  CachingAllocator& allocator() { return allocator_; }
  cuda::Staging& staging() { return staging_; }
  cuda::Recorder& recorder() { return recorder_; }

  // Makes this GPU the calling thread's.
  cudaStream_t stream() {
    check(cudaSetDevice(ordinal_), "cudaSetDevice");
    std::call_once(stream_made_, [this] {
      check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    });
    return stream_;
  }

 private:
  void* allocate(std::size_t bytes) {
    check(cudaSetDevice(ordinal_), "cudaSetDevice");
    void* block = nullptr;
    const cudaError_t result = cudaMalloc(&block, bytes);
    if (result == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      return nullptr;
    }
    check(result, "cudaMalloc");
    return block;
  }
  // Waits for the GPU first. Fails only after main, when the driver has gone and the memory with it.
  void release(void* block) {
    cudaSetDevice(ordinal_);
    cudaFree(block);
    cudaGetLastError();
  }

  std::optional<DeviceMemory> memory() const {
    DeviceMemory memory;
    if (cudaSetDevice(ordinal_) == cudaSuccess &&
        cudaMemGetInfo(&memory.free_bytes, &memory.total_bytes) == cudaSuccess)
      return memory;
    cudaGetLastError();
    return std::nullopt;
  }

  const std::string description_;
  const int ordinal_;
  CachingAllocator allocator_;
  std::once_flag stream_made_;
  cudaStream_t stream_ = nullptr;
  cuda::Staging staging_;
  cuda::Recorder recorder_;
};

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

// Why CUDA finds no GPU at all.
std::string why_none(cudaError_t error) {
  int driver = 0;
  cudaDriverGetVersion(&driver);
  cudaGetLastError();
  if (driver == 0)
    return "no NVIDIA driver is loaded: install the driver of your GPU; where nvidia-smi lists it, Weir finds it too";
  if (error == cudaErrorInsufficientDriver)
    return fmt::format(
        "the NVIDIA driver serves CUDA {}, and this build is of CUDA {}: install a newer driver, or build Weir with an "
        "older toolkit",
        version_text(driver), version_text(CUDART_VERSION));
  if (error == cudaErrorNoDevice || error == cudaSuccess)
    return "the NVIDIA driver shows no GPU: see what nvidia-smi lists, and whether CUDA_VISIBLE_DEVICES hides it";
  return fmt::format("the NVIDIA driver gives no GPU: {}; see nvidia-smi", cuda::reason(error));
}

class ToolkitBackend final : public DeviceBackend {
 public:
  int count() const override { return static_cast<int>(found().gpus.size()); }
  std::string description(int index) const override {
    return count() == 0 ? found().why_none : gpu(index).description();
  }
  Allocator& allocator(int index) override { return gpu(index).allocator(); }

  void copy_from_host(int index, void* to, const void* host, std::size_t bytes) override {
    gpu(index).recorder().refuse("a copy from the host");
    gpu(index).staging().to_device(gpu(index).stream(), to, host, bytes);
  }
  void copy_to_host(int index, void* host, const void* from, std::size_t bytes) override {
    gpu(index).recorder().refuse("a copy to the host");
    gpu(index).staging().to_host(gpu(index).stream(), host, from, bytes);
    cuda::check_indices({DeviceKind::cuda, index});
  }
  void zero(int index, void* place, std::size_t bytes, std::size_t rows, std::size_t pitch) override {
    if (bytes == 0 || rows == 0) return;
    const cudaStream_t stream = gpu(index).stream();
    if (rows == 1 || pitch == bytes)
      check(cudaMemsetAsync(place, 0, rows * bytes, stream), "cudaMemsetAsync");
    else
      check(cudaMemset2DAsync(place, pitch, 0, bytes, rows, stream), "cudaMemset2DAsync");
  }
  void synchronize(int index) override {
    gpu(index).recorder().refuse("waiting for the device");
    check(cudaStreamSynchronize(gpu(index).stream()), "cudaStreamSynchronize");
    cuda::check_indices({DeviceKind::cuda, index});
  }

  bool can_record() const override { return true; }
  void begin_recording(int index) override {
    gpu(index).recorder().begin({DeviceKind::cuda, index}, gpu(index).stream(), gpu(index).allocator());
  }
  std::unique_ptr<Recording> end_recording(int index) override { return gpu(index).recorder().end(); }
  void abandon_recording(int index) noexcept override { gpu(index).recorder().abandon(); }

  cudaStream_t stream(int index) const { return gpu(index).stream(); }

 private:
  struct Found {
    std::vector<std::unique_ptr<Gpu>> gpus;
    std::string why_none;
  };

  static Found search() {
    Found found;
    int ordinals = 0;
    const cudaError_t result = cudaGetDeviceCount(&ordinals);
    if (result != cudaSuccess || ordinals == 0) {
      found.why_none = why_none(result);
      return found;
    }
    for (int ordinal = 0; ordinal < ordinals; ++ordinal) {
      cudaDeviceProp properties{};
      check(cudaGetDeviceProperties(&properties, ordinal), "cudaGetDeviceProperties");
      if (properties.major >= 8)
        found.gpus.push_back(std::make_unique<Gpu>(static_cast<int>(found.gpus.size()), ordinal, properties));
      else
        found.why_none = fmt::format("{} has compute capability {}.{}, and Weir's kernels need 8.0 (2020 and later)",
                                     properties.name, properties.major, properties.minor);
    }
    return found;
  }

  // At the first use, not before main: who runs on the CPU does not wait for the driver.
  static const Found& found() {
    static const auto* const the_found = new Found(search());  // never destroyed: see below
    return *the_found;
  }
  static Gpu& gpu(int index) { return *found().gpus[static_cast<std::size_t>(index)]; }
};

// Never destroyed: tensors with static lifetime may release their memory after main.
ToolkitBackend& backend() {
  static auto* const the_backend = new ToolkitBackend;
  return *the_backend;
}

const bool registered = [] {
  profile_hooks = {.begin = [](const char* name, double) { nvtxRangePushA(name); }, .end = [] { nvtxRangePop(); }};
  return add_device_backend(DeviceKind::cuda, backend());
}();

}  // namespace

cuda::Stream cuda::stream_of(Device device) { return backend().stream(device.index); }

void* cuda::host_memory_for_kernels(Device device, std::size_t bytes) {
  stream_of(device);  // makes it the calling thread's device
  void* place = nullptr;
  check(cudaHostAlloc(&place, bytes, cudaHostAllocMapped | cudaHostAllocPortable), "cudaHostAlloc");
  std::memset(place, 0, bytes);
  return place;
}

}  // namespace weir
