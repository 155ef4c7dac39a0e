#include "reading.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <string_view>

#include "core/error.h"
#include "train/data.h"
#include "train/dataset.h"
#include "train/metrics.h"
#include "train/prepare/document.h"
#include "train/run_result.h"
#include "train/text/text_stream.h"
#include "train/tokenizer/tokenizer.h"

namespace weir {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kTokenizer = R"({"version": "1.0",
  "added_tokens": [{"id": 5, "content": "<s>", "special": true, "normalized": false}],
  "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]},
  "pre_tokenizer": {"type": "WhitespaceSplit"},
  "decoder": {"type": "Fuse"},
  "model": {"type": "BPE", "unk_token": "?", "vocab": {"?": 0, "t": 1, "h": 2, "e": 3, "he": 4},
            "merges": ["h e"]}})";

// "the weir" and a line end.
constexpr std::string_view kGzip =
    "\037\213\010\000\000\000\000\000\002\003+\311HU(O\315,\342\002\000&b\272k\011\000\000\000"sv;
double read_tokenizer(const std::string& path) {
  const std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(path);
  double sum = 0;
  for (const std::int32_t token : tokenizer->encode("The weir <s> \xc3\xa9")) sum = 7 * sum + token;
  return sum + static_cast<double>(tokenizer->decode(std::vector<std::int32_t>{1, 4}).size());
}

double read_packed(const std::string& path) { return static_cast<double>(read_text(path, 1 << 20).size()); }

double read_documents() {
  DocumentLog log;
  double sum = 0;
  for (const char* line : {R"({"text": "a weir that is longer than short", "n": [1, {}]})", R"({"text": "\ud83d"})",
                           R"({"a": 1})", "no JSON at all"})
    sum += static_cast<double>(document_text(line, "lines.json", 1, log).size());
  return sum;
}

double read_data(const std::string& folder) {
  double sum = 0;
  for (const char* name : {"train", "valid"}) {
    const Corpus corpus = Corpus::split(folder, name);
    corpus.verify();
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(corpus.size()));
    corpus.read(0, tokens);
    for (const std::int32_t token : tokens) sum += token;
  }
  return sum;
}

void write_data(const std::string& folder) {
  std::filesystem::create_directory(folder);
  Dataset dataset{.name = "weir", .splits = {}, .source = {{"text", "the weir"}}};
  for (const char* name : {"train", "valid"}) {
    SplitWriter writer(folder, name, dataset.vocabulary, 64);
    writer.append(std::vector<std::int32_t>(200, 7));
    dataset.splits[name] = writer.commit();
  }
  write_dataset(folder, dataset);
}

void write_metrics(const std::string& path) {
  std::ofstream lines(path);
  for (std::int64_t step = 1; step <= 20; ++step)
    lines << metrics_line(step, 0,
                          std::vector<Metric>{{"train/loss", 1.5}, {"valid/loss", 2.0 / static_cast<double>(step)}});
}

}  // namespace

std::vector<Reading> readings(const std::string& folder) {
  const std::string data = folder + "/data", metrics = folder + "/metrics.jsonl";
  write_data(data);
  write_metrics(metrics);
  std::vector<Reading> all{{"data set", [=] { return read_data(data); }},
                           {"metrics", [=] { return read_run_result(metrics).best.value().nats_per_token; }},
                           {"documents", read_documents}};
  const auto add = [&](const char* name, std::string_view contents, double (*read)(const std::string& path)) {
    const std::string path = folder + "/" + name;
    std::ofstream(path, std::ios::binary) << contents;
    all.push_back({name, [=] { return read(path); }});
  };
  // Not what libarchive unpacks, and no SentencePiece models: where memory is refused, these libraries crash
  // themselves.
  if (have_unpacking()) add("text.gz", kGzip, read_packed);
  add("tokenizer.json", kTokenizer, read_tokenizer);
  try {
    all.back().run();
  } catch (const ArgumentError&) {  // this build lacks what it takes
    all.pop_back();
  }
  return all;
}

}  // namespace weir
