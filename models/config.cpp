#include "models/config.h"

#include <fmt/format.h>

#include "core/error.h"

namespace weir {
namespace {

void validate_layers(const ModelConfig& model, const FeedforwardConfig& feedforward) {
  if (model.layers % model.distinct_layers() != 0)
    throw ArgumentError(
        fmt::format("model.layers = {} is not a multiple of model.layer_group = {}: the group is repeated as a whole; "
                    "change one of them, or give model.layer_group = 0 for layers of their own",
                    model.layers, model.layer_group));
  if (model.norm == "peri" && model.attention != "switch-head")
    throw ArgumentError(
        fmt::format("model.norm = \"peri\" keeps values out of the layer norm, which model.attention = \"{}\" cannot; "
                    "choose model.attention = \"switch-head\" or model.norm = \"pre\"",
                    model.attention));
  if (model.norm == "peri" && feedforward.kind != "moe")
    throw ArgumentError(
        fmt::format("model.norm = \"peri\" gives the layer norm to the selection of experts, which feedforward.kind = "
                    "\"{}\" has not; choose feedforward.kind = \"moe\" or model.norm = \"pre\"",
                    feedforward.kind));
}

void validate_experts(const ModelConfig& model, const FeedforwardConfig& feedforward) {
  if (model.attention == "switch-head" && model.attention_k > model.attention_experts)
    throw ArgumentError(
        fmt::format("model.attention_k = {} is more than model.attention_experts = {}: a head cannot use more experts "
                    "than it has; lower attention_k or add experts",
                    model.attention_k, model.attention_experts));
  if (feedforward.kind == "moe" && feedforward.regulariser_scope == "sequence" &&
      feedforward.regulariser != "entropy" && feedforward.regulariser != "none")
    throw ArgumentError(
        fmt::format("feedforward.regulariser_scope = \"sequence\" is defined for the entropy only, not for "
                    "feedforward.regulariser = \"{}\"; choose regulariser_scope = \"step\"",
                    feedforward.regulariser));
}

}  // namespace

void validate(const ModelConfig& model, const FeedforwardConfig& feedforward) {
  validate_layers(model, feedforward);
  validate_experts(model, feedforward);
}

}  // namespace weir
