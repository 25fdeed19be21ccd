// Kernels over elements: functors applied to one, two or three arrays, four elements at a time where the arrays
// are aligned for it, and walks over broadcast shapes.
#pragma once
#include "cuda.h"

namespace fastnn::cuda {

// y[i] = f(x[0][i], x[1][i], ...), each x with n elements.
template <int inputs>
struct Arrays {
  const float* x[inputs];
};

__device__ __forceinline__ float component(const float4& v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

template <int inputs, class F>
__device__ __forceinline__ float apply(const F& f, const float (&v)[inputs]) {
  if constexpr (inputs == 1) return f(v[0]);
  else if constexpr (inputs == 2) return f(v[0], v[1]);
  else return f(v[0], v[1], v[2]);
}

// Four elements in each step, then the rest one by one.
template <int inputs, class F>
__global__ void map_kernel(F f, Arrays<inputs> in, float* __restrict__ y, int64_t n, int64_t quads) {
  for (int64_t q = first_index(); q < quads; q += index_step()) {
    float4 v[inputs];
    FASTNN_UNROLL for (int k = 0; k < inputs; ++k) v[k] = reinterpret_cast<const float4*>(in.x[k])[q];
    float r[4];
    FASTNN_UNROLL for (int i = 0; i < 4; ++i) {
      float each[inputs];
      FASTNN_UNROLL for (int k = 0; k < inputs; ++k) each[k] = component(v[k], i);
      r[i] = apply<inputs>(f, each);
    }
    reinterpret_cast<float4*>(y)[q] = make_float4(r[0], r[1], r[2], r[3]);
  }
  for (int64_t i = 4 * quads + first_index(); i < n; i += index_step()) {
    float each[inputs];
    FASTNN_UNROLL for (int k = 0; k < inputs; ++k) each[k] = in.x[k][i];
    y[i] = apply<inputs>(f, each);
  }
}

template <int inputs, class F>
void map(F f, Arrays<inputs> in, float* y, int64_t n) {
  uintptr_t bits = reinterpret_cast<uintptr_t>(y);
  for (int k = 0; k < inputs; ++k) bits |= reinterpret_cast<uintptr_t>(in.x[k]);
  const int64_t quads = bits % 16 ? 0 : n / 4;
  launch(map_kernel<inputs, F>, blocks_for(quads ? quads : n), kThreads, 0, f, in, y, n, quads);
}

// The offsets of element i of a broadcast walk in each of its arrays.
template <int arrays>
__device__ __forceinline__ void broadcast_offsets(const BroadcastShape& s, int64_t i, int64_t (&offset)[arrays]) {
  FASTNN_UNROLL for (int k = 0; k < arrays; ++k) offset[k] = 0;
  for (int64_t a = 0; a < s.rank; ++a) {
    const int64_t at = i % s.size[a];
    i /= s.size[a];
    FASTNN_UNROLL for (int k = 0; k < arrays; ++k) offset[k] += at * s.stride[k][a];
  }
}

inline int64_t elements(const BroadcastShape& s) {
  int64_t n = 1;
  for (int64_t a = 0; a < s.rank; ++a) n *= s.size[a];
  return n;
}

}  // namespace fastnn::cuda
