// Token shards and dataset.json: what is written is read again, and nothing that is damaged is.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <numeric>

#include "core/error.h"
#include "core/file.h"
#include "file_size_limit.h"
#include "temporary_directory.h"
#include "tensor_checks.h"
#include "train/dataset.h"

using namespace weir;

namespace {

using Tokens = std::vector<std::int32_t>;

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// `count` tokens over the whole vocabulary, its last one among them.
Tokens some_tokens(std::size_t count, std::int64_t vocabulary) {
  Tokens tokens(count);
  for (std::size_t i = 0; i < count; ++i)
    tokens[i] = static_cast<std::int32_t>((static_cast<std::int64_t>(i) * 7919 + vocabulary - 1) % vocabulary);
  return tokens;
}

void write_shard(const std::string& path, const Tokens& tokens, std::int64_t vocabulary) {
  TokenFileWriter writer(path, vocabulary);
  writer.append(tokens);
  writer.commit();
}

Tokens read_all(const TokenFile& file) {
  Tokens tokens(static_cast<std::size_t>(file.size()));
  file.read(0, tokens);
  return tokens;
}

std::string bytes_of(const std::string& path) { return read_file(path, 1 << 20); }

void put(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

// The error of opening, verifying and reading a shard.
std::string refusal(const std::string& path) {
  return error_message([&] {
    const TokenFile file(path);
    file.verify();
    read_all(file);
  });
}

Dataset small_dataset(const std::string& folder, std::int64_t vocabulary = 300) {
  Dataset dataset{
      .name = "numbers", .tokenizer = "numbers.model", .vocabulary = vocabulary, .splits = {}, .source = {}};
  for (const char* name : {"train", "valid"}) {
    SplitWriter writer(folder, name, vocabulary, 100);
    writer.append(some_tokens(250, vocabulary));
    dataset.splits[name] = writer.commit();
  }
  dataset.splits["valid"].bytes = 1000;
  dataset.splits["valid"].words = 200;
  dataset.source = {{"url", "https://example.org/numbers.txt"}};
  return dataset;
}

}  // namespace

TEST_CASE("token shards: what is written is read again") {
  const TemporaryDirectory folder;
  const std::string path = folder / "a.tokens";
  struct Width {
    std::int64_t vocabulary;
    std::size_t bytes;
  };
  for (const auto [vocabulary, bytes] :
       {Width{1, 1}, Width{256, 1}, Width{257, 2}, Width{65536, 2}, Width{65537, 4}, Width{2147483647, 4}})
    for (const std::size_t count : {0, 1, 1000}) {
      CAPTURE(vocabulary);
      CAPTURE(count);
      const Tokens tokens = some_tokens(count, vocabulary);
      write_shard(path, tokens, vocabulary);
      const TokenFile file(path);
      CHECK(file.size() == static_cast<std::int64_t>(count));
      CHECK(file.vocabulary() == vocabulary);
      CHECK(std::filesystem::file_size(path) == 64 + count * bytes);
      CHECK(read_all(file) == tokens);
      file.verify();
      if (count < 3) continue;
      Tokens middle(count - 2);
      file.read(1, middle);
      CHECK(middle == Tokens(tokens.begin() + 1, tokens.end() - 1));
      CHECK_THROWS_AS(file.read(3, middle), InternalError);
    }
  CHECK(folder.entries() == 1);
}

TEST_CASE("token shards: pieces larger than the buffers") {
  const TemporaryDirectory folder;
  const Tokens tokens = some_tokens(1'500'000, 50'000);
  TokenFileWriter writer(folder / "a.tokens", 50'000);
  for (std::size_t begin = 0; begin < tokens.size(); begin += 299'993)
    writer.append(std::span(tokens).subspan(begin, std::min<std::size_t>(299'993, tokens.size() - begin)));
  writer.commit();
  const TokenFile file(folder / "a.tokens");
  file.verify();
  CHECK(read_all(file) == tokens);
  std::string bytes = read_file(folder / "a.tokens", 1 << 23);
  bytes[bytes.size() - 10] = static_cast<char>(bytes[bytes.size() - 10] ^ 1);  // still within the vocabulary
  put(folder / "a.tokens", bytes);
  CHECK(contains(refusal(folder / "a.tokens"), "(byte offset 64 to 3000063) are damaged"));
}

TEST_CASE("token shards: a text is read as bytes") {
  const TemporaryDirectory folder;
  put(folder / "text", "a\xff\n");
  const TokenFile file = TokenFile::text(folder / "text");
  CHECK(file.vocabulary() == 256);
  CHECK(read_all(file) == Tokens{'a', 255, '\n'});
  file.verify();
  CHECK(contains(error_message([&] { TokenFile::text("/dev/zero"); }), "regular file"));
}

TEST_CASE("token shards: every flipped bit is noticed") {
  const TemporaryDirectory folder;
  const std::string path = folder / "a.tokens";
  write_shard(path, some_tokens(9, 300), 300);
  const std::string sound = bytes_of(path);
  for (std::size_t bit = 0; bit < 8 * sound.size(); ++bit) {
    CAPTURE(bit);
    std::string damaged = sound;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    put(path, damaged);
    const std::string message = refusal(path);
    CHECK(contains(message, path));
    CHECK(contains(message, bit < 64    ? "not a token shard"
                            : bit < 512 ? "header (byte offset 0 to 63)"
                                        : "byte offset"));
  }
  put(path, sound);
  CHECK(refusal(path).empty());
}

TEST_CASE("token shards: every other length is noticed") {
  const TemporaryDirectory folder;
  const std::string path = folder / "a.tokens";
  write_shard(path, some_tokens(9, 300), 300);
  const std::string sound = bytes_of(path);
  for (std::size_t length = 0; length < sound.size(); ++length) {
    put(path, sound.substr(0, length));
    CHECK(contains(refusal(path), length == 0   ? "empty"
                                  : length < 64 ? "less than the 64"
                                                : "the 9 tokens of 2 bytes"));
  }
  put(path, sound + "xx");
  CHECK(contains(refusal(path), "it has 84 bytes"));
}

TEST_CASE("token shards: a file that is cut while it is open is an error") {
  const TemporaryDirectory folder;
  const std::string path = folder / "a.tokens";
  write_shard(path, some_tokens(5000, 300), 300);
  const TokenFile file(path);
  std::filesystem::resize_file(path, 5000);
  Tokens tokens(10);
  file.read(0, tokens);
  CHECK(contains(error_message([&] { file.read(4000, tokens); }), "was cut meanwhile"));
}

TEST_CASE("token shards: a token beyond the vocabulary has its place and value in the message") {
  const TemporaryDirectory folder;
  const std::string path = folder / "a.tokens";
  TokenFileWriter writer(path, 300);
  CHECK(contains(error_message([&] { writer.append(Tokens{5, 299, 300}); }), "token 2 is 300, expected 0 to 299"));
  CHECK(contains(error_message([&] { writer.append(Tokens{-1}); }), "token 0 is -1"));
  writer.append(Tokens{1, 2, 299, 4});
  writer.commit();
  std::string bytes = bytes_of(path);
  bytes[64 + 2 * 2] = static_cast<char>(0x2c);  // 299 is 0x12b
  put(path, bytes);
  CHECK(contains(refusal(path), path + ": token 2 (byte offset 68) is 300, expected less than the vocabulary, 300"));
  Tokens tokens(2);
  TokenFile(path).read(0, tokens);
  CHECK(tokens == Tokens{1, 2});
}

TEST_CASE("token shards: an unfinished one leaves nothing, a failed one leaves what was there") {
  const TemporaryDirectory folder;
  const std::string path = folder / "a.tokens";
  {
    TokenFileWriter writer(path, 256);
    writer.append(some_tokens(3'000'000, 256));
    CHECK(folder.entries() == 1);
  }
  CHECK(folder.entries() == 0);
  {
    TokenFileWriter writer(path, 256);
    writer.finish();
  }
  CHECK(folder.entries() == 0);
  write_shard(path, {1, 2, 3}, 256);
  std::string message;
  {
    const FileSizeLimit limit(1'000'000);
    message = error_message([&] { write_shard(path, some_tokens(2'000'000, 256), 256); });
  }
  CHECK(contains(message, path + ": cannot write"));
  CHECK(contains(message, "File too large"));
  CHECK(folder.entries() == 1);
  CHECK(read_all(TokenFile(path)) == Tokens{1, 2, 3});
}

TEST_CASE("datasets: what is written is read again") {
  const TemporaryDirectory folder;
  const Dataset written = small_dataset(folder.path());
  write_dataset(folder.path(), written);
  CHECK(folder.entries() == 7);
  const Dataset read = read_dataset(folder.path());
  CHECK(read.name == "numbers");
  CHECK(read.tokenizer == "numbers.model");
  CHECK(read.vocabulary == 300);
  CHECK(read.source == written.source);
  REQUIRE(read.splits.size() == 2);
  CHECK(read.splits.at("valid").bytes == 1000);
  CHECK(read.splits.at("valid").words == 200);
  const Split& train = read.splits.at("train");
  CHECK_FALSE(train.bytes.has_value());
  CHECK_FALSE(train.words.has_value());
  CHECK(train.tokens == 250);
  REQUIRE(train.shards.size() == 3);
  Tokens all;
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(train.shards[i].file == fmt::format("train-0000{}.tokens", i));
    const TokenFile shard(folder / train.shards[i].file);
    CHECK(shard.size() == train.shards[i].tokens);
    CHECK(shard.checksum() == train.shards[i].checksum);
    for (std::int32_t token : read_all(shard)) all.push_back(token);
  }
  CHECK(all == some_tokens(250, 300));
}

TEST_CASE("datasets: shards appear together or not at all") {
  const TemporaryDirectory folder;
  {
    SplitWriter writer(folder.path(), "train", 256, 10);
    writer.append(some_tokens(35, 256));
  }
  CHECK(folder.entries() == 0);
  SplitWriter empty(folder.path(), "test", 256);
  CHECK(contains(error_message([&] { empty.commit(); }), "the split test has no text"));
}

TEST_CASE("datasets: a hostile dataset.json is refused by the name of its field") {
  const TemporaryDirectory folder;
  write_dataset(folder.path(), small_dataset(folder.path()));
  const std::string path = folder / "dataset.json", sound = bytes_of(path);
  const auto with = [&](const std::string& from, const std::string& to) {
    const std::size_t at = sound.find(from);
    REQUIRE(at != std::string::npos);
    put(path, sound.substr(0, at) + to + sound.substr(at + from.size()));
    return error_message([&] { read_dataset(folder.path()); });
  };
  const auto check = [&](const std::string& from, const std::string& to, const std::string& message) {
    CAPTURE(to);
    const std::string got = with(from, to);
    CAPTURE(got);
    CHECK(contains(got, path + ": " + message));
  };
  check("\"train-00001.tokens\"", "\"../train-00001.tokens\"", "splits.train.shards[1].file");
  check("\"train-00001.tokens\"", "\"/etc/passwd\"", "splits.train.shards[1].file");
  check("\"train-00001.tokens\"", "\"train-00000.tokens\"",
        "splits.train.shards[1].file: \"train-00000.tokens\" appears");
  check("\"train-00001.tokens\"", "\"a\\u0000.tokens\"", "splits.train.shards[1].file");
  check("\"train-00001.tokens\"", "7", "splits.train.shards[1].file: expected a text, found a whole number");
  check("\"numbers.model\"", "\"../m\"", "tokenizer: \"../m\" is neither");
  check("\"numbers.model\"", "\"bytes\"", "vocabulary: it is 300, but there are 256 bytes");
  check("\"vocabulary\": 300", "\"vocabulary\": 0", "vocabulary: it is 0, expected 1 to 2^31 - 1");
  check("\"vocabulary\": 300", "\"vocabulary\": 3e2", "vocabulary: expected a whole number");
  check("\"vocabulary\": 300", "\"vocabulary\": 18446744073709551615", "vocabulary: it is 18446744073709551615");
  check("\"format\": 1", "\"format\": 2", "format: it is 2, this program reads format 1");
  check("\"tokens\": 250", "\"tokens\": 251", "splits.train.tokens: it is 251, but the shards have 250 together");
  check("\"tokens\": 100", "\"tokens\": -100", "splits.train.shards[0].tokens: it is -100");
  check("\"words\": 200", "\"words\": 0", "splits.valid.words: it is 0");
  check("\"train\": {", "\"trian\": {", "splits: \"trian\" is none of train, valid and test");
  check("\"splits\": {", "\"splits\": [], \"x\": {", "splits: expected an object, found a list");
  check("\"source\": {", "\"source\": {\"a\": {},", "source.a: expected a text");
  check("{", "[", "this is not a whole JSON object");
  put(path, std::string(200'000, '['));
  CHECK(contains(error_message([&] { read_dataset(folder.path()); }), "not a whole JSON object"));
  put(path, std::string(2 << 20, ' '));
  CHECK(contains(error_message([&] { read_dataset(folder.path()); }), "larger than"));
  for (std::size_t length = 0; length < sound.size() - 2; length += 7) {
    put(path, sound.substr(0, length));
    CHECK(contains(error_message([&] { read_dataset(folder.path()); }), "not a whole JSON object"));
  }
}
