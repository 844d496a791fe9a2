// Products by cublasLt, whose matrices are column-major. A row-major matrix read column by column
// is its transpose, so what is asked for is y^T = op(b)^T op(a)^T: b comes first, no element moves.
// Source: cuBLAS library, chapter "Using the cuBLASLt API".
#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>

#include "engine/core/cuda_memory.h"
#include "engine/core/error.h"
#include "engine/cuda/blas.h"
#include "engine/cuda/check.h"
#include "engine/cuda/stream.h"

namespace decant::cuda {
namespace {

constexpr size_t kWorkspaceBytes = size_t{32} << 20U;  // what NVIDIA advises for Hopper

void ensure(cublasStatus_t status, const Product& p) {
  check(status == CUBLAS_STATUS_SUCCESS, "product: cublasLt says ", cublasLtGetStatusString(status),
        " for ", p.m, " x ", p.k, " x ", p.n, ", ", p.precision);
}

// An object of cublasLt and its function to destroy it.
template <auto destroy>
struct Destroy {
  template <class T>
  void operator()(T* object) const {
    destroy(object);
  }
};
using Description = std::unique_ptr<cublasLtMatmulDescOpaque_t, Destroy<cublasLtMatmulDescDestroy>>;
using Layout = std::unique_ptr<cublasLtMatrixLayoutOpaque_t, Destroy<cublasLtMatrixLayoutDestroy>>;
using Preference =
    std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, Destroy<cublasLtMatmulPreferenceDestroy>>;

// Device memory that is given back in the order of the stream.
struct Release {
  size_t bytes = 0;
  void operator()(void* data) const { cuda_memory::release(data, bytes); }
};
using Temporary = std::unique_ptr<void, Release>;

struct Plan {
  Description description;
  Layout first, second, result;
  cublasLtMatmulAlgo_t algorithm;
};

// What an algorithm is chosen for.
using Key = std::array<int64_t, 16>;

int64_t alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  return address == 0 ? 256 : static_cast<int64_t>(std::min<uintptr_t>(256, address & -address));
}

Key key_of(const ProductCall& call) {
  const Product& p = call.product;
  return {p.m,
          p.n,
          p.k,
          p.transpose_a,
          p.transpose_b,
          p.bias != nullptr,
          p.relu,
          p.accumulate,
          static_cast<int64_t>(p.precision),
          p.a_stride,
          p.b_stride,
          p.y_stride,
          call.bf16_operands + 2 * call.bf16_result,
          alignment_of(call.a),
          alignment_of(call.b),
          alignment_of(call.y)};
}

cublasComputeType_t compute_type(const ProductCall& call) {
  if (call.bf16_operands) return CUBLAS_COMPUTE_32F;
  switch (call.product.precision) {
    case Precision::f32:
      return CUBLAS_COMPUTE_32F;
    case Precision::tf32:
      return CUBLAS_COMPUTE_32F_FAST_TF32;
    case Precision::bf16:
      return CUBLAS_COMPUTE_32F_FAST_16BF;
  }
  return CUBLAS_COMPUTE_32F;
}

// A row-major [rows, columns] as cublasLt sees it: columns x rows, its columns `stride` apart.
Layout layout_of(const Product& p, cudaDataType_t type, int64_t rows, int64_t columns,
                 int64_t stride) {
  cublasLtMatrixLayout_t layout = nullptr;
  ensure(cublasLtMatrixLayoutCreate(&layout, type, static_cast<uint64_t>(columns),
                                    static_cast<uint64_t>(rows), stride),
         p);
  return Layout(layout);
}

class Blas {
 public:
  static Blas& instance() {
    static Blas* const blas = new Blas;  // never destroyed, as the streams it works on
    return *blas;
  }

  void multiply(ProductCall call) {
    const std::scoped_lock lock(mutex_);
    Product& p = call.product;
    // No preference tells cublasLt how a bias is aligned: it may read 16 bytes at a time.
    Temporary aligned;
    if (p.bias != nullptr && alignment_of(p.bias) < 16) {
      const size_t bytes = sizeof(float) * static_cast<size_t>(p.n);
      aligned = Temporary(cuda_memory::allocate(bytes), Release{bytes});
      cuda::ensure(
          cudaMemcpyAsync(aligned.get(), p.bias, bytes, cudaMemcpyDeviceToDevice, compute_stream()),
          "product");
      p.bias = static_cast<const float*>(aligned.get());
    }
    const Key key = key_of(call);
    auto plan = plans_.find(key);
    if (plan == plans_.end()) plan = plans_.emplace(key, choose(call)).first;
    const Plan& chosen = plan->second;
    if (p.bias != nullptr) set_bias(chosen.description.get(), p);
    const float one = 1;
    const float beta = p.accumulate ? 1 : 0;
    ensure(cublasLtMatmul(handle_, chosen.description.get(), &one, call.b, chosen.first.get(),
                          call.a, chosen.second.get(), &beta, call.y, chosen.result.get(), call.y,
                          chosen.result.get(), &chosen.algorithm, workspace_, kWorkspaceBytes,
                          compute_stream()),
           p);
  }

