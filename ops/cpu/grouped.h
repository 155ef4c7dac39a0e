// What products over groups of rows share on the CPU: the cut into tiles and the rounding of row counts.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "core/dtype.h"
#include "ops/cpu/gemm_backends.h"

namespace weir::cpu {

// Row counts of bf16 products are rounded up to multiples of this with zero rows where oneDNN multiplies, because it
// prepares a kernel for every shape it meets.
template <class T>
std::int64_t row_granule() {
  return std::is_same_v<T, bf16> && matrix_unit.multiply == nullptr ? 32 : 1;
}

inline std::int64_t rounded_up(std::int64_t rows, std::int64_t granule) {
  return (rows + granule - 1) / granule * granule;
}

// Consecutive rows of one group.
struct RowTile {
  std::int64_t group, begin, end;
  std::int64_t rows() const { return end - begin; }
};

// Cuts every group into tiles of at most `limit` rows. Depends on the group sizes alone.
inline std::vector<RowTile> row_tiles(std::span<const std::int64_t> offsets, std::int64_t limit) {
  std::vector<RowTile> tiles;
  for (std::size_t g = 0; g + 1 < offsets.size(); ++g)
    for (std::int64_t begin = offsets[g]; begin < offsets[g + 1]; begin += limit)
      tiles.push_back({static_cast<std::int64_t>(g), begin, std::min(begin + limit, offsets[g + 1])});
  return tiles;
}

}  // namespace weir::cpu
