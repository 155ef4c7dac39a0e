// Metrics: the JSON lines, TensorBoard's event files, and full disks.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>

#include "core/error.h"
#include "core/stored_json.h"
#include "file_size_limit.h"
#include "temporary_directory.h"
#include "train/metrics.h"
#include "train/samples_log.h"
#include "train/tensorboard.h"

using namespace weir;
namespace fs = std::filesystem;

namespace {

StoredJson parsed(const std::string& line) { return StoredJson::parse(line, "line", refuse_stored); }

std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string hex(const std::string& bytes) {
  std::string text;
  for (const unsigned char byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

std::vector<fs::path> event_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

std::uint64_t little_endian(const std::string& bytes, std::size_t at, int count) {
  std::uint64_t value = 0;
  for (int i = 0; i < count; ++i) value |= std::uint64_t{static_cast<unsigned char>(bytes.at(at + i))} << (8 * i);
  return value;
}

// The payloads of an event file, checksums verified.
std::vector<std::string> payloads(const std::string& file) {
  std::vector<std::string> result;
  for (std::size_t at = 0; at < file.size();) {
    const std::uint64_t length = little_endian(file, at, 8);
    CHECK(little_endian(file, at + 8, 4) == masked_crc32c(file.substr(at, 8)));
    result.push_back(file.substr(at + 12, length));
    CHECK(little_endian(file, at + 12 + length, 4) == masked_crc32c(result.back()));
    at += 16 + length;
  }
  return result;
}

struct WireField {
  int number = 0;
  std::uint64_t integer = 0;  // varint or fixed bits
  std::string bytes;
};

std::vector<WireField> fields(const std::string& message) {
  std::size_t at = 0;
  const auto varint = [&] {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(message.at(at++));
      value |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
  };
  std::vector<WireField> result;
  while (at < message.size()) {
    const std::uint64_t key = varint();
    WireField field{.number = static_cast<int>(key >> 3), .integer = 0, .bytes = {}};
    const int wire = static_cast<int>(key & 7);
    if (wire == 0) {
      field.integer = varint();
    } else if (wire == 2) {
      const std::uint64_t size = varint();
      field.bytes = message.substr(at, size);
      at += size;
    } else {
      const int size = wire == 1 ? 8 : 4;
      field.integer = little_endian(message, at, size);
      at += size;
    }
    result.push_back(field);
  }
  return result;
}

// The field reached by the numbers, from the outside in.
WireField field_at(std::string message, std::initializer_list<int> path) {
  WireField found;
  for (const int number : path) {
    const auto all = fields(message);
    const auto it = std::find_if(all.begin(), all.end(), [&](const WireField& f) { return f.number == number; });
    REQUIRE(it != all.end());
    found = *it;
    message = found.bytes;
  }
  return found;
}

}  // namespace

TEST_CASE("metrics: one JSON object per line") {
  const std::vector<Metric> metrics = {{"train/loss", 1.5},
                                       {"a \"b\"", std::numeric_limits<double>::quiet_NaN()},
                                       {"up", std::numeric_limits<double>::infinity()},
                                       {"small", 1e-300}};
  const std::string line = metrics_line(7, 1700000000.125, metrics);
  CHECK(line ==
        "{\"step\":7,\"time\":1700000000.125,\"train/loss\":1.5,\"a \\\"b\\\"\":null,\"up\":null,\"small\":1e-300}\n");
  CHECK(parsed(line).number("small") == 1e-300);
}

TEST_CASE("metrics: a restart drops the steps that come again, and damaged lines") {
  const TemporaryDirectory folder;
  const std::string path = folder / "metrics.jsonl";
  {
    MetricsLog log(path, 0);
    for (int step = 1; step <= 5; ++step) log.write(step, std::vector<Metric>{{"x", step * 0.5}});
  }
  std::ofstream(path, std::ios::app) << "not json\n[1]\n{\"x\":1}\n{\"step\":2,\"x\":";
  {
    MetricsLog log(path, 4);
    log.write(4, std::vector<Metric>{{"x", 100}});
  }
  std::ifstream file(path);
  std::vector<std::pair<int, double>> lines;
  for (std::string line; std::getline(file, line);) {
    lines.emplace_back(parsed(line).count("step"), parsed(line).number("x"));
  }
  CHECK(lines == std::vector<std::pair<int, double>>{{1, 0.5}, {2, 1.0}, {3, 1.5}, {4, 100}});
  CHECK(folder.entries() == 1);  // no temporary file is left
}

TEST_CASE("metrics: a validation that comes again is dropped without the training of its step") {
  const TemporaryDirectory folder;
  const std::string path = folder / "metrics.jsonl";
  {
    MetricsLog log(path, 0);
    for (int step = 1; step <= 2; ++step) {
      log.write(step, std::vector<Metric>{{"train/loss", 1}});
      log.write(step, std::vector<Metric>{{"valid/loss", 2}});
    }
  }
  const std::string before = content(path);
  { MetricsLog log(path, 3, warn_on_stderr, true); }
  const std::string last = before.substr(before.rfind("{\"step\":2"));
  CHECK(last.find("valid/loss") != std::string::npos);
  CHECK(content(path) + last == before);
}

TEST_CASE("metrics: a file with nothing to drop stays untouched") {
  const TemporaryDirectory folder;
  const std::string path = folder / "metrics.jsonl";
  { MetricsLog(path, 0).write(1, {}); }
  const auto identity = [&] {
    struct stat status {};
    REQUIRE(stat(path.c_str(), &status) == 0);
    return status.st_ino;
  };
  const auto before = identity();
  { MetricsLog log(path, 2); }
  CHECK(identity() == before);
}

TEST_CASE("metrics: a full disk gives one warning, and the log is complete once there is room") {
  const TemporaryDirectory folder;
  const std::string path = folder / "metrics.jsonl";
  std::vector<std::string> warnings;
  MetricsLog log(path, 0, [&](const std::string& text) { warnings.push_back(text); });
  std::uintmax_t size_while_full = 0;
  {
    const FileSizeLimit limit(100);
    for (int step = 1; step <= 5; ++step) log.write(step, std::vector<Metric>{{"x", 1}});
    size_while_full = fs::file_size(path);
  }
  CHECK(size_while_full == 100);
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].find(path + ": cannot write: File too large; ") == 0);
  log.write(6, std::vector<Metric>{{"x", 1}});
  std::ifstream file(path);
  int step = 0;
  for (std::string line; std::getline(file, line);) CHECK(parsed(line).count("step") == ++step);
  CHECK(step == 6);
  CHECK(warnings.size() == 1);
}

