// weir text: a text as the other commands read it.
#include <algorithm>
#include <span>

#include "core/output.h"
#include "tools/weir/commands.h"
#include "train/text/text_stream.h"

namespace weir {
namespace {

struct TextArguments {
  std::string file, encoding = "utf-8";

  void visit(OptionVisitor& v) {
    v.argument("FILE", file, "a text, packed or not");
    v.option("--encoding NAME", encoding, {"utf-8", "bytes"}, "bytes takes any file as it is");
  }
};

void run_text(const TextArguments& arguments) {
  // Which reads all of it: what is refused is refused before anything is printed.
  const TextFile text = open_text_file(arguments.file, {text_content(arguments.encoding), "--encoding bytes"});
  std::string piece(std::size_t{1} << 20, '\0');
  for (std::uint64_t place = text.begin; place < text.file->size(); place += piece.size()) {
    piece.resize(std::min<std::uint64_t>(piece.size(), text.file->size() - place));
    text.file->read(place, std::as_writable_bytes(std::span(piece)));
    standard_output().write(piece);
  }
}

}  // namespace

void add_text_command(CommandLine& line) {
  line.add<TextArguments>("text", "print a text as the other commands read it", run_text);
}

}  // namespace weir
