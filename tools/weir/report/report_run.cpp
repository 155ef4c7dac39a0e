#include "tools/weir/report/report_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "train/append_file.h"
#include "train/checkpoint.h"
#include "train/run_directory.h"
#include "train/run_lookup.h"
#include "train/run_names.h"
#include "train/samples_log.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSamples = 3, kSampleBytes = 3000, kTailBytes = 1 << 16;

std::string tail(const std::string& path) {
  if (!is_there(path, Links::themselves)) return "";
  const RandomAccessFile file(path, Empty::allowed);
  std::string text(std::min<std::uint64_t>(file.size(), kTailBytes), '\0');
  file.read(file.size() - text.size(), std::as_writable_bytes(std::span(text)));
  return text;
}

// samples.txt: texts, each after a line "--- step N".
std::vector<PrintedSample> last_samples(const std::string& path) {
  constexpr std::string_view kMark = kSampleMark;
  const std::string text = "\n" + tail(path);
  std::vector<PrintedSample> samples;
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

ReportRun load_run(const std::string& path, std::int64_t max_tokens) {
  const std::string metrics = run_file(path, "metrics.jsonl");
  const bool has_metrics = is_there(metrics);
  if (!has_metrics && list_checkpoints(path + "/checkpoints").empty())
    throw RunError(ExitCode::bad_data, fmt::format("{}: there are neither metrics nor checkpoints to report; train it "
                                                   "with: {}",
                                                   printable(path, 4096), resume_command(path)));
  ReportRun run;
  run.path = path;
  run.config = run_config(path);
  run.cost = model_cost(run.config.model, run.config.feedforward, run.config.train.batch_size);
  if (has_metrics)
    run.metrics = read_metrics(metrics);
  else
    warn_on_stderr(fmt::format("{}: this file is not there, so there are no curves and no results of this run",
                               printable(metrics, 4096)));
  if (!run.metrics.first_wrong.empty()) warn_on_stderr(passed_over(run.metrics));
  run.samples = last_samples(run_file(path, "samples.txt"));
  try {
    run.analysis = analyse_run(path, max_tokens);
  } catch (const Error& error) {
    if (error.code() == ExitCode::internal || error.code() == ExitCode::out_of_memory) throw;
    run.missing = error.what();
    warn_on_stderr(fmt::format("reported without the analysis of its experts: {}", error.what()));
  }
  return run;
}

}  // namespace

Report load_report(std::span<const std::string> paths, std::int64_t max_tokens) {
  Report report;
  const std::vector<std::string> names = folder_names(paths);
  std::vector<ComparedRun> compared;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    report.runs.push_back(load_run(paths[i], max_tokens));
    ReportRun& run = report.runs.back();
    run.name = names[i];
    compared.push_back({run.name, run.path, run.config, run_result(run.metrics)});
  }
  report.comparison = compare_results(compared);
  return report;
}

}  // namespace weir
