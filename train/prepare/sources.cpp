#include "train/prepare/sources.h"

#include <fmt/format.h>

namespace weir {
namespace {

// Where a digest is given, several public sources name the same one. The shards of C4 and peS2o come from a fixed
// revision of their repository; those without a digest are taken as they come, and what they were is written down.

Source enwik8() {
  return {.name = "enwik8",
          .title = "the first 100 million bytes of the English Wikipedia of 3 March 2006, with markup",
          .licence = "GFDL, CC BY-SA 3.0",
          .home = "https://mattmahoney.net/dc/textdata.html",
          .kind = Source::Kind::bytes,
          .train = {{.name = "enwik8.zip",
                     .urls = {"https://mattmahoney.net/dc/enwik8.zip", "http://mattmahoney.net/dc/enwik8.zip",
                              "https://data.deepai.org/enwik8.zip"},
                     .sha256 = "547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
                     .bytes = 36445475}},
          .valid = {},
          .text_sha256 = "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8",
          .text_bytes = 100000000};
}

Source text8() {
  return {.name = "text8",
          .title = "the same without markup, in lower case letters and blanks",
          .licence = "GFDL, CC BY-SA 3.0",
          .home = "https://mattmahoney.net/dc/textdata.html",
          .kind = Source::Kind::bytes,
          .train = {{.name = "text8.zip",
                     .urls = {"https://mattmahoney.net/dc/text8.zip", "http://mattmahoney.net/dc/text8.zip",
                              "https://data.deepai.org/text8.zip"},
                     .sha256 = "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
                     .bytes = 31344016}},
          .valid = {},
          .text_sha256 = "",
          .text_bytes = 100000000};
}

// The bucket that the papers name, research.metamind.io, has answered with 403 since 2024.
Source wikitext(const std::string& size, const std::string& sha256, std::uint64_t text_bytes) {
  const std::string file = fmt::format("wikitext-{}-v1.zip", size);
  return {.name = "wikitext-" + size,
          .title = "Wikipedia articles, split into words, rare ones replaced by <unk>",
          .licence = "CC BY-SA 3.0",
          .home = "https://wikitext.smerity.com",
          .kind = Source::Kind::words,
          .train = {{.name = file, .urls = {"https://wikitext.smerity.com/" + file}, .sha256 = sha256, .bytes = 0}},
          .valid = {},
          .text_sha256 = "",
          .text_bytes = text_bytes,
          .published_tokenizer = size == "103"};
}

// {} in `path` stands for the number of a shard.
std::vector<RemoteFile> shards(const std::string& base, const std::string& path, std::size_t count,
                               const std::vector<std::string>& digests) {
  std::vector<RemoteFile> files;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string name = fmt::format(fmt::runtime(path), i);
    files.push_back({.name = name, .urls = {base + name}, .sha256 = i < digests.size() ? digests[i] : "", .bytes = 0});
  }
  return files;
}

Source c4() {
  const std::string base =
      "https://huggingface.co/datasets/allenai/c4/resolve/1588ec454efa1a09f29cd18ddd04fe05fc8653a2/en/";
  return {.name = "c4",
          .title = "English web pages, cleaned (the variant \"en\")",
          .licence = "ODC-By 1.0",
          .home = "https://huggingface.co/datasets/allenai/c4",
          .kind = Source::Kind::documents,
          .train = shards(base, "c4-train.{:05}-of-01024.json.gz", 1024,
                          {"8ef8d75b0e045dec4aa5123a671b4564466b0707086a7ed1ba8721626dfffbc9",
                           "b945059cd1a343cabe311881b7840a6f0363f570e745a0eff0e687e266f6b55d"}),
          .valid = shards(base, "c4-validation.{:05}-of-00008.json.gz", 8,
                          {"bc35d7c1b1d14b90cd3a394cccbcbe191935edd04bf42ee965379c6e2987a5f0"}),
          .text_sha256 = "",
          .published_tokenizer = true,
          .tokenizer_shards = 10,
          .valid_tokens_small = 1032192,
          .valid_tokens_big = 1032192};
}

Source pes2o() {
  const std::string base =
      "https://huggingface.co/datasets/allenai/peS2o/resolve/636a503e44a3ca1b58e01fb61eab0825cd574de0/data/v2/";
  return {.name = "peS2o",
          .title = "scientific papers and abstracts (version 2)",
          .licence = "ODC-By 1.0; the papers have licences of their own",
          .home = "https://huggingface.co/datasets/allenai/peS2o",
          .kind = Source::Kind::documents,
          .train = shards(base, "train-{:05}-of-00020.json.gz", 20, {}),
          .valid = shards(base, "validation-{:05}-of-00002.json.gz", 2, {}),
          .text_sha256 = "",
          .published_tokenizer = true,
          .tokenizer_shards = 1,
          .valid_tokens_small = 4209920,
          .valid_tokens_big = 4209664};
}

}  // namespace

std::span<const Source> sources() {
  static const std::vector<Source> all = {
      enwik8(),
      text8(),
      wikitext("2", "92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c", 13000000),
      wikitext("103", "242ba0f20b329cfdf1ccc61e9e9e5b59becf189db7f7a81cd2a0e2fc31539590", 542000000),
      c4(),
      pes2o(),
  };
  return all;
}

const Source* find_source(std::string_view name) {
  for (const Source& source : sources())
    if (source.name == name) return &source;
  return nullptr;
}

}  // namespace weir
