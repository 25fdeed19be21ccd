// Functions of one float that several kernels need; NaN stays NaN in all of them.
#pragma once
#include "cuda.h"

namespace fastnn::cuda {

__device__ __forceinline__ float clamp(float x, float low, float high) {
  const float y = high < x ? high : x;
  return low > y ? low : y;
}
// -0 stays -0.
__device__ __forceinline__ float relu(float x) { return 0.0f > x ? 0.0f : x; }
// 1 / (1 + exp(-x)), and exp(x) / (1 + exp(x)) for negative x, whose result may be subnormal.
__device__ __forceinline__ float sigmoid(float x) {
  const float e = expf(-fabsf(x));
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}
// log(1 + exp(x))
__device__ __forceinline__ float softplus(float x) { return relu(x) + log1pf(expf(-fabsf(x))); }

}  // namespace fastnn::cuda
