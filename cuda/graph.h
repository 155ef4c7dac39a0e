// Work of a stream, recorded once and done again as a whole: a CUDA graph, or what the emulator has for one.
//
//   begin_capture(stream);
//   launch<step>({grid, block}, stream, state);   // is not done, but recorded
//   const Graph graph = end_capture(stream);
//   replay(graph, stream);                        // as often as wanted: the same kernels with the same arguments
//
// Addresses are arguments too, so memory that a graph uses must not serve anybody else while the graph lives;
// cuda/recording.h sees to that. Waiting for a stream while it captures is an error.
#pragma once

#include "cuda/device.h"

#if defined(__CUDACC__) || defined(WEIR_CUDA_TOOLKIT)
#include "cuda/toolkit_graph.h"
#else
#include "cuda/emulator/graph.h"
#endif
