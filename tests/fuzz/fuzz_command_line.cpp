// The words after the program's name, one a line, for commands that have every kind of option and argument.
#include <vector>

#include "tests/fuzz/fuzz_target.h"
#include "tools/weir/command_line.h"
#include "train/config.h"

using namespace weir;
using namespace weir::fuzz;

namespace {

struct Values {
  std::string run;
  std::vector<std::string> rest, files, names;
  std::string word, choice = "one";
  std::int64_t count = 3;
  double share = 0.5;
  bool quiet = false, json = false;

  void visit(OptionVisitor& v) {
    v.argument("RUN", run, "a folder");
    v.argument("[KEY=VALUE...]", rest, "settings");
    v.option("--count N", count, {.min = 1, .max = 100}, "so many");
    v.option("--share P", share, {.min = 0, .below = 1}, "a part");
    v.option("--word TEXT", word, "any text");
    v.option("--choice NAME", choice, Choices{"one", "two"}, "one of them");
    v.option("--files FILE...", files, "files");
    v.option("--names NAME,...", names, "names");
    v.flag("--quiet", quiet, "say nothing");
    v.flag("--json", json, "print JSON");
    v.excludes("--quiet", {"--json"});
    v.needs("--files", "--names");
    v.settings(setting_hint);
    v.footer("That is all.");
  }
};

struct Optional {
  std::string text;
  void visit(OptionVisitor& v) { v.argument("[TEXT]", text, "a text"); }
};

void check(const Values& values) {
  require(values.count >= 1 && values.count <= 100, "a number is within its limits");
  require(values.share >= 0 && values.share < 1, "a share is within its limits");
  require(values.choice == "one" || values.choice == "two", "a choice is one of those there are");
}

CommandLine made() {
  CommandLine line("weir", "weir 1", "Trains.", "The end.");
  line.add<Values>("train", "train a model", check);
  line.add_group("prepare", "prepare data");
  line.add<Optional>("prepare files", "your own files", [](const Optional&) {});
  return line;
}

}  // namespace

int weir::fuzz::try_input(const std::uint8_t* data, std::size_t size) {
  static const CommandLine line = made();
  std::vector<std::string> words(1);
  for (const char c : text_of(data, size)) {
    if (c == '\n')
      words.emplace_back();
    else
      words.back() += c;
  }
  accepts([&] { line.run(words); });
  return 0;
}
