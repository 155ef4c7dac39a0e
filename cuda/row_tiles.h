// The cut of sorted rows into tiles of one group each, made on the device: where groups begin is known only there. The
// grid of a kernel over tiles covers the most that any grouping could need; blocks without a tile return at once.
#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace weir::cuda {

// Consecutive rows of one group.
struct RowTile {
  std::int64_t begin, end;
  std::int32_t group;  // -1: no tile
  std::int32_t part;   // its number among the group's tiles
};

class RowTiles {
 public:
  // Cuts rows offsets[g] .. offsets[g + 1] - 1 of every group into tiles of `limit`; groups without rows get `least`
  // tiles, 0 or 1. `offsets` [groups + 1] int64 in one piece.
  RowTiles(const Tensor& offsets, std::int64_t rows, std::int64_t limit, std::int64_t least);

  // How many there may be, and the tiles in device memory in the order of their rows.
  std::int64_t count() const { return count_; }
  RowTile* tiles() const { return reinterpret_cast<RowTile*>(tiles_.data<std::int64_t>()); }
  std::int64_t groups() const { return groups_; }
  // The number of each group's first tile, and behind them that of all tiles.
  const std::int64_t* first() const { return first_.data<std::int64_t>(); }

 private:
  std::int64_t groups_, count_;
  Tensor first_, tiles_;
};

}  // namespace weir::cuda
