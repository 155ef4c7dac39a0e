// Results from metrics files, and the tables made of them.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>

#include "core/error.h"
#include "core/file.h"
#include "core/stored_json.h"
#include "temporary_directory.h"
#include "train/config.h"
#include "train/result_table.h"
#include "train/run_result.h"

using namespace weir;

namespace {

std::string make_run(const TemporaryDirectory& folder, const std::string& name, const std::string& preset,
                     const std::string& metrics, std::vector<std::string> changes = {}) {
  const std::string run = folder / name;
  std::filesystem::create_directories(run);
  write_file_synced(run + "/config.toml", to_toml(load_config(preset, changes)));
  write_file_synced(run + "/metrics.jsonl", metrics);
  return run;
}

}  // namespace

TEST_CASE("run result: last and best, damaged lines passed over") {
  const TemporaryDirectory folder;
  const std::string path = folder / "metrics.jsonl";
  CHECK(!read_run_result(path).last);
  write_file_synced(path, std::string("{\"step\":1,\"time\":1.5,\"train/loss\":5}\n"
                                      "{\"step\":2,\"valid/loss\":2.0,\"valid/bits_per_byte\":2.885}\n"
                                      "{\"step\":3,\"valid/loss\":1.0,\"valid/bits_per_byte\":1.4427}\n"
                                      "{\"step\":4,\"valid/loss\":null,\"valid/bits_per_byte\":null}\n"
                                      "{\"step\":5,\"valid/loss\":1.5,\"valid/bits_per_byte\":2.164}\n"
                                      "not json\n[1,2]\n{\"valid/loss\":0.1}\n{\"step\":\"x\",\"valid/loss\":0.1}\n"
                                      "{\"step\":6,\"valid/loss\":0.1\n\xff\xfe\n\n{\"step\":7,\"train/loss\":1}\n"
                                      "{\"step\":8,\"valid/lo"));
  const RunResult result = read_run_result(path);
  REQUIRE(result.last);
  CHECK(result.last->step == 5);
  CHECK(result.last->value() == 2.164);
  CHECK(result.best->step == 3);
  CHECK(result.best->value() == 1.4427);
  CHECK(result.best->own_unit() == ResultUnit::bits_per_byte);
  CHECK(result.last_step == 7);
  write_file_synced(
      path, std::string("{\"step\":2,\"valid/loss\":2.0,\"valid/perplexity\":7.389,\"valid/bits_per_byte\":0.9}\n"));
  const ValidationResult pieces = read_run_result(path).last.value();
  CHECK(pieces.value() == doctest::Approx(std::exp(2.0)));
  CHECK(pieces.own_unit() == ResultUnit::perplexity);
  CHECK(pieces.in(ResultUnit::bits_per_byte) == 0.9);
  CHECK(!pieces.tokens);
}

TEST_CASE("text tables line up, in characters rather than bytes") {
  const std::vector<TableRow> rows{{"a", "b"}, {"\u03c3-MoE", "1.0 \u00b1 0.1"}, {"x", "2|"}};
  CHECK(text_table(rows) == "a              b\n\u03c3-MoE  1.0 \u00b1 0.1\nx             2|\n");
  CHECK(markdown_table(rows) == "| a | b |\n|---|---:|\n| \u03c3-MoE | 1.0 \u00b1 0.1 |\n| x | 2\\| |\n");
}

TEST_CASE("result table: rows of the paper beside their published results") {
  const TemporaryDirectory folder;
  const std::string row = make_run(folder, "row", "wt103-small-k8",
                                   "{\"step\":2000,\"valid/loss\":2.5}\n{\"step\":4000,\"valid/loss\":2.6}\n{\"st");
  const std::string changed =
      make_run(folder, "changed", "wt103-small-k8", "", {"feedforward.k=3", "eval.max_tokens=65536"});
  const std::string bytes =
      make_run(folder, "bytes", "quickstart-dense", "{\"step\":9,\"valid/loss\":1,\"valid/bits_per_byte\":1.4427}\n");

  const auto table_of = [](const std::vector<std::string>& runs) {
    return StoredJson::parse(result_table(runs, TableFormat::json), "table", refuse_stored);
  };
  CHECK(table_of({row, changed}).text("unit") == "ppl");
  std::vector<StoredJson> json = table_of({row, changed}).list("runs");
  json.push_back(table_of({bytes}).list("runs").at(0));
  REQUIRE(json.size() == 3);
  CHECK(json[0].object("published").number("value") == 11.58);
  CHECK(json[0].object("last").count("step") == 4000);
  CHECK(json[0].object("best").number("value") == doctest::Approx(std::exp(2.5)));
  CHECK(json[0].number("paper_flops_percent") == 50);
  CHECK(json[0].number("flops_percent") == doctest::Approx(100 * (8 * 128 * 2 + 16) / (2.0 * 2053)));
  CHECK(json[0].count("expert_size") == 128);
  CHECK(json[0].object("eval").count("memory") == 256);
  CHECK(!json[1].has("published"));
  CHECK(!json[1].has("last"));
  CHECK(json[2].object("last").text("unit") == "bpb");
  CHECK(json[2].number("flops_percent") == doctest::Approx(100));

  const std::string text = result_table({row, changed}, TableFormat::text);
  CHECK(text.find("variant                     G  K  params  FLOPs     last     best  unit  published\n") == 0);
  CHECK(text.find("wt103-small-k8 (row)      128  8   47.3M  50.3%  13.4637  12.1825   ppl  11.58 ppl\n") !=
        std::string::npos);
  CHECK(text.find("wt103-small-k8 (changed)  128  3   47.3M  19.1%        -        -     -          -\n") !=
        std::string::npos);
  CHECK(
      text.find("On at most 65536 tokens of the validation text, memory 256, 64 streams: wt103-small-k8 (changed).") !=
      std::string::npos);
  CHECK(result_table({row}, TableFormat::markdown).find("| wt103-small-k8 | 128 | 8 | 47.3M |") != std::string::npos);
  CHECK(result_table({row}, TableFormat::text).find("on all tokens of the validation text, memory 256, 64 streams.") !=
        std::string::npos);
}

TEST_CASE("result table: a folder without a run is refused") {
  const TemporaryDirectory folder;
  CHECK_THROWS_WITH_AS(result_table({folder / "absent"}, TableFormat::text), doctest::Contains("there is no such"),
                       ArgumentError);
}
