// Writes the two reference pages that come from code: docs/ops.md from the op records, docs/settings.md from the
// configuration's description.
//
//   build/tools/op_table docs           writes both
//   build/tools/op_table --check docs   exits 1 where a file differs from what would be written
#include <fmt/format.h>

#include <cstring>
#include <exception>
#include <filesystem>
#include <span>
#include <utility>

#include "core/error.h"
#include "core/file.h"
#include "core/op_info.h"
#include "train/config.h"

namespace {

constexpr std::uint64_t kMaxPageBytes = 1 << 20;
constexpr const char* kUsage = "usage: op_table [--check] FOLDER";

// Text for a cell of a table.
std::string cell(const std::string& text) {
  std::string escaped;
  for (char c : text) escaped += c == '|' ? std::string("\\|") : std::string(1, c);
  return escaped;
}

const char* derivatives(const weir::OpRecord& record) {
  if (!record.differentiable) return "none";
  return record.twice_differentiable ? "any order" : "first";
}

// Ops on indices alone have no floating argument.
bool takes_floating(const weir::OpRecord& record) {
  for (const weir::Sample& sample : record.samples())
    for (const weir::Tensor& t : sample.inputs)
      if (weir::is_floating(t.dtype())) return true;
  return false;
}

std::string dtypes(const weir::OpRecord& record) {
  if (!takes_floating(record)) return "integers";
  return record.low_precision ? "f64 f32 bf16" : "f64 f32";
}

std::string tolerances(const weir::OpRecord& record) {
  const auto number = [](double tolerance) { return tolerance == 0 ? "0" : fmt::format("{:.0e}", tolerance); };
  if (!takes_floating(record)) return "exact";
  std::string text = number(record.tolerance.float64) + " " + number(record.tolerance.float32);
  if (record.low_precision) text += " " + number(record.tolerance.bf16);
  return text;
}

std::string ops_page() {
  std::string page =
      "# Ops\n\n"
      "Written by `build/tools/op_table docs` from the record at the end of each op's file; do not edit it.\n"
      "[ops/README.md](../ops/README.md) explains the records and how to add an op.\n\n"
      "- *dtypes*: of the floating arguments: float64, float32, bf16.\n"
      "- *derivatives*: \"any order\": the gradient is written in ops, so it can be differentiated again (the tests "
      "check\n"
      "  the first two orders). \"first\": the gradient is a kernel of its own, and differentiating it again is an "
      "error.\n"
      "- *tolerance*: the largest error that the tests accept, per dtype, relative to the largest reference value (or "
      "to\n"
      "  1, where that is less).\n\n"
      "| op | computes | dtypes | derivatives | tolerance |\n|---|---|---|---|---|\n";
  for (const weir::OpRecord& record : weir::op_records()) {
    const std::string file = std::filesystem::path(record.source).filename().string();
    page += fmt::format("| [`{}`](../ops/{}) | {} | {} | {} | {} |\n", cell(record.signature), file,
                        cell(record.summary), dtypes(record), derivatives(record), tolerances(record));
  }
  return page;
}

std::string settings_page() {
  return "# Settings\n\n"
         "Written by `build/tools/op_table docs` from the configuration structs (`train/config.h`, `models/config.h`); "
         "do\n"
         "not edit it. Set them in a TOML file, one table per section, or on the command line as `section.key=value`;\n"
         "`weir train --keys` prints the same list. [train/README.md](../train/README.md) tells how a configuration "
         "is\n"
         "put together. The defaults below are those of an empty file; presets change some of them.\n" +
         weir::help_markdown();
}

// True where the file holds exactly `page`; says on stderr where it does not.
bool is_current(const std::string& path, const std::string& page) {
  if (std::filesystem::exists(path) && weir::read_file(path, kMaxPageBytes, weir::Empty::allowed) == page) return true;
  fmt::print(stderr, "{}: differs from what the code says; write it again with 'build/tools/op_table docs'\n", path);
  return false;
}

int run(std::span<char*> arguments) {
  const bool check = arguments.size() == 3 && std::strcmp(arguments[1], "--check") == 0;
  if (!check && arguments.size() != 2) throw weir::ArgumentError(kUsage);
  const std::string folder = arguments.back();
  if (folder.starts_with("-")) throw weir::ArgumentError(kUsage);
  bool current = true;
  for (const auto& [name, page] : {std::pair{"ops.md", ops_page()}, std::pair{"settings.md", settings_page()}}) {
    const std::string path = folder + "/" + name;
    if (check)
      current = is_current(path, page) && current;
    else
      weir::write_file_atomically(path, page);
  }
  return current ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv, static_cast<std::size_t>(argc)});
  } catch (const weir::Error& error) {
    fmt::print(stderr, "op_table: {}\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    fmt::print(stderr, "op_table: {}\n", error.what());
    return static_cast<int>(weir::ExitCode::internal);
  }
}
