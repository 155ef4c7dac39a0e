// The emulator's side of cuda/graph.h.
#pragma once

#include "cuda/emulator/device.h"

namespace weir::cuda {

using emulator::Graph;

inline void begin_capture(Stream stream) { stream->begin_capture(); }
inline Graph end_capture(Stream stream) { return stream->end_capture(); }
inline void abandon_capture(Stream stream) noexcept { stream->end_capture(); }
inline void replay(const Graph& graph, Stream stream) {
  for (const auto& work : graph.work) stream->submit(work);
}

}  // namespace weir::cuda
