// Safetensors files: tensors by name, in the format model hubs exchange.
//
//   u64 N, little endian | N bytes of JSON: name -> {dtype, shape, data_offsets}, "__metadata__" -> {text: text} | data
//
// The reader trusts nothing: the whole header is checked against the size of the file before anything is allocated.
// Tensors must tile the data without holes or overlap, names and fields appear once, sizes are whole numbers below
// 2^48. Damage is a RunError(ExitCode::bad_data) of one line: PATH: what (where): why; what to do.
// dtypes: F64 F32 BF16 I64 I32 U8 BOOL; F16 can be read, as float32. The values of floating tensors are not inspected;
// a BOOL must be 0 or 1.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace weir {

class MappedFile;

class SafetensorsFile {
 public:
  // What the header says of one tensor; [begin, end) are byte offsets into the data.
  struct Entry {
    DType dtype = DType::float32;  // as it is loaded
    bool half = false;             // stored as F16
    Shape shape;
    std::uint64_t begin = 0, end = 0;
  };

  explicit SafetensorsFile(const std::string& path);

  const std::vector<std::string>& names() const { return names_; }  // in the order of the data
  bool has(const std::string& name) const { return entries_.contains(name); }
  const Shape& shape(const std::string& name) const { return entry(name).shape; }
  DType dtype(const std::string& name) const { return entry(name).dtype; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  // A fresh tensor on the CPU.
  Tensor load(const std::string& name) const;
  // Into a tensor of the same shape; floating dtypes convert into each other, others must be equal.
  void load_into(const std::string& name, const Tensor& destination) const;

 private:
  const Entry& entry(const std::string& name) const;
  std::span<const std::byte> bytes_of(const std::string& name, const Entry& entry) const;

  std::shared_ptr<const MappedFile> file_;
  std::uint64_t data_start_ = 0;  // byte offset in the file
  std::map<std::string, Entry> entries_;
  std::vector<std::string> names_;
  std::map<std::string, std::string> metadata_;
};

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

// The same tensors and metadata give the same bytes: larger dtypes first, then by name; rows without their padding.
// The file is synced, its directory is not; see core/file.h. Names must be unique, valid UTF-8, not "__metadata__".
void write_safetensors(const std::string& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace weir
