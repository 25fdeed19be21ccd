// Races, and sums whose order is not fixed.
#include "harness.h"

namespace planted::races {
namespace {

// Each warp writes its number; the bug lets two of them write the same element.
template <bool bug>
__global__ void warps_kernel(float* y) {
  const int warp = threadIdx.x / 32;
  if (threadIdx.x % 32 == 0) y[bug ? 0 : warp] = float(warp);
}

// Each block adds its number to a sum of its own, or all of them to one without an atomic.
template <bool bug>
__global__ void blocks_kernel(float* y) {
  if (threadIdx.x == 0) y[bug ? 0 : blockIdx.x] = float(blockIdx.x) + 1;
}

// A block reads what another one writes: right only in one order of blocks.
template <bool bug>
__global__ void neighbour_kernel(const float* x, float* y) {
  const int i = blockIdx.x;
  if (threadIdx.x) return;
  y[i] = bug ? (i ? y[i - 1] + 1 : 1) : x[i] + 1;
}

// All threads write the same value: the result never differs, and it is a race all the same.
template <bool bug>
__global__ void same_value_kernel(float* y) {
  if (!bug && threadIdx.x) return;
  y[0] = 1;
}

// Partial sums are added as blocks come to an end: a fixed sum of integers, another float in each order.
template <bool bug>
__global__ void order_kernel(float* y, unsigned* tickets, float* slots) {
  if (threadIdx.x) return;
  const unsigned b = blockIdx.x;
  const float part = b % 2 ? 1.0f / float(3 + b) : 1.0e6f / float(1 + b);
  const unsigned ticket = atomicAdd(tickets, 1u);
  slots[bug ? ticket : b] = part;
  __threadfence();
  if (atomicAdd(tickets + 1, 1u) != gridDim.x - 1) return;
  __threadfence();
  float sum = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) sum += slots[i];
  y[0] = sum;
}

// The same in a fixed order, but the last block may read before the others' sums have arrived.
template <bool bug>
__global__ void fence_kernel(float* y, unsigned* tickets, float* slots) {
  if (threadIdx.x) return;
  slots[blockIdx.x] = float(blockIdx.x);
  if (!bug) __threadfence();
  if (atomicAdd(tickets, 1u) != gridDim.x - 1) return;
  if (!bug) __threadfence();
  float sum = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) sum += slots[i];
  y[0] = sum;
}

PLANTED(race_between_warps) {
  Array y(4);
  LAUNCH(warps_kernel, 1, 128, 0, y.get());
  return y.values();
}
PLANTED(race_between_blocks) {
  Array y(4);
  LAUNCH(blocks_kernel, 4, 32, 0, y.get());
  return y.values();
}
PLANTED(block_reads_another) {
  Array x(8), y(8, false);
  LAUNCH(neighbour_kernel, 8, 32, 0, x.get(), y.get());
  return y.values();
}
PLANTED(race_of_equal_values) {
  Array y(1);
  LAUNCH(same_value_kernel, 1, 64, 0, y.get());
  return y.values();
}
PLANTED(float_order) {
  Array y(1), slots(32), tickets(2);
  auto* counts = reinterpret_cast<unsigned*>(tickets.get());
  counts[0] = counts[1] = 0;
  LAUNCH(order_kernel, 32, 32, 0, y.get(), counts, slots.get());
  return y.values();
}

PLANTED(missing_fence) {
  Array y(1), slots(8), tickets(1);
  LAUNCH(fence_kernel, 8, 32, 0, y.get(), reinterpret_cast<unsigned*>(tickets.get()), slots.get());
  return y.values();
}

}  // namespace
}  // namespace planted::races
