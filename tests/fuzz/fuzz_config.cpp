// Configurations: a file, or a preset where that is empty; below a line "--" overrides as on the command line, one a
// line.
#include <string>
#include <vector>

#include "tests/fuzz/fuzz_target.h"
#include "train/config.h"
#include "train/text/text_check.h"

using namespace weir;
using namespace weir::fuzz;

namespace {

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// A list of tables beside the fields, as a sweep's file has it.
void read_with_tables(const std::string& text) {
  Config config, of_table;
  read_toml(fields_of(config), text, "sweep.toml", [](const std::string&) {},
            {"variant", [&] { return fields_of(of_table); }});
}

// What is written reads back as the same.
void check_round_trip(const Config& config) {
  const std::string text = to_toml(config);
  require(parse_stored_config(text, "stored.toml") == config, "a configuration that is written reads back");
  require(!to_json(config).empty(), "a configuration is JSON as well");
  require(changed_settings(config, config).empty(), "a configuration differs from itself in nothing");
  changed_settings(Config(), config);
  text_content(config.data.encoding);
}

}  // namespace

int weir::fuzz::try_input(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = text_of(data, size);
  constexpr std::string_view kDivision = "\n--\n";
  const std::size_t end = std::min(input.find(kDivision), input.size());
  const std::string file(input.substr(0, end));
  const std::vector<std::string> overrides = lines_of(end == input.size() ? "" : input.substr(end + kDivision.size()));
  static MemoryFile in_memory;
  static const Folder folder;
  static const std::string path = folder.add("file.toml", in_memory), of_no_kind = folder.add("file", in_memory);
  in_memory.set(file);
  std::vector<Config> sound;
  accepts([&] {
    Notes notes;
    sound.push_back(load_config(file.empty() ? "quickstart" : path, overrides, &notes));
  });
  for (const Config& config : sound) check_round_trip(config);
  require(!accepts([&] { load_config(of_no_kind, overrides); }), "the names of configurations end in .toml");
  accepts([&] { parse_stored_config(file, "stored.toml", overrides); });
  accepts([&] { read_with_tables(file); });
  accepts([&] { unquote(file, "text"); });
  return 0;
}
