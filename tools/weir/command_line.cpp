#include "tools/weir/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <set>

#include "core/error.h"
#include "core/output.h"
#include "core/text.h"

namespace weir {
namespace {

bool is_help(const std::string& word) { return word == "--help" || word == "-h"; }

// "RUN...", "[TEXT]", "[KEY=VALUE...]" without what says how many.
std::string bare_name(std::string_view usage) {
  std::string name(usage);
  for (const char* mark : {"[", "]", "..."})
    if (const std::size_t at = name.find(mark); at != std::string::npos) name.erase(at, std::string_view(mark).size());
  return name;
}

std::vector<std::string> names_of(const OptionList& list) {
  std::vector<std::string> names{"--help"};
  for (const OptionList::Option& option : list.options) names.push_back(option.field.name);
  return names;
}

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == ',')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

// Reads the words after a command into the variables of its options and arguments. CLI11 tells apart what belongs to
// which; its exceptions do not say what they are about, so what is wrong is seen from its results.
class Reader {
 public:
  Reader(const OptionList& list, std::string command) : list_(list), command_(std::move(command)) {
    app_.set_help_flag();
    app_.allow_extras();
    for (const OptionList::Option& option : list_.options) {
      const int most = option.placeholder.empty() ? 0 : takes_many(option) ? 1 << 20 : 1;  // with -1, "[a,b]" is two
      app_.add_option(option.field.name, [this, &option](const auto& values) { return set(option, values); })
          ->expected(std::min(most, 1), most)
          ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
          ->trigger_on_parse();
    }
    for (const OptionList::Argument& argument : list_.arguments)  // what follows as a list stays among the extras
      if (argument.list == nullptr) app_.add_option(argument.name, CLI::callback_t{})->required(argument.required);
  }

  // `elsewhere` says which other commands know an option that this one does not.
  void read(std::span<const std::string> words, const std::function<std::string(const std::string&)>& elsewhere) {
    try {
      app_.parse(prepared(words));
    } catch (const CLI::RequiredError&) {  // read_arguments says which
    }
    std::vector<std::string> extras = app_.remaining();
    const auto dashes = std::find(extras.begin(), extras.end(), "--");
    for (auto word = extras.begin(); word != dashes; ++word)
      if (word->starts_with('-') && *word != "-") refuse_unknown(*word, words, elsewhere);
    if (dashes != extras.end()) extras.erase(dashes);
    read_arguments(extras);
    check_rules();
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw ArgumentError(name() + ": " + what + "; see '" + command_ + " --help'");
  }

  std::string name() const { return command_.substr(command_.find(' ') + 1); }  // without the program's

  static bool with_commas(const OptionList::Option& option) { return option.placeholder.ends_with(",..."); }
  static bool takes_many(const OptionList::Option& option) {
    return option.placeholder.ends_with("...") && !with_commas(option);
  }

  const OptionList::Option* find(const std::string& word) const {
    for (const OptionList::Option& option : list_.options)
      if (option.field.name == word.substr(0, word.find('='))) return &option;
    return nullptr;
  }
  bool is_option(const std::string& word) const { return is_help(word) || word == "--" || find(word) != nullptr; }
  bool was_given(const std::string& option) const { return app_.count(option) > 0; }

  // The words from the last to the first, as CLI11 takes them. It would have an option take another one as its value,
  // and the next word where nothing follows '='.
  std::vector<std::string> prepared(std::span<const std::string> words) const {
    std::vector<std::string> result;
    bool in_list = false;
    for (; !words.empty() && words[0] != "--"; words = words.subspan(1)) {
      result.push_back(words[0]);
      const OptionList::Option* const option = find(words[0]);
      if (option == nullptr) continue;
      in_list = takes_many(*option);
      const std::string& called = option->field.name;
      if (option->placeholder.empty()) {
        if (words[0] != called)
          fail(called + " takes no value; leave out " + quote_short(words[0].substr(called.size())));
        continue;
      }
      if (words[0] == called && (words.size() == 1 || is_option(words[1])))
        fail(called + " needs a value: " + called + " " + option->placeholder +
             (words.size() == 1 ? "" : " (one that looks like an option is given with =)"));
      if (words[0] == called + "=") {
        result.back() = called;
        result.emplace_back();
      }
    }
    if (in_list && !words.empty()) result.emplace_back("--");  // CLI11 takes one as the end of the list alone
    result.insert(result.end(), words.begin(), words.end());
    std::reverse(result.begin(), result.end());
    return result;
  }

