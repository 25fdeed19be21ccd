// Sliding windows over images, on the GPU: what depthwise convolution and pooling share. See cpu/window.h.
#pragma once
#include "cuda.h"

namespace fastnn::cuda {

struct Range {
  int64_t begin, end;
  __device__ __forceinline__ int64_t size() const { return end - begin; }
};

// floor(a / b) and ceil(a / b) for b > 0.
__device__ __forceinline__ int64_t floor_divide(int64_t a, int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }
__device__ __forceinline__ int64_t ceil_divide(int64_t a, int64_t b) { return -floor_divide(-a, b); }
__device__ __forceinline__ int64_t clamp(int64_t a, int64_t low, int64_t high) { return a < low ? low : a > high ? high : a; }

// The taps v in [0, k) whose cell, start + v * d, lies in [0, size). Never negative in size.
__device__ __forceinline__ Range valid_taps(int64_t start, int64_t k, int64_t d, int64_t size) {
  if (start >= 0 && start + (k - 1) * d < size) return {0, k};
  const int64_t begin = clamp(ceil_divide(-start, d), 0, k);
  return {begin, clamp(ceil_divide(size - start, d), begin, k)};
}

// The outputs o in [0, outputs) whose window spans cell i: 0 <= i + p - o * s <= (k - 1) * d.
// The cell is tap (i + p - o * s) / d of output o, where d divides it.
__device__ __forceinline__ Range covering(int64_t i, int64_t outputs, int64_t k, int64_t s, int64_t p, int64_t d) {
  const int64_t begin = clamp(ceil_divide(i + p - (k - 1) * d, s), 0, outputs);
  return {begin, clamp(floor_divide(i + p, s) + 1, begin, outputs)};
}

// Element e of images (n, h, w, c) in groups of V channels.
struct Cell {
  int64_t n, i, j, k;
  __device__ __forceinline__ Cell(int64_t e, int64_t h, int64_t w, int64_t groups, int V) {
    k = e % groups * V, e /= groups;
    j = e % w, e /= w;
    i = e % h, n = e / h;
  }
};

// V neighbours, 16 bytes at once where V is 4.
template <int V>
__device__ __forceinline__ void load_lanes(const float* p, float (&v)[V]) {
  if constexpr (V == 4) {
    const float4 q = *reinterpret_cast<const float4*>(p);
    v[0] = q.x, v[1] = q.y, v[2] = q.z, v[3] = q.w;
  } else {
    FASTNN_UNROLL for (int i = 0; i < V; ++i) v[i] = p[i];
  }
}
template <int V>
__device__ __forceinline__ void store_lanes(float* p, const float (&v)[V]) {
  if constexpr (V == 4) {
    *reinterpret_cast<float4*>(p) = make_float4(v[0], v[1], v[2], v[3]);
  } else {
    FASTNN_UNROLL for (int i = 0; i < V; ++i) p[i] = v[i];
  }
}

template <class... Pointers>
bool in_quads(int64_t channels, Pointers... p) {
  return channels % 4 == 0 && ((reinterpret_cast<uintptr_t>(p) % 16 == 0) && ...);
}

}  // namespace fastnn::cuda
