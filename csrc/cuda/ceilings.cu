// What the machine can do at most, for benchmarks to hold kernels against: arithmetic in registers and streams
// through memory. A block per chunk and step of the grid.
#include "rows.h"

namespace fastnn::cuda {
namespace {

// A step is 384 fused multiply-adds: three chains in each of 128 threads.
constexpr int kChains = 3, kFmaThreads = 128;

__global__ void ceiling_fma_kernel(float* __restrict__ y, int64_t chunks, int64_t steps) {
  for (int64_t chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
    float acc[kChains];
    FASTNN_UNROLL for (int j = 0; j < kChains; ++j) acc[j] = float(j);
    for (int64_t step = 0; step < steps; ++step) FASTNN_UNROLL for (int j = 0; j < kChains; ++j) acc[j] = fmaf(acc[j], 0.5f, 0.25f);
    const float sum = acc[0] + acc[1] + acc[2];
    if (threadIdx.x == 0) y[chunk] = sum;
  }
}

// y = x + 3 z, or x without z. Every pass must happen: volatile would cost the packs, a barrier does not.
__global__ void ceiling_stream_kernel(const float* x, const float* z, float* y, int64_t chunks, int64_t n, int64_t repeats) {
  for (int64_t chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x)
    for (int64_t r = 0; r < repeats; ++r) {
      for (int64_t i = threadIdx.x * 4; i < n; i += kThreads * 4) {
        Pack<4> a = load<4>(x + chunk * n + i);
        if (z) {
          const Pack<4> b = load<4>(z + chunk * n + i);
          FASTNN_UNROLL for (int k = 0; k < 4; ++k) a.v[k] = fmaf(3, b.v[k], a.v[k]);
        }
        store<4>(y + chunk * n + i, a);
      }
      __syncthreads();
    }
}

}  // namespace

void ceiling_fma(float* y, int64_t chunks, int64_t steps) {
  launch(ceiling_fma_kernel, blocks_for(chunks, 1), kFmaThreads, 0, y, chunks, steps);
}
void ceiling_copy(const float* x, float* y, int64_t chunks, int64_t n, int64_t repeats) {
  launch(ceiling_stream_kernel, blocks_for(chunks, 1), kThreads, 0, x, nullptr, y, chunks, n, repeats);
}
void ceiling_triad(const float* x, const float* z, float* y, int64_t chunks, int64_t n, int64_t repeats) {
  launch(ceiling_stream_kernel, blocks_for(chunks, 1), kThreads, 0, x, z, y, chunks, n, repeats);
}

}  // namespace fastnn::cuda
