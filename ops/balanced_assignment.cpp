#include "ops/balanced_assignment.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/op_info.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> balanced_assignment_kernel{"balanced_assignment"};

BalancedAssignment balanced_assignment(const Tensor& scores) {
  check_floating("balanced_assignment", "scores", scores);
  check_rank("balanced_assignment", "scores", scores, 2);
  if (scores.size(1) < 1) throw ArgumentError("balanced_assignment: expected at least 1 expert, got 0");
  const BalancedAssignment result{Tensor::empty({scores.size(0)}, DType::int32, scores.device()),
                                  Tensor::empty({scores.size(1)}, DType::float64, scores.device())};
  balanced_assignment_kernel(scores.device(), scores, result.expert, result.price);
  return result;
}

namespace {

// Tries every balanced assignment; the samples have no two equally good.
struct BruteForce {
  const std::vector<double>& scores;
  std::size_t experts, floor, ceilings;  // ceilings: experts that may have one token more
  std::vector<std::size_t> chosen, load, best;
  double best_sum = -1e300;

  void place(std::size_t token, double sum) {
    const std::size_t tokens = scores.size() / experts;
    if (token == tokens) {
      const bool enough = std::all_of(load.begin(), load.end(), [this](std::size_t l) { return l >= floor; });
      if (enough && sum > best_sum) best_sum = sum, best = chosen;
      return;
    }
    for (std::size_t e = 0; e < experts; ++e) {
      const bool beyond = load[e] >= floor;
      if (load[e] > floor || (beyond && ceilings == 0)) continue;
      chosen[token] = e, ++load[e], ceilings -= beyond;
      place(token + 1, sum + scores[token * experts + e]);
      --load[e], ceilings += beyond;
    }
  }
};

std::vector<Tensor> reference(std::span<const Tensor> in) {
  const std::vector<double> scores = in[0].values();
  const auto tokens = static_cast<std::size_t>(in[0].size(0)), experts = static_cast<std::size_t>(in[0].size(1));
  BruteForce search{scores,
                    experts,
                    tokens / experts,
                    tokens % experts,
                    std::vector<std::size_t>(tokens),
                    std::vector<std::size_t>(experts),
                    {}};
  search.place(0, 0);
  return {Tensor::from_values({in[0].size(0)}, std::vector<double>(search.best.begin(), search.best.end()))};
}

// `lean` pulls all tokens to the first experts.
Sample assignment_sample(const std::string& name, const Shape& shape, std::uint64_t seed, double lean = 0) {
  std::vector<double> scores = random_tensor(shape, seed).values();
  for (std::size_t i = 0; i < scores.size(); ++i)
    scores[i] -= lean * static_cast<double>(i % static_cast<std::size_t>(shape[1]));
  return {name,
          {Tensor::from_values(shape, scores)},
          [](std::span<const Tensor> in) { return std::vector{balanced_assignment(in[0]).expert}; },
          reference};
}

const OpRegistration registration{{
    .name = "balanced_assignment",
    .source = __FILE__,
    .signature = "balanced_assignment(scores)",
    .summary = "the expert of each token such that all experts get equally many and the sum of scores is largest",
    .samples =
        [] {
          return std::vector<Sample>{
              assignment_sample("usual", {8, 4}, 71),          assignment_sample("odd", {9, 3}, 72),
              assignment_sample("one expert", {5, 1}, 73),     assignment_sample("not divisible", {7, 3}, 74),
              assignment_sample("leaning", {8, 3}, 75, 3),     assignment_sample("more experts", {3, 5}, 76),
              assignment_sample("leaning far", {7, 4}, 77, 4), assignment_sample("size one", {1, 1}, 78),
              assignment_sample("no tokens", {0, 4}, 79),
          };
        },
    .large =
        [] {
          return assignment_sample("large", {512, 16}, 71);
        },
    .bad_samples =
        [] {
          const auto call = [](const Shape& shape, DType dtype) {
            return [=] { balanced_assignment(Tensor::zeros(shape, dtype)); };
          };
          return std::vector<BadSample>{
              {"integers", call({2, 3}, DType::int32), "balanced_assignment: expected scores of a floating dtype"},
              {"no experts", call({2, 0}, DType::float32), "balanced_assignment: expected at least 1 expert, got 0"},
              {"rank", call({2}, DType::float32), "balanced_assignment: expected scores with 2 axes, got shape [2]"}};
        },
    .differentiable = false,
}};

}  // namespace
}  // namespace weir
