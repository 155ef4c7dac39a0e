#include "tools/weir/report/architecture_text.h"

#include <fmt/format.h>

#include "core/text.h"

namespace weir {
namespace {

std::string feedforward_text(const FeedforwardConfig& config) {
  if (config.kind == "dense") return fmt::format("dense, {}", counted(config.d_ff, "hidden unit"));
  if (config.kind == "top-k") return fmt::format("top-{} of {} hidden units", config.k, config.d_ff);
  if (config.kind == "pkm")
    return fmt::format("PKM, {}² values, {}, {} per head, {}", config.sub_keys, counted(config.key_heads, "head"),
                       config.k, config.activation);
  const bool sigma = config.selection == "top-k" && config.gate == "sigmoid";
  const std::string name = sigma ? "σ-MoE" : fmt::format("MoE ({}, {})", config.selection, config.gate);
  return fmt::format("{}, {} of {}, {} per token", name, counted(config.experts, "expert"), config.expert_size,
                     config.k);
}

}  // namespace

std::string architecture_text(const ModelConfig& model, const FeedforwardConfig& feedforward) {
  std::string text;
  if (model.attention == "switch-head")
    text +=
        fmt::format("SwitchHead attention, {} of {} experts per head; ", model.attention_k, model.attention_experts);
  if (model.distinct_layers() < model.layers)
    text += fmt::format("{}; ", counted(model.distinct_layers(), "shared layer"));
  return text + feedforward_text(feedforward);
}

}  // namespace weir
