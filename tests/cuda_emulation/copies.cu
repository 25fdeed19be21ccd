// Bugs with cp.async.
#include "harness.h"

namespace planted::copies {
namespace {

// y = x reversed, through shared memory, four elements per copy.
template <bool wait, bool barrier>
__global__ void staged_kernel(const float* x, float* y) {
  FASTNN_SHARED(float, tile, [256]);
  const int t = threadIdx.x;
  copy_async<16>(tile + 4 * t, x + 4 * t);
  commit_copies();
  if (wait) wait_copies<0>();
  if (barrier) __syncthreads();
  for (int i = 0; i < 4; ++i) y[4 * t + i] = tile[255 - 4 * t - i];
  wait_copies<0>();
}

// Sums of steps of 64 elements, copied `stages` - 1 steps ahead into a ring of buffers.
template <int stages, int buffers, int left>
__global__ void pipeline_kernel(const float* x, float* y, int steps) {
  FASTNN_SHARED(float, ring, [buffers * 64]);
  const int t = threadIdx.x;
  for (int s = 0; s < stages - 1; ++s) {
    copy_async<4>(ring + s % buffers * 64 + t, x + s * 64 + t);
    commit_copies();
  }
  float sum = 0;
  for (int s = 0; s < steps; ++s) {
    wait_copies<left>();
    __syncthreads();
    for (int i = 0; i < 8; ++i) sum += ring[s % buffers * 64 + (t + 8 * i) % 64];
    const int next = s + stages - 1;
    if (next < steps) copy_async<4>(ring + next % buffers * 64 + t, x + next * 64 + t);
    commit_copies();
  }
  wait_copies<0>();
  y[t] = sum;
}

template <bool bug>
__global__ void misaligned_kernel(const float* x, float* y) {
  FASTNN_SHARED(float, tile, [132]);
  const int t = threadIdx.x;
  copy_async<16>(tile + 4 * t, x + 4 * t + (bug ? 1 : 0));
  commit_copies();
  wait_copies<0>();
  __syncthreads();
  for (int i = 0; i < 4; ++i) y[4 * t + i] = tile[4 * t + i];
}

template <bool bug>
__global__ void unfinished_kernel(const float* x, float* y) {
  FASTNN_SHARED(float, tile, [128]);
  const int t = threadIdx.x;
  copy_async<16>(tile + 4 * t, x + 4 * t);
  commit_copies();
  if (!bug) wait_copies<0>();
  y[t] = x[t];
}

template <class Kernel>
std::vector<float> run(Kernel kernel) {
  Array x(256), y(256);
  launch(kernel, 1, 64, 0, x.get(), y.get());
  return y.values();
}

PLANTED(missing_wait) { return run(bug ? staged_kernel<false, true> : staged_kernel<true, true>); }
PLANTED(wait_without_barrier) { return run(bug ? staged_kernel<true, false> : staged_kernel<true, true>); }
// One group more may be under way than the buffers allow.
PLANTED(waits_for_too_few) {
  Array x(64 * 9), y(64);
  launch(bug ? pipeline_kernel<3, 3, 2> : pipeline_kernel<3, 3, 1>, 1, 64, 0, x.get(), y.get(), 9);
  return y.values();
}
// The ring is one buffer too short: a copy overwrites the step that is being read.
PLANTED(overwrites_what_is_read) {
  Array x(64 * 9), y(64);
  launch(bug ? pipeline_kernel<3, 2, 1> : pipeline_kernel<3, 3, 1>, 1, 64, 0, x.get(), y.get(), 9);
  return y.values();
}
PLANTED(misaligned_copy) {
  Array x(133), y(128);
  LAUNCH(misaligned_kernel, 1, 32, 0, x.get(), y.get());
  return y.values();
}
PLANTED(copy_never_waited_for) {
  Array x(128), y(32);
  LAUNCH(unfinished_kernel, 1, 32, 0, x.get(), y.get());
  return y.values();
}

}  // namespace
}  // namespace planted::copies