  // What was to be the value of an unknown option.
  static std::string value_after(const std::string& word, std::span<const std::string> words) {
    if (const std::size_t equals = word.find('='); equals != std::string::npos) return word.substr(equals + 1);
    const auto next = std::find(words.begin(), words.end(), word) + 1;
    const bool is_value = next != words.end() && !next->starts_with("--") && next->find('=') == std::string::npos;
    return is_value && next->size() <= 60 ? *next : "";
  }

  std::string hint_for(const std::string& option, const std::string& value,
                       const std::function<std::string(const std::string&)>& elsewhere) const {
    std::string hint;
    if (list_.setting_hint) hint = list_.setting_hint(option, value);
    if (!hint.empty()) return hint;
    if (const std::string nearest = nearest_name(option, names_of(list_)); !nearest.empty())
      hint = "did you mean " + nearest + "?";
    if (const std::string others = elsewhere(option); !others.empty()) hint += (hint.empty() ? "" : " ") + others;
    if (hint.empty() && !option.starts_with("--") && !list_.arguments.empty())
      hint = "write -- before a text that begins with a dash";
    return hint;
  }

  [[noreturn]] void refuse_unknown(const std::string& word, std::span<const std::string> words,
                                   const std::function<std::string(const std::string&)>& elsewhere) const {
    const std::string option = word.substr(0, word.find('='));
    const std::string hint = hint_for(option, value_after(word, words), elsewhere);
    fail("there is no option " + printable(option, 60) + (hint.empty() ? "" : " (" + hint + ")"));
  }

  // A text may be empty; a name, a path and an address mean nothing then, as where a variable of a script is not set.
  void refuse_empty(const std::string& name, const std::string& placeholder, const std::string& value,
                    const std::string& help) const {
    if (value.empty() && placeholder != "TEXT") fail(name + " is empty: " + help);
  }

  bool set(const OptionList::Option& option, const std::vector<std::string>& values) {
    const std::string& called = option.field.name;
    if (option.placeholder.empty()) return *std::get<bool*>(option.field.value) = true;
    if (!given_.insert(called).second) fail(called + " is given twice; give it once");
    const bool is_text = option.list != nullptr || std::holds_alternative<std::string*>(option.field.value);
    const bool is_choice = std::holds_alternative<Choices>(option.field.limits);  // which says what there is
    for (const std::string& value : values)
      if (is_text && !is_choice) refuse_empty(called, option.placeholder, value, option.field.help);
    if (option.list != nullptr)
      *option.list = with_commas(option) ? split_at_commas(values[0]) : values;
    else if (auto* const* const text = std::get_if<std::string*>(&option.field.value); text == nullptr)
      set_field_from_text(option.field, values[0], name());
    else if (std::holds_alternative<Choices>(option.field.limits))
      set_field(option.field, values[0], name());
    else
      **text = values[0];  // of any bytes, as paths are
    return true;
  }

  void read_arguments(std::span<const std::string> extras) const {
    for (const OptionList::Argument& argument : list_.arguments) {
      const std::vector<std::string> given = argument.list == nullptr
                                                 ? app_.get_option(argument.name)->results()
                                                 : std::vector<std::string>(extras.begin(), extras.end());
      if (given.empty() && argument.required) fail(argument.name + " is missing: " + argument.help);
      const bool settings = argument.list != nullptr && list_.setting_hint;  // whoever applies them says more
      for (const std::string& value : given)
        if (!settings) refuse_empty(argument.name, argument.name, value, argument.help);
      if (argument.list != nullptr) {
        *argument.list = given;
        return;
      }
      if (!given.empty()) *argument.value = given[0];
    }
    if (extras.empty()) return;
    const std::string hint = list_.surplus_hint ? list_.surplus_hint({extras.begin(), extras.end()}) : "";
    fail(quote_short(extras.front()) + " is one argument too many" + (hint.empty() ? "" : " (" + hint + ")"));
  }

  void check_rules() const {
    for (const OptionList::Rule& rule : list_.rules) {
      if (!was_given(rule.option)) continue;
      for (const std::string& other : rule.others) {
        if (was_given(other) == rule.needed) continue;
        fail(rule.needed ? rule.option + " needs " + other + " beside it"
                         : rule.option + " and " + other + " exclude each other; leave one of them out");
      }
    }
  }

  const OptionList& list_;
  const std::string command_;
  CLI::App app_;
  std::set<std::string> given_;  // of the options with a value
};

}  // namespace

OptionList::Option& OptionVisitor::add(std::string_view usage, Field field) {
  const std::size_t space = usage.find(' ');
  field.name = usage.substr(0, space);
  const std::string placeholder(space == std::string_view::npos ? "" : usage.substr(space + 1));
  return list_.options.emplace_back(OptionList::Option{std::move(field), placeholder});
}

void OptionVisitor::argument(std::string_view usage, std::string& value, std::string help) {
  list_.arguments.push_back({bare_name(usage), std::move(help), !usage.starts_with('['), &value});
}

