// TensorBoard event files, written by hand: scalars and text.
//
// A file is a row of records: length (8 bytes), masked CRC-32C of the length (4), payload, masked CRC-32C of the
// payload (4), all little-endian. The payload is a protocol-buffer message `Event`.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "train/append_file.h"
#include "train/metrics.h"

namespace weir {

std::uint32_t crc32c(std::string_view bytes);
std::uint32_t masked_crc32c(std::string_view bytes);

// One record each, frame included.
std::string encode_file_version(double wall_time);
std::string encode_session_start(double wall_time, std::int64_t step);
std::string encode_scalar(double wall_time, std::int64_t step, std::string_view tag, float value);
std::string encode_text(double wall_time, std::int64_t step, std::string_view tag, std::string_view text);

class EventWriter {
 public:
  // A new file in `folder`. After a restart give the first step that will be written again: viewers then drop what
  // older files in the folder hold from that step on.
  EventWriter(const std::string& folder, std::optional<std::int64_t> restart_step = {}, Warn warn = warn_on_stderr);

  void write(std::int64_t step, std::span<const Metric> scalars);
  void write_text(std::int64_t step, std::string_view tag, std::string_view text);

 private:
  AppendFile file_;
};

}  // namespace weir
