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

#if defined(__AVX512F__)
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
// The same; scale = 2^(n + bias - 127), which must be a normal number.
template <int bias = 127>
inline Vec exp_scaled(Vec x, Vec& scale) {
  Vec n;
  const Vec p = exp_reduced(x, n);
  scale = as_float((to_int(n) + VecI::set(bias)) << 23);
  return p;
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
#else
// exp(x) = 2^n exp(r), |r| <= ln(2) / 2. Returns exp(r) - 1; scale = 2^(n + bias - 127), which must be a normal number.
// A processor waits for the results of some four vectors at a time here, so that chains are kept short: the polynomial
// in three levels, the exponent moved into its place as the sum has it.
template <int bias = 127>
inline Vec exp_scaled(Vec x, Vec& scale, Vec& n) {
  const Vec magic = Vec::set(12582912.f + bias);  // 1.5 * 2^23: the sum is rounded to an integer
  const Vec sum = fma(x, Vec::set(kLog2e), magic);
  scale = as_float(as_int(sum) << 23);
  n = sum - magic;
  Vec r = fma(n, Vec::set(-kLn2Hi), x);
  r = fma(n, Vec::set(-kLn2Lo), r);
  const Vec r2 = r * r, low = fma(Vec::set(0.166665211f), r, Vec::set(0.499999940f));
  const Vec high = fma(Vec::set(8.36874451e-3f), r, Vec::set(4.16683890e-2f));
  return fma(fma(fma(Vec::set(1.38145534e-3f), r2, high), r2, low), r2, r);
}
template <int bias = 127>
inline Vec exp_scaled(Vec x, Vec& scale) {
  Vec n;
  return exp_scaled<bias>(x, scale, n);
}

// |x| <= limit in all lanes
inline bool all_within(Vec x, float limit) {
  const Mask within = abs(x) <= Vec::set(limit);
#if defined(__SSE2__) && !defined(__AVX2__)
  return __builtin_ia32_movmskps(Vec::Lanes(within.m)) == 15;
#else
  return all(within);
#endif
}
// From -87 to 87 exp(x) and 2^n are normal numbers, and NaN stays.
constexpr float kExpNormal = 87;

inline Vec exp_normal(Vec x) {
  Vec scale;
  const Vec p = exp_scaled(x, scale);
#if defined(__FMA__)
  return fma(scale, p, scale);
#else
  return scale * (p + Vec::set(1));  // rounded once, too: scale * p alone may be subnormal
#endif
}
inline Vec exp_any(Vec x) {
  // exp(-104) rounds to 0 and exp(89) to infinity
  Vec scale, n;
  const Vec p = exp_scaled(clamp(x, -104, 89), scale, n);
  return ldexp(p + Vec::set(1), n);  // where exp_normal holds: its bits
}
inline Vec exp(Vec x) {
  if (all_within(x, kExpNormal)) [[likely]] return exp_normal(x);
  return exp_any(x);
}

// exp(x) for x <= 0, as sums of exponentials need it: 0 where the value is below the smallest normal number,
// because making a subnormal one takes the processor some 150 cycles.
inline Vec exp_or_zero(Vec x) {
  const Vec low = Vec::set(-kExpNormal), y = exp_normal(raw_max(low, x));
#if defined(__AVX2__)
  return {_mm256_andnot_ps((x < low).m, y.v)};  // a third of a blend
#else
  return select(x < low, Vec::zero(), y);
#endif
}
#endif

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

#if defined(__AVX512F__)
// 1 / (1 + exp(-x)), and exp(x) / (1 + exp(x)) for negative x, whose result may be subnormal.
inline Vec sigmoid(Vec x) {
  const Vec one = Vec::set(1), e = exp(-abs(x));
  return quotient(select(x < Vec::zero(), e, one), one + e);
}

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

// 1 / (1 + exp(-x)); beyond exp_normal exp(x) / (1 + exp(x)) for negative x, whose result may be subnormal.
inline Vec sigmoid(Vec x) {
  const Vec one = Vec::set(1), y = one / (one + exp_normal(-x));
  if (all_within(x, kExpNormal)) [[likely]] return y;
  const Vec e = exp_any(-abs(x));
  return select(abs(x) <= Vec::set(kExpNormal), y, select(x < Vec::zero(), e, one) / (one + e));
}

// x >= 0 or NaN, with the sign of `sign`
inline Vec with_sign(Vec x, Vec sign) { return as_float(as_int(x) | (as_int(sign) & VecI::set(int32_t(0x80000000u)))); }

// tanh(|x|) = m / (m + 2) with m = exp(2 |x|) - 1; 1 from |x| = 9.02 on.
inline Vec tanh(Vec x) {
  Vec scale;
  const Vec a = raw_min(Vec::set(9.5f), abs(x));
  const Vec q = exp_scaled(a + a, scale), m = fma(scale, q, scale - Vec::set(1));
  return with_sign(m / (m + Vec::set(2)), x);
}

// 1 - exp(a p(a)) = -expm1 with a = |x| and a p(a) = log(1 - erf(a)): as exact for small a, where n is 0. 1 from |x| = 3.92 on.
inline Vec erf(Vec x) {
  const Vec a = raw_min(Vec::set(3.95f), abs(x)), a2 = a * a;
  const Vec p0 = fma(Vec::set(-0.636616468f), a, Vec::set(-1.12837923f)), p1 = fma(Vec::set(0.0193217136f), a, Vec::set(-0.102814406f));
  const Vec p2 = fma(Vec::set(-0.00125173887f), a, Vec::set(-0.000205719844f));
  const Vec p3 = fma(Vec::set(-4.07071893e-05f), a, Vec::set(0.000380996411f));
  const Vec p = fma(fma(p3, a2, p2), a2 * a2, fma(p1, a2, p0));
  Vec scale;
  const Vec q = exp_scaled(a * p, scale);
  return with_sign(fma(-scale, q, Vec::set(1) - scale), x);
}
#endif

// exp(x) - 1 = 2^n q + (2^n - 1), halved inside so that 2^128 does not overflow early.
inline Vec expm1(Vec x) {
  Vec scale;
  const Vec half = Vec::set(0.5f), q = exp_scaled<126>(clamp(x, -30, 89), scale);
  const Vec y = fma(scale, q, scale - half);
  return select(abs(x) < Vec::set(1e-8f), x, y + y);
}

// x > 0 and normal is 2^k m with m in [sqrt(1/2), sqrt(2)).
inline Vec split_exponent(Vec x, Vec& k) {
  const VecI root = VecI::set(0x3f3504f3);  // the bits of sqrt(1/2)
  const VecI i = as_int(x) - root;
  k = to_float(i >> 23);
  return as_float((i & VecI::set(0x007fffff)) + root);
}

// log(1 + f) = f - f^2 / 2 + f^3 p(f) with f in [sqrt(1/2) - 1, 1/2]; `low` is added to the smallest term.
inline Vec log_near_one(Vec f, Vec low) {
  const Vec f2 = f * f;
#if defined(__AVX512F__)
  Vec p = Vec::set(-5.57125919e-2f);
  p = fma(p, f, Vec::set(0.116937369f));
  p = fma(p, f, Vec::set(-0.134803236f));
  p = fma(p, f, Vec::set(0.143894255f));
  p = fma(p, f, Vec::set(-0.166075677f));
  p = fma(p, f, Vec::set(0.199913472f));
  p = fma(p, f, Vec::set(-0.250010967f));
  p = fma(p, f, Vec::set(0.333334714f));
#else  // the same in three levels, as in exp_scaled
  const Vec a = fma(Vec::set(-5.57125919e-2f), f, Vec::set(0.116937369f)), b = fma(Vec::set(-0.134803236f), f, Vec::set(0.143894255f));
  const Vec c = fma(Vec::set(-0.166075677f), f, Vec::set(0.199913472f)), d = fma(Vec::set(-0.250010967f), f, Vec::set(0.333334714f));
  const Vec p = fma(fma(a, f2, b), f2 * f2, fma(c, f2, d));
#endif
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

// f(m - 1, k) of x = 2^k m
template <class F>
inline Vec log_by(Vec x, F f) {
  Vec k;
#if defined(__AVX2__) && !defined(__AVX512F__)
  // All positive, normal and finite, by one comparison of integers (which wrap): nothing to scale and nothing to repair.
  const VecI moved = {VecI::Lanes(_mm256_add_epi32(_mm256_castps_si256(x.v), _mm256_set1_epi32(0x7f800000)))};
  if (all(moved < VecI::set(int32_t(0xff000000u)))) [[likely]] {
    const Vec m = split_exponent(x, k);
    return f(m - Vec::set(1), k);
  }
#endif
  const Vec m = split_any(x, k);
  return repair_log(x, f(m - Vec::set(1), k));
}
inline Vec log(Vec x) {
  return log_by(x, [](Vec f, Vec k) { return log_reduced(f, k); });
}
// k + log(m) / ln(2): powers of two are exact.
inline Vec log2(Vec x) {
  return log_by(x, [](Vec f, Vec k) { return fma(log_near_one(f, Vec::zero()), Vec::set(kLog2e), k); });
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
