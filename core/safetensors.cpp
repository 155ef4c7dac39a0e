// The reader of safetensors files; the writer is in core/safetensors_writer.cpp.
#include "core/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <tuple>

#include "core/error.h"
#include "core/file.h"
#include "core/json_reader.h"
#include "core/safetensors_format.h"
#include "core/text.h"

namespace weir {
using namespace safetensors;

namespace {

constexpr std::uint64_t kMaxSize = (std::uint64_t{1} << 48) - 1;
constexpr const char* kHalf = "F16";
constexpr const char* kRewrite = "the file is damaged or not safetensors: copy or export it again";

[[noreturn]] void refuse(const std::string& path, std::string_view what, const std::string& where,
                         const std::string& why, std::string_view remedy = kRewrite) {
  throw RunError(ExitCode::bad_data,
                 fmt::format("{}: {} ({}): {}; {}", printable(path, 4096), what, where, why, remedy));
}

std::string at_byte(std::uint64_t offset) { return fmt::format("byte offset {}", offset); }
std::string in_tensor(const std::string& name) { return fmt::format("tensor '{}'", printable(name)); }

using Entries = std::map<std::string, SafetensorsFile::Entry>;

// Receives the header's JSON piece by piece, so that duplicate keys are seen and nothing nested is ever built.
class HeaderReader final : public JsonEvents {
 public:
  HeaderReader(const std::string& path, std::uint64_t data_bytes) : path_(path), data_bytes_(data_bytes) {}

  Entries entries;
  std::map<std::string, std::string> metadata;

  bool start_object() override {
    if (place_ == Place::outside) return enter(Place::header);
    if (place_ != Place::header) unexpected("an object");
    return enter(name_ == kMetadata ? Place::metadata : Place::entry);
  }

  bool key(std::string& text) override {
    if (place_ == Place::header) begin_name(text);
    if (place_ == Place::entry) begin_field(text);
    if (place_ == Place::metadata) {
      if (metadata.contains(text))
        refuse(path_, "bad metadata", kMetadata, fmt::format("key '{}' appears twice", printable(text)));
      metadata_key_ = text;
    }
    return true;
  }

  bool string(std::string& text) override {
    if (place_ == Place::metadata) {
      metadata.emplace(metadata_key_, text);
    } else if (place_ == Place::entry && field_ == Field::dtype) {
      dtype_ = text;
    } else {
      unexpected("a text");
    }
    return true;
  }

  bool start_array() override {
    if (place_ != Place::entry || field_ == Field::dtype) unexpected("a list");
    return enter(field_ == Field::shape ? Place::shape : Place::offsets);
  }

  bool number_unsigned(std::uint64_t value) override {
    if (place_ != Place::shape && place_ != Place::offsets) unexpected("a number");
    if (value > kMaxSize) too_large(std::to_string(value));
    if (place_ == Place::shape && shape_.rank() == Shape::kMaxRank)
      bad_entry("bad shape", fmt::format("it has more than {} axes", Shape::kMaxRank));
    if (place_ == Place::offsets && offset_count_ == 2) bad_entry("bad data_offsets", "there are more than two");
    if (place_ == Place::shape)
      shape_.push_back(static_cast<std::int64_t>(value));
    else
      offsets_[offset_count_++] = value;
    return true;
  }

  bool number_integer(std::int64_t value) override {
    if (place_ != Place::shape && place_ != Place::offsets) unexpected("a number");
    bad_entry("bad size", value == 0 ? "-0 is not a whole number" : fmt::format("{} is negative", value));
  }

  bool number_float(double, const std::string& text) override {
    if (place_ != Place::shape && place_ != Place::offsets) unexpected("a number");
    if (text.find_first_of(".eE") == std::string::npos) too_large(text);
    bad_entry("bad size", fmt::format("{} is not a whole number", printable(text, 40)));
  }

  bool end_array() override { return enter(Place::entry); }

