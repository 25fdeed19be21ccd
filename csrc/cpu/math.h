// Elementary functions of Vec, at most 4 ulp from the exact value for every float, subnormal,
// infinite and NaN ones included (tests/test_math.py).
//
// Polynomials are our own Remez fits. Constants are split so that products are exact where the
// target has no fma.
#pragma once
#include "cpu/simd.h"

namespace fastnn {
namespace {

constexpr float kLog2e = 1.44269504f;
// ln 2 in two parts; the first has 9 bits, so n * kLn2Hi is exact for |n| < 2^15.
constexpr float kLn2Hi = 0.693359375f, kLn2Lo = -2.12194440e-4f;

// exp(x) = 2^n exp(r), |r| <= ln(2) / 2. Returns exp(r) - 1; |x| < 2^15.
inline Vec exp_reduced(Vec x, Vec& n) {
  const Vec magic = Vec::set(12582912.f);  // 1.5 * 2^23: the sum is rounded to an integer
  n = fma(x, Vec::set(kLog2e), magic) - magic;
  Vec r = fma(n, Vec::set(-kLn2Hi), x);
  r = fma(n, Vec::set(-kLn2Lo), r);
  Vec p = Vec::set(1.38145534e-3f);
  p = fma(p, r, Vec::set(8.36874451e-3f));
  p = fma(p, r, Vec::set(4.16683890e-2f));
  p = fma(p, r, Vec::set(0.166665211f));
  p = fma(p, r, Vec::set(0.499999940f));
  return fma(p, r * r, r);
}

inline Vec exp(Vec x) {
  // exp(-104) rounds to 0 and exp(89) to infinity
  Vec n;
  const Vec p = exp_reduced(clamp(x, -104, 89), n);
  return ldexp(p + Vec::set(1), n);
}

// 1 / (1 + exp(-x)), and exp(x) / (1 + exp(x)) for negative x, whose result may be subnormal.
inline Vec sigmoid(Vec x) {
  const Vec one = Vec::set(1), e = exp(-abs(x));
  return select(x < Vec::zero(), e, one) / (one + e);
}

// tanh(|x|) = m / (m + 2) with m = exp(2 |x|) - 1; 1 from |x| = 9.02 on.
inline Vec tanh(Vec x) {
  Vec n;
  const Vec a = clamp(abs(x), 0, 9.5f), one = Vec::set(1);
  const Vec q = exp_reduced(a + a, n);
  const Vec scale = as_float((to_int(n) + VecI::set(127)) << 23);
  const Vec m = fma(scale, q, scale - one);
  return copysign(m / (m + Vec::set(2)), x);
}

}  // namespace
}  // namespace fastnn
