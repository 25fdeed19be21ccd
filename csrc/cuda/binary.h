// Elementwise functions of two numbers.
#pragma once
#include "cuda.h"

namespace fastnn::cuda {

struct Add { __device__ float operator()(float a, float b) const { return a + b; } };
struct Subtract { __device__ float operator()(float a, float b) const { return a - b; } };
struct Multiply { __device__ float operator()(float a, float b) const { return a * b; } };
struct Divide { __device__ float operator()(float a, float b) const { return a / b; } };
struct Maximum { __device__ float operator()(float a, float b) const { return a > b || a != a ? a : b; } };
struct Minimum { __device__ float operator()(float a, float b) const { return a < b || a != a ? a : b; } };
struct Power { __device__ float operator()(float a, float b) const { return powf(a, b); } };

// One side of a function of two is a number.
template <class F, bool reversed>
struct WithScalar {
  F f;
  float value;
  __device__ auto operator()(float a) const { return reversed ? f(value, a) : f(a, value); }
};
struct Square { __device__ float operator()(float a) const { return a * a; } };
struct Reciprocal { __device__ float operator()(float a) const { return 1.0f / a; } };

}  // namespace fastnn::cuda