  bool end_object() override {
    if (place_ == Place::entry) end_entry();
    return enter(place_ == Place::header ? Place::outside : Place::header);
  }

  bool null() override { unexpected("null"); }
  bool boolean(bool) override { unexpected("a truth value"); }

 private:
  enum class Place { outside, header, entry, shape, offsets, metadata };
  enum class Field { dtype, shape, offsets };
  static constexpr std::array<const char*, 3> kFields{"dtype", "shape", "data_offsets"};

  bool enter(Place place) {
    place_ = place;
    return true;
  }

  [[noreturn]] void bad_entry(std::string_view what, const std::string& why) const {
    refuse(path_, what, in_tensor(name_), why);
  }

  [[noreturn]] void too_large(const std::string& digits) const {
    bad_entry("bad size", fmt::format("{} is more than 2^48 - 1", printable(digits, 40)));
  }

  [[noreturn]] void unexpected(std::string_view found) const {
    switch (place_) {
      case Place::outside:
        refuse(path_, "bad header", at_byte(8), fmt::format("expected an object, found {}", found));
      case Place::header:
        bad_entry("bad entry", fmt::format("expected an object, found {}", found));
      case Place::metadata:
        refuse(path_, "bad metadata", kMetadata,
               fmt::format("key '{}': expected a text, found {}", printable(metadata_key_), found));
      case Place::entry:
        bad_entry(fmt::format("bad {}", kFields[static_cast<std::size_t>(field_)]),
                  fmt::format("expected {}, found {}", field_ == Field::dtype ? "a text" : "a list", found));
      default:
        bad_entry("bad size", fmt::format("expected a whole number, found {}", found));
    }
  }

  void begin_name(const std::string& name) {
    if (entries.contains(name) || (name == kMetadata && metadata_seen_))
      refuse(path_, "duplicate name", in_tensor(name), "it appears twice in the header");
    name_ = name;
    metadata_seen_ |= name == kMetadata;
    seen_ = 0;
    shape_ = {};
    offset_count_ = 0;
  }

  void begin_field(const std::string& name) {
    const auto found = std::find(kFields.begin(), kFields.end(), std::string_view(name));
    if (found == kFields.end()) bad_entry("bad entry", fmt::format("unknown field '{}'", printable(name)));
    const auto index = static_cast<unsigned>(found - kFields.begin());
    if (seen_ >> index & 1u) bad_entry("bad entry", fmt::format("field '{}' appears twice", name));
    seen_ |= 1u << index;
    field_ = static_cast<Field>(index);
  }

  DType checked_dtype() const {
    if (dtype_ == kHalf) return DType::float32;
    for (const FormatDType& known : kDTypes)
      if (dtype_ == known.name) return known.dtype;
    refuse(path_, "unsupported dtype", in_tensor(name_),
           fmt::format("'{}' is not one of F64, F32, F16, BF16, I64, I32, U8, BOOL", printable(dtype_, 40)),
           "convert the tensor with the program that wrote the file");
  }

  void end_entry() {
    for (std::size_t i = 0; i < kFields.size(); ++i)
      if (!(seen_ >> i & 1u)) bad_entry("bad entry", fmt::format("field '{}' is missing", kFields[i]));
    if (offset_count_ != 2) bad_entry("bad data_offsets", fmt::format("expected two, found {}", offset_count_));
    const DType dtype = checked_dtype();
    const auto [begin, end] = offsets_;
    if (end < begin) bad_entry("bad data_offsets", fmt::format("[{}, {}) ends before it begins", begin, end));
    if (end > data_bytes_)
      bad_entry("bad data_offsets", fmt::format("[{}, {}) reaches beyond the {} of data in the file", begin, end,
                                                counted(data_bytes_, "byte")));
    const bool half = dtype_ == kHalf;
    const std::uint64_t expected = checked_bytes(half ? sizeof(fp16) : dtype_size(dtype));
    if (end - begin != expected)
      bad_entry("bad data_offsets", fmt::format("{} {} takes {}, [{}, {}) has {}", dtype_, shape_.str(),
                                                counted(expected, "byte"), begin, end, end - begin));
    entries.emplace(name_, SafetensorsFile::Entry{dtype, half, shape_, begin, end});
  }

