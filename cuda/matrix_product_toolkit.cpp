// Matrix products by cuBLASLt. The library counts matrices by columns, so it is asked for cᵀ = bᵀ aᵀ.
//
// Its advice on the algorithm for a shape is asked once and kept, with the library's descriptions of the matrices; so
// the same arguments take the same algorithm, at each step and in a recording of it. All products of a device share one
// workspace, for they run one after the other.
#include <cublasLt.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "core/error.h"
#include "cuda/matrix_product.h"
#include "cuda/runtime.h"
#include "cuda/toolkit_check.h"

namespace weir::cuda {
namespace {

constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;  // what NVIDIA advises from compute capability 9.0 on

void check(cublasStatus_t result, const char* call, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  if (result == CUBLAS_STATUS_SUCCESS) return;
  const ExitCode code = result == CUBLAS_STATUS_ALLOC_FAILED      ? ExitCode::out_of_memory
                        : result == CUBLAS_STATUS_NOT_INITIALIZED ? ExitCode::unavailable
                                                                  : ExitCode::internal;
  throw RunError(code, fmt::format("{} at {}:{}: {} ({})", call, file, line, cublasLtGetStatusString(result),
                                   cublasLtGetStatusName(result)));
}

cudaDataType_t type_of(DType dtype) {
  return dtype == DType::float64 ? CUDA_R_64F : dtype == DType::float32 ? CUDA_R_32F : CUDA_R_16BF;
}

cublasComputeType_t compute_type(const MatrixProduct& p) {
  if (p.in == DType::float64) return CUBLAS_COMPUTE_64F;
  return p.in == DType::float32 && p.products == Float32Products::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                                       : CUBLAS_COMPUTE_32F;
}

cublasLtEpilogue_t epilogue_of(const MatrixProduct& p) {
  if (p.bias != nullptr) return p.relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
  return p.relu ? CUBLASLT_EPILOGUE_RELU : CUBLASLT_EPILOGUE_DEFAULT;
}

// Bytes of which every matrix of the batch begins at a multiple; the library's kernels care for no more than 256.
std::uint32_t alignment(const void* data, std::int64_t step, DType dtype) {
  const auto bits = reinterpret_cast<std::uintptr_t>(data) |
                    static_cast<std::uintptr_t>(step) * static_cast<std::uintptr_t>(dtype_size(dtype)) | 256u;
  return 1u << std::countr_zero(bits);
}

// One matrix of cᵀ = bᵀ aᵀ: `rows` by `cols`, by columns.
class Layout {
 public:
  Layout(DType dtype, std::int64_t rows, std::int64_t cols, std::int64_t stride, std::int64_t batch,
         std::int64_t step) {
    check(cublasLtMatrixLayoutCreate(&layout_, type_of(dtype), static_cast<std::uint64_t>(rows),
                                     static_cast<std::uint64_t>(cols), stride),
          "cublasLtMatrixLayoutCreate");
    set(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<std::int32_t>(batch));
    set(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, step);
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(layout_); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;

  cublasLtMatrixLayout_t get() const { return layout_; }

 private:
  template <class Value>
  void set(cublasLtMatrixLayoutAttribute_t attribute, Value value) {
    check(cublasLtMatrixLayoutSetAttribute(layout_, attribute, &value, sizeof(value)),
          "cublasLtMatrixLayoutSetAttribute");
  }
  cublasLtMatrixLayout_t layout_ = nullptr;
};

// An operand as the library sees it: what lies by rows here lies there transposed by columns.
Layout operand_layout(DType dtype, const ProductOperand& operand, std::int64_t rows, std::int64_t cols,
                      std::int64_t batch) {
  return {dtype,       operand.transposed ? rows : cols, operand.transposed ? cols : rows, operand.stride, batch,
          operand.step};
}

// What the library needs to know of a product beside where its matrices lie.
class Plan {
 public:
  Plan(cublasLtHandle_t handle, const MatrixProduct& p)
      : a_(operand_layout(p.in, p.a, p.m, p.k, p.batch)),
        b_(operand_layout(p.in, p.b, p.k, p.n, p.batch)),
        c_(p.out, p.n, p.m, p.c_stride, p.batch, p.c_step) {
    check(cublasLtMatmulDescCreate(&product_, compute_type(p), type_of(accumulate_dtype(p.in))),
          "cublasLtMatmulDescCreate");
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue_of(p));
    if (p.bias != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    choose(handle, p);
  }
  ~Plan() { cublasLtMatmulDescDestroy(product_); }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  bool has_algorithm() const { return has_algorithm_; }

