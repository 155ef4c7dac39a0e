// The writer of safetensors files; declared in core/safetensors.h.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <string_view>

#include "core/error.h"
#include "core/file.h"
#include "core/safetensors.h"
#include "core/safetensors_format.h"
#include "core/text.h"

namespace weir {
using namespace safetensors;

namespace {

std::string quoted(const std::string& text) {
  if (!is_utf8(text))
    throw ArgumentError(fmt::format("write_safetensors: '{}' is not valid UTF-8; use another name", printable(text)));
  return quote(text);
}

std::vector<const NamedTensor*> writing_order(std::span<const NamedTensor> tensors) {
  std::vector<const NamedTensor*> order;
  std::set<std::string_view> names{kMetadata};
  for (const NamedTensor& named : tensors) {
    const auto complain = [&](const char* why) {
      throw ArgumentError(fmt::format("write_safetensors: tensor '{}' {}", printable(named.name), why));
    };
    if (named.name == kMetadata) complain("has the name reserved for metadata; use another name");
    if (!names.insert(named.name).second) complain("appears twice; names must be unique");
    if (!named.tensor.defined()) complain("is undefined; give it a value or leave it out");
    order.push_back(&named);
  }
  std::sort(order.begin(), order.end(), [](const NamedTensor* a, const NamedTensor* b) {
    const std::size_t size_a = dtype_size(a->tensor.dtype()), size_b = dtype_size(b->tensor.dtype());
    return size_a != size_b ? size_a > size_b : a->name < b->name;
  });
  return order;
}

// N and the JSON, padded with spaces to a multiple of eight bytes, which aligns every tensor to its dtype.
std::string header_of(const std::vector<const NamedTensor*>& order,
                      const std::map<std::string, std::string>& metadata) {
  std::string json = "{";
  const auto separate = [&] { json += json.back() == '{' ? "" : ","; };
  if (!metadata.empty()) {
    json += fmt::format("\"{}\":{{", kMetadata);
    for (const auto& [key, value] : metadata) {
      separate();
      json += quoted(key) + ":" + quoted(value);
    }
    json += "}";
  }
  std::uint64_t offset = 0;
  for (const NamedTensor* named : order) {
    const Tensor& t = named->tensor;
    const std::uint64_t end = offset + static_cast<std::uint64_t>(t.numel()) * dtype_size(t.dtype());
    separate();
    json += fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}", quoted(named->name),
                        format_name(t.dtype()), fmt::join(t.shape().begin(), t.shape().end(), ","), offset, end);
    offset = end;
  }
  json += "}";
  json.resize((json.size() + 7) / 8 * 8, ' ');
  const std::uint64_t n = json.size();
  if (n > kMaxHeaderBytes)
    throw ArgumentError(
        fmt::format("write_safetensors: the header would take {} bytes, at most {} are allowed; "
                    "spread the tensors over several files",
                    n, kMaxHeaderBytes));
  std::string header(sizeof n, '\0');
  std::memcpy(header.data(), &n, sizeof n);
  return header + json;
}

// The elements in row-major order, a mebibyte at a time where rows are padded.
void write_elements(FileWriter& file, const Tensor& tensor) {
  constexpr std::size_t kPieceBytes = std::size_t{1} << 20;
  if (tensor.numel() == 0) return;
  const Tensor source = rows_form(to_device(tensor.detach(), {}));
  visit_any(source.dtype(), [&]<class T>(Type<T>) {
    const Rows<T> rows = rows_of<T>(source);
    const auto cols = static_cast<std::size_t>(rows.cols);
    if (rows.stride == rows.cols || cols * sizeof(T) >= kPieceBytes) {
      const std::int64_t runs = rows.stride == rows.cols ? 1 : rows.rows;
      const std::size_t run = cols * static_cast<std::size_t>(rows.rows / runs);
      for (std::int64_t r = 0; r < runs; ++r) file.write(std::as_bytes(std::span<const T>(rows.row(r), run)));
      return;
    }
    const auto rows_per_piece = static_cast<std::int64_t>(kPieceBytes / (cols * sizeof(T)));
    std::vector<std::byte> piece(static_cast<std::size_t>(std::min(rows_per_piece, rows.rows)) * cols * sizeof(T));
    for (std::int64_t begin = 0; begin < rows.rows; begin += rows_per_piece) {
      const std::int64_t end = std::min(begin + rows_per_piece, rows.rows);
      std::byte* to = piece.data();
      for (std::int64_t r = begin; r < end; ++r, to += cols * sizeof(T)) std::memcpy(to, rows.row(r), cols * sizeof(T));
      file.write({piece.data(), to});
    }
  });
}

}  // namespace

void write_safetensors(const std::string& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  const auto order = writing_order(tensors);
  const std::string header = header_of(order, metadata);
  FileWriter file(path);
  file.write(std::as_bytes(std::span(header)));
  for (const NamedTensor* named : order) write_elements(file, named->tensor);
  file.finish();
}

}  // namespace weir
