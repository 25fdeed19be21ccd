// Kernels over the rows of a matrix: a row belongs to a group of threads, part of a warp for short rows and a
// whole block for long ones. Memory is read in packs of four floats where rows are aligned for it.
#pragma once
#include "ptx.h"

namespace fastnn::cuda {

template <int V>
struct alignas(4 * V) Pack {
  float v[V];
};
template <int V>
__device__ __forceinline__ Pack<V> load(const float* p) { return *reinterpret_cast<const Pack<V>*>(p); }
// To global memory.
template <int V>
__device__ __forceinline__ void store(float* p, const Pack<V>& a) {
  if constexpr (V == 4) store_float4(p, a.v[0], a.v[1], a.v[2], a.v[3]);
  else *reinterpret_cast<Pack<V>*>(p) = a;
}

template <int V>
struct Width {
  static constexpr int value = V;
};
// Calls run(Width<V>()) with 4 where rows of `cols` floats at all these addresses allow packs
// of four, else 1.
template <class Run, class... P>
void with_pack(int64_t cols, Run run, const P*... p) {
  uintptr_t bits = uintptr_t(cols % 4 * 4);
  ((bits |= reinterpret_cast<uintptr_t>(p)), ...);
  if (bits % 16) run(Width<1>());
  else run(Width<4>());
}

// Rows up to this many packs belong to a part of a warp, longer ones to a block.
constexpr int64_t kWarpPacks = 256;

// Threads of a row of `packs` packs: a power of two up to 32, or a block. About four packs per thread of short rows.
inline int group_width(int64_t packs) {
  if (packs > kWarpPacks) return kThreads;
  int width = 1;
  while (width < 32 && width * 4 < packs) width *= 2;
  return width;
}
inline unsigned row_blocks(int64_t rows, int width) { return blocks_for(rows, kThreads / width); }

// The threads of one row. All threads of the block call its functions together, those without a row too.
struct Group {
  int width, rank;
  __device__ __forceinline__ explicit Group(int width) : width(width), rank(threadIdx.x % width) {}
  // The first row of this group and its step: every group walks equally often, so `row` may be past the end.
  __device__ __forceinline__ int64_t first_row() const { return int64_t(blockIdx.x) * (kThreads / width) + threadIdx.x / width; }
  __device__ __forceinline__ int64_t row_step() const { return int64_t(gridDim.x) * (kThreads / width); }
  __device__ __forceinline__ bool more(int64_t row, int64_t rows) const { return row - int(threadIdx.x) / width < rows; }
  // Every thread gets the total of its row.
  template <class F>
  __device__ __forceinline__ float reduce(float v, F f) const {
    if (width > 32) return block_reduce(v, f);
    for (int d = width / 2; d > 0; d /= 2) v = f(v, __shfl_xor_sync(kAllLanes, v, d));
    return v;
  }
};

}  // namespace fastnn::cuda