TEST_CASE("metrics: a log that was removed is begun anew, and missed at the end") {
  const TemporaryDirectory folder;
  const std::string path = folder / "metrics.jsonl";
  std::vector<std::string> warnings;
  MetricsLog log(path, 0, [&](const std::string& text) { warnings.push_back(text); });
  log.write(1, std::vector<Metric>{{"x", 1}});
  log.check();
  fs::remove(path);
  log.write(2, std::vector<Metric>{{"x", 1}});
  CHECK(content(path).find("\"step\":2") != std::string::npos);
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].find("metrics.jsonl: this file was moved, removed or replaced while the run") != std::string::npos);
  CHECK_THROWS_WITH_AS(log.check(), doctest::Contains("removed or replaced during the run"), RunError);
}

TEST_CASE("samples: a step that will come again is dropped, and no text passes for two") {
  const TemporaryDirectory folder;
  const std::string path = folder / "samples.txt";
  {
    SamplesLog log(path, 1);
    log.write(5, "five");
    log.write(10, "--- step 3\nten\n--- step 99\n--- step 98");
    log.write(15, "fifteen");
  }
  const std::string two = "--- step 5\nfive\n--- step 10\n --- step 3\nten\n --- step 99\n --- step 98\n";
  CHECK(content(path) == two + "--- step 15\nfifteen\n");
  { SamplesLog again(path, 16); }
  CHECK(content(path) == two + "--- step 15\nfifteen\n");
  { SamplesLog again(path, 11); }
  CHECK(content(path) == two);
  SamplesLog again(path, 1);
  CHECK(content(path).empty());
}

