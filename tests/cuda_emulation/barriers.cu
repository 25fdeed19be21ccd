// Bugs with __syncthreads().
#include "harness.h"

namespace planted::barriers {
namespace {

// y is x reversed within each block of 64.
template <bool bug>
__global__ void reverse_kernel(const float* x, float* y) {
  FASTNN_SHARED(float, tile, [64]);
  const int t = threadIdx.x;
  tile[t] = x[blockIdx.x * 64 + t];
  if (!bug) __syncthreads();
  y[blockIdx.x * 64 + t] = tile[63 - t];
}

// Sums of rows of 64, one after another through the same shared memory.
template <bool bug>
__global__ void reuse_kernel(const float* x, float* y, int rows) {
  FASTNN_SHARED(float, tile, [64]);
  const int t = threadIdx.x;
  for (int r = 0; r < rows; ++r) {
    tile[t] = x[r * 64 + t];
    __syncthreads();
    float sum = 0;
    for (int i = 0; i < 64; ++i) sum += tile[(t + i) % 64];
    y[r * 64 + t] = sum;
    if (!bug) __syncthreads();  // the next row overwrites what slower warps still read
  }
}

template <bool bug>
__global__ void divergent_kernel(float* y) {
  const int t = threadIdx.x;
  if (bug && t < 32) {
    y[t] = 1;
    __syncthreads();
  } else {
    y[t] = 1;
    __syncthreads();
  }
}

template <bool bug>
__global__ void some_kernel(float* y) {
  if (!bug || threadIdx.x < 32) __syncthreads();
  y[threadIdx.x] = 1;
}

template <bool bug>
__global__ void early_exit_kernel(const float* x, float* y, int n) {
  const int i = threadIdx.x;
  if (bug && i >= n) return;
  FASTNN_SHARED(float, tile, [64]);
  tile[i] = i < n ? x[i] : 0;
  __syncthreads();
  if (i < n) y[i] = tile[(i + 1) % n];
}

PLANTED(missing_barrier) {
  Array x(128), y(128, false);
  LAUNCH(reverse_kernel, 2, 64, 0, x.get(), y.get());
  return y.values();
}
PLANTED(missing_barrier_before_reuse) {
  Array x(256), y(256, false);
  LAUNCH(reuse_kernel, 1, 64, 0, x.get(), y.get(), 4);
  return y.values();
}
PLANTED(divergent_barrier) {
  Array y(64, false);
  LAUNCH(divergent_kernel, 1, 64, 0, y.get());
  return y.values();
}
PLANTED(barrier_of_some) {
  Array y(64, false);
  LAUNCH(some_kernel, 1, 64, 0, y.get());
  return y.values();
}
PLANTED(early_exit) {
  Array x(50), y(50, false);
  LAUNCH(early_exit_kernel, 1, 64, 0, x.get(), y.get(), 50);
  return y.values();
}

}  // namespace
}  // namespace planted::barriers
