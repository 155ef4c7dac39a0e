#include "train/disk_space.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "core/dtype.h"
#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "models/language_model.h"
#include "train/append_file.h"
#include "train/checkpoint.h"
#include "train/optimizer/optimizer.h"
#include "train/schedule.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kSmallFiles =
    1 << 20;  // headers and state of a checkpoint; metrics, events and samples of a run
constexpr std::uint64_t kFewest =
    2;  // checkpoints, whatever the settings: the last one, and the next while it is written

// Checkpoints that the run will write, as far as its steps say.
std::int64_t saves(const Config& c) {
  const std::int64_t steps = step_limit(c.train, c.train.batch_size * c.model.segment);
  std::int64_t count = 1;
  for (const std::int64_t every : {c.checkpoint.every, c.checkpoint.keep_best ? c.eval.every : 0})
    if (every > 0) count += steps > 0 ? steps / every : c.checkpoint.keep_last + 2;
  return count;
}

std::uint64_t bytes_in(const std::string& checkpoint) {
  std::uint64_t bytes = 0;
  std::error_code error;
  for (fs::directory_iterator file(checkpoint, error), end; !error && file != end; file.increment(error)) {
    std::error_code unknown;
    if (const std::uintmax_t size = file->file_size(unknown); !unknown) bytes += size;
  }
  return bytes;
}

std::string fewer_checkpoints(bool many, bool best) {
  if (many && best) return "lower checkpoint.keep_last, and set checkpoint.keep_best=false where that is not enough";
  return many ? "lower checkpoint.keep_last" : best ? "set checkpoint.keep_best=false" : "";
}

}  // namespace

DiskNeed disk_need(const Config& c) {
  const ModelConfig& m = c.model;
  const auto model = make_language_model(m, c.feedforward);
  const std::int64_t numbers = model->parameters().count() + optimizer_state_count(c.optimizer, model->parameters());
  std::int64_t memory = 0;
  for (const Shape& shape : model->memory_shapes(c.train.batch_size, m.memory_length())) memory += shape.product();
  const auto memory_bytes = static_cast<std::uint64_t>(memory) * dtype_size(m.activation_dtype());
  const std::int64_t kept = c.checkpoint.keep_last + (c.checkpoint.keep_best && c.eval.every > 0 ? 1 : 0);
  return {.checkpoint = static_cast<std::uint64_t>(numbers) * sizeof(float) + memory_bytes + kSmallFiles,
          .checkpoints = std::min(kept + 1, saves(c)),
          .fewer = fewer_checkpoints(c.checkpoint.keep_last > 1, kept > c.checkpoint.keep_last)};
}

std::string disk_warning(const DiskNeed& need, const DiskPlace& place) {
  const std::string folder = printable(place.run, 4096);
  const std::uint64_t needed = need.checkpoint + kSmallFiles;
  if (place.free_bytes < needed)
    throw RunError(
        ExitCode::io,
        fmt::format("{}: {} have to be free there, but only {} are: {} for the next checkpoint, which is written whole "
                    "before an older one goes, and {} for metrics and samples; free some space, or {}",
                    folder, byte_size(needed), byte_size(place.free_bytes), byte_size(need.checkpoint),
                    byte_size(kSmallFiles),
                    place.begun ? "move the folder to another disk and resume the run there"
                                : "choose another folder with --run"));
  const auto planned = static_cast<std::uint64_t>(need.checkpoints);
  const std::uint64_t fit = (place.free_bytes + place.taken_bytes - kSmallFiles) / need.checkpoint;
  if (fit >= planned) return {};
  return fmt::format(
      "{}: {} of {} each will be there at a time (those that are kept, and the next one while it is written), but only "
      "{} {} room ({} free): free some space{}",
      folder, counted(planned, "checkpoint"), byte_size(need.checkpoint), fit, fit == 1 ? "has" : "have",
      byte_size(place.free_bytes), need.fewer.empty() || fit < kFewest ? "" : ", or " + need.fewer);
}

void check_disk_space(const Config& config, const std::string& run, bool begun) {
  DiskPlace place{.run = run, .begun = begun, .free_bytes = free_bytes(run)};
  for (const CheckpointInfo& checkpoint : list_checkpoints(run + "/checkpoints"))
    place.taken_bytes += bytes_in(checkpoint.path);
  const std::string warning = disk_warning(disk_need(config), place);
  if (!warning.empty()) warn_on_stderr(warning);
}

}  // namespace weir
