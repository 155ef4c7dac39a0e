// SentencePiece models, and the encoding of texts by those that are taken. A field of the file that SentencePiece does
// not know, number 100, holds the text.
#include <vector>

#include "tests/fuzz/json_mutator.h"
#include "tests/fuzz/tokenizer_input.h"

using namespace weir;
using namespace weir::fuzz;

namespace {

constexpr std::uint64_t kText = 100 << 3 | 2;

// A field of a message: its key (number and wire type), and a number or bytes.
struct Entry {
  std::uint64_t key = 0, number = 0;
  std::string bytes;
};

bool take_number(std::string_view& rest, std::uint64_t& number) {
  number = 0;
  for (unsigned shift = 0; shift < 64 && !rest.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(rest[0]);
    rest.remove_prefix(1);
    number |= std::uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

// As far as the bytes are a message.
std::vector<Entry> entries_of(std::string_view rest) {
  std::vector<Entry> entries;
  for (Entry entry; take_number(rest, entry.key);) {
    std::uint64_t size = 0;
    const std::uint64_t wire = entry.key & 7;
    if (wire == 0) {
      if (!take_number(rest, entry.number)) break;
    } else {
      size = wire == 5 ? 4 : 8;
      if (wire == 2 && !take_number(rest, size)) break;
      if (size > rest.size()) break;
    }
    entry.bytes = rest.substr(0, size);
    rest.remove_prefix(size);
    entries.push_back(entry);
  }
  return entries;
}

void append_number(std::string& out, std::uint64_t number) {
  for (; number >= 0x80; number >>= 7) out += static_cast<char>(number | 0x80);
  out += static_cast<char>(number);
}

std::string message_of(const std::vector<Entry>& entries) {
  std::string out;
  for (const Entry& entry : entries) {
    append_number(out, entry.key);
    if ((entry.key & 7) == 0) append_number(out, entry.number);
    if ((entry.key & 7) == 2) append_number(out, entry.bytes.size());
    out += entry.bytes;
  }
  return out;
}

void mutate_bytes(std::string& bytes) {
  const std::size_t size = bytes.size();
  bytes.resize(size + 16);
  bytes.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(bytes.data()), size, bytes.size()));
}

void mutate_entries(std::vector<Entry>& entries, Random& random, int depth) {
  if (entries.empty()) entries.push_back({.key = 8 * (1 + random.below(45)), .number = random.below(5)});
  const std::size_t at = random.below(entries.size());
  Entry& entry = entries[at];
  const std::uint64_t wire = entry.key & 7;
  switch (random.below(8)) {
    case 0:
      entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(at));
      return;
    case 1:
      entries.push_back(entry);
      return;
    case 2:
      std::swap(entry, entries[random.below(entries.size())]);
      return;
    case 3:
      entries.push_back({.key = 8 * (1 + random.below(45)), .number = random.below(8)});
      return;
    default:
      break;
  }
  if (wire == 0) {
    entry.number = random.below(4) == 0 ? ~std::uint64_t{0} : random.below(8);
  } else if (wire == 2 && depth > 0 && random.below(3) != 0) {
    std::vector<Entry> inner = entries_of(entry.bytes);
    mutate_entries(inner, random, depth - 1);
    entry.bytes = message_of(inner);
  } else {
    mutate_bytes(entry.bytes);
    if (wire != 2) entry.bytes.resize(wire == 5 ? 4 : 8);
  }
}

}  // namespace

int weir::fuzz::try_input(const std::uint8_t* data, std::size_t size) {
  const std::unique_ptr<Tokenizer> tokenizer = open_input("t.model", data, size);
  if (!tokenizer) return 0;
  accepts([&] { use(*tokenizer, "the river \xe2\x96\x81 flows\n\xff \xed\x95\x9c 123"); });
  for (const Entry& entry : entries_of(text_of(data, size)))
    if (entry.key == kText) accepts([&] { use(*tokenizer, entry.bytes); });
  return 0;
}

std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed) {
  Random random(seed);
  if (random.below(8) == 0) return LLVMFuzzerMutate(data, size, max_size);
  std::vector<Entry> entries = entries_of(text_of(data, size));
  for (std::size_t i = 0; i <= random.below(3); ++i) mutate_entries(entries, random, 1);
  const std::string bytes = message_of(entries);
  return bytes.size() > max_size ? LLVMFuzzerMutate(data, size, max_size) : put(bytes, data, max_size);
}
