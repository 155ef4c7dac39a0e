// The toolkit's side of cuda/graph.h.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>

#include "cuda/toolkit_types.h"

namespace weir::cuda {

struct DestroyGraph {
  void operator()(cudaGraphExec_t graph) const noexcept { cudaGraphExecDestroy(graph); }
};
// May be destroyed while the GPU still replays it.
using Graph = std::unique_ptr<std::remove_pointer_t<cudaGraphExec_t>, DestroyGraph>;

void begin_capture(Stream stream);
Graph end_capture(Stream stream);
// Ends a capture whose work went wrong half-way.
void abandon_capture(Stream stream) noexcept;
void replay(const Graph& graph, Stream stream);

}  // namespace weir::cuda
