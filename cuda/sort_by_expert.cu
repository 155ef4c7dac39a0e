// One key for each pair, head * experts + expert; one stable sort; a search for where each expert begins.
#include "ops/sort_by_expert.h"

#include <algorithm>

#include "cuda/index_check.cuh"
#include "cuda/runtime.h"
#include "cuda/sort.h"

namespace weir::cuda {
namespace {

constexpr int kThreads = 256;

// keys[pair] of index [rows, slots], rows being token * heads + head. An expert out of range sorts behind all others.
__global__ void expert_keys(Rows<std::int32_t> index, std::int64_t heads, std::int32_t* keys, IndexBounds bounds) {
  const std::int64_t count = index.rows * index.cols, experts = bounds.bound;
  for (std::int64_t pair = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; pair < count;
       pair += std::int64_t{gridDim.x} * kThreads) {
    const std::int64_t row = pair / index.cols, expert = index.row(row)[pair % index.cols];
    keys[pair] = static_cast<std::int32_t>(index_in_range(bounds, expert, pair) ? row % heads * experts + expert
                                                                                : heads * experts);
  }
}

__global__ void pairs_to_tokens(const std::int32_t* pairs, std::int64_t count, std::int32_t per_token,
                                std::int32_t* tokens) {
  for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count;
       i += std::int64_t{gridDim.x} * kThreads)
    tokens[i] = pairs[i] / per_token;
}

void sort_by_expert(const Tensor& index, const ExpertOrder& order) {
  const std::int64_t heads = index.rank() == 3 ? index.size(1) : 1, all = order.offsets.numel() - 1;
  const std::int64_t count = index.numel();
  const Device device = index.device();
  const Tensor keys = Tensor::empty({count}, DType::int32, device), rows = rows_form(index);
  const LaunchShape shape{blocks_for(count, kThreads), kThreads};
  if (count > 0)
    launch<expert_keys>(shape, stream_of(device), rows_of<std::int32_t>(rows), heads, keys.data<std::int32_t>(),
                        index_bounds(device, "sort_by_expert", "index", all / heads));
  const SortedKeys sorted = stable_sort(keys, all, order.pairs);
  find_offsets(sorted.keys, order.offsets);
  if (count > 0)
    launch<pairs_to_tokens>(shape, stream_of(device), order.pairs.data<std::int32_t>(), count,
                            static_cast<std::int32_t>(heads * index.size(-1)), order.tokens.data<std::int32_t>());
}

const bool registered = sort_by_expert_kernel.add(DeviceKind::cuda, sort_by_expert);

}  // namespace
}  // namespace weir::cuda
