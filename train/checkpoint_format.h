// What the writer and the reader of checkpoints share.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "models/parameter.h"
#include "train/optimizer/optimizer.h"

namespace weir {
class RandomAccessFile;
}

namespace weir::checkpoint {

inline constexpr const char* kManifest = "MANIFEST.json";
inline constexpr std::array kFiles = {"model.safetensors", "optimizer.safetensors", "memory.safetensors", "state.json"};
inline constexpr int kFormat = 2;
inline constexpr std::uint64_t kMaxJsonBytes = 1 << 20;

std::string hash_of(const RandomAccessFile& file);

// The tensors of the files by their names there: the parameters, and those with the buffers.
std::vector<NamedTensor> parameter_tensors(const ParameterSet& parameters);
std::vector<NamedTensor> model_tensors(const ParameterSet& parameters);
std::string memory_name(std::size_t group, std::size_t layer);

}  // namespace weir::checkpoint
