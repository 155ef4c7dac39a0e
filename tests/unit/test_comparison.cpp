// Runs side by side: which of their results compare, in which unit, and how they are called.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <numbers>

#include "core/file.h"
#include "core/stored_json.h"
#include "core/text.h"
#include "temporary_directory.h"
#include "train/comparison.h"
#include "train/result_table.h"
#include "train/run_names.h"
#include "train/tokenizer/unknown_text.h"

using namespace weir;

namespace {

// `bytes_per_token` 0: the data does not say.
ComparedRun make_run(const TemporaryDirectory& folder, const std::string& name, double nats, double bytes_per_token,
                     std::int64_t tokens, std::vector<std::string> changes = {}) {
  ComparedRun run{name, folder / name, load_config("quickstart", changes), {}};
  std::filesystem::create_directories(run.folder);
  ValidationResult result{.step = 5, .nats_per_token = nats};
  result.tokens_are_bytes = bytes_per_token == 1;
  if (bytes_per_token > 0) result.bits_per_byte = nats / std::numbers::ln2 / bytes_per_token;
  result.tokens = tokens;
  run.result = {result, result, 5};
  return run;
}

void give_tokenizer(const ComparedRun& run, const std::string& content) {
  write_file_synced(run.folder + "/tokenizer.model", content);
}

bool says(const Comparison& comparison, const std::string& words) {
  return join(comparison.notes, "\n").find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("comparison: bits per byte across tokenizers, with the order that they have") {
  const TemporaryDirectory folder;
  // Perplexities 365 and 479 per token, on the same 30,000 bytes: the second is the better model.
  const ComparedRun a = make_run(folder, "a", std::log(365), std::log(365) / std::numbers::ln2 / 3.13, 11032),
                    b = make_run(folder, "b", std::log(479), std::log(479) / std::numbers::ln2 / 2.96, 9975);
  give_tokenizer(a, "one");
  give_tokenizer(b, "one");
  const Comparison same = compare_results(std::vector{a, b});
  CHECK(same.unit == ResultUnit::perplexity);
  CHECK(same.one_tokenizer);

  give_tokenizer(b, "another");
  const Comparison different = compare_results(std::vector{a, b});
  CHECK(different.unit == ResultUnit::bits_per_byte);
  CHECK(!different.one_tokenizer);
  CHECK(a.result.last->in(different.unit).value() == doctest::Approx(3.13));
  CHECK(b.result.last->in(different.unit).value() == doctest::Approx(2.96));
  CHECK(says(different, "different tokenizers"));
  CHECK(says(different, "(tokenizer.model with 256 tokens: a; tokenizer.model with 256 tokens: b)"));
  CHECK(!says(different, "amounts of text"));

  const ComparedRun bytes = make_run(folder, "bytes", 2, 1, 30000);
  CHECK(compare_results(std::vector{bytes, b}).unit == ResultUnit::bits_per_byte);
  CHECK(compare_results(std::vector{bytes}).unit == ResultUnit::bits_per_byte);
  CHECK(compare_results(std::vector{b}).unit == ResultUnit::perplexity);
  const ComparedRun unknown = make_run(folder, "unknown", 5, 0, 10000);
  CHECK(says(compare_results(std::vector{bytes, unknown}), "nothing that compares: unknown."));
  CHECK(!unknown.result.last->in(ResultUnit::bits_per_byte));
}

TEST_CASE("comparison: other data, memory and amounts of text are told") {
  const TemporaryDirectory folder;
  const ComparedRun a = make_run(folder, "a", 2, 1, 20480, {"data.train=a.txt"});
  CHECK(compare_results(std::vector{a, make_run(folder, "b", 2, 1, 20480, {"data.train=./a.txt"})}).notes.empty());
  CHECK(says(compare_results(std::vector{a, make_run(folder, "b", 2, 1, 20480, {"data.train=b.txt"})}),
             "different data, so results are in bits per byte of text"));
  CHECK(
      says(compare_results(std::vector{a, make_run(folder, "b", 2, 1, 20480, {"data.train=a.txt", "eval.memory=32"})}),
           "different memory lengths"));
  CHECK(says(compare_results(std::vector{a, make_run(folder, "b", 2, 1, 65536, {"data.train=a.txt"})}),
             "different amounts of text (a: 20480 tokens; b: 65536 tokens)"));
  ComparedRun none = make_run(folder, "none", 2, 1, 1, {"data.train=c.txt", "eval.memory=1"});
  none.result = {};
  CHECK(compare_results(std::vector{a, none}).notes.empty());
}

TEST_CASE("comparison: one text prepared with two tokenizers is the same data") {
  const TemporaryDirectory folder;
  const auto prepare = [&](const std::string& name, const std::string& digest) {
    std::filesystem::create_directories(folder / name);
    write_file_synced(folder / (name + "/dataset.json"),
                      R"({"format":1,"name":")" + name +
                          R"(","tokenizer":"bytes","vocabulary":256,"splits":{"valid":)"
                          R"({"tokens":900,"bytes":900,"shards":[{"file":"v.tokens","tokens":900,"xxh3_128":"00"}]}},)"
                          R"("source":{"book.txt":"SHA-256 )" +
                          digest + R"("}})");
    return "data.valid=" + folder / name;
  };
  const ComparedRun a = make_run(folder, "a", 2, 1, 900, {prepare("bytes", "12")}),
                    b = make_run(folder, "b", 2, 1, 900, {prepare("pieces", "12")}),
                    c = make_run(folder, "c", 2, 1, 900, {prepare("other", "34")});
  CHECK(!says(compare_results(std::vector{a, b}), "different data"));
  CHECK(says(compare_results(std::vector{a, c}), "different data"));
  CHECK(says(compare_results(std::vector{c, a, b}), "(" + folder / "other" + ": c; " + folder / "bytes" + ", " +
                                                        folder / "pieces" + " (the same text): a, b)"));
}

