// weir tokenize: what a tokenizer makes of a text.
#include <fmt/format.h>

#include <chrono>
#include <filesystem>

#include "core/error.h"
#include "core/json_writer.h"
#include "core/text.h"
#include "tools/weir/commands.h"
#include "tools/weir/print.h"
#include "train/append_file.h"
#include "train/text/text_stream.h"
#include "train/tokenizer/tokenizer.h"
#include "train/tokenizer/unknown_text.h"

namespace weir {
namespace {

struct TokenizeArguments {
  std::string tokenizer, text, file, encoding = "utf-8";
  bool pieces = false, count = false, zero = false, json = false;

  void visit(OptionVisitor& v) {
    v.argument("TOKENIZER", tokenizer, "'bytes', a SentencePiece model (.model) or a tokenizer.json (.json)");
    v.argument("[TEXT]", text, "a text");
    v.surplus([this](std::vector<std::string> words) {
      words.insert(words.begin(), text);
      return "a text of several words is quoted: " + shell_word(join(words, " "));
    });
    v.option("--file FILE", file, "take each line of a file as a text instead");
    v.option("--encoding NAME", encoding, {"utf-8", "bytes"}, "of the file; bytes takes any file as it is");
    v.flag("--zero", zero, "the texts in the file end in zero bytes instead of line ends");
    v.flag("--pieces", pieces, "print pieces of text instead of numbers");
    v.flag("--count", count, "print only how many tokens there are, and how fast they came");
    v.flag("--json", json, "print one JSON object per text");
  }
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
  JsonList pieces;
  for (const std::int32_t token : tokens) pieces.push_back(tokenizer.piece(token));
  return Json(JsonObject{{"tokens", tokens}, {"pieces", pieces}, {"decoded", tokenizer.decode(tokens)}}).text();
}

struct Totals {
  std::uint64_t texts = 0, bytes = 0, tokens = 0;
  double seconds = 0;
};

void print_totals(const Tokenizer& tokenizer, const Totals& totals, bool json) {
  const double bytes = static_cast<double>(totals.bytes), tokens = static_cast<double>(totals.tokens);
  if (json) {
    const JsonObject object{{"tokenizer", tokenizer.describe()},
                            {"vocabulary", tokenizer.vocabulary()},
                            {"texts", totals.texts},
                            {"bytes", totals.bytes},
                            {"tokens", totals.tokens},
                            {"seconds", totals.seconds}};
    print("{}\n", Json(object).text());
    return;
  }
  print("{}\n{}, {}, {}: {:.3f} bytes per token, {:.1f} MB/s\n", tokenizer.describe(), counted(totals.texts, "text"),
        counted(totals.bytes, "byte"), counted(totals.tokens, "token"), totals.tokens == 0 ? 0.0 : bytes / tokens,
        bytes / totals.seconds / 1e6);
}

void run_tokenize(const TokenizeArguments& arguments) {
  const std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(arguments.tokenizer);
  if (arguments.text.empty() == arguments.file.empty())
    throw ArgumentError("give either a text or --file; see 'weir tokenize --help'");
  if (std::error_code ignored; std::filesystem::is_regular_file(arguments.text, ignored))
    warn_on_stderr(fmt::format("{} is taken as a text; the lines of the file of that name are taken with --file",
                               quote_short(arguments.text)));
  TextOptions options{text_content(arguments.encoding), "--encoding bytes"};
  if (arguments.zero && options.content == TextContent::text) options.content = TextContent::texts;
  const std::string contents =
      arguments.file.empty() ? arguments.text : read_text(arguments.file, std::uint64_t{1} << 32, options);
  const char separator = arguments.zero ? '\0' : '\n';
  Totals totals;
  UnknownText unknown;
  for (std::string_view rest = contents; !rest.empty();) {
    const std::string_view text = arguments.file.empty() ? rest : rest.substr(0, rest.find(separator));
    rest.remove_prefix(std::min(text.size() + 1, rest.size()));
    const auto start = std::chrono::steady_clock::now();
    const std::vector<std::int32_t> tokens = tokenizer->encode(text);
    totals.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    unknown.add(*tokenizer, text);
    ++totals.texts;
    totals.bytes += text.size();
    totals.tokens += tokens.size();
    if (arguments.count) continue;
    print("{}\n", arguments.json ? json_of(*tokenizer, tokens) : line_of(*tokenizer, tokens, arguments.pieces));
  }
  if (arguments.count) print_totals(*tokenizer, totals, arguments.json);
  if (unknown.any()) warn_on_stderr(unknown.describe("the text"));
}

}  // namespace

void add_tokenize_command(CommandLine& line) {
  line.add<TokenizeArguments>("tokenize", "show what a tokenizer makes of a text", run_tokenize);
}

}  // namespace weir
