#include "cuda/checked_index.h"

#include <limits>
#include <string>

#include "core/error.h"
#include "cuda/index_check.cuh"
#include "cuda/runtime.h"

namespace weir::cuda {
namespace {

constexpr int kThreads = 256;

template <class Index>
__global__ void check_index(Rows<const Index> index, std::int32_t* to, IndexBounds bounds) {
  const std::int64_t count = index.rows * index.cols;
  for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count;
       i += std::int64_t{gridDim.x} * kThreads) {
    const auto value = static_cast<std::int64_t>(index.row(i / index.cols)[i % index.cols]);
    to[i] = static_cast<std::int32_t>(index_in_range(bounds, value, i) ? value : bounds.bound);
  }
}

}  // namespace

Tensor checked_index(const char* op, const char* argument, const Tensor& index, std::int64_t bound) {
  constexpr std::int64_t kLimit = std::numeric_limits<std::int32_t>::max();
  if (index.numel() > kLimit || bound > kLimit)
    throw ArgumentError(std::string(op) + ": " + argument + " of shape " + index.shape().str() + " below " +
                        std::to_string(bound) + " has or names more than 2^31 - 1 elements; split the batch");
  const Tensor checked = Tensor::empty({index.numel()}, DType::int32, index.device());
  if (index.numel() == 0) return checked;
  const Tensor from = rows_form(index);
  const auto check = [&]<class Index>(Type<Index>) {
    const Rows<Index> rows = rows_of<Index>(from);
    launch<check_index<Index>>({blocks_for(index.numel(), kThreads), kThreads}, stream_of(index.device()),
                               Rows<const Index>{rows.data, rows.rows, rows.cols, rows.stride},
                               checked.data<std::int32_t>(), index_bounds(index.device(), op, argument, bound));
  };
  if (index.dtype() == DType::uint8)
    check(Type<std::uint8_t>{});
  else
    visit_index(op, index.dtype(), check);
  return checked;
}

}  // namespace weir::cuda
