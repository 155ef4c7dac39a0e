// weir tokenize: what a tokenizer makes of a text.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "tools/weir/commands.h"
#include "train/tokenizer/tokenizer.h"

namespace weir {
namespace {

struct TokenizeArguments {
  std::string tokenizer, text, file;
  bool pieces = false, count = false, zero = false, json = false;
};

std::string line_of(const Tokenizer& tokenizer, const std::vector<std::int32_t>& tokens, bool pieces) {
  std::string line;
  for (const std::int32_t token : tokens) {
    if (!line.empty()) line += ' ';
    line += pieces ? printable(tokenizer.piece(token)) : std::to_string(token);
  }
  return line;
}

// Bytes that are not UTF-8 become U+FFFD, for JSON knows no others.
std::string json_of(const Tokenizer& tokenizer, const std::vector<std::int32_t>& tokens) {
  nlohmann::ordered_json object{{"tokens", tokens}, {"pieces", nlohmann::json::array()}};
  for (const std::int32_t token : tokens) object["pieces"].push_back(tokenizer.piece(token));
  object["decoded"] = tokenizer.decode(tokens);
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

struct Totals {
  std::uint64_t texts = 0, bytes = 0, tokens = 0;
  double seconds = 0;
};

void print_totals(const Tokenizer& tokenizer, const Totals& totals, bool json) {
  const double bytes = static_cast<double>(totals.bytes), tokens = static_cast<double>(totals.tokens);
  if (json) {
    const nlohmann::ordered_json object{{"tokenizer", tokenizer.describe()},
                                        {"vocabulary", tokenizer.vocabulary()},
                                        {"texts", totals.texts},
                                        {"bytes", totals.bytes},
                                        {"tokens", totals.tokens},
                                        {"seconds", totals.seconds}};
    fmt::print("{}\n", object.dump());
    return;
  }
  fmt::print("{}\n{} texts, {} bytes, {} tokens: {:.3f} bytes per token, {:.1f} MB/s\n", tokenizer.describe(),
             totals.texts, totals.bytes, totals.tokens, totals.tokens == 0 ? 0.0 : bytes / tokens,
             bytes / totals.seconds / 1e6);
}

void run_tokenize(const TokenizeArguments& arguments) {
  if (arguments.text.empty() == arguments.file.empty())
    throw ArgumentError("give either a text or --file; see 'weir tokenize --help'");
  const std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(arguments.tokenizer);
  const std::string contents =
      arguments.file.empty() ? arguments.text : read_file(arguments.file, std::uint64_t{1} << 32);
  const char separator = arguments.zero ? '\0' : '\n';
  Totals totals;
  const auto start = std::chrono::steady_clock::now();
  for (std::string_view rest = contents; !rest.empty();) {
    const std::string_view text = arguments.file.empty() ? rest : rest.substr(0, rest.find(separator));
    rest.remove_prefix(std::min(text.size() + 1, rest.size()));
    const std::vector<std::int32_t> tokens = tokenizer->encode(text);
    ++totals.texts;
    totals.bytes += text.size();
    totals.tokens += tokens.size();
    if (arguments.count) continue;
    fmt::print("{}\n", arguments.json ? json_of(*tokenizer, tokens) : line_of(*tokenizer, tokens, arguments.pieces));
  }
  totals.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (arguments.count) print_totals(*tokenizer, totals, arguments.json);
}

}  // namespace

void add_tokenize_command(CLI::App& app) {
  CLI::App* const command = app.add_subcommand("tokenize", "show what a tokenizer makes of a text");
  const auto arguments = std::make_shared<TokenizeArguments>();
  command
      ->add_option("tokenizer", arguments->tokenizer,
                   "'bytes', a SentencePiece model (.model) or a tokenizer.json (.json)")
      ->required();
  command->add_option("text", arguments->text, "a text");
  command->add_option("--file", arguments->file, "take each line of a file as a text instead");
  command->add_flag("--zero", arguments->zero, "the texts in the file end in zero bytes instead of line ends");
  command->add_flag("--pieces", arguments->pieces, "print pieces of text instead of numbers");
  command->add_flag("--count", arguments->count, "print only how many tokens there are, and how fast they came");
  command->add_flag("--json", arguments->json, "print one JSON object per text");
  command->callback([arguments] { run_tokenize(*arguments); });
}

}  // namespace weir
