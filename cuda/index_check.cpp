#include "cuda/index_check.h"

#include <fmt/format.h>

#include <deque>
#include <mutex>

#include "core/error.h"

namespace weir::cuda {
namespace {

constinit std::mutex mutex;

// The record of a device, made at its first use.
IndexFailure* failure_of(Device device) {
  static auto* const records = new std::deque<IndexFailure*>;
  const std::lock_guard lock(mutex);
  const auto index = static_cast<std::size_t>(device.index);
  if (records->size() <= index) records->resize(index + 1);
  IndexFailure*& record = (*records)[index];
  if (record == nullptr) record = static_cast<IndexFailure*>(host_memory_for_kernels(device, sizeof(IndexFailure)));
  return record;
}

}  // namespace

IndexBounds index_bounds(Device device, const char* op, const char* argument, std::int64_t bound) {
  return {failure_of(device), op, argument, bound};
}

void check_indices(Device device) {
  IndexFailure& record = *failure_of(device);
  if (record.taken == 0) return;
  const IndexFailure failure = record;
  record = {};
  throw ArgumentError(fmt::format("{}: element {} of {} is {}, expected 0 <= {} < {} (found on {}, which left it out)",
                                  failure.op, failure.position, failure.argument, failure.value, failure.argument,
                                  failure.bound, device_name(device)));
}

}  // namespace weir::cuda
