// oneDNN called with a whole product and its own OpenMP threads.
#include "ops/cpu/library_gemm.h"

#include <omp.h>

#include <chrono>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "core/error.h"

namespace weir::cpu {
namespace {

// `threads`, or 1 where the system does not grant that many: OpenMP would end the process then.
int granted(int threads) {
  std::vector<std::thread> tried;
  try {
    for (int i = 1; i < threads; ++i)
      tried.emplace_back([] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); });
  } catch (const std::system_error&) {
    threads = 1;
  }
  for (std::thread& t : tried) t.join();
  return threads;
}

std::function<void()> onednn_f32(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<float> a, Matrix<float> b,
                                 float* c, std::int64_t c_stride, int threads) {
  return [=, threads = granted(threads)] {
    omp_set_num_threads(threads);
    const auto status = dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', m, n, k, 1.0f, a.data, a.stride,
                                   b.data, b.stride, 0.0f, c, c_stride);
    if (status != dnnl_success) throw InternalError("oneDNN refused a float32 matrix product");
  };
}

dnnl::memory in_memory(const dnnl::engine& engine, std::int64_t rows, std::int64_t cols, Matrix<bf16> matrix) {
  const auto strides = matrix.transposed ? dnnl::memory::dims{1, matrix.stride} : dnnl::memory::dims{matrix.stride, 1};
  return {{{rows, cols}, dnnl::memory::data_type::bf16, strides}, engine, const_cast<bf16*>(matrix.data)};
}

std::function<void()> onednn_bf16(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<bf16> a, Matrix<bf16> b,
                                  bf16* c, std::int64_t c_stride, int threads) {
  threads = granted(threads);
  omp_set_num_threads(threads);  // the primitive cuts its work for as many
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  const dnnl::memory left = in_memory(engine, m, k, a), right = in_memory(engine, k, n, b),
                     product = in_memory(engine, m, n, {c, c_stride});
  try {
    const dnnl::matmul matmul(
        dnnl::matmul::primitive_desc({left.get_desc(), right.get_desc(), product.get_desc()}, engine));
    return [=, stream = dnnl::stream(engine)]() mutable {
      omp_set_num_threads(threads);
      matmul.execute(stream, {{DNNL_ARG_SRC, left}, {DNNL_ARG_WEIGHTS, right}, {DNNL_ARG_DST, product}});
      stream.wait();
    };
  } catch (const dnnl::error&) {
    return nullptr;  // it has no bf16 products below AVX-512
  }
}

void end_threads() { omp_pause_resource_all(omp_pause_soft); }

const bool registered = [] {
  library_gemm = {"oneDNN", onednn_f32, onednn_bf16, end_threads};
  return true;
}();

}  // namespace
}  // namespace weir::cpu