  // Zero extents do not excuse the others: [2^47, 2^47, 0] has strides that overflow.
  std::uint64_t checked_bytes(std::size_t element_bytes) const {
    std::uint64_t elements = 1;
    for (const std::int64_t extent : shape_) {
      const auto n = static_cast<std::uint64_t>(std::max<std::int64_t>(extent, 1));
      if (elements > kMaxSize / n)
        bad_entry("bad shape", fmt::format("{} has more than 2^48 - 1 elements", shape_.str()));
      elements *= n;
    }
    return static_cast<std::uint64_t>(shape_.product()) * element_bytes;
  }

  const std::string& path_;
  std::uint64_t data_bytes_;
  Place place_ = Place::outside;
  std::string name_, metadata_key_, dtype_;  // of the entry at hand, as are the next four
  Field field_ = Field::dtype;
  unsigned seen_ = 0;  // bit per field
  Shape shape_;
  std::array<std::uint64_t, 2> offsets_{};
  std::size_t offset_count_ = 0;
  bool metadata_seen_ = false;
};

// Names in the order of their data, which must be tiled from the first byte to the last.
std::vector<std::string> checked_order(const std::string& path, const Entries& entries, std::uint64_t data_bytes) {
  std::vector<const Entries::value_type*> order;
  order.reserve(entries.size());
  for (const auto& named : entries) order.push_back(&named);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::tie(a->second.begin, a->second.end) < std::tie(b->second.begin, b->second.end);
  });
  std::vector<std::string> names;
  names.reserve(order.size());
  std::uint64_t covered = 0;
  for (const auto* named : order) {
    const auto& [name, entry] = *named;
    if (entry.begin > covered)
      refuse(path, "hole in the data", in_tensor(name),
             fmt::format("it begins at {}, the tensor before it ends at {}", entry.begin, covered));
    if (entry.begin < covered)
      refuse(path, "overlapping tensors", in_tensor(name),
             fmt::format("it begins at {}, '{}' ends at {}", entry.begin, printable(names.back()), covered));
    covered = entry.end;
    names.push_back(name);
  }
  if (covered != data_bytes)
    refuse(path, "trailing bytes", fmt::format("data offset {}", covered),
           fmt::format("{} at the end of the file {} to no tensor", counted(data_bytes - covered, "byte"),
                       data_bytes - covered == 1 ? "belongs" : "belong"));
  return names;
}

// The header's text; checks what the JSON parser does not: its bounds and its first character.
std::string_view header_text(const MappedFile& file) {
  const auto bytes = file.bytes();
  if (bytes.size() < 8)
    refuse(file.path(), "file too short", at_byte(0), counted(bytes.size(), "byte") + ", a header takes at least 8");
  std::uint64_t n = 0;
  std::memcpy(&n, bytes.data(), sizeof n);
  if (n > kMaxHeaderBytes)
    refuse(file.path(), "header too large", at_byte(0),
           fmt::format("{} bytes, at most {} are allowed", n, kMaxHeaderBytes));
  if (n > bytes.size() - 8)
    refuse(file.path(), "file too short", at_byte(0),
           fmt::format("the header takes {}, {} {} there", counted(n, "byte"), bytes.size() - 8,
                       bytes.size() == 9 ? "is" : "are"));
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 8, n);
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{')
    refuse(file.path(), "bad header", at_byte(8 + (first == std::string_view::npos ? 0 : first)),
           "it does not begin with '{'");
  return text;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::string& path)
    : file_(std::make_shared<const MappedFile>(path, Empty::allowed)) {
  const std::string_view text = header_text(*file_);
  data_start_ = 8 + text.size();
  const std::uint64_t data_bytes = file_->size() - data_start_;
  HeaderReader reader(path, data_bytes);
  if (const auto fault = read_json(text, reader))
    refuse(path, "header is not valid JSON", at_byte(8 + fault->offset), fault->why);
  names_ = checked_order(path, reader.entries, data_bytes);
  entries_ = std::move(reader.entries);
  metadata_ = std::move(reader.metadata);
}

