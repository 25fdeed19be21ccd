// Elementwise functions of one number and their gradients. The two tables stand side by side; the saved argument
// v of a gradient is the function's result y where the table says y, else its input.
#pragma once
#include "functions.h"

namespace fastnn::cuda {

constexpr float kSeluScale = 1.05070098735548f, kSeluAlpha = 1.67326324235437f;
constexpr float kGeluTanh = 1.59576912160573f;  // 2 sqrt(2 / pi)
constexpr float kLog2e = 1.44269504f;

// 1 for positive, -1 for negative, 0 for zero; NaN stays.
__device__ __forceinline__ float sign_of(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : x + 0.0f; }
__device__ __forceinline__ float hard_sigmoid(float x) { return clamp(x + 3, 0, 6) * (1.f / 6); }
__device__ __forceinline__ float elu(float x, float alpha) { return x > 0 ? x : alpha * expm1f(x); }
// The standard normal distribution function: (1 + erf(x / sqrt(2))) / 2.
__device__ __forceinline__ float normal_cdf(float x) { return fmaf(erff(x * 0.707106781f), 0.5f, 0.5f); }
// gelu_tanh(x) = x / 2 (1 + tanh(u / 2)) = x sigmoid(u), u = 2 sqrt(2 / pi) (x + 0.044715 x^3)
__device__ __forceinline__ float gelu_argument(float x) { return x * fmaf(x * x, kGeluTanh * 0.044715f, kGeluTanh); }

// y = f(x)
template <int64_t op>
struct Unary {
  float p, q;
  __device__ __forceinline__ float operator()(float x) const {
    switch (op) {
      case unary_op::negative: return -x;
      case unary_op::abs: return fabsf(x);
      case unary_op::sign: return sign_of(x);
      case unary_op::floor: return floorf(x);
      case unary_op::ceil: return ceilf(x);
      case unary_op::round: return rintf(x);
      case unary_op::trunc: return truncf(x);
      case unary_op::square: return x * x;
      case unary_op::sqrt: return sqrtf(x);
      case unary_op::rsqrt: return 1 / sqrtf(x);
      case unary_op::reciprocal: return 1 / x;
      case unary_op::exp: return expf(x);
      case unary_op::expm1: return expm1f(x);
      case unary_op::log: return logf(x);
      case unary_op::log1p: return log1pf(x);
      case unary_op::log2: return log2f(x);
      case unary_op::sin: return sinf(x);
      case unary_op::cos: return cosf(x);
      case unary_op::tan: return tanf(x);
      case unary_op::tanh: return tanhf(x);
      case unary_op::sigmoid: return sigmoid(x);
      case unary_op::erf: return erff(x);
      case unary_op::softplus: return softplus(x);
      case unary_op::log_sigmoid: return -softplus(-x);
      case unary_op::relu: return relu(x);
      case unary_op::relu6: return clamp(x, 0, 6);
      case unary_op::leaky_relu: return x > 0 ? x : x * p;
      case unary_op::elu: return elu(x, p);
      case unary_op::selu: return kSeluScale * elu(x, kSeluAlpha);
      case unary_op::celu: return x > 0 ? x : p * expm1f(x / p);
      case unary_op::silu: return x * sigmoid(x);
      case unary_op::gelu: return x * normal_cdf(x);
      case unary_op::gelu_tanh: return x * sigmoid(gelu_argument(x));
      case unary_op::mish: {  // x tanh(log(1 + e)), e = exp(x): tanh is n / (n + 2) with n = e (e + 2), 1 from x = 20 on
        const float e = expf(20 < x ? 20 : x), n = e * (e + 2);
        return x * (n / (n + 2));
      }
      case unary_op::softsign: return x / (1 + fabsf(x));
      case unary_op::hard_sigmoid: return hard_sigmoid(x);
      case unary_op::hard_silu: return x * hard_sigmoid(x);
      case unary_op::hard_tanh: return clamp(x, -1, 1);
      case unary_op::tanh_shrink: return x - tanhf(x);
      case unary_op::soft_shrink: return fabsf(x) <= p ? 0 : x - copysignf(p, x);
      case unary_op::hard_shrink: return fabsf(x) <= p ? 0 : x;
      case unary_op::threshold: return x <= p ? q : x;
      case unary_op::squareplus: return 0.5f * (x + sqrtf(fmaf(x, x, p)));
      case unary_op::clip: return clamp(x, p, q);
    }
    return x;
  }
};

// gx = f(g, v), g being gy; v is named x or y.
template <int64_t op>
struct UnaryGradient {
  float p, q;
  __device__ __forceinline__ float operator()(float g, float v) const {
    const float x = v, y = v;
    switch (op) {
      case unary_op::negative: return -g;
      case unary_op::abs: return g * sign_of(x);
      case unary_op::sign:
      case unary_op::floor:
      case unary_op::ceil:
      case unary_op::round:
      case unary_op::trunc: return 0;
      case unary_op::square: return g * (x + x);
      case unary_op::sqrt: return g * 0.5f / y;
      case unary_op::rsqrt: return g * -0.5f * y * (y * y);
      case unary_op::reciprocal: return -(g * y * y);
      case unary_op::exp: return g * y;
      case unary_op::expm1: return g * (y + 1);
      case unary_op::log: return g / x;
      case unary_op::log1p: return g / (1 + x);
      case unary_op::log2: return g * kLog2e / x;
      case unary_op::sin: return g * cosf(x);
      case unary_op::cos: return -(g * sinf(x));
      case unary_op::tan: return g * fmaf(y, y, 1);
      case unary_op::tanh: return g * (1 - y * y);
      case unary_op::sigmoid: return g * (y * (1 - y));
      case unary_op::erf: return g * 1.12837917f * expf(-(x * x));
      case unary_op::softplus: return g * sigmoid(x);
      case unary_op::log_sigmoid: return g * sigmoid(-x);
      case unary_op::relu: return y > 0 ? g : 0;
      case unary_op::relu6: return y > 0 && y < 6 ? g : 0;
      case unary_op::leaky_relu: return x > 0 ? g : g * p;
      case unary_op::elu: return x > 0 ? g : g * p * expf(x);
      // y + scale alpha = scale alpha exp(x) for x <= 0
      case unary_op::selu: return g * (y > 0 ? kSeluScale : y + kSeluScale * kSeluAlpha);
      case unary_op::celu: return x > 0 ? g : g * expf(x / p);
      case unary_op::silu: {
        const float t = sigmoid(x);
        return g * (t * fmaf(x, 1 - t, 1));
      }
      case unary_op::gelu: return g * fmaf(x, 0.398942280f * expf(-0.5f * x * x), normal_cdf(x));
      case unary_op::gelu_tanh: {
        const float t = sigmoid(gelu_argument(x));
        const float slope = fmaf(x * x, 3 * kGeluTanh * 0.044715f, kGeluTanh);  // du / dx
        return g * fmaf(x * slope, t * (1 - t), t);
      }
      case unary_op::mish: {  // tanh(softplus(x)) + x sigmoid(x) (1 - tanh(softplus(x))^2)
        const float e = expf(20 < x ? 20 : x), n = e * (e + 2), t = n / (n + 2);
        return g * fmaf(x * (e / (1 + e)), 1 - t * t, t);
      }
      case unary_op::softsign: {
        const float d = 1 + fabsf(x);
        return g / (d * d);
      }
      case unary_op::hard_sigmoid: return fabsf(x) < 3 ? g * (1.f / 6) : 0;
      case unary_op::hard_silu: return fabsf(x) < 3 ? g * fmaf(x, 1.f / 3, 0.5f) : x > 0 ? g : 0;
      case unary_op::hard_tanh: return fabsf(x) < 1 ? g : 0;
      case unary_op::tanh_shrink: {
        const float t = tanhf(x);
        return g * (t * t);
      }
      case unary_op::soft_shrink:
      case unary_op::hard_shrink: return fabsf(x) > p ? g : 0;
      case unary_op::threshold: return x > p ? g : 0;
      case unary_op::squareplus: return g * 0.5f * (1 + x / sqrtf(fmaf(x, x, p)));
      case unary_op::clip: return x >= p && x <= q ? g : 0;
    }
    return g;
  }
};

}  // namespace fastnn::cuda
