// Matrix products by oneDNN, each on one thread.
//
// float32 goes to its sgemm. bf16 has no such function, so a matmul primitive is made once per thread and shape and
// kept; callers with varying row counts round them up to keep the shapes few.
//
// What oneDNN 2.6 computes with is machine code that it writes when it first needs it, and it crashes where it gets no
// memory to write to. So it is asked to write only where a mapping of that size was granted the moment before. Once it
// has its code, it reports what memory it lacks.
#include <fmt/format.h>
#include <omp.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "core/error.h"
#include "ops/cpu/gemm_backends.h"

namespace weir::cpu {
namespace {

// oneDNN takes every OpenMP thread it may; parallel_for's threads are not OpenMP's, so each is told "one".
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) {
    if (before_ > 1) omp_set_num_threads(1);
  }
  ~OneThread() {
    if (before_ > 1) omp_set_num_threads(before_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

// Throws where the system would not grant so much more.
void check_room(std::size_t bytes) {
  void* const room = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED)
    throw RunError(ExitCode::out_of_memory,
                   fmt::format("out of memory on cpu: {} MiB asked for, for the code of oneDNN's matrix products, and "
                               "refused by the system",
                               bytes >> 20));
  munmap(room, bytes);
}

// More than it writes at once: of float32 products 6 MiB, for few rows 12 MiB, of bf16 products 8 MiB.
constexpr std::size_t kCodeBytes = std::size_t{16} << 20;

// Held while oneDNN writes code, so that no other thread's takes the room.
std::mutex writing_mutex;

// Runs what it is given until that has once not thrown. std::call_once would do, but glibc needs memory to pass an
// exception through it, and ends the process where there is none.
class Once {
 public:
  template <class F>
  void run(F&& f) {
    if (done_.load(std::memory_order_acquire)) return;
    const std::lock_guard writing(writing_mutex);
    if (done_.load(std::memory_order_relaxed)) return;
    check_room(kCodeBytes);
    f();
    done_.store(true, std::memory_order_release);
  }

 private:
  std::atomic<bool> done_{false};
};

// A product of small matrices with each transposition asked for, and both modes.
void write_code(std::int64_t m, bool all_transpositions) {
  constexpr std::int64_t kSize = 64;
  static const std::array<float, kSize * kSize> factor{};
  std::array<float, kSize * kSize> product{};
  const OneThread guard;
  for (const char a : {'N', 'T'})
    for (const char b : {'N', 'T'})
      for (const float beta : {0.0f, 1.0f})
        if (all_transpositions || (a == 'N' && b == 'T'))
          dnnl_sgemm(a, b, m, kSize, kSize, 1.0f, factor.data(), kSize, factor.data(), kSize, beta, product.data(),
                     kSize);
}

// There are two kinds of code: for few rows times a transposed matrix, and for the rest.
void ready_f32(std::int64_t m, bool a_transposed, bool b_transposed) {
  static Once general, few_rows;
  general.run([] { write_code(64, true); });
  if (m < 16 && !a_transposed && b_transposed) few_rows.run([] { write_code(4, false); });
}

[[noreturn]] void refuse(dnnl_status_t status, const std::string& product) {
  if (status == dnnl_out_of_memory)
    throw RunError(
        ExitCode::out_of_memory,
        fmt::format("out of memory on cpu: the system refused what oneDNN asked for to compute {}", product));
  throw InternalError(fmt::format("oneDNN refused {} (status {})", product, static_cast<int>(status)));
}

std::string described(std::int64_t m, std::int64_t n, std::int64_t k, const char* type) {
  return fmt::format("a {} matrix product of [{}, {}] and [{}, {}]", type, m, k, k, n);
}

void onednn_f32(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<float> a, Matrix<float> b, float* c,
                std::int64_t c_stride, GemmMode mode) {
  ready_f32(m, a.transposed, b.transposed);
  const OneThread guard;
  const auto status = dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', m, n, k, 1.0f, a.data, a.stride,
                                 b.data, b.stride, mode == GemmMode::accumulate ? 1.0f : 0.0f, c, c_stride);
  if (status != dnnl_success) refuse(status, described(m, n, k, "float32"));
}

struct Key {
  std::int64_t m, n, k, a_stride, b_stride, c_stride;
  bool a_transposed, b_transposed, c_float, accumulate;
  bool operator==(const Key&) const = default;
};

struct KeyHash {
  std::size_t operator()(const Key& key) const {
    std::size_t hash = 0;
    const auto mix = [&hash](std::int64_t v) { hash = (hash ^ static_cast<std::size_t>(v)) * 0x9E3779B97F4A7C15u; };
    for (std::int64_t v : {key.m, key.n, key.k, key.a_stride, key.b_stride, key.c_stride}) mix(v);
    mix(key.a_transposed | key.b_transposed << 1 | key.c_float << 2 | key.accumulate << 3);
    return hash ^ hash >> 29;
  }
};

struct Primitive {
  dnnl::memory a, b, c;
  dnnl::matmul matmul;
};

class PrimitiveCache {
 public:
  void run(const Key& key, const void* a, const void* b, void* c) {
    if (const auto place = primitives_.find(key); place != primitives_.end()) return run(place->second, a, b, c);
    // Code is written as it is made, and once more as it is run.
    const std::lock_guard writing(writing_mutex);
    check_room(kCodeBytes);
    Primitive made = make(key);
    run(made, a, b, c);
    if (primitives_.size() >= kLimit) primitives_.clear();
    primitives_.emplace(key, std::move(made));
  }

