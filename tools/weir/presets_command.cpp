// weir presets: the named configurations.
#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/json_writer.h"
#include "core/text.h"
#include "models/model_cost.h"
#include "tools/weir/commands.h"
#include "tools/weir/print.h"
#include "train/paper_presets.h"
#include "train/presets.h"
#include "train/progress.h"

namespace weir {
namespace {

struct Arguments {
  std::string filter;
  bool json = false;

  void visit(OptionVisitor& v) {
    v.argument("[PART]", filter, "list only names that contain this, such as wt103-small-s");
    v.flag("--json", json, "print a JSON array");
  }
};

std::vector<std::string> names_with(const std::string& filter) {
  const std::vector<std::string> all = preset_names();
  std::vector<std::string> found;
  std::copy_if(all.begin(), all.end(), std::back_inserter(found),
               [&](const std::string& name) { return name.find(filter) != std::string::npos; });
  if (found.empty())
    throw ArgumentError(fmt::format("no preset's name contains {}{}; 'weir presets' lists them all",
                                    quote_short(filter), did_you_mean(filter, all)));
  return found;
}

ModelCost cost_of(const std::string& name) {
  const Config config = load_config(name);
  return model_cost(config.model, config.feedforward, config.train.batch_size);
}

void print_json(const std::vector<std::string>& names) {
  JsonList list;
  for (const std::string& name : names) {
    const ModelCost cost = cost_of(name);
    JsonObject object = {{"name", name},
                         {"help", preset_help(name)},
                         {"parameters", cost.parameters},
                         {"active_parameters", cost.active_parameters}};
    if (const PaperPreset* row = find_paper_preset(name))
      object["published"] =
          JsonObject{{"value", row->published.value}, {"unit", row->published.unit}, {"table", row->published.table}};
    list.push_back(object);
  }
  print("{}\n", Json(list).text());
}

// 39 columns for the longest name, 79 in all.
void print_row(const std::string& name, const PaperPreset* row) {
  const ModelCost cost = cost_of(name);
  print("  {:<39} {:>7} {:>7}", name, format_si(static_cast<double>(cost.parameters)),
        format_si(static_cast<double>(cost.active_parameters)));
  if (row == nullptr)
    print("\n    {}\n", preset_help(name));
  else
    print(" {:>6.2f} {}  {}\n", row->published.value, row->published.unit, row->published.table);
}

void print_list(const std::vector<std::string>& names) {
  std::string heading;
  for (const std::string& name : names) {
    const PaperPreset* const row = find_paper_preset(name);
    const std::string scale = row != nullptr ? row->scale : "Quick starts, for bytes of any text";
    if (scale != heading) {
      print("{}{:<41} {:>7} {:>7}{}\n", heading.empty() ? "" : "\n", scale, "params", "active",
            row != nullptr ? "  published" : "");
      heading = scale;
    }
    print_row(name, row);
  }
}

void run_presets(const Arguments& arguments) {
  const std::vector<std::string> names = names_with(arguments.filter);
  if (arguments.json)
    print_json(names);
  else
    print_list(names);
}

}  // namespace

void add_presets_command(CommandLine& line) {
  line.add<Arguments>("presets", "list the named configurations", run_presets);
}

}  // namespace weir
