// The command line: each command describes its options once, and what the user gives lands in the command's struct. The
// help and the messages about mistakes come from the same description.
//
//   struct GenerateArguments {
//     std::string run;
//     std::int64_t tokens = 200;
//     bool json = false;
//
//     void visit(OptionVisitor& v) {
//       v.argument("RUN", run, "a run folder");
//       v.option("--tokens N", tokens, {.min = 1}, "tokens to generate");
//       v.flag("--json", json, "print one JSON object");
//     }
//   };
//   line.add<GenerateArguments>("generate", "continue a text", run_generate);
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/fields.h"

namespace weir {

// What may follow a command: arguments without a name in their order, and options.
struct OptionList {
  struct Option {
    Field field;                               // its name with the dashes; of a list, without a value
    std::string placeholder;                   // of the value; empty: a flag
    std::vector<std::string>* list = nullptr;  // where it takes several values
  };
  struct Argument {
    std::string name, help;
    bool required = true;
    std::string* value = nullptr;  // or else the list, which comes last
    std::vector<std::string>* list = nullptr;
  };
  struct Rule {
    std::string option;
    std::vector<std::string> others;
    bool needed;  // all of the others have to stand beside the option; or none may
  };

  std::vector<Argument> arguments;
  std::vector<Option> options;
  std::vector<Rule> rules;
  std::string footer;
  // Of a command that takes settings: what to write instead of an unknown option and its value, or an empty string.
  std::function<std::string(const std::string& option, const std::string& value)> setting_hint;
  // Of words after the last argument: what to write instead. Called when the arguments have their values.
  std::function<std::string(std::vector<std::string> words)> surplus_hint;
};

// Names are written as the usage line has them: "RUN" has to be given, "[RUN]" need not; "RUN..." takes one or more.
// The value that a variable has before is the default, which the help mentions where it is within the limits. A text
// whose placeholder is TEXT may be given empty; other names and paths are refused then.
class OptionVisitor {
 public:
  void argument(std::string_view usage, std::string& value, std::string help);
  void argument(std::string_view usage, std::vector<std::string>& values, std::string help);

  void option(std::string_view usage, std::int64_t& value, IntegerLimits limits, std::string help);
  void option(std::string_view usage, double& value, NumberLimits limits, std::string help);
  void option(std::string_view usage, std::string& value, std::string help);
  void option(std::string_view usage, std::string& value, Choices choices, std::string help);
  // "--train FILE..." takes what follows up to the next option, "--only NAME,..." one word that commas divide.
  void option(std::string_view usage, std::vector<std::string>& values, std::string help);
  void flag(std::string_view name, bool& value, std::string help);

  void excludes(std::string option, std::vector<std::string> others);
  void needs(std::string option, std::string other);
  void settings(std::string (*hint)(const std::string& option, const std::string& value)) { list_.setting_hint = hint; }
  void surplus(std::function<std::string(std::vector<std::string> words)> hint) {
    list_.surplus_hint = std::move(hint);
  }
  void footer(std::string text);  // after the options in the help; its lines stay as they are

  OptionList take() { return std::move(list_); }

 private:
  OptionList::Option& add(std::string_view usage, Field field);

  OptionList list_;
};

class CommandLine {
 public:
  CommandLine(std::string program, std::string version, std::string summary, std::string footer);

  // `name` may be "GROUP COMMAND".
  template <class Arguments, class Run>
  void add(std::string name, std::string summary, Run work) {
    commands_.push_back({std::move(name), std::move(summary), [work](const Use& use) {
                           Arguments arguments;
                           OptionVisitor visitor;
                           arguments.visit(visitor);
                           if (use(visitor.take())) work(arguments);
                         }});
  }
  void add_group(std::string name, std::string summary);

  // Runs the command that `words` name, or prints the help that they ask for. Throws ArgumentError for anything that
  // cannot be meant.
  void run(std::span<const std::string> words) const;

 private:
  using Use = std::function<bool(const OptionList&)>;  // true: run with what its variables hold now
  struct Command {
    std::string name, summary;
    std::function<void(const Use&)> with_options;  // empty: a group
  };

  const Command* find(std::string_view name) const;
  const Command& chosen(std::span<const std::string>& words) const;
  std::string elsewhere(const Command& command, const std::string& option) const;
  std::string help(const Command& command) const;
  std::string command_list(std::string_view group) const;
  std::string overview() const;

  std::string program_, version_, summary_, footer_;
  std::vector<Command> commands_;
};

}  // namespace weir
