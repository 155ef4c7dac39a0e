// Safetensors files: the header, and every tensor in it.
#include <cstring>
#include <map>

#include "core/safetensors.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/json_mutator.h"

using namespace weir;
using namespace weir::fuzz;

namespace {

constexpr std::size_t kLength = sizeof(std::uint64_t);  // of the header, before it

const std::map<std::string, int> kSizes{{"F64", 8}, {"I64", 8},  {"F32", 4}, {"I32", 4},
                                        {"F16", 2}, {"BF16", 2}, {"U8", 1},  {"BOOL", 1}};

// Gives each tensor the place that follows from dtypes and shapes, as long as those make sense.
std::uint64_t tile(Json& header) {
  std::uint64_t end = 0;
  if (!header.is_object()) return end;
  for (auto& [name, entry] : header.items()) {
    if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() || !entry.contains("shape"))
      continue;
    const auto found = kSizes.find(entry["dtype"].get<std::string>());
    std::uint64_t bytes = found == kSizes.end() ? 4 : static_cast<std::uint64_t>(found->second);
    for (const Json& extent : entry["shape"]) bytes *= extent.is_number_unsigned() ? extent.get<std::uint64_t>() : 1;
    if (bytes > 4096) continue;
    entry["data_offsets"] = {end, end + bytes};
    end += bytes;
  }
  return end;
}

void read_all(const std::string& path) {
  const SafetensorsFile file(path);
  for (const std::string& name : file.names()) {
    require(file.has(name), "a tensor that is named is there");
    const Tensor tensor = file.load(name);
    require(tensor.shape() == file.shape(name), "a tensor has the shape of its entry");
    file.load_into(name, tensor);
  }
  accepts([&] { file.load("no such tensor"); });
  accepts([&] {
    if (!file.names().empty()) file.load_into(file.names()[0], Tensor::zeros({3, 5}, DType::bf16));
  });
}

}  // namespace

int weir::fuzz::try_input(const std::uint8_t* data, std::size_t size) {
  static MemoryFile file;
  file.set(text_of(data, size));
  accepts([] { read_all(file.path()); });
  return 0;
}

// Changes the header as JSON or the data as bytes, and mostly makes the two agree again.
std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed) {
  Random random(seed);
  std::uint64_t length = 0;
  if (size >= kLength) std::memcpy(&length, data, kLength);
  if (size < kLength || length > size - kLength || random.below(8) == 0) return LLVMFuzzerMutate(data, size, max_size);
  std::string header(text_of(data + kLength, length)), bytes(text_of(data + kLength + length, size - kLength - length));
  if (random.below(4) == 0) {
    bytes.resize(bytes.size() + 8);
    bytes.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size() - 8, bytes.size()));
  } else if (!mutate_json(header, random)) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
  Json parsed = Json::parse(header, nullptr, false);
  if (!parsed.is_discarded() && random.below(4) != 0) {
    bytes.resize(tile(parsed), '\1');
    header = dump(parsed);
  }
  length = header.size();
  std::string whole(kLength, '\0');
  std::memcpy(whole.data(), &length, kLength);
  return put(whole + header + bytes, data, max_size);
}
