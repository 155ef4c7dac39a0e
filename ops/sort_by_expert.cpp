#include "ops/sort_by_expert.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "core/op_info.h"
#include "ops/support/check.h"
#include "ops/support/index.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const ExpertOrder&)> sort_by_expert_kernel{"sort_by_expert"};

ExpertOrder sort_by_expert(const Tensor& index, std::int64_t experts) {
  if (index.rank() != 3) check_rank("sort_by_expert", "index", index, 2);
  check_int32("sort_by_expert", "index", index);
  if (experts < 1) throw ArgumentError(fmt::format("sort_by_expert: expected at least 1 expert, got {}", experts));
  const std::int64_t heads = index.rank() == 3 ? index.size(1) : 1;
  const ExpertOrder order{Tensor::empty({index.numel()}, DType::int32, index.device()),
                          Tensor::empty({index.numel()}, DType::int32, index.device()),
                          Tensor::empty({heads * experts + 1}, DType::int64, index.device())};
  sort_by_expert_kernel(index.device(), index, order);
  return order;
}

namespace {

void sort_by_expert_cpu(const Tensor& index, const ExpertOrder& order) {
  const std::int64_t slots = index.size(-1), heads = index.rank() == 3 ? index.size(1) : 1;
  const std::int64_t all = order.offsets.numel() - 1, experts = all / std::max<std::int64_t>(heads, 1);
  std::vector<std::int64_t> chosen = checked_index("sort_by_expert", "index", index, experts);
  for (std::size_t pair = 0; pair < chosen.size() && heads > 1; ++pair)
    chosen[pair] += static_cast<std::int64_t>(pair) / slots % heads * experts;
  const IndexOrder sorted = stable_order(chosen, all);
  const auto per_token = static_cast<std::int32_t>(heads * slots);
  std::copy(sorted.positions.begin(), sorted.positions.end(), order.pairs.data<std::int32_t>());
  std::transform(sorted.positions.begin(), sorted.positions.end(), order.tokens.data<std::int32_t>(),
                 [per_token](std::int32_t pair) { return pair / per_token; });
  std::copy(sorted.offsets.begin(), sorted.offsets.end(), order.offsets.data<std::int64_t>());
}

const bool on_cpu = sort_by_expert_kernel.add(DeviceKind::cpu, sort_by_expert_cpu);

Sample sort_sample(const std::string& name, const Shape& shape, std::int64_t experts) {
  return {name,
          {random_indices(shape, 25, experts, DType::int32)},
          [experts](std::span<const Tensor> in) {
            ExpertOrder order = sort_by_expert(in[0], experts);
            return std::vector{order.pairs, order.tokens, order.offsets};
          },
          [experts](std::span<const Tensor> in) {
            const std::vector<double> index = in[0].values();
            const std::int64_t heads = in[0].rank() == 3 ? in[0].size(1) : 1, slots = in[0].size(-1);
            std::vector<double> pairs, tokens, offsets{0};
            for (std::int64_t e = 0; e < heads * experts; ++e) {
              for (std::size_t p = 0; p < index.size(); ++p) {
                const std::int64_t row = static_cast<std::int64_t>(p) / slots;  // n * heads + h
                if (row % heads != e / experts || index[p] != static_cast<double>(e % experts)) continue;
                pairs.push_back(static_cast<double>(p));
                tokens.push_back(static_cast<double>(row / heads));
              }
              offsets.push_back(static_cast<double>(pairs.size()));
            }
            const std::int64_t count = in[0].numel();
            return std::vector{Tensor::from_values({count}, pairs), Tensor::from_values({count}, tokens),
                               Tensor::from_values({heads * experts + 1}, offsets)};
          }};
}

const OpRegistration registration{{
    .name = "sort_by_expert",
    .source = __FILE__,
    .signature = "sort_by_expert(index, experts)",
    .summary =
        "the pairs n * K + k of a routing [N, K], or [N, H, K] with experts of each head, sorted stably by expert, "
        "and where each expert's begin",
    .samples =
        [] {
          return std::vector<Sample>{
              sort_sample("usual", {40, 4}, 16),    sort_sample("odd", {7, 3}, 5),
              sort_sample("one expert", {9, 2}, 1), sort_sample("mostly empty", {3, 1}, 64),
              sort_sample("size one", {1, 1}, 1),   sort_sample("no tokens", {0, 2}, 4),
              sort_sample("heads", {11, 3, 2}, 4),  sort_sample("one head", {6, 1, 2}, 3),
          };
        },
    .large =
        [] {
          return sort_sample("large", {8192, 4}, 16);
        },
    .bad_samples =
        [] {
          const auto call = [](const Shape& shape, double value, DType dtype, std::int64_t experts) {
            return [=] { sort_by_expert(Tensor::full(shape, value, dtype), experts); };
          };
          return std::vector<BadSample>{
              {"too large", call({2, 3}, 4, DType::int32, 4),
               "sort_by_expert: index[0, 0] is 4, expected 0 <= index < 4"},
              {"no experts", call({0, 1}, 0, DType::int32, 0), "sort_by_expert: expected at least 1 expert, got 0"},
              {"rank", call({2}, 0, DType::int32, 4), "sort_by_expert: expected index with 2 axes, got shape [2]"},
              {"dtype", call({2, 1}, 0, DType::int64, 4), "sort_by_expert: expected index of dtype int32, got int64"}};
        },
    .differentiable = false,
}};

}  // namespace
}  // namespace weir