void OptionVisitor::argument(std::string_view usage, std::vector<std::string>& values, std::string help) {
  list_.arguments.push_back({bare_name(usage), std::move(help), !usage.starts_with('['), nullptr, &values});
}

void OptionVisitor::option(std::string_view usage, std::int64_t& value, IntegerLimits limits, std::string help) {
  add(usage, {"", "", std::move(help), &value, limits});
}

void OptionVisitor::option(std::string_view usage, double& value, NumberLimits limits, std::string help) {
  add(usage, {"", "", std::move(help), &value, limits});
}

void OptionVisitor::option(std::string_view usage, std::string& value, std::string help) {
  add(usage, {"", "", std::move(help), &value, {}});
}

void OptionVisitor::option(std::string_view usage, std::string& value, Choices choices, std::string help) {
  add(usage, {"", "", std::move(help), &value, std::move(choices)});
}

void OptionVisitor::option(std::string_view usage, std::vector<std::string>& values, std::string help) {
  add(usage, {"", "", std::move(help), {}, {}}).list = &values;
}

void OptionVisitor::flag(std::string_view name, bool& value, std::string help) {
  add(name, {"", "", std::move(help), &value, {}});
}

void OptionVisitor::excludes(std::string option, std::vector<std::string> others) {
  list_.rules.push_back({std::move(option), std::move(others), false});
}

void OptionVisitor::needs(std::string option, std::string other) {
  list_.rules.push_back({std::move(option), {std::move(other)}, true});
}

void OptionVisitor::footer(std::string text) { list_.footer = std::move(text); }

CommandLine::CommandLine(std::string program, std::string version, std::string summary, std::string footer)
    : program_(std::move(program)),
      version_(std::move(version)),
      summary_(std::move(summary)),
      footer_(std::move(footer)) {}

void CommandLine::add_group(std::string name, std::string summary) {
  commands_.push_back({std::move(name), std::move(summary), {}});
}

const CommandLine::Command* CommandLine::find(std::string_view name) const {
  for (const Command& command : commands_)
    if (command.name == name) return &command;
  return nullptr;
}

// The command that `words` begin with; they keep what follows it. A group where nothing but a call for help does.
const CommandLine::Command& CommandLine::chosen(std::span<const std::string>& words) const {
  std::string path, name;
  const Command* command = nullptr;
  do {
    const std::string word = words.front();
    name = path.empty() ? word : path + " " + word;
    command = find(name);
    if (command == nullptr) {
      std::vector<std::string> known;
      const std::string prefix = path.empty() ? "" : path + " ";
      for (const Command& other : commands_)
        if (other.name.starts_with(prefix) && other.name.find(' ', prefix.size()) == std::string::npos)
          known.push_back(other.name.substr(prefix.size()));
      const std::string nearest = nearest_name(word, known);
      throw ArgumentError("there is no command " + quote_short(name) +
                          (nearest.empty() ? "" : " (did you mean " + prefix + nearest + "?)") + "; see '" +
                          (path.empty() ? program_ : program_ + " " + path) + " --help'");
    }
    words = words.subspan(1);
    path = name;
  } while (!command->with_options && !words.empty() && !is_help(words.front()));
  return *command;
}

// "'weir generate' has --tokens", or an empty string.
std::string CommandLine::elsewhere(const Command& command, const std::string& option) const {
  std::vector<std::string> owners;
  for (const Command& other : commands_) {
    if (&other == &command || !other.with_options) continue;
    other.with_options([&](const OptionList& list) {
      const std::vector<std::string> names = names_of(list);
      if (std::find(names.begin(), names.end(), option) != names.end())
        owners.push_back("'" + program_ + " " + other.name + "'");
      return false;
    });
  }
  if (owners.empty()) return {};
  if (owners.size() > 3) owners.resize(3);
  return join(owners, ", ") + (owners.size() == 1 ? " has " : " have ") + option;
}

void CommandLine::run(std::span<const std::string> words) const {
  Output& out = standard_output();
  if (!words.empty() && words[0] == "--version") return out.write(program_ + " " + version_ + "\n");
  const bool asks = !words.empty() && words[0] == "help";
  if (asks) words = words.subspan(1);
  if (words.empty() || is_help(words[0])) return out.write(overview());
  const Command& command = chosen(words);
  const auto options_end = std::find(words.begin(), words.end(), "--");
  if (asks || !command.with_options || std::any_of(words.begin(), options_end, is_help))
    return out.write(help(command));
  command.with_options([&](const OptionList& list) {
    Reader(list, program_ + " " + command.name).read(words, [&](const std::string& option) {
      return elsewhere(command, option);
    });
    return true;
  });
}

