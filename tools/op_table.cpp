// Writes the reference pages that come from code: docs/ops.md from the op records, docs/settings.md from the
// configuration's description, docs/presets.md from the presets.
//
//   build/tools/op_table docs           writes them
//   build/tools/op_table --check docs   exits 1 where a file differs from what would be written
#include <fmt/format.h>

#include <cstring>
#include <exception>
#include <filesystem>
#include <span>
#include <utility>

#include "core/error.h"
#include "core/file.h"
#include "core/op_info.h"
#include "models/feedforward_share.h"
#include "models/model_cost.h"
#include "train/config.h"
#include "train/paper_presets.h"
#include "train/presets.h"
#include "train/text_table.h"

namespace {

constexpr std::uint64_t kMaxPageBytes = 1 << 20;
constexpr const char* kUsage = "usage: op_table [--check] FOLDER";

// Text for a cell of a table.
std::string cell(const std::string& text) {
  std::string escaped;
  for (char c : text) escaped += c == '|' ? std::string("\\|") : std::string(1, c);
  return escaped;
}

const char* derivatives(const weir::OpRecord& record) {
  if (!record.differentiable) return "none";
  return record.twice_differentiable ? "any order" : "first";
}

// Ops on indices alone have no floating argument.
bool takes_floating(const weir::OpRecord& record) {
  for (const weir::Sample& sample : record.samples())
    for (const weir::Tensor& t : sample.inputs)
      if (weir::is_floating(t.dtype())) return true;
  return false;
}

std::string dtypes(const weir::OpRecord& record) {
  if (!takes_floating(record)) return "integers";
  return record.low_precision ? "f64 f32 bf16" : "f64 f32";
}

std::string tolerances(const weir::OpRecord& record) {
  const auto number = [](double tolerance) { return tolerance == 0 ? "0" : fmt::format("{:.0e}", tolerance); };
  if (!takes_floating(record)) return "exact";
  std::string text = number(record.tolerance.float64) + " " + number(record.tolerance.float32);
  if (record.low_precision) text += " " + number(record.tolerance.bf16);
  return text;
}

std::string ops_page() {
  std::string page =
      "# Ops\n\n"
      "Written by `build/tools/op_table docs` from the record at the end of each op's file; do not edit it.\n"
      "[ops/README.md](../ops/README.md) explains the records and how to add an op.\n\n"
      "- *dtypes*: of the floating arguments: float64, float32, bf16.\n"
      "- *derivatives*: \"any order\": the gradient is written in ops, so it can be differentiated again (the tests "
      "check\n"
      "  the first two orders). \"first\": the gradient is a kernel of its own, and differentiating it again is an "
      "error.\n"
      "- *tolerance*: the largest error that the tests accept, per dtype, relative to the largest reference value (or "
      "to\n"
      "  1, where that is less).\n\n"
      "| op | computes | dtypes | derivatives | tolerance |\n|---|---|---|---|---|\n";
  for (const weir::OpRecord& record : weir::op_records()) {
    const std::string file = std::filesystem::path(record.source).filename().string();
    page += fmt::format("| [`{}`](../ops/{}) | {} | {} | {} | {} |\n", cell(record.signature), file,
                        cell(record.summary), dtypes(record), derivatives(record), tolerances(record));
  }
  return page;
}

std::string settings_page() {
  return "# Settings\n\n"
         "Written by `build/tools/op_table docs` from the configuration structs (`train/config.h`, `models/config.h`); "
         "do\n"
         "not edit it. Set them in a TOML file, one table per section, or on the command line as `section.key=value`;\n"
         "`weir train --keys` prints the same list. [train/README.md](../train/README.md) tells how a configuration "
         "is\n"
         "put together. The defaults below are those of an empty file; presets change some of them.\n" +
         weir::help_markdown();
}

std::string grouped(std::int64_t number) {
  std::string digits = fmt::format("{}", number);
  for (std::size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

weir::TableRow preset_row(const weir::PaperPreset& preset) {
  const weir::Config c = weir::load_config(preset.name);
  const weir::ModelCost cost = weir::model_cost(c.model, c.feedforward, c.train.batch_size);
  const std::optional<double> paper = weir::paper_flops_percent(c.feedforward);
  return {fmt::format("`{}`", preset.name),
          preset.help,
          grouped(cost.parameters),
          grouped(cost.active_parameters),
          paper ? fmt::format("{:.1f}", *paper) : "",
          fmt::format("{:.1f}", weir::flops_percent(c.model, c.feedforward, preset.dense_d_ff)),
          fmt::format("{:.2f} {}", preset.published.value, preset.published.unit),
          preset.published.table};
}

constexpr const char* kPresetsIntroduction =
    "# Presets\n\n"
    "Written by `build/tools/op_table docs` from `train/presets.cpp` and `train/paper_presets.cpp`; do not edit it.\n"
    "`weir presets` prints a shorter list, `weir inspect NAME` all about one.\n\n"
    "Every row of the tables of \"Approximating Two-Layer Feedforward Networks for Efficient Transformers\" has a "
    "name,\n"
    "and `weir train NAME` trains it as the authors did: 100,000 steps of AdamW without weight decay, a cosine from\n"
    "2.5e-4, the memory as long as the segment. The data is read from the folder that `data.train` names.\n\n"
    "- The authors trained in fp16 with loss scaling; the presets use bf16, which has float32's range and needs none.\n"
    "  `model.precision=float32` is the other choice.\n"
    "- Small dense and Top-K models clip the gradient at 0.1, all others at 0.25; the large models warm up over 4,000\n"
    "  steps. So it stands in the authors' configurations, if not in the paper.\n"
    "- `wt103-small-sigma-moe` has two published results: 11.71 (Tab. 3) with a regulariser of weight 1e-3, and 11.59\n"
    "  (Tab. 10) with 1e-4, from which the ablations start: `wt103-small-sigma-moe-ablation`.\n"
    "- The large sigma-MoE drops experts with probability 0.1, as the authors' configurations say; the paper's Tab. 9 "
    "says\n"
    "  0.2.\n"
    "- PKM uses all of its values for each token, as all of the authors' runs did. SCALE-pkm is short for\n"
    "  SCALE-pkm-relu.\n"
    "- The published results of WikiText-103 and enwik8 were measured with a memory of four segments and a batch of 4, "
    "in\n"
    "  float32. Perplexities are per token of the 8,000-piece tokenizer, not per word.\n\n"
    "*Parameters* are ours; the authors' model has one more per layer, a scale that it never uses. *Active* are those "
    "that\n"
    "one token uses. *FLOPs* are the feedforward's in percent of the scale's dense one: as the paper counts (100 K / "
    "E,\n"
    "without the router), and exactly.\n";

std::string presets_page() {
  std::string page = kPresetsIntroduction;
  page += "\n## Quick starts\n\n";
  std::vector<weir::TableRow> table{{"preset", "is"}};
  for (const std::string& name : weir::preset_names())
    if (weir::find_paper_preset(name) == nullptr) table.push_back({"`" + name + "`", weir::preset_help(name)});
  page += weir::markdown_table(table, 2);
  std::string scale;
  for (const weir::PaperPreset& preset : weir::paper_presets()) {
    if (preset.scale != scale) {
      if (!scale.empty()) page += weir::markdown_table(table, 2);
      scale = preset.scale;
      page += fmt::format("\n## {}\n\n", scale);
      table = {{"preset", "is", "parameters", "active", "FLOPs %", "exact", "published", "in"}};
    }
    table.push_back(preset_row(preset));
  }
  return page + weir::markdown_table(table, 2);
}

// True where the file holds exactly `page`; says on stderr where it does not.
bool is_current(const std::string& path, const std::string& page) {
  if (std::filesystem::exists(path) && weir::read_file(path, kMaxPageBytes, weir::Empty::allowed) == page) return true;
  fmt::print(stderr, "{}: differs from what the code says; write it again with 'build/tools/op_table docs'\n", path);
  return false;
}

int run(std::span<char*> arguments) {
  const bool check = arguments.size() == 3 && std::strcmp(arguments[1], "--check") == 0;
  if (!check && arguments.size() != 2) throw weir::ArgumentError(kUsage);
  const std::string folder = arguments.back();
  if (folder.starts_with("-")) throw weir::ArgumentError(kUsage);
  bool current = true;
  for (const auto& [name, page] : {std::pair{"ops.md", ops_page()}, std::pair{"settings.md", settings_page()},
                                   std::pair{"presets.md", presets_page()}}) {
    const std::string path = folder + "/" + name;
    if (check)
      current = is_current(path, page) && current;
    else
      weir::write_file_atomically(path, page);
  }
  return current ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv, static_cast<std::size_t>(argc)});
  } catch (const weir::Error& error) {
    fmt::print(stderr, "op_table: {}\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    fmt::print(stderr, "op_table: {}\n", error.what());
    return static_cast<int>(weir::ExitCode::internal);
  }
}
