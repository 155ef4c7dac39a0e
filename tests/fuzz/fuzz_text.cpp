// Texts, plain or packed: the first byte says how they are read, the rest is the file.
#include <fcntl.h>

#include <algorithm>
#include <vector>

#include "core/file.h"
#include "tests/fuzz/fuzz_target.h"
#include "train/text/text_stream.h"
#include "train/token_file.h"

using namespace weir;
using namespace weir::fuzz;

namespace {

constexpr std::uint64_t kMost = 4 << 20;  // that is read of what comes out

// What is in a file, through a pipe: as much as that holds.
class Pipe {
 public:
  explicit Pipe(const std::string& file) {
    const std::string bytes = read_file(file, 1 << 20, Empty::allowed);
    if (::pipe2(ends_, O_NONBLOCK) != 0) fail("pipe2");
    if (::write(ends_[1], bytes.data(), bytes.size()) != std::ssize(bytes)) fail("cannot fill a pipe");
    ::close(ends_[1]);
  }
  ~Pipe() { ::close(ends_[0]); }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  std::string path() const { return "/proc/self/fd/" + std::to_string(ends_[0]); }

 private:
  int ends_[2];
};

// To the end, or as far as is read here.
void read_in_pieces(TextStream& text, std::size_t piece) {
  std::vector<char> buffer(piece);
  std::uint64_t size = 0;
  for (std::size_t n; size < kMost && (n = text.read(buffer)) > 0; size += n) require(n <= piece, "reads stay inside");
}

void read_lines(TextStream& text) {
  LineReader lines(text);
  std::string all;
  while (all.size() < kMost && lines.append_line(all)) {
  }
}

void read(const std::string& path, unsigned how) {
  const TextOptions options{static_cast<TextContent>(how % 4), how & 4 ? "data.encoding = \"bytes\"" : ""};
  const std::string member = how & 8 ? "wanted.txt" : "";
  if ((how >> 4) % 4 == 0) read_in_pieces(*open_text(path, options, member), 1 + 61 * (how >> 6));
  if ((how >> 4) % 4 == 1) read_lines(*open_text(path, options, member));
  if ((how >> 4) % 4 == 2) read_text(how & 64 ? Pipe(path).path() : path, kMost, options);
  if ((how >> 4) % 4 == 3) {
    const TokenFile text = TokenFile::text(path, options);
    std::vector<std::int32_t> bytes(static_cast<std::size_t>(std::min<std::int64_t>(text.size(), kMost)));
    text.read(text.size() - std::ssize(bytes), bytes);
    require(text.checksum().size() == 32, "a text has a checksum");
  }
}

}  // namespace

int weir::fuzz::try_input(const std::uint8_t* data, std::size_t size) {
  static MemoryFile file;
  if (size == 0) return -1;
  file.set(text_of(data + 1, size - 1));
  accepts([&] { read(file.path(), data[0]); });
  accepts([] {
    is_packed(file.path());
    is_gzip(file.path());
    if (seems_json_lines(file.path())) require(!json_lines_note(file.path()).empty(), "JSON lines are told");
  });
  return 0;
}
