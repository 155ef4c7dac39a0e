#include "tools/weir/report/report_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "train/append_file.h"
#include "train/checkpoint.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSamples = 3, kSampleBytes = 3000, kTailBytes = 1 << 16;

// The name of the folder itself, also of "." and "runs/x/".
std::string folder_name(const std::string& path) {
  fs::path folder = fs::absolute(path).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  return folder.filename().string();
}

std::string tail(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return "";
  const std::streamoff size = file.tellg(), kept = std::min<std::streamoff>(size, kTailBytes);
  std::string text(static_cast<std::size_t>(std::max<std::streamoff>(kept, 0)), '\0');
  file.seekg(size - kept);
  file.read(text.data(), kept);
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return text;
}

// samples.txt: texts, each after a line "--- step N".
std::vector<TextSample> last_samples(const std::string& path) {
  constexpr std::string_view kMark = "--- step ";
  const std::string text = "\n" + tail(path);
  std::vector<TextSample> samples;
  for (std::size_t at = text.find("\n" + std::string(kMark)); at != std::string::npos;) {
    const std::size_t step = at + 1 + kMark.size(), line_end = std::min(text.find('\n', step), text.size());
    at = text.find("\n" + std::string(kMark), line_end);
    const std::size_t begin = std::min(line_end + 1, text.size()), end = std::min(at, text.size());
    std::string body = end > begin ? text.substr(begin, end - begin) : "";
    if (body.size() > kSampleBytes) body = body.substr(0, kSampleBytes) + "...";
    samples.push_back({text.substr(step, line_end - step), body});
  }
  if (samples.size() > kSamples) samples.erase(samples.begin(), samples.end() - kSamples);
  return samples;
}

void check_is_run(const std::string& path) {
  if (!fs::is_directory(path)) throw RunError(ExitCode::io, fmt::format("{}: no such run folder; see 'ls runs'", path));
  if (!fs::exists(path + "/config.toml"))
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}: not the folder of a run: there is no config.toml; name a folder "
                               "that 'weir train' made",
                               path));
  if (!fs::exists(path + "/metrics.jsonl") && list_checkpoints(path + "/checkpoints").empty())
    throw RunError(ExitCode::bad_data, fmt::format("{}: there are neither metrics nor checkpoints to report; train it "
                                                   "with 'weir train --resume --run {}'",
                                                   path, path));
}

}  // namespace

ReportRun load_report_run(const std::string& path, std::int64_t max_tokens) {
  check_is_run(path);
  ReportRun run;
  run.path = path;
  run.name = folder_name(path);
  run.config = load_config(path + "/config.toml");
  run.cost = model_cost(run.config.model, run.config.feedforward, run.config.train.batch_size);
  if (fs::exists(path + "/metrics.jsonl")) run.metrics = read_metrics(path + "/metrics.jsonl");
  run.samples = last_samples(path + "/samples.txt");
  try {
    run.analysis = analyse_run(path, max_tokens);
  } catch (const Error& error) {
    if (error.code() == ExitCode::internal || error.code() == ExitCode::out_of_memory) throw;
    run.missing = error.what();
    warn_on_stderr(fmt::format("reported without the analysis of its experts: {}", error.what()));
  }
  return run;
}

}  // namespace weir
