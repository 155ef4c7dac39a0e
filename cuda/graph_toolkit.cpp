#include "cuda/graph.h"
#include "cuda/toolkit_check.h"

namespace weir::cuda {

// Relaxed: memory may be allocated while a stream captures. That another thread waits for the device meanwhile is not
// for CUDA to judge; waiting for this stream stays an error.
void begin_capture(Stream stream) {
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
}

Graph end_capture(Stream stream) {
  cudaGraph_t captured = nullptr;
  check(cudaStreamEndCapture(stream, &captured), "cudaStreamEndCapture");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t instantiated = cudaGraphInstantiate(&executable, captured, 0);
  cudaGraphDestroy(captured);
  check(instantiated, "cudaGraphInstantiate");
  Graph graph(executable);
  check(cudaGraphUpload(graph.get(), stream), "cudaGraphUpload");  // here, rather than at the first replay
  return graph;
}

void abandon_capture(Stream stream) noexcept {
  cudaGraph_t captured = nullptr;
  cudaStreamEndCapture(stream, &captured);
  if (captured != nullptr) cudaGraphDestroy(captured);
  cudaGetLastError();
}

void replay(const Graph& graph, Stream stream) { check(cudaGraphLaunch(graph.get(), stream), "cudaGraphLaunch"); }

}  // namespace weir::cuda
