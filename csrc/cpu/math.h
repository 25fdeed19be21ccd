// Elementary functions of Vec, at most 4 ulp from the exact value for every float, subnormal,
// infinite and NaN ones included (tests/test_math.py).
//
// Polynomials are our own Remez fits. Constants are split so that products are exact where the
// target has no fma.
#pragma once
#include <math.h>

#include "cpu/simd.h"
#if defined(__AVX512F__)
#include "cpu/math_tables.h"
#endif

namespace fastnn {
namespace {

constexpr float kLog2e = 1.44269504f;
// ln 2 in two parts, both positive; the first has 13 bits, so n * kLn2Hi is exact for |n| < 2^11.
constexpr float kLn2Hi = 0.693115234375f, kLn2Lo = 3.19461833e-5f;

// exp(x) = 2^n exp(r), |r| <= ln(2) / 2. Returns exp(r) - 1; |x| < 1400.
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

// exp(x) for x <= 0, as sums of exponentials need it: 0 where the value is below the smallest normal number,
// because making a subnormal one takes the processor some 150 cycles.
inline Vec exp_or_zero(Vec x) {
  Vec n;
  const Vec low = Vec::set(-87), p = exp_reduced(raw_max(low, x), n);
  return select(x < low, Vec::zero(), ldexp(p + Vec::set(1), n));
}

// a / b within 2 ulp, for b normal and finite with a normal reciprocal.
inline Vec quotient(Vec a, Vec b) {
#if defined(__AVX512F__)
  // A division of 16 floats keeps its port for 16 cycles; an estimate of 14 bits and one Newton step do not.
  const Vec r = {_mm512_rcp14_ps(b.v)};
  return a * fma(r, fma(-b, r, Vec::set(1)), r);
#else
  return a / b;
#endif
}

// 1 / (1 + exp(-x)), and exp(x) / (1 + exp(x)) for negative x, whose result may be subnormal.
inline Vec sigmoid(Vec x) {
  const Vec one = Vec::set(1), e = exp(-abs(x));
  return quotient(select(x < Vec::zero(), e, one), one + e);
}

#if defined(__AVX512F__)
// x g(|x|) by the tables of math_tables.h; odd, and NaN stays.
template <int terms>
inline Vec odd_by_table(Vec x, const float (&table)[terms][32], float scale, float limit) {
  const Vec c = clamp(x, -limit, limit), a = abs(c), s = Vec::set(scale);
  const Vec magic = Vec::set(8388608.f), m = fma(a, s, magic);  // the sum is rounded to an integer
  const Vec t = fma(a, s, magic - m);
  auto coefficients = [&](int j) {  // by the low five bits of each lane
    return Vec{_mm512_permutex2var_ps(_mm512_load_ps(table[j]), __m512i(as_int(m).v), _mm512_load_ps(table[j] + 16))};
  };
  Vec p = coefficients(terms - 1);
  FASTNN_UNROLL for (int j = terms - 2; j >= 0; --j) p = fma(p, t, coefficients(j));
  return c * p;
}
inline Vec tanh(Vec x) { return odd_by_table(x, kTanhTable, kTanhScale, kTanhLimit); }
inline Vec erf(Vec x) { return odd_by_table(x, kErfTable, kErfScale, kErfLimit); }
#else

// tanh(|x|) = m / (m + 2) with m = exp(2 |x|) - 1; 1 from |x| = 9.02 on.
inline Vec tanh(Vec x) {
  Vec n;
  const Vec a = clamp(abs(x), 0, 9.5f), one = Vec::set(1);
  const Vec q = exp_reduced(a + a, n);
  const Vec scale = as_float((to_int(n) + VecI::set(127)) << 23);
  const Vec m = fma(scale, q, scale - one);
  return copysign(m / (m + Vec::set(2)), x);
}

// |x| < 0.9: x p(x^2). Else 1 - exp(q(|x|)), q(a) = log(1 - erf(a)); 1 from |x| = 3.92 on.
inline Vec erf(Vec x) {
  const Vec u = x * x, a = clamp(abs(x), 0, 3.95f), one = Vec::set(1);
  Vec p = Vec::set(-6.09034556e-4f);
  p = fma(p, u, Vec::set(5.01195993e-3f));
  p = fma(p, u, Vec::set(-2.67789066e-2f));
  p = fma(p, u, Vec::set(0.112821408f));
  p = fma(p, u, Vec::set(-0.376125246f));
  p = fma(p, u, Vec::set(0.128379151f));
  Vec q = Vec::set(1.98219204e-4f);
  q = fma(q, a, Vec::set(-3.06548690e-3f));
  q = fma(q, a, Vec::set(2.23152041e-2f));
  q = fma(q, a, Vec::set(-0.104113668f));
  q = fma(q, a, Vec::set(-0.636976063f));
  q = fma(q, a, Vec::set(-1.12779725f));
  q = fma(q, a, Vec::set(-1.66446902e-4f));
  return select(a < Vec::set(0.9f), fma(x, p, x), copysign(one - exp(q), x));
}
#endif

// exp(x) - 1 = 2^n q + (2^n - 1), halved inside so that 2^128 does not overflow early.
inline Vec expm1(Vec x) {
  Vec n;
  const Vec half = Vec::set(0.5f), q = exp_reduced(clamp(x, -30, 89), n);
  const Vec scale = as_float((to_int(n) + VecI::set(126)) << 23);
  const Vec y = fma(scale, q, scale - half);
  return select(abs(x) < Vec::set(1e-8f), x, y + y);
}

// x > 0 and normal is 2^k m with m in [sqrt(1/2), sqrt(2)).
inline Vec split_exponent(Vec x, Vec& k) {
  const VecI root = VecI::set(0x3f3504f3);  // the bits of sqrt(1/2)
  const VecI i = as_int(x) + (VecI::set(0x3f800000) - root);
  k = to_float((i >> 23) - VecI::set(127));
  return as_float((i & VecI::set(0x007fffff)) + root);
}

// log(1 + f) = f - f^2 / 2 + f^3 p(f) with f in [sqrt(1/2) - 1, 1/2]; `low` is added to the smallest term.
inline Vec log_near_one(Vec f, Vec low) {
  Vec p = Vec::set(-5.57125919e-2f);
  p = fma(p, f, Vec::set(0.116937369f));
  p = fma(p, f, Vec::set(-0.134803236f));
  p = fma(p, f, Vec::set(0.143894255f));
  p = fma(p, f, Vec::set(-0.166075677f));
  p = fma(p, f, Vec::set(0.199913472f));
  p = fma(p, f, Vec::set(-0.250010967f));
  p = fma(p, f, Vec::set(0.333334714f));
  const Vec f2 = f * f;
  return f + fma(f2, Vec::set(-0.5f), fma(f2 * f, p, low));
}
// log(2^k (1 + f))
inline Vec log_reduced(Vec f, Vec k) {
  return fma(k, Vec::set(kLn2Hi), log_near_one(f, k * Vec::set(kLn2Lo)));
}

// The logarithm of what is not a positive finite number.
inline Vec log_special(Vec x) {
  const Vec zero = Vec::zero();
  return select(x < zero, Vec::set(NAN), select(x == zero, Vec::set(-INFINITY), x));
}

#if defined(__AVX512F__)
// x = 2^k m with m in [3/4, 3/2). Zero has m = +-1 and k = -infinity, infinity m = 1 and k = infinity,
// negative numbers and NaN m = NaN: nothing is left to repair after log_reduced.
inline Vec split_any(Vec x, Vec& k) {
  const Vec m = {_mm512_getmant_ps(x.v, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_nan)};
  k = Vec{_mm512_getexp_ps(x.v)} - Vec{_mm512_getexp_ps(m.v)};
  return m;
}
inline Vec repair_log(Vec, Vec y) { return y; }
#else
inline Vec split_any(Vec x, Vec& k) {
  const Mask tiny = x < Vec::set(1.17549435e-38f);  // subnormal: scaled by 2^25
  const Vec m = split_exponent(select(tiny, x * Vec::set(33554432.f), x), k);
  k = k - select(tiny, Vec::set(25), Vec::zero());
  return m;
}
inline Vec repair_log(Vec x, Vec y) {
  return select((Vec::zero() < x) & (x < Vec::set(INFINITY)), y, log_special(x));
}
#endif

inline Vec log(Vec x) {
  Vec k;
  const Vec m = split_any(x, k);
  return repair_log(x, log_reduced(m - Vec::set(1), k));
}

// k + log(m) / ln(2): powers of two are exact.
inline Vec log2(Vec x) {
  Vec k;
  const Vec m = split_any(x, k);
  return repair_log(x, fma(log_near_one(m - Vec::set(1), Vec::zero()), Vec::set(kLog2e), k));
}

// u = 1 + x is rounded; its error c, scaled as u is, goes back into f.
inline Vec log1p(Vec x) {
  Vec k;
  const Vec one = Vec::set(1), u = one + x;
  const Vec c = select(x < one, x - (u - one), one - (u - x));
  const Vec m = split_exponent(u, k);
  const Vec scale = as_float((VecI::set(127) - to_int(raw_min(k, Vec::set(100)))) << 23);
  const Vec y = select(x == Vec::zero(), x, log_reduced(m - one + c * scale, k));
  return select((Vec::zero() < u) & (u < Vec::set(INFINITY)), y, log_special(u));
}

// log(1 + exp(x))
inline Vec softplus(Vec x) { return relu(x) + log1p(exp(-abs(x))); }

// ---- functions that need more than float inside: a Vec as two vectors of double ----

typedef double HalfDoubles __attribute__((vector_size(sizeof(Vec))));
typedef float HalfFloats __attribute__((vector_size(sizeof(Vec) / 2)));

struct Doubles {
  HalfDoubles low, high;
};
inline Doubles to_doubles(Vec x) {
  HalfFloats half[2];
  __builtin_memcpy(half, &x, sizeof x);
#if defined(__AVX512F__)
  return {HalfDoubles(_mm512_cvtps_pd(__m256(half[0]))), HalfDoubles(_mm512_cvtps_pd(__m256(half[1])))};
#elif defined(__AVX2__)
  return {HalfDoubles(_mm256_cvtps_pd(__m128(half[0]))), HalfDoubles(_mm256_cvtps_pd(__m128(half[1])))};
#else
  return {__builtin_convertvector(half[0], HalfDoubles), __builtin_convertvector(half[1], HalfDoubles)};
#endif
}
inline Vec to_floats(Doubles x) {
#if defined(__AVX512F__)
  const __m256 low = _mm512_cvtpd_ps(__m512d(x.low)), high = _mm512_cvtpd_ps(__m512d(x.high));
  return {_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1)};
#elif defined(__AVX2__)
  return {_mm256_set_m128(_mm256_cvtpd_ps(__m256d(x.high)), _mm256_cvtpd_ps(__m256d(x.low)))};
#else
  const HalfFloats half[2] = {__builtin_convertvector(x.low, HalfFloats), __builtin_convertvector(x.high, HalfFloats)};
  Vec r;
  __builtin_memcpy(&r, half, sizeof r);
  return r;
#endif
}
inline Doubles operator+(Doubles a, Doubles b) { return {a.low + b.low, a.high + b.high}; }
inline Doubles operator-(Doubles a, Doubles b) { return {a.low - b.low, a.high - b.high}; }
inline Doubles operator*(Doubles a, Doubles b) { return {a.low * b.low, a.high * b.high}; }
inline Doubles operator+(Doubles a, double b) { return {a.low + b, a.high + b}; }
inline Doubles operator-(Doubles a, double b) { return {a.low - b, a.high - b}; }
inline Doubles operator*(Doubles a, double b) { return {a.low * b, a.high * b}; }
// a * b + c, rounded once where the target has the instruction.
inline Doubles fma(Doubles a, Doubles b, Doubles c) {
#if defined(__AVX512F__)
  return {HalfDoubles(_mm512_fmadd_pd(a.low, b.low, c.low)), HalfDoubles(_mm512_fmadd_pd(a.high, b.high, c.high))};
#elif defined(__AVX2__)
  return {HalfDoubles(_mm256_fmadd_pd(a.low, b.low, c.low)), HalfDoubles(_mm256_fmadd_pd(a.high, b.high, c.high))};
#else
  return {a.low * b.low + c.low, a.high * b.high + c.high};
#endif
}
inline Doubles set_doubles(double x) { return {HalfDoubles{} + x, HalfDoubles{} + x}; }
// p x + c, a step of Horner's rule
inline Doubles step(Doubles p, Doubles x, double c) { return fma(p, x, set_doubles(c)); }
// 1 / x from a float's estimate: a Newton step leaves an error below 2^-44.
inline Doubles reciprocal(Vec estimate, Doubles x) {
  const Doubles r = to_doubles(estimate);
  return r * (set_doubles(2) - x * r);
}
inline HalfDoubles clamp(HalfDoubles a, double limit) {  // NaN stays
  const HalfDoubles top = HalfDoubles{} + limit;
  a = a > top ? top : a;
  return a < -top ? -top : a;
}

// Replaces the lanes of y where mask holds by f of the lanes of x.
template <class F>
inline Vec repair(Mask mask, Vec x, Vec y, F f) {
  if (!any(mask)) [[likely]] return y;
  float in[Vec::width], out[Vec::width];
  x.store(in);
  for (int i = 0; i < Vec::width; ++i) out[i] = f(in[i]);
  return select(mask, Vec::load(out), y);
}

// |x| <= 2^20: x = q pi/2 + r, |r| <= 0.83. Returns r; only the low two bits of q count.
inline Vec reduce_half_pi(Vec x, VecI& q) {
#if defined(__AVX2__)
  // pi/2 in three floats, of one sign, so that -0 stays. The first fma is exact and the others' products are.
  const Vec magic = Vec::set(12582912.f), m = fma(x, Vec::set(0.636619772f), magic), n = m - magic;
  q = as_int(m);
  const Vec r = fma(n, Vec::set(-7.54978942e-08f), fma(n, Vec::set(-1.57079625f), x));
  return fma(n, Vec::set(-5.39030295e-15f), r);
#else
  const double magic = 6755399441055744.0;  // 1.5 * 2^52
  const Doubles d = to_doubles(x), n = (d * 0.63661977236758134 + magic) - magic;
  q = to_int(to_floats(n));
  // pi/2 in 33 bits and a rest: n * 33 bits is exact
  return to_floats((d - n * 1.57079632673412561417) - n * 6.07710050650619224932e-11);
#endif
}
inline Vec sin_poly(Vec r) {
  const Vec u = r * r;
  Vec p = Vec::set(2.71811405e-6f);
  p = fma(p, u, Vec::set(-1.98393114e-4f));
  p = fma(p, u, Vec::set(8.33332911e-3f));
  p = fma(p, u, Vec::set(-0.166666672f));
  return r * fma(p, u, Vec::set(1));  // -0 stays -0
}
inline Vec cos_poly(Vec r) {
  const Vec u = r * r;
  Vec p = Vec::set(2.44637704e-5f);
  p = fma(p, u, Vec::set(-1.38876541e-3f));
  p = fma(p, u, Vec::set(4.16666530e-2f));
  return fma(u * u, p, fma(u, Vec::set(-0.5f), Vec::set(1)));
}
// sin(q pi/2 + r)
inline Vec sin_quadrant(VecI q, Vec r) {
  const Mask even = (q & VecI::set(1)) == VecI::set(0);
  const VecI sign = (q & VecI::set(2)) << 30;
  return as_float(as_int(select(even, sin_poly(r), cos_poly(r))) ^ sign);
}
// Not |x| <= 2^20: too large for the reduction, infinite or NaN.
inline Mask beyond_half_pi(Vec x) { return !(abs(x) <= Vec::set(1048576.f)); }

inline Vec sin(Vec x) {
  VecI q;
  const Vec r = reduce_half_pi(x, q);
  return repair(beyond_half_pi(x), x, sin_quadrant(q, r), [](float v) { return sinf(v); });
}
inline Vec cos(Vec x) {
  VecI q;
  const Vec r = reduce_half_pi(x, q);
  return repair(beyond_half_pi(x), x, sin_quadrant(q + VecI::set(1), r), [](float v) { return cosf(v); });
}
inline Vec tan(Vec x) {
  VecI q;
  const Vec r = reduce_half_pi(x, q), s = sin_poly(r), c = cos_poly(r);
  const Mask even = (q & VecI::set(1)) == VecI::set(0);
  return repair(beyond_half_pi(x), x, select(even, s, -c) / select(even, c, s), [](float v) { return tanf(v); });
}

// x^y = 2^(y log2 |x|), the logarithm and the product in double. IEEE 754's special cases.
inline Vec pow(Vec x, Vec y) {
  const Vec zero = Vec::zero(), one = Vec::set(1), a = abs(x), inf = Vec::set(INFINITY);
  const Mask tiny = a < Vec::set(1.17549435e-38f);
  Vec k;
  const Vec m = split_exponent(select(tiny, a * Vec::set(33554432.f), a), k);
  k = k - select(tiny, Vec::set(25), zero);
  // log2(m) = s p(s^2), s = (m - 1) / (m + 1)
  const Doubles md = to_doubles(m), s = (md - 1.0) * reciprocal(quotient(one, m + one), md + 1.0), u = s * s;
  Doubles p = set_doubles(0.28290360739103701616);
  p = step(p, u, 0.31990546872615287095);
  p = step(p, u, 0.41220925759744006916);
  p = step(p, u, 0.57707794231700181373);
  p = step(p, u, 0.96179669411349105968);
  p = step(p, u, 2.8853900817778499252);
  // |t| beyond 200 is 0 or infinity, and NaN stays: 2^t = 2^n exp(r), r = (t - n) ln 2
  Doubles t = to_doubles(y) * fma(s, p, to_doubles(k));
  t = {clamp(t.low, 200), clamp(t.high, 200)};
  const Vec n = round(to_floats(t));
  const Doubles r = (t - to_doubles(n)) * 0.69314718055994531;
  Doubles e = set_doubles(0.00019790308083395396);
  e = step(e, r, 0.0013944703377277835);
  e = step(e, r, 0.0083334973290749281);
  e = step(e, r, 0.04166629436960146);
  e = step(e, r, 0.16666665867009347);
  e = step(e, r, 0.5000000067836785);
  e = step(e, r, 1);
  Vec result = ldexp(to_floats(step(e, r, 1)), n);
  result = select(a == zero, select(y < zero, inf, zero), result);
  result = select(a == inf, select(y < zero, zero, inf), result);
  // y = +-infinity: 0, 1 or infinity by |x| against 1
  const Vec growth = select(a == one, one, select((a < one) ^ (y < zero), zero, inf));
  result = select(abs(y) == inf, growth, result);
  // odd y takes the sign of x; a negative x needs an integral y
  const Vec half = y * Vec::set(0.5f);
  const Mask whole = trunc(y) == y, odd = whole & (trunc(half) != half);
  result = select(odd, copysign(result, x), result);
  result = select((x < zero) & !whole & (a < inf), Vec::set(NAN), result);
  result = select(isnan(x) | isnan(y), x + y, result);
  return select((x == one) | (y == zero), one, result);
}

}  // namespace
}  // namespace fastnn
