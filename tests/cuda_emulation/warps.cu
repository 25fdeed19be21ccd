// Bugs inside of a warp.
#include "harness.h"

namespace planted::warps {
namespace {

// Half of the warp sums its values.
template <bool bug>
__global__ void mask_kernel(const float* x, float* y) {
  const int t = threadIdx.x;
  float v = x[t];
  if (t < 16)
    for (int d = 8; d; d /= 2) v += __shfl_xor_sync(bug ? 0xffffffffu : 0xffffu, v, d);  // lanes 16 to 31 never come
  y[t] = v;
}
template <bool bug>
__global__ void not_in_mask_kernel(const float* x, float* y) {
  const int t = threadIdx.x;
  y[t] = __shfl_sync(bug ? 0x7fffffffu : 0xffffffffu, x[t], 0);  // lane 31 calls and is not named
}
template <bool bug>
__global__ void read_outside_mask_kernel(const float* x, float* y) {
  const int t = threadIdx.x;
  if (t < 16) y[t] = __shfl_down_sync(0xffffu, x[t], bug ? 4 : 0, bug ? 32 : 16);  // lane 12 would read lane 16
}
template <bool bug>
__global__ void divergent_kernel(const float* x, float* y) {
  const int t = threadIdx.x;
  float v = 0;
  if (bug && t % 2) v = __shfl_xor_sync(0xffffffffu, x[t], 2);
  else if (bug) v = float(__ballot_sync(0xffffffffu, x[t] > 3));
  else v = __shfl_xor_sync(0xffffffffu, x[t], 2);
  y[t] = v;
}

// Lanes exchange through shared memory, as if they ran in step.
template <bool bug>
__global__ void in_step_kernel(const float* x, float* y) {
  FASTNN_SHARED(float, tile, [32]);
  const int t = threadIdx.x;
  tile[t] = x[t];
  if (!bug) __syncwarp();
  y[t] = tile[(t + 1) % 32] + tile[(t + 31) % 32];
}

// An 8x8 tile for a matrix instruction, whose rows need addresses that are multiples of 16 bytes.
template <bool bug>
__global__ void ldmatrix_kernel(const float* x, float* y) {
  FASTNN_SHARED(float, tile, [32 * 4 + 4]);
  const int t = threadIdx.x;
  for (int i = t; i < 132; i += 32) tile[i] = i < 128 ? x[i] : 0;
  __syncthreads();
  uint32_t r[4];
  ldmatrix_x4(r, tile + 4 * t + (bug ? 1 : 0));
  for (int i = 0; i < 4; ++i) y[4 * t + i] = __uint_as_float(r[i]);
}

template <class Kernel>
std::vector<float> run(Kernel kernel, int n) {
  Array x(n), y(n);
  launch(kernel, 1, 32, 0, x.get(), y.get());
  return y.values();
}

PLANTED(wrong_mask) { return run(bug ? mask_kernel<true> : mask_kernel<false>, 32); }
PLANTED(caller_not_in_mask) { return run(bug ? not_in_mask_kernel<true> : not_in_mask_kernel<false>, 32); }
PLANTED(reads_outside_mask) { return run(bug ? read_outside_mask_kernel<true> : read_outside_mask_kernel<false>, 32); }
PLANTED(divergent_collective) { return run(bug ? divergent_kernel<true> : divergent_kernel<false>, 32); }
PLANTED(missing_syncwarp) { return run(bug ? in_step_kernel<true> : in_step_kernel<false>, 32); }
PLANTED(misaligned_ldmatrix) { return run(bug ? ldmatrix_kernel<true> : ldmatrix_kernel<false>, 128); }

}  // namespace
}  // namespace planted::warps