 private:
  static constexpr std::size_t kLimit = 2048;

  void run(Primitive& p, const void* a, const void* b, void* c) {
    p.a.set_data_handle(const_cast<void*>(a));
    p.b.set_data_handle(const_cast<void*>(b));
    p.c.set_data_handle(c);
    p.matmul.execute(stream_, {{DNNL_ARG_SRC, p.a}, {DNNL_ARG_WEIGHTS, p.b}, {DNNL_ARG_DST, p.c}});
    stream_.wait();
  }

  Primitive make(const Key& key) {
    using dnnl::memory;
    const auto input = memory::data_type::bf16;
    const auto strides = [](std::int64_t stride, bool transposed) {
      return transposed ? memory::dims{1, stride} : memory::dims{stride, 1};
    };
    const memory::desc a({key.m, key.k}, input, strides(key.a_stride, key.a_transposed));
    const memory::desc b({key.k, key.n}, input, strides(key.b_stride, key.b_transposed));
    const memory::desc c({key.m, key.n}, key.c_float ? memory::data_type::f32 : input, memory::dims{key.c_stride, 1});
    dnnl::primitive_attr attributes;
    if (key.accumulate) {
      dnnl::post_ops sum;
      sum.append_sum(1.0f);
      attributes.set_post_ops(sum);
    }
    const dnnl::matmul::primitive_desc description({a, b, c}, attributes, engine_);
    return {memory(a, engine_, nullptr), memory(b, engine_, nullptr), memory(c, engine_, nullptr),
            dnnl::matmul(description)};
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  std::unordered_map<Key, Primitive, KeyHash> primitives_;
};

// Whether this processor has bf16 products at all; oneDNN refuses them below AVX-512.
bool has_bf16() {
  static const bool supported = [] {
    using dnnl::memory;
    const memory::desc matrix({32, 32}, memory::data_type::bf16, memory::dims{32, 1});
    try {
      dnnl::matmul::primitive_desc({matrix, matrix, matrix}, dnnl::engine(dnnl::engine::kind::cpu, 0));
      return true;
    } catch (const dnnl::error& error) {
      if (error.status == dnnl_out_of_memory) refuse(error.status, described(32, 32, 32, "bf16"));
      return false;
    }
  }();
  return supported;
}

std::vector<float> widened(std::int64_t rows, std::int64_t cols, Matrix<bf16> m) {
  std::vector<float> values(static_cast<std::size_t>(rows * cols));
  const std::int64_t outer = m.transposed ? cols : rows, inner = m.transposed ? rows : cols;
  for (std::int64_t i = 0; i < outer; ++i)
    for (std::int64_t j = 0; j < inner; ++j) values[static_cast<std::size_t>(i * inner + j)] = m.data[i * m.stride + j];
  return values;
}

// The same product with the inputs widened to float32.
template <class Out>
void through_float(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<bf16> a, Matrix<bf16> b, Out* c,
                   std::int64_t c_stride, GemmMode mode) {
  const std::vector<float> wide_a = widened(m, k, a), wide_b = widened(k, n, b);
  std::vector<float> sums(static_cast<std::size_t>(m * n));
  onednn_f32(m, n, k, {wide_a.data(), a.transposed ? m : k, a.transposed},
             {wide_b.data(), b.transposed ? k : n, b.transposed}, sums.data(), n, GemmMode::overwrite);
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      const float before = mode == GemmMode::accumulate ? static_cast<float>(c[i * c_stride + j]) : 0;
      c[i * c_stride + j] = Out(before + sums[static_cast<std::size_t>(i * n + j)]);
    }
}

void run_bf16(const Key& key, const void* a, const void* b, void* c) {
  const OneThread guard;
  thread_local PrimitiveCache cache;
  try {
    cache.run(key, a, b, c);
  } catch (const dnnl::error& error) {
    refuse(error.status, described(key.m, key.n, key.k, "bf16"));
  }
}

void onednn_bf16(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<bf16> a, Matrix<bf16> b, void* c, DType c_dtype,
                 std::int64_t c_stride, GemmMode mode) {
  if (!has_bf16()) {
    if (c_dtype == DType::float32)
      through_float(m, n, k, a, b, static_cast<float*>(c), c_stride, mode);
    else
      through_float(m, n, k, a, b, static_cast<bf16*>(c), c_stride, mode);
    return;
  }
  const Key key{m,
                n,
                k,
                a.stride,
                b.stride,
                c_stride,
                a.transposed,
                b.transposed,
                c_dtype == DType::float32,
                mode == GemmMode::accumulate};
  run_bf16(key, a.data, b.data, c);
}

const bool registered = [] {
  gemm_library = {.ready_f32 = ready_f32, .f32 = onednn_f32, .bf16 = onednn_bf16};
  return true;
}();

}  // namespace
}  // namespace weir::cpu
