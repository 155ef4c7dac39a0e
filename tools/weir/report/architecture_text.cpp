#include "tools/weir/report/architecture_text.h"

#include <fmt/format.h>

#include "core/text.h"
#include "models/feedforward.h"

namespace weir {
std::string architecture_text(const ModelConfig& model, const FeedforwardConfig& feedforward) {
  std::string text;
  if (model.kind != ModelConfig().kind) text += model.kind + "; ";
  if (model.attention == "switch-head")
    text +=
        fmt::format("SwitchHead attention, {} of {} experts per head; ", model.attention_k, model.attention_experts);
  if (model.distinct_layers() < model.layers)
    text += fmt::format("{}; ", counted(model.distinct_layers(), "shared layer"));
  return text + feedforward_text(model, feedforward);
}

}  // namespace weir
