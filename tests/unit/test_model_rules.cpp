// What the library's own classes refuse, without a configuration file before them; and what a model keeps for itself.
#include <doctest/doctest.h>

#include <string>

#include "autograd/autograd.h"
#include "core/device.h"
#include "models/transformer_xl.h"
#include "tensor_checks.h"

using namespace weir;

namespace {

std::string refusal(ModelConfig model, const FeedforwardConfig& feedforward) {
  model.vocabulary = 11, model.layers = 1, model.heads = 2, model.head_size = 5, model.segment = 6;
  return error_message([&] { TransformerXl{model, feedforward}; });
}

}  // namespace

TEST_CASE("models: settings that are none, or do not fit, are refused by the class itself") {
  CHECK(refusal({.d_model = 12}, {}) == "");
  CHECK(refusal({.d_model = 12}, {.experts = 2, .k = 5})
            .starts_with("feedforward.k = 5 is more than feedforward.experts"));
  CHECK(refusal({.d_model = 13}, {.kind = "pkm", .k = 2, .sub_keys = 4}).starts_with("model.d_model = 13 is odd"));
  CHECK(refusal({.d_model = 12}, {.kind = "top-k", .d_ff = 4, .k = 5}).starts_with("feedforward.k = 5 is more than"));
  CHECK(refusal({.d_model = 12, .attention = "typo"}, {})
            .starts_with("model.attention = \"typo\": give one of relative, switch-head"));
  CHECK(refusal({.d_model = 12, .precision = "fp16"}, {}) ==
        "model.precision = \"fp16\": give one of float32, tf32, bf16");
  CHECK(refusal({.norm = "post"}, {}) == "model.norm = \"post\": give one of pre, peri");
  CHECK(refusal({.d_model = 0}, {}) == "model.d_model = 0: give an integer, 1 to 65536");
  CHECK(refusal({.d_model = 12, .dropout = 1}, {}) == "model.dropout = 1.0: give a number, at least 0 and below 1");
  CHECK(refusal({}, {.kind = "mo"}).starts_with("feedforward.kind = \"mo\": give one of dense, "));
}

TEST_CASE("models: positions of many lengths take no more memory than twice those of the longest") {
  constexpr std::int64_t kKeys = 300, kWidth = 64;
  const std::size_t before = allocator({}).statistics().in_use_bytes;
  const RelativePositions positions(kWidth);
  for (std::int64_t keys = 1; keys <= kKeys; ++keys) {
    const Tensor rows = positions(keys, DType::float32, {});
    REQUIRE(rows.shape() == Shape{keys, kWidth});
    if (keys % 50 == 0) CHECK(same_bits(rows, sinusoids(keys, kWidth, DType::float32)));
  }
  CHECK(allocator({}).statistics().in_use_bytes - before < 4 * kKeys * kWidth * sizeof(float));
}
