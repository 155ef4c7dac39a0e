// How much of all graphs is in memory.
#pragma once

#include <cstdint>

namespace weir {

// Nodes of graphs that are alive, leaves included. Where a graph is gone and they have not gone with it, an op's
// gradient holds a tensor that leads back to the op: it captured an output without keep() of autograd/backward.h.
std::int64_t live_nodes();

}  // namespace weir