TEST_CASE("metrics: what waits for a full disk is bounded") {
  const TemporaryDirectory folder;
  const std::string path = folder / "absent/metrics.jsonl";
  int warnings = 0;
  {
    AppendFile file(path, [&](const std::string&) { ++warnings; });
    const std::string record(1000, 'x');
    for (int i = 0; i < 5000; ++i) file.append(record);
    CHECK(warnings == 1);
    fs::create_directories(folder / "absent");
  }
  CHECK(fs::file_size(path) == (1 << 20) / 1000 * 1000);
}

TEST_CASE("metrics: the rewrite at a restart fails softly") {
  const TemporaryDirectory folder;
  const std::string path = folder / "metrics.jsonl";
  { MetricsLog(path, 0).write(1, {}); }
  const std::string before = content(path);
  fs::create_directories(folder / (".metrics.jsonl.tmp-" + std::to_string(getpid())));  // in the temporary file's place
  std::vector<std::string> warnings;
  {
    MetricsLog log(path, 1, [&](const std::string& text) { warnings.push_back(text); });
    log.write(1, {});
  }
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].find("metrics.jsonl") != std::string::npos);
  CHECK(warnings[0].find("the run goes on, and steps from 1 on may stand in it twice") != std::string::npos);
  CHECK(content(path).starts_with(before));
  CHECK(content(path).size() > before.size());
}

TEST_CASE("tensorboard: checksums have their known values") {
  CHECK(crc32c("123456789") == 0xe3069283u);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aau);
  CHECK(masked_crc32c("\x1a\x11"
                      "CRC test, one two") == 0x5794d08au);
}

TEST_CASE("tensorboard: records are the golden bytes") {
  CHECK(hex(encode_file_version(1.7e9)) ==
        "1800000000000000a37f4b220900000040fc54d9411a0d627261696e2e4576656e743a32eced8f9d");
  CHECK(hex(encode_scalar(1.7e9 + 1, 7, "train/loss", 1.5f)) ==
        "200000000000000029eda9500900004040fc54d94110072a130a110a0a747261696e2f6c6f7373150000c03fac627245");
}

TEST_CASE("tensorboard: a run's file, and the file of its restart") {
  const TemporaryDirectory folder;
  const std::string text(300, 'w');
  {
    EventWriter writer(folder.path());
    writer.write(3, std::vector<Metric>{{"a", 0.0}, {"b", -2.5}});
    writer.write_text(300, "sample", text);
  }
  { EventWriter writer(folder.path(), 200); }
  const auto files = event_files(folder.path());
  REQUIRE(files.size() == 2);
  CHECK(files[0].filename().string().starts_with("events.out.tfevents."));

  const auto first = payloads(content(files[0]));
  REQUIRE(first.size() == 4);
  CHECK(field_at(first[0], {3}).bytes == "brain.Event:2");
  CHECK(field_at(first[1], {2}).integer == 3);
  CHECK(field_at(first[1], {5, 1, 1}).bytes == "a");
  CHECK(field_at(first[1], {5, 1, 2}).integer == 0);
  CHECK(field_at(first[2], {5, 1, 2}).integer == std::bit_cast<std::uint32_t>(-2.5f));
  CHECK(field_at(first[3], {2}).integer == 300);
  CHECK(field_at(first[3], {5, 1, 1}).bytes == "sample");
  CHECK(field_at(first[3], {5, 1, 8, 1}).integer == 7);
  CHECK(field_at(first[3], {5, 1, 8, 8}).bytes == text);
  CHECK(field_at(first[3], {5, 1, 9, 1, 1}).bytes == "text");
  const auto now = std::bit_cast<double>(field_at(first[3], {1}).integer);
  CHECK(std::abs(now - wall_time()) < 60);

  const auto second = payloads(content(files[1]));
  REQUIRE(second.size() == 2);
  CHECK(field_at(second[0], {3}).bytes == "brain.Event:2");
  CHECK(field_at(second[1], {2}).integer == 200);
  CHECK(field_at(second[1], {7, 1}).integer == 1);
}

TEST_CASE("tensorboard: an unwritable folder gives one warning") {
  std::vector<std::string> warnings;
  EventWriter writer("/nonexistent/folder", {}, [&](const std::string& text) { warnings.push_back(text); });
  writer.write(1, std::vector<Metric>{{"a", 1}});
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].find("/nonexistent/folder/events.out.tfevents.") == 0);
  CHECK(warnings[0].find(": cannot open: No such file or directory; ") != std::string::npos);
}
