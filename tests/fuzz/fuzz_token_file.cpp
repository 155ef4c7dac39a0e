// Token shards: header, tokens, checksums. Tokens that are read are written and read once more.
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/json_mutator.h"
#include "train/token_file.h"

using namespace weir;
using namespace weir::fuzz;

namespace {

// Where the fields of the header are (train/token_file.h).
constexpr std::size_t kTokenBytes = 12, kTokens = 24, kHash = 40, kHeaderHash = 56, kHeader = 64;

void put_number(std::string& shard, std::size_t at, std::uint64_t value) { std::memcpy(&shard[at], &value, 8); }

// Makes number of tokens and checksums what they should be.
void seal(std::string& shard, Random& random) {
  std::uint32_t token_bytes = 0;
  std::memcpy(&token_bytes, &shard[kTokenBytes], 4);
  if (token_bytes >= 1 && token_bytes <= 4 && random.below(4) != 0)
    put_number(shard, kTokens, (shard.size() - kHeader) / token_bytes);
  const XXH128_hash_t hash = XXH3_128bits(shard.data() + kHeader, shard.size() - kHeader);
  put_number(shard, kHash, hash.low64);
  put_number(shard, kHash + 8, hash.high64);
  put_number(shard, kHeaderHash, XXH3_64bits(shard.data(), kHeaderHash));
}

void write_and_read(const std::vector<std::int32_t>& tokens, std::int64_t vocabulary) {
  static const Folder folder;
  TokenFileWriter writer(folder.path() + "/copy.tokens", vocabulary);
  writer.append(tokens);
  writer.commit();
  const TokenFile copy(writer.path());
  copy.verify();
  std::vector<std::int32_t> again(tokens.size());
  require(copy.size() == std::ssize(tokens) && copy.vocabulary() == vocabulary, "a shard has what was written to it");
  copy.read(0, again);
  require(again == tokens && copy.checksum() == writer.checksum(), "tokens read back");
}

// As tokens of four bytes without a header.
void read_bare(const std::string& path) {
  const TokenFile file = TokenFile::plain(std::make_unique<const RandomAccessFile>(path), 256);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(file.size()));
  file.read(0, tokens);
  for (const std::int32_t token : tokens) require(token >= 0 && token < 256, "tokens belong to the vocabulary");
  file.checksum();
}

void read_all(const std::string& path) {
  const TokenFile file(path);
  accepts([&] { file.verify(); });
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(std::min<std::int64_t>(file.size(), 1 << 16)));
  file.read(file.size() - std::ssize(tokens), tokens);
  for (const std::int32_t token : tokens)
    require(token >= 0 && token < file.vocabulary(), "tokens that are read belong to the vocabulary");
  write_and_read(tokens, file.vocabulary());
}

}  // namespace

int weir::fuzz::try_input(const std::uint8_t* data, std::size_t size) {
  static MemoryFile file;
  file.set(text_of(data, size));
  accepts([] { read_all(file.path()); });
  accepts([] { read_bare(file.path()); });
  return 0;
}

std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed) {
  Random random(seed);
  size = LLVMFuzzerMutate(data, size, max_size);
  if (size < kHeader || random.below(8) == 0) return size;
  std::string shard(text_of(data, size));
  seal(shard, random);
  return put(shard, data, max_size);
}
