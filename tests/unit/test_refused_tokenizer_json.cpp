// tokenizer.json: what must be refused, and what damaged and hostile files must not do.
#include <doctest/doctest.h>

#include "core/philox.h"
#include "tests/unit/small_tokenizers.h"

using namespace weir;
using namespace weir::tests;

TEST_CASE("tokenizer.json: components that are not supported are named with their place") {
  const auto refused = [](const std::string& key, const Json& value) {
    return open_error(with(bpe(), key, value).dump());
  };
  CHECK(refused("/model/type", "Lookup") ==
        "model: unsupported component 'Lookup'; supported here: BPE, Unigram, WordPiece, WordLevel");
  CHECK(refused("/normalizer", {{"type", "Append"}})
            .starts_with("normalizer: unsupported component 'Append'; supported here: NFC, "));
  CHECK(refused("/pre_tokenizer", sequence("pretokenizers", {{{"type", "WhitespaceSplit"}}, {{"type", "RandomChunk"}}}))
            .starts_with(
                "pre_tokenizer.pretokenizers[1]: unsupported component 'RandomChunk'; supported here: ByteLevel, "));
  CHECK(refused("/decoder", {{"type", "New"}}).starts_with("decoder: unsupported component 'New'; "));
  CHECK(refused("/post_processor", {{"type", "New"}}).starts_with("post_processor: unsupported component 'New'; "));
  CHECK(refused("/model/dropout", 0.1) == "model.dropout: unsupported component 'dropout 0.1'; supported here: 0");
  CHECK(refused("/pre_tokenizer", {{"type", "Punctuation"}, {"behavior", "Lost"}})
            .starts_with("pre_tokenizer.behavior: unsupported component 'Lost'; supported here: Removed, "));
}