TEST_CASE("comparison: runs whose tokenizer leaves out some of the text are named") {
  const TemporaryDirectory folder;
  const ComparedRun a = make_run(folder, "a", 2, 1, 900);
  ComparedRun b = make_run(folder, "b", 2, 2, 900), c = make_run(folder, "c", 2, 3, 900);
  CHECK(!says(compare_results(std::vector{a, b, c}), "no token"));
  b.result.last->unknown_share = 0.1523;
  c.result.last->unknown_share = 0.000002;
  CHECK(says(compare_results(std::vector{a, b, c}), "do not rank these runs: b (15.2%)."));
  CHECK(says(compare_results(std::vector{a, b, c}), "lowers the figures a little: c (less than 0.001%)."));
  CHECK(describe_unknown(0.0005) ==
        "the tokenizer has no token for 0.05% of the text (blanks and line ends that it removes count), which lowers "
        "bits per byte and perplexities a little");
  CHECK(describe_unknown(0.01).find("do not compare") != std::string::npos);
  const std::string line = R"({"step":1,"valid/loss":2,"valid/perplexity":7.4,"valid/unknown_share":0.25})";
  write_file_synced(folder / "metrics.jsonl", line + "\n");
  CHECK(read_run_result(folder / "metrics.jsonl").last->unknown_share == 0.25);
}

TEST_CASE("comparison: a table says what was measured") {
  const TemporaryDirectory folder;
  const ComparedRun run =
      make_run(folder, "run", 2, 1, 20480, {"name=mine", "eval.max_tokens=65536", "eval.memory=64"});
  write_file_synced(run.folder + "/config.toml", to_toml(run.config));
  write_file_synced(run.folder + "/metrics.jsonl",
                    std::string("{\"step\":1,\"valid/loss\":2,\"valid/bits_per_byte\":2.885,\"valid/tokens\":20480,"
                                "\"valid/streams\":3}\n"));
  const std::string text = result_table({run.folder}, TableFormat::text);
  CHECK(text.find("on 20480 tokens of the validation text, memory 64, 3 streams.") != std::string::npos);
  const auto json = StoredJson::parse(result_table({run.folder}, TableFormat::json), "table", refuse_stored);
  CHECK(json.list("runs").at(0).object("last").count("tokens") == 20480);
}

TEST_CASE("comparison: a table tells SwitchHead from the attention of others") {
  const TemporaryDirectory folder;
  std::vector<std::string> runs;
  for (const char* attention : {"relative", "switch-head"}) {
    runs.push_back(folder / attention);
    std::filesystem::create_directories(runs.back());
    write_file_synced(
        runs.back() + "/config.toml",
        to_toml(load_config("quickstart", std::vector<std::string>{std::string("model.attention=") + attention})));
  }
  CHECK(result_table(runs, TableFormat::text).find("SwitchHead") != std::string::npos);
  runs.pop_back();
  CHECK(result_table(runs, TableFormat::text).find("attention") == std::string::npos);
}

TEST_CASE("comparison: as much of a path as tells a run from the others") {
  const auto names = [](std::vector<std::string> folders) { return join(folder_names(folders), " | "); };
  CHECK(names({"/x/runs/a", "/x/runs/b/"}) == "a | b");
  CHECK(names({"/x/a/mine", "/x/b/mine", "/x/c"}) == "a/mine | b/mine | c");
  CHECK(names({"/x/a/mine", "/y/a/mine"}) == "x/a/mine | y/a/mine");
  CHECK(names({"/mine", "/a/mine"}) == "/mine | a/mine");
  CHECK(names({"/a/mine", "/a/./mine/"}) == "mine | mine (2)");
  const std::vector<std::string> given{"mine", "other", "mine"}, folders{"/r/a", "/r/b", "/r/c"};
  CHECK(join(distinct_names(given, folders), " | ") == "mine (a) | other | mine (c)");
}