 private:
  Blas() {
    ensure(cublasLtCreate(&handle_), Product{});
    workspace_ = cuda_memory::allocate(kWorkspaceBytes);
  }

  template <class T>
  static void set(cublasLtMatmulDesc_t description, cublasLtMatmulDescAttributes_t attribute,
                  const T& value, const Product& p) {
    ensure(cublasLtMatmulDescSetAttribute(description, attribute, &value, sizeof(value)), p);
  }
  template <class T>
  static void set(cublasLtMatmulPreference_t preference,
                  cublasLtMatmulPreferenceAttributes_t attribute, const T& value,
                  const Product& p) {
    ensure(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)), p);
  }

  static void set_bias(cublasLtMatmulDesc_t description, const Product& p) {
    const void* bias = p.bias;
    set(description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias, p);
  }

  Plan choose(const ProductCall& call) {
    const Product& p = call.product;
    Plan plan = {};
    cublasLtMatmulDesc_t description = nullptr;
    ensure(cublasLtMatmulDescCreate(&description, compute_type(call), CUDA_R_32F), p);
    plan.description.reset(description);
    const cublasOperation_t turn_a = p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t turn_b = p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    set(description, CUBLASLT_MATMUL_DESC_TRANSA, turn_b, p);
    set(description, CUBLASLT_MATMUL_DESC_TRANSB, turn_a, p);
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    if (p.bias != nullptr)
      epilogue = p.relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
    else if (p.relu)
      epilogue = CUBLASLT_EPILOGUE_RELU;
    set(description, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue, p);
    if (p.bias != nullptr) set_bias(description, p);

    const cudaDataType_t operand = call.bf16_operands ? CUDA_R_16BF : CUDA_R_32F;
    const cudaDataType_t result = call.bf16_result ? CUDA_R_16BF : CUDA_R_32F;
    plan.first = p.transpose_b ? layout_of(p, operand, p.n, p.k, p.b_stride)
                               : layout_of(p, operand, p.k, p.n, p.b_stride);
    plan.second = p.transpose_a ? layout_of(p, operand, p.k, p.m, p.a_stride)
                                : layout_of(p, operand, p.m, p.k, p.a_stride);
    plan.result = layout_of(p, result, p.m, p.n, p.y_stride);

    cublasLtMatmulPreference_t created = nullptr;
    ensure(cublasLtMatmulPreferenceCreate(&created), p);
    const Preference preference(created);
    const uint64_t workspace = kWorkspaceBytes;
    set(created, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace, p);
    // Parts of a sum that are computed side by side are added in float32, in a step of its own.
    const uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    set(created, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reduction, p);
    const auto align = [&](cublasLtMatmulPreferenceAttributes_t attribute, const void* pointer) {
      set(created, attribute, static_cast<uint32_t>(alignment_of(pointer)), p);
    };
    align(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, call.b);
    align(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, call.a);
    align(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, call.y);
    align(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, call.y);

    cublasLtMatmulHeuristicResult_t best = {};
    int found = 0;
    ensure(cublasLtMatmulAlgoGetHeuristic(handle_, description, plan.first.get(), plan.second.get(),
                                          plan.result.get(), plan.result.get(), created, 1, &best,
                                          &found),
           p);
    check(found == 1 && best.state == CUBLAS_STATUS_SUCCESS,
          "product: cublasLt knows no algorithm for ", p.m, " x ", p.k, " x ", p.n, ", ",
          p.precision);
    plan.algorithm = best.algo;
    return plan;
  }

  std::mutex mutex_;
  cublasLtHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;
  std::map<Key, Plan> plans_;
};

}  // namespace

void multiply(const ProductCall& call) {
  Blas::instance().multiply(call);
}

}  // namespace decant::cuda