  void run(cublasLtHandle_t handle, const MatrixProduct& p, void* workspace, cudaStream_t stream) const {
    if (p.bias != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    const auto alpha = static_cast<float>(p.alpha), beta = static_cast<float>(p.beta);
    const bool wide = p.in == DType::float64;
    check(cublasLtMatmul(handle, product_, wide ? static_cast<const void*>(&p.alpha) : &alpha, p.b.data, b_.get(),
                         p.a.data, a_.get(), wide ? static_cast<const void*>(&p.beta) : &beta, p.c, c_.get(), p.c,
                         c_.get(), &chosen_.algo, workspace, kWorkspaceBytes, stream),
          "cublasLtMatmul");
  }

 private:
  template <class Value>
  void set(cublasLtMatmulDescAttributes_t attribute, Value value) const {
    check(cublasLtMatmulDescSetAttribute(product_, attribute, &value, sizeof(value)), "cublasLtMatmulDescSetAttribute");
  }

  // Partial sums are kept in the type of the sums, never in that of c.
  void choose(cublasLtHandle_t handle, const MatrixProduct& p) {
    cublasLtMatmulPreference_t wishes = nullptr;
    check(cublasLtMatmulPreferenceCreate(&wishes), "cublasLtMatmulPreferenceCreate");
    const std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, decltype(&cublasLtMatmulPreferenceDestroy)> owner(
        wishes, cublasLtMatmulPreferenceDestroy);
    const auto wish = [wishes](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      check(cublasLtMatmulPreferenceSetAttribute(wishes, attribute, &value, sizeof(value)),
            "cublasLtMatmulPreferenceSetAttribute");
    };
    wish(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{kWorkspaceBytes});
    wish(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
    wish(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(p.b.data, p.b.step, p.in));
    wish(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(p.a.data, p.a.step, p.in));
    wish(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(p.c, p.c_step, p.out));
    wish(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(p.c, p.c_step, p.out));
    int found = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle, product_, b_.get(), a_.get(), c_.get(),
                                                                 c_.get(), wishes, 1, &chosen_, &found);
    has_algorithm_ = status == CUBLAS_STATUS_SUCCESS && found > 0;
    if (status != CUBLAS_STATUS_NOT_SUPPORTED) check(status, "cublasLtMatmulAlgoGetHeuristic");
  }

  Layout a_, b_, c_;
  cublasLtMatmulDesc_t product_ = nullptr;
  cublasLtMatmulHeuristicResult_t chosen_{};
  bool has_algorithm_ = false;
};

// All that the choice depends on.
auto key_of(const MatrixProduct& p) {
  const auto operand = [&p](const ProductOperand& o) {
    return std::tuple(o.stride, o.transposed, o.step, alignment(o.data, o.step, p.in));
  };
  return std::tuple(p.m, p.n, p.k, p.batch, p.in, p.out, operand(p.a), operand(p.b), p.c_stride, p.c_step,
                    alignment(p.c, p.c_step, p.out), p.products, epilogue_of(p), alignment(p.bias, 0, p.out));
}

// One device's use of the library.
class Library {
 public:
  void multiply(Device device, const MatrixProduct& p) {
    const cudaStream_t stream = stream_of(device);
    const std::scoped_lock lock(mutex_);
    if (workspace_ == nullptr) workspace_ = allocator(device).allocate(kWorkspaceBytes);
    const Plan& plan = plan_of(p);
    if (!plan.has_algorithm())
      throw RunError(ExitCode::unavailable,
                     fmt::format("cuBLASLt {} has no algorithm for a {} product [{}, {}] x [{}, {}] of {} on this GPU: "
                                 "choose another model.precision or --device cpu, and report it, for it is a bug",
                                 cublasLtGetVersion(), dtype_name(p.out), p.m, p.k, p.k, p.n, dtype_name(p.in)));
    plan.run(handle_, p, workspace_, stream);
  }

  bool offers(Device device, const MatrixProduct& p) {
    stream_of(device);  // makes the device the current one
    const std::scoped_lock lock(mutex_);
    return plan_of(p).has_algorithm();
  }

 private:
  const Plan& plan_of(const MatrixProduct& p) {
    if (handle_ == nullptr) check(cublasLtCreate(&handle_), "cublasLtCreate");
    std::unique_ptr<Plan>& plan = plans_[key_of(p)];
    if (plan == nullptr) plan = std::make_unique<Plan>(handle_, p);
    return *plan;
  }

  std::mutex mutex_;
  cublasLtHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;
  std::map<decltype(key_of(std::declval<const MatrixProduct&>())), std::unique_ptr<Plan>> plans_;
};

// Never destroyed: the driver may be gone after main.
Library& library_of(Device device) {
  static std::mutex mutex;
  static auto* const libraries = new std::map<int, std::unique_ptr<Library>>;
  const std::scoped_lock lock(mutex);
  std::unique_ptr<Library>& library = (*libraries)[device.index];
  if (library == nullptr) library = std::make_unique<Library>();
  return *library;
}

}  // namespace

void matrix_product(Device device, const MatrixProduct& product) { library_of(device).multiply(device, product); }

bool offers_product(Device device, const MatrixProduct& product) { return library_of(device).offers(device, product); }

}  // namespace weir::cuda