TEST_CASE("tokenizer.json: damaged and hostile files are refused with the place") {
  const auto refused = [](const std::string& key, const Json& value) {
    return open_error(with(bpe(), key, value).dump());
  };
  CHECK(open_error("").find("the file is empty") != std::string::npos);
  CHECK(open_error("{\"version\": \"1.0\"").starts_with("not valid JSON (byte offset 17): syntax error"));
  CHECK(open_error("{\"a\": \"\xff\"}").starts_with("not valid JSON (byte offset 7): syntax error"));
  CHECK(open_error(std::string("{}\0{}", 5)) == "not valid JSON (byte offset 2): a zero byte" + kDamaged);
  CHECK(open_error("[1]") == "expected an object, found a list" + kDamaged);
  CHECK(open_error("{\"version\": \"1.0\", \"version\": \"1.0\"}") ==
        "the key 'version' appears twice in one object" + kDamaged);
  CHECK(open_error(std::string(100'000, '[')) == "nested deeper than 32 levels" + kDamaged);
  CHECK(open_error("{}") == "'model' is missing" + kDamaged);
  CHECK(refused("/version", "2.0") == "version: expected '1.0', found '2.0'" + kDamaged);
  CHECK(refused("/version", 1) == "version: expected a text, found a whole number" + kDamaged);
  CHECK(open_error("{\"version\": \"1.0\"}") == "'model' is missing" + kDamaged);
  CHECK(refused("/model/merges/2", "he xx") == "model.merges[2]: 'xx' is not in the vocabulary" + kDamaged);
  CHECK(refused("/model/merges/2", "he l") == "model.merges[2]: 'hel' is not in the vocabulary" + kDamaged);
  CHECK(refused("/model/merges/2", "hell") ==
        "model.merges[2]: expected two pieces with a space between them" + kDamaged);
  CHECK(refused("/model/merges/2", Json::array({"a"})) == "model.merges[2]: expected two pieces" + kDamaged);
  CHECK(refused("/model/merges/2", Json::array({"a", 1})) ==
        "model.merges[2][1]: expected a text, found a whole number" + kDamaged);
  CHECK(refused("/model/merges/0", Json::array({"hel", "lo"})) ==
        "model.merges[0]: 'hel' is not in the vocabulary" + kDamaged);
  CHECK(refused("/model/vocab/b", 8) == "model.vocab: 'a' and 'b' share the id 8" + kDamaged);
  CHECK(refused("/model/vocab/b", -1) ==
        "model.vocab: the id of 'b' is not a whole number from 0 to 4194303" + kDamaged);
  CHECK(refused("/model/vocab/b", 1e10) ==
        "model.vocab: the id of 'b' is not a whole number from 0 to 4194303" + kDamaged);
  CHECK(refused("/model/vocab/b", 4194303) ==
        "model.vocab: 10 pieces have ids up to 4194303, which leaves more than 131072 numbers unused" + kDamaged);
  CHECK(refused("/model/vocab", Json::object()) == "model.merges[0]: 'h' is not in the vocabulary" + kDamaged);
  CHECK(refused("/normalizer", sequence("normalizers", std::vector<Json>(65, {{"type", "NFC"}}))) ==
        "normalizer.normalizers: more than 64 normalizers" + kDamaged);
  CHECK(refused("/pre_tokenizer", {{"type", "FixedLength"}, {"length", 0}})
            .starts_with("pre_tokenizer.length: 0 is not between 1 and "));
  CHECK(refused("/pre_tokenizer", {{"type", "CharDelimiterSplit"}, {"delimiter", ""}}) ==
        "pre_tokenizer.delimiter: expected one character" + kDamaged);
  CHECK(refused("/pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "ab"}}) ==
        "pre_tokenizer.replacement: expected one character" + kDamaged);
  CHECK(refused("/normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "AAA"}}) ==
        "normalizer.precompiled_charsmap: not base64: the length is not a multiple of 4" + kDamaged);
  CHECK(refused("/normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "!AAA"}}) ==
        "normalizer.precompiled_charsmap: not base64: the byte 0x21" + kDamaged);
  CHECK(refused("/normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "/////wAA"}})
            .starts_with("normalizer: precompiled_charsmap: a trie of 4294967295 bytes does not fit into 6 bytes"));
  const auto unigram_refused = [](const std::string& key, const Json& value) {
    return open_error(with(unigram(), key, value).dump());
  };
  CHECK(unigram_refused("/model/unk_id", 6) == "model.unk_id: 6 is outside the vocabulary of 6" + kDamaged);
  CHECK(unigram_refused("/model/unk_id", -1) == "model.unk_id: -1 is not between 0 and 2147483647" + kDamaged);
  CHECK(unigram_refused("/model/vocab/2", Json::array({"b", "0"})) ==
        "model.vocab[2][1]: expected a number, found a text" + kDamaged);
  CHECK(unigram_refused("/model/vocab/2", Json::array({"b"})) ==
        "model.vocab[2]: expected a piece and its score" + kDamaged);
}

TEST_CASE("tokenizer.json: a text may not grow without end") {
  std::vector<Json> doubling(
      40, {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", std::string(4000, 'a')}});
  const Json file = with(bpe(), "/normalizer", sequence("normalizers", doubling));
  CHECK(error_of([&] { encode(file, "aaaa"); }) ==
        "a text grows beyond 256 MiB while it is normalised; encode it line by line");
}

// Changed files are refused or work; either way nothing crashes, which the sanitizers watch.
TEST_CASE("tokenizer.json: changed files are refused or harmless") {
  Json file = bpe();
  file["added_tokens"] = Json::array({{{"id", 10}, {"content", "<A>"}, {"lstrip", true}}});
  file["normalizer"] = sequence(
      "normalizers", {{{"type", "NFKC"}}, {{"type", "Replace"}, {"pattern", {{"Regex", "\\s+"}}}, {"content", " "}}});
  file["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", true}};
  file["decoder"] = {{"type", "ByteLevel"}};
  const TemporaryDirectory directory;
  const std::string path = directory / "t.json", text = "hello <A> ab\u3000\xff é";
  int opened = 0, refused = 0;
  for (std::uint32_t trial = 0; trial < 2000; ++trial) {
    std::string bytes = (trial % 2 == 0 ? file : unigram()).dump();
    const RandomStream random{.seed = 11, .step = trial};
    for (std::uint32_t change = 0; change <= trial % 3; ++change) {
      const auto [place, kind, value, unused] = random.block(change);
      const std::size_t at = place % bytes.size();
      if (kind % 4 == 0) bytes[at] = static_cast<char>(value);
      if (kind % 4 == 1) bytes[at] = "0123456789\"[]{},:"[value % 17];
      if (kind % 4 == 2) bytes.erase(at, value % 4);
      if (kind % 4 == 3) bytes.insert(at, bytes.substr(value % bytes.size(), 6));
    }
    std::ofstream(path, std::ios::binary) << bytes;
    try {
      const auto tokenizer = open_tokenizer(path);
      ++opened;
      tokenizer->decode(tokenizer->encode(text));
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(opened > 100);
  CHECK(refused > 100);
}
