#include "train/tensorboard.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>

namespace weir {
namespace {

constexpr std::array<std::uint32_t, 256> crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1u) ? 0x82f63b78u : 0u);  // Castagnoli, reflected
    table[byte] = crc;
  }
  return table;
}

void put_little_endian(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>((value >> (8 * i)) & 0xff);
}

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7f) | 0x80);
  out += static_cast<char>(value);
}

// A field's key: its number and how its value is stored.
enum class Wire { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };
void put_key(std::string& out, int number, Wire wire) {
  put_varint(out, static_cast<std::uint64_t>(number) << 3 | static_cast<std::uint64_t>(wire));
}

void put_integer(std::string& out, int number, std::int64_t value) {
  put_key(out, number, Wire::varint);
  put_varint(out, static_cast<std::uint64_t>(value));
}

void put_bytes(std::string& out, int number, std::string_view bytes) {
  put_key(out, number, Wire::bytes);
  put_varint(out, bytes.size());
  out += bytes;
}

// Event.wall_time = 1 and, as protocol buffers leave out zeros, Event.step = 2 where it is not 0.
std::string event_head(double wall_time, std::int64_t step) {
  std::string event;
  put_key(event, 1, Wire::fixed64);
  put_little_endian(event, std::bit_cast<std::uint64_t>(wall_time), 8);
  if (step != 0) put_integer(event, 2, step);
  return event;
}

std::string framed(const std::string& payload) {
  std::string record;
  put_little_endian(record, payload.size(), 8);
  put_little_endian(record, masked_crc32c(record), 4);
  record += payload;
  put_little_endian(record, masked_crc32c(payload), 4);
  return record;
}

// Event.summary = 5, which holds one Summary.value = 1.
std::string summary_record(double wall_time, std::int64_t step, const std::string& value) {
  std::string summary;
  put_bytes(summary, 1, value);
  std::string event = event_head(wall_time, step);
  put_bytes(event, 5, summary);
  return framed(event);
}

std::string new_file_path(const std::string& folder) {
  static std::atomic<int> count{0};
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0 || host[0] == '\0') host = {'h', 'o', 's', 't'};
  return fmt::format("{}/events.out.tfevents.{:010}.{}.{}.{}", folder, static_cast<std::int64_t>(wall_time()),
                     host.data(), getpid(), count++);
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<std::uint32_t, 256> table = crc_table();
  std::uint32_t crc = 0xffffffffu;
  for (const char c : bytes) crc = (crc >> 8) ^ table[(crc ^ static_cast<unsigned char>(c)) & 0xff];
  return ~crc;
}

std::uint32_t masked_crc32c(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8u; }

std::string encode_file_version(double wall_time) {
  std::string event = event_head(wall_time, 0);
  put_bytes(event, 3, "brain.Event:2");
  return framed(event);
}

std::string encode_session_start(double wall_time, std::int64_t step) {
  std::string session;
  put_integer(session, 1, 1);  // SessionLog.status = START
  std::string event = event_head(wall_time, step);
  put_bytes(event, 7, session);
  return framed(event);
}

std::string encode_scalar(double wall_time, std::int64_t step, std::string_view tag, float number) {
  std::string value;
  put_bytes(value, 1, tag);
  put_key(value, 2, Wire::fixed32);  // simple_value
  put_little_endian(value, std::bit_cast<std::uint32_t>(number), 4);
  return summary_record(wall_time, step, value);
}

std::string encode_text(double wall_time, std::int64_t step, std::string_view tag, std::string_view text) {
  std::string plugin;
  put_bytes(plugin, 1, "text");  // plugin_name
  std::string metadata;
  put_bytes(metadata, 1, plugin);
  std::string dimension;
  put_integer(dimension, 1, 1);  // size 1
  std::string shape;
  put_bytes(shape, 2, dimension);
  std::string tensor;
  put_integer(tensor, 1, 7);  // dtype = DT_STRING
  put_bytes(tensor, 2, shape);
  put_bytes(tensor, 8, text);  // string_val
  std::string value;
  put_bytes(value, 1, tag);
  put_bytes(value, 8, tensor);
  put_bytes(value, 9, metadata);
  return summary_record(wall_time, step, value);
}

EventWriter::EventWriter(const std::string& folder, std::optional<std::int64_t> restart_step, Warn warn)
    : file_(new_file_path(folder), std::move(warn)) {
  file_.append(encode_file_version(wall_time()));
  if (restart_step) file_.append(encode_session_start(wall_time(), *restart_step));
}

void EventWriter::write(std::int64_t step, std::span<const Metric> scalars) {
  const double now = wall_time();
  std::string records;
  for (const Metric& scalar : scalars)
    records += encode_scalar(now, step, scalar.name, static_cast<float>(scalar.value));
  file_.append(records);
}

void EventWriter::write_text(std::int64_t step, std::string_view tag, std::string_view text) {
  file_.append(encode_text(wall_time(), step, tag, text));
}

}  // namespace weir
