// What every kernel file of this folder includes. nvcc compiles CUDA; g++ compiles the same source
// against emulation/ (device "cuda-emu").
//
//   __global__ void scale_kernel(const float* __restrict__ x, float* __restrict__ y, int64_t n) {
//     for (int64_t i = first_index(); i < n; i += index_step()) y[i] = 2 * x[i];
//   }
//   void scale(const float* x, float* y, int64_t n) { launch(scale_kernel, blocks_for(n), kThreads, 0, x, y, n); }
//
// Rules: no return before a barrier; shared memory only through FASTNN_SHARED(float, tile, [16][17]) and
// FASTNN_DYNAMIC_SHARED(float, tile); no float atomics; grids follow from the problem, never from the GPU, so
// that the bits are the same everywhere; offsets are int64_t; PTX only in ptx.h.
#pragma once
#include <cstdint>

#include "kernels.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>
#define FASTNN_SHARED(T, name, dims) __shared__ __align__(16) T name dims
#define FASTNN_DYNAMIC_SHARED(T, name)                                   \
  extern __shared__ __align__(16) unsigned char fastnn_dynamic_shared[]; \
  T* name = reinterpret_cast<T*>(fastnn_dynamic_shared)
#define FASTNN_UNROLL _Pragma("unroll")
#else
#include "emulation/emulation.h"
#include "emulation/runtime.h"
#define FASTNN_UNROLL
#endif

namespace fastnn::cuda {

// ---- the host's side: runtime.cu ----

// Memory of the device for the time of a few launches: given back at the end of the scope, which the order
// of the stream makes safe. MemoryError's text is thrown as std::bad_alloc's kin, see runtime.cu.
void* allocate_scratch(int64_t bytes);
void free_scratch(void* p, int64_t bytes) noexcept;
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t n) : bytes_(n * int64_t(sizeof(T))), data_(static_cast<T*>(allocate_scratch(bytes_))) {}
  ~Scratch() { free_scratch(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  T* get() const { return data_; }

 private:
  int64_t bytes_;
  T* data_;
};

// Bytes on the device become `value`, in the stream's order.
void fill_bytes(void* p, int value, int64_t bytes);

constexpr int kThreads = 256;
// Elements are walked in steps of the whole grid, so any number of blocks is right.
constexpr int64_t kMaxBlocks = 4096;

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
#ifdef __CUDACC__
constexpr int64_t max_grid() { return 0x7fffffff; }
#else
inline int64_t max_grid() { return emulation::options().grid; }
#endif
inline unsigned blocks_for(int64_t n, int64_t per_block = kThreads) {
  const int64_t blocks = ceil_div(n, per_block), most = max_grid() < kMaxBlocks ? max_grid() : kMaxBlocks;
  return unsigned(blocks < 1 ? 1 : blocks > most ? most : blocks);
}

cudaStream_t current_stream();
// Throws with the call's text if it failed.
void check_call(cudaError_t status, const char* call, const char* file, int line);
#define CUDA_CHECK(call) ::fastnn::cuda::check_call((call), #call, __FILE__, __LINE__)

#ifdef __CUDACC__
template <class... Params, class... Args>
void launch(void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes, Args... args) {
  if (shared_bytes > 48 * 1024)
    CUDA_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared_bytes)));
  kernel<<<grid, block, shared_bytes, current_stream()>>>(static_cast<Params>(args)...);
  CUDA_CHECK(cudaGetLastError());
}
#else
template <class... Params, class... Args>
void launch(void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes, Args... args) {
  const auto body = [=] { kernel(static_cast<Params>(args)...); };
  emulation::enqueue(current_stream(), [=] {
    emulation::run_grid(grid, block, shared_bytes, [](const void* f) { (*static_cast<decltype(body)*>(f))(); }, &body);
  });
}
#endif

// `blocks` blocks in as many grids as they need: in the kernel's last parameter it is told the first one of its grid.
template <class Kernel, class... Args>
void launch_grids(Kernel kernel, int64_t blocks, unsigned threads, size_t shared_bytes, Args... args) {
  for (int64_t first = 0; first < blocks; first += max_grid())
    launch(kernel, unsigned(blocks - first < max_grid() ? blocks - first : max_grid()), threads, shared_bytes, args..., first);
}

// ---- inside kernels ----

// This thread's first element and its step, for kernels over elements with one-dimensional grids.
__device__ __forceinline__ int64_t first_index() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ __forceinline__ int64_t index_step() { return int64_t(gridDim.x) * blockDim.x; }

constexpr unsigned kAllLanes = 0xffffffffu;

struct Sum {
  __device__ __forceinline__ float operator()(float a, float b) const { return a + b; }
  static constexpr float neutral = 0.0f;
};
// NaN if one of them is.
struct Max {
  __device__ __forceinline__ float operator()(float a, float b) const { return a > b || a != a ? a : b; }
  static constexpr float neutral = -__builtin_huge_valf();
};
struct Min {
  __device__ __forceinline__ float operator()(float a, float b) const { return a < b || a != a ? a : b; }
  static constexpr float neutral = __builtin_huge_valf();
};

// Every lane gets the warp's total; all 32 lanes call.
template <class F>
__device__ __forceinline__ float warp_reduce(float v, F f) {
  FASTNN_UNROLL for (int d = 16; d > 0; d /= 2) v = f(v, __shfl_xor_sync(kAllLanes, v, d));
  return v;
}
// Every thread gets the total of its block, whose threads are a multiple of 32 in x alone and all call.
// f is commutative up to rounding; the tree is fixed.
template <class F>
__device__ __forceinline__ float block_reduce(float v, F f) {
  FASTNN_SHARED(float, partial, [32]);
  const int warps = blockDim.x / 32, lane = threadIdx.x % 32;
  v = warp_reduce(v, f);
  __syncthreads();  // a caller may still read the last total
  if (lane == 0) partial[threadIdx.x / 32] = v;
  __syncthreads();
  v = lane < warps ? partial[lane] : F::neutral;
  return warp_reduce(v, f);
}

}  // namespace fastnn::cuda
