// Bugs with addresses and with memory that nobody has written.
#include "harness.h"

namespace planted::memory {
namespace {

template <bool bug>
__global__ void write_kernel(const float* x, float* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (bug ? i <= n : i < n) y[i] = x[i < n ? i : 0];
}
template <bool bug>
__global__ void read_kernel(const float* x, float* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = bug || i + 1 < n ? x[i + 1] : 0;
}

template <bool bug>
__global__ void static_shared_kernel(const float* x, float* y) {
  FASTNN_SHARED(float, tile, [32][16]);
  const int t = threadIdx.x;
  tile[t % 32][t / 32 + (bug ? 15 : 0)] = x[t];  // row 31 of the bug runs over the end of the array
  __syncthreads();
  y[t] = tile[t % 32][t / 32 + (bug ? 15 : 0)];
}

template <bool bug>
__global__ void dynamic_shared_kernel(const float* x, float* y) {
  FASTNN_DYNAMIC_SHARED(float, tile);
  const int t = threadIdx.x;
  tile[bug ? t + 1 : t] = x[t];
  __syncthreads();
  y[t] = tile[bug ? t + 1 : t];
}
template <bool bug>
__global__ void dynamic_shared_read_kernel(const float* x, float* y) {
  FASTNN_DYNAMIC_SHARED(float, tile);
  const int t = threadIdx.x;
  tile[t] = x[t];
  __syncthreads();
  const float next = tile[bug ? t + 1 : (t + 1) % 64];
  y[t] = t < 63 ? next : x[0];  // what was read wrongly is never used
}

// Four elements at a time from the second element on.
template <bool bug>
__global__ void misaligned_kernel(const float* x, float* y) {
  const int t = threadIdx.x;
  const float4 v = bug ? reinterpret_cast<const float4*>(x + 1)[t] : reinterpret_cast<const float4*>(x)[t];
  y[t] = v.x + v.y + v.z + v.w;
}

// The largest of the row: maxima forget the NaN of fresh memory.
template <bool bug>
__global__ void uninitialised_kernel(const float* x, float* y) {
  FASTNN_SHARED(float, tile, [64]);
  const int t = threadIdx.x;
  if (!bug || t < 48) tile[t] = x[t];
  __syncthreads();
  float most = x[0];
  for (int i = 0; i < 64; ++i) most = tile[i] > most ? tile[i] : most;
  y[t] = most;
}

// The first warp finds the memory of the block before it on a GPU.
template <bool bug>
__global__ void last_block_kernel(const float* x, float* y) {
  FASTNN_SHARED(float, scale, [1]);
  if (threadIdx.x == 0 && (!bug || blockIdx.x == 0)) scale[0] = 2;
  __syncthreads();
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = scale[0] * x[i];
}

PLANTED(global_write_out_of_bounds) {
  Array x(100), y(100, false);
  LAUNCH(write_kernel, 2, 64, 0, x.get(), y.get(), 100);
  return y.values();
}
PLANTED(global_read_out_of_bounds) {
  Array x(100), y(100, false);
  LAUNCH(read_kernel, 2, 64, 0, x.get(), y.get(), 100);
  return y.values();
}
PLANTED(static_shared_out_of_bounds) {
  Array x(64), y(64, false);
  LAUNCH(static_shared_kernel, 1, 64, 0, x.get(), y.get());
  return y.values();
}
PLANTED(dynamic_shared_out_of_bounds) {
  Array x(64), y(64, false);
  LAUNCH(dynamic_shared_kernel, 1, 64, 64 * 4, x.get(), y.get());
  return y.values();
}
PLANTED(dynamic_shared_read_out_of_bounds) {
  Array x(64), y(64, false);
  LAUNCH(dynamic_shared_read_kernel, 1, 64, 64 * 4, x.get(), y.get());
  return y.values();
}
PLANTED(misaligned_vector) {
  Array x(260), y(64, false);
  LAUNCH(misaligned_kernel, 1, 64, 0, x.get(), y.get());
  return y.values();
}
PLANTED(uninitialised_shared) {
  Array x(64), y(64, false);
  for (int i = 0; i < 64; ++i) x.get()[i] = i < 48 ? float(i) : 0;
  LAUNCH(uninitialised_kernel, 1, 64, 0, x.get(), y.get());
  return y.values();
}
PLANTED(shared_of_another_block) {
  Array x(256), y(256, false);
  LAUNCH(last_block_kernel, 4, 64, 0, x.get(), y.get());
  return y.values();
}
PLANTED(pointer_of_the_host) {
  Array x(64), y(64, false);
  float host[64] = {};
  const void* pointers[] = {bug ? host : x.get(), y.get()};
  device().verify(pointers, 2, false);
  return x.values();
}

}  // namespace
}  // namespace planted::memory
