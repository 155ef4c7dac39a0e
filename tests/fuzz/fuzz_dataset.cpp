// dataset.json of a folder of prepared data, which has two shards. What is accepted is written and read once more; the
// tokens are read where the shards are those that it describes.
#include <algorithm>

#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/json_mutator.h"
#include "train/data.h"
#include "train/dataset.h"

using namespace weir;
using namespace weir::fuzz;

namespace {

bool same(const Shard& a, const Shard& b) {
  return a.file == b.file && a.tokens == b.tokens && a.checksum == b.checksum;
}

bool same(const Split& a, const Split& b) {
  return a.tokens == b.tokens && a.bytes == b.bytes && a.words == b.words && a.unknown_share == b.unknown_share &&
         std::equal(a.shards.begin(), a.shards.end(), b.shards.begin(), b.shards.end(),
                    [](const Shard& x, const Shard& y) { return same(x, y); });
}

bool same(const Dataset& a, const Dataset& b) {
  return a.name == b.name && a.tokenizer == b.tokenizer && a.vocabulary == b.vocabulary && a.source == b.source &&
         std::equal(a.splits.begin(), a.splits.end(), b.splits.begin(), b.splits.end(),
                    [](const auto& x, const auto& y) { return x.first == y.first && same(x.second, y.second); });
}

// "a.tokens", five of 256, and "b.tokens", two of 300.
void write_shards(const std::string& folder) {
  TokenFileWriter a(folder + "/a.tokens", 256), b(folder + "/b.tokens", 300);
  a.append(std::vector<std::int32_t>{1, 2, 3, 4, 255});
  b.append(std::vector<std::int32_t>{0, 299});
  a.commit();
  b.commit();
}

void read_tokens(const std::string& folder, const std::string& split) {
  const Corpus corpus = Corpus::split(folder, split);
  corpus.verify();
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(corpus.size()));
  corpus.read(0, tokens);
  for (const std::int32_t token : tokens)
    require(token >= 0 && token < corpus.vocabulary(), "tokens belong to the vocabulary");
  require(!corpus.checksum().empty(), "tokens have a checksum");
}

}  // namespace

int weir::fuzz::try_input(const std::uint8_t* data, std::size_t size) {
  static MemoryFile file;
  static const Folder folder, copy;
  static const std::string path = [] {
    write_shards(folder.path());
    return folder.add("dataset.json", file);
  }();
  file.set(text_of(data, size));
  accepts([] {
    const Dataset dataset = read_dataset(folder.path());
    for (const auto& [name, split] : dataset.splits)
      for (const Shard& shard : split.shards)
        require(shard.file.find('/') == std::string::npos, "no shard lies outside of the folder");
    write_dataset(copy.path(), dataset);
    require(same(read_dataset(copy.path()), dataset), "a dataset that is written reads back");
    for (const auto& split : dataset.splits) accepts([&] { read_tokens(folder.path(), split.first); });
  });
  return 0;
}

std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed) {
  return mutate_json_file(data, size, max_size, seed);
}