// --- help -----------------------------------------------------------------------------------------------------------

namespace {

// "  NAME       help", the help in a column of its own, and below the name where that is long.
std::string row(const std::string& name, const std::string& help, std::size_t column) {
  const std::string text = wrapped(help, std::string(column, ' '));
  const std::string left = "  " + name;
  if (left.size() + 2 > column) return left + "\n" + text;
  return left + text.substr(left.size());
}

// Wide enough for most of the names.
std::size_t column_for(const std::vector<std::string>& names) {
  constexpr std::size_t widest = 26;
  std::size_t column = 0;
  for (const std::string& name : names)
    if (const std::size_t needed = name.size() + 4; needed <= widest) column = std::max(column, needed);
  return column;
}

// "continue a text" as a paragraph.
std::string sentence(std::string words) {
  words[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(words[0])));
  return wrapped(words + ".", "");
}

std::string usage_of(const OptionList::Argument& argument) {
  const std::string name = argument.name + (argument.list != nullptr ? "..." : "");
  return argument.required ? name : "[" + name + "]";
}

std::string usage_of(const OptionList::Option& option) {
  return option.placeholder.empty() ? option.field.name : option.field.name + " " + option.placeholder;
}

// What stands in the variable, where that is a value to be had.
std::string default_text(const OptionList::Option& option) {
  if (auto* const* const text = std::get_if<std::string*>(&option.field.value)) return **text;
  if (!has_allowed_value(option.field)) return {};
  const std::string value = value_text(option.field);
  return value.ends_with(".0") ? value.substr(0, value.size() - 2) : value;
}

// "tokens to generate; 1 to 16777216, default 200". A limit that nobody meets is left out. A default in words is
// written at the end of the help, and the limits stand before it.
std::string full_help(const OptionList::Option& option) {
  constexpr std::int64_t far = 1'000'000'000;
  Field field = option.field;
  if (option.placeholder.empty() || option.list != nullptr) return field.help;
  if (auto* limits = std::get_if<IntegerLimits>(&field.limits); limits != nullptr && limits->max > far)
    limits->max = IntegerLimits{}.max;
  std::string text = field.help, otherwise = default_text(option);
  if (const std::size_t words = text.find("; default "); words != std::string::npos) {
    otherwise = text.substr(words + 10);
    text.erase(words);
  }
  const bool choices = std::holds_alternative<Choices>(field.limits);
  const std::string limits = limits_text(field);
  if (!limits.empty()) text += (choices ? "; one of " : "; ") + limits;
  if (!otherwise.empty()) text += (limits.empty() || choices ? "; default " : ", default ") + otherwise;
  return text;
}

}  // namespace

std::string CommandLine::command_list(std::string_view group) const {
  const std::string prefix = group.empty() ? "" : std::string(group) + " ";
  std::vector<std::string> names;
  for (const Command& command : commands_)
    if (command.name.starts_with(prefix) && command.name.find(' ', prefix.size()) == std::string::npos)
      names.push_back(command.name);
  std::string text = "\nCommands:\n";
  const std::size_t column = column_for(names) - prefix.size();
  for (const std::string& name : names) text += row(name.substr(prefix.size()), find(name)->summary, column);
  return text;
}

std::string CommandLine::overview() const {
  return "Usage: " + program_ + " COMMAND [arguments]\n\n" + wrapped(summary_, "") + command_list("") + "\n" + footer_ +
         "\n";
}

std::string CommandLine::help(const Command& command) const {
  const std::string name = program_ + " " + command.name;
  if (!command.with_options)
    return "Usage: " + name + " COMMAND [arguments]\n\n" + sentence(command.summary) + command_list(command.name) +
           "\n'" + name + " COMMAND --help' tells more about one.\n";
  std::string text;
  command.with_options([&](const OptionList& list) {
    std::string usage = "Usage: " + name;
    std::vector<std::string> left{"--help"};
    for (const OptionList::Argument& argument : list.arguments) {
      usage += " " + usage_of(argument);
      left.push_back(argument.name);
    }
    for (const OptionList::Option& option : list.options) left.push_back(usage_of(option));
    const std::size_t column = column_for(left);
    text = wrapped(usage + " [options]", "") + "\n" + sentence(command.summary);
    if (!list.arguments.empty()) text += "\nArguments:\n";
    for (const OptionList::Argument& argument : list.arguments) text += row(argument.name, argument.help, column);
    text += "\nOptions:\n";
    for (const OptionList::Option& option : list.options) text += row(usage_of(option), full_help(option), column);
    text += row("--help", "print this", column);
    if (!list.footer.empty()) text += "\n" + list.footer + "\n";
    return false;
  });
  return text;
}

}  // namespace weir