const SafetensorsFile::Entry& SafetensorsFile::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end())
    refuse(file_->path(), "missing tensor", in_tensor(name),
           fmt::format("the file has {} tensors, none of that name", entries_.size()),
           "use a file written for this model and configuration");
  return found->second;
}

std::span<const std::byte> SafetensorsFile::bytes_of(const std::string& name, const Entry& entry) const {
  const auto bytes = file_->bytes().subspan(data_start_ + entry.begin, entry.end - entry.begin);
  if (entry.dtype != DType::boolean) return bytes;
  const auto bad = std::find_if(bytes.begin(), bytes.end(), [](std::byte b) { return b > std::byte{1}; });
  if (bad != bytes.end())
    refuse(file_->path(), "bad BOOL value", in_tensor(name),
           fmt::format("byte offset {} holds {}, expected 0 or 1",
                       data_start_ + entry.begin + static_cast<std::uint64_t>(bad - bytes.begin()),
                       std::to_integer<int>(*bad)));
  return bytes;
}

namespace {

// Packed bytes into the rows of a tensor in rows form.
void unpack(std::span<const std::byte> bytes, const Tensor& to) {
  if (bytes.empty()) return;
  visit_any(to.dtype(), [&]<class T>(Type<T>) {
    const Rows<T> rows = rows_of<T>(to);
    const auto row_bytes = static_cast<std::size_t>(rows.cols) * sizeof(T);
    if (rows.stride == rows.cols) {
      std::memcpy(rows.data, bytes.data(), bytes.size());
      return;
    }
    for (std::int64_t r = 0; r < rows.rows; ++r)
      std::memcpy(rows.row(r), bytes.data() + static_cast<std::size_t>(r) * row_bytes, row_bytes);
  });
}

std::vector<float> widened(std::span<const std::byte> halves) {
  std::vector<float> values(halves.size() / sizeof(fp16));
  for (std::size_t i = 0; i < values.size(); ++i) {
    fp16 value;
    std::memcpy(&value.bits, halves.data() + i * sizeof(fp16), sizeof(fp16));
    values[i] = value;
  }
  return values;
}

}  // namespace

Tensor SafetensorsFile::load(const std::string& name) const {
  const Entry& found = entry(name);
  const auto bytes = bytes_of(name, found);
  Tensor t = Tensor::empty(found.shape, found.dtype);
  if (found.half) {
    const std::vector<float> values = widened(bytes);
    unpack(std::as_bytes(std::span(values)), t);
  } else {
    unpack(bytes, t);
  }
  return t;
}

void SafetensorsFile::load_into(const std::string& name, const Tensor& destination) const {
  const Entry& found = entry(name);
  const char* const remedy = "use a file written for this model and configuration";
  if (found.shape != destination.shape())
    refuse(file_->path(), "wrong shape", in_tensor(name),
           fmt::format("expected {}, found {}", destination.shape().str(), found.shape.str()), remedy);
  const bool converts = is_floating(found.dtype) && is_floating(destination.dtype());
  if (found.dtype != destination.dtype() && !converts)
    refuse(file_->path(), "wrong dtype", in_tensor(name),
           fmt::format("expected {}, found {}", format_name(destination.dtype()), format_name(found.dtype)), remedy);
  if (!found.half && found.dtype == destination.dtype() && destination.device() == Device{} &&
      is_rows_form(destination))
    unpack(bytes_of(name, found), destination);
  else
    copy_into(load(name), destination);
}

}  // namespace weir
