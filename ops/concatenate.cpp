#include "ops/concatenate.h"

#include <fmt/format.h>

#include "autograd/backward.h"
#include "ops/slice.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {
namespace {

// The shape of the result; `axis` counts from the front.
Shape check_parts(std::span<const Tensor> parts, int axis) {
  const Tensor& first = parts[0];
  std::int64_t total = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Tensor& part = parts[i];
    check_same_dtype("concatenate", first, part);
    if (part.device() != first.device())
      throw ArgumentError(
          fmt::format("concatenate: expected all tensors on one device, got one on {} and one on {}; move one with "
                      "to_device()",
                      device_name(first.device()), device_name(part.device())));
    if (part.rank() != first.rank() || part.shape().with(axis, first.size(axis)) != first.shape())
      throw ArgumentError(fmt::format("concatenate: part {} has shape {}, part 0 has {}; only axis {} may differ", i,
                                      part.shape().str(), first.shape().str(), axis));
    total += part.size(axis);
  }
  return first.shape().with(axis, total);
}

}  // namespace

Tensor concatenate(std::span<const Tensor> parts, int axis) {
  if (parts.empty()) throw ArgumentError("concatenate: expected at least one part, got none");
  axis = normalise_axis("concatenate", axis, parts[0].rank());
  const Tensor y = Tensor::empty(check_parts(parts, axis), parts[0].dtype(), parts[0].device());
  std::vector<std::int64_t> ends;
  for (const Tensor& part : parts) {
    const std::int64_t begin = ends.empty() ? 0 : ends.back();
    ends.push_back(begin + part.size(axis));
    copy_into(part, slice_view(y, axis, begin, ends.back()));
  }
  Backward back("concatenate", {parts.begin(), parts.end()}, {y});
  for (std::size_t i = 0; i < parts.size(); ++i)
    back.input(static_cast<int>(i), [axis, begin = i == 0 ? 0 : ends[i - 1], end = ends[i]](const Tensor& dy) {
      return slice(dy, axis, begin, end);
    });
  return y;
}

namespace {

Sample concatenate_sample(const std::string& name, const std::vector<Shape>& shapes, int axis) {
  std::vector<Tensor> parts;
  for (const Shape& shape : shapes) parts.push_back(random_tensor(shape, 27 + parts.size()));
  return {name, parts, [axis](std::span<const Tensor> in) { return std::vector{concatenate(in, axis)}; },
          [axis](std::span<const Tensor> in) {
            const int from_front = axis < 0 ? axis + in[0].rank() : axis;
            std::int64_t outer = 1, total = 0;
            for (int a = 0; a < from_front; ++a) outer *= in[0].size(a);
            std::vector<double> y;
            for (std::int64_t o = 0; o < outer; ++o)
              for (const Tensor& part : in) {
                const std::vector<double> x = part.values();
                const std::int64_t run = part.numel() / outer;  // elements of one part in a row
                y.insert(y.end(), x.begin() + o * run, x.begin() + (o + 1) * run);
              }
            for (const Tensor& part : in) total += part.size(axis);
            return std::vector{Tensor::from_values(in[0].shape().with(axis, total), y)};
          }};
}

const OpRegistration registration{{
    .name = "concatenate",
    .source = __FILE__,
    .signature = "concatenate(parts, axis)",
    .summary = "the parts side by side along an axis",
    .samples =
        [] {
          return std::vector<Sample>{
              concatenate_sample("rows", {{2, 5}, {3, 5}}, 0),
              concatenate_sample("columns", {{3, 2}, {3, 5}, {3, 1}}, -1),
              concatenate_sample("middle", {{2, 3, 4}, {2, 1, 4}}, 1),
              concatenate_sample("one part", {{3, 5}}, 0),
              concatenate_sample("size one", {{1}, {1}}, 0),
              concatenate_sample("empty part", {{2, 0}, {2, 3}}, 1),
          };
        },
    .large =
        [] {
          return concatenate_sample("large", {{32, 256, 1024}, {32, 256, 1024}}, 1);
        },
    .bad_samples =
        [] {
          const auto joined = [](const Shape& a, const Shape& b, DType b_dtype, int axis) {
            return [=] { concatenate(std::vector{Tensor::zeros(a, DType::float32), Tensor::zeros(b, b_dtype)}, axis); };
          };
          return std::vector<BadSample>{
              {"no parts", [] { concatenate({}, 0); }, "concatenate: expected at least one part, got none"},
              {"axis", joined({2, 3}, {2, 3}, DType::float32, 2),
               "concatenate: axis 2 is out of range for a tensor of 2 axes"},
              {"shapes", joined({2, 3}, {2, 4}, DType::float32, 0),
               "concatenate: part 1 has shape [2, 4], part 0 has [2, 3]; only axis 0 may differ"},
              {"ranks", joined({2, 3}, {2}, DType::float32, 0),
               "concatenate: part 1 has shape [2], part 0 has [2, 3]; only axis 0 may differ"},
              {"dtypes", joined({2}, {2}, DType::bf16, 0),
               "concatenate: expected one dtype on both sides, got float32 and bf16"},
          };
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
