#include "train/samples_log.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "core/file.h"
#include "train/text/text_stream.h"

namespace weir {
namespace {

std::optional<std::int64_t> step_of_mark(std::string_view line) {
  if (!line.starts_with(kSampleMark)) return std::nullopt;
  line.remove_prefix(std::string_view(kSampleMark).size());
  if (line.ends_with('\n')) line.remove_suffix(1);
  std::int64_t step = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), step);
  return error == std::errc() && end == line.data() + line.size() ? std::optional(step) : std::nullopt;
}

// Cuts the file where the first text of a step from `first_step` on begins.
void drop_from(const std::string& path, std::int64_t first_step) {
  if (!is_there(path, Links::themselves)) return;
  const auto text = open_plain(path, Empty::allowed);
  LineReader lines(*text);
  std::string kept;
  for (std::string line; lines.append_line(line); line.clear()) {
    const std::optional<std::int64_t> step = step_of_mark(line);
    if (step && *step >= first_step) {
      write_file_atomically(path, kept);
      return;
    }
    kept += line;
  }
}

}  // namespace

SamplesLog::SamplesLog(const std::string& path, std::int64_t first_step, Warn warn) : file_(path, warn) {
  try {
    drop_from(path, first_step);
  } catch (const RunError& error) {
    warn(fmt::format("{}; the run goes on, and samples from step {} on may stand in it twice", error.what(),
                     first_step));
  }
}

void SamplesLog::write(std::int64_t step, const std::string& text) {
  std::string lines = "\n" + text;
  const std::string mark = fmt::format("\n{}", kSampleMark);
  for (std::size_t at = lines.find(mark); at != std::string::npos; at = lines.find(mark, at + 2))
    lines.insert(at + 1, " ");
  file_.append(fmt::format("{}{}{}\n", kSampleMark, step, lines));
}

}  // namespace weir
