#include "tools/weir/report/feedforward_text.h"

#include <fmt/format.h>

namespace weir {

std::string feedforward_text(const FeedforwardConfig& config) {
  if (config.kind == "dense") return fmt::format("dense, {} hidden units", config.d_ff);
  if (config.kind == "top-k") return fmt::format("top-{} of {} hidden units", config.k, config.d_ff);
  if (config.kind == "pkm")
    return fmt::format("PKM, {}² values, {} heads, {} per head, {}", config.sub_keys, config.key_heads, config.k,
                       config.activation);
  const bool sigma = config.selection == "top-k" && config.gate == "sigmoid";
  const std::string name = sigma ? "σ-MoE" : fmt::format("MoE ({}, {})", config.selection, config.gate);
  return fmt::format("{}, {} experts of {}, {} per token", name, config.experts, config.expert_size, config.k);
}

}  // namespace weir
