// JSON lines: the text of each, mended where that is possible.
#include "core/text.h"
#include "tests/fuzz/fuzz_target.h"
#include "train/prepare/document.h"

using namespace weir;
using namespace weir::fuzz;

int weir::fuzz::try_input(const std::uint8_t* data, std::size_t size) {
  std::string_view rest = text_of(data, size);
  DocumentLog log;
  accepts([&] {
    for (std::int64_t number = 1; !rest.empty(); ++number) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      DocumentLog of_line;
      const std::string text = document_text(rest.substr(0, end), "lines.json", number, of_line);
      require(is_utf8(text), "a document is UTF-8");
      log.add(of_line);
      log.check(false);
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    log.mended.describe();
    log.mended.by_name();
    log.check(true);
  });
  return 0;
}
