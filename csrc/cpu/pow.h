// Powers of Vec: the quick way for positive bases, where the target has the instructions.
#pragma once
#include "cpu/math.h"

namespace fastnn {
namespace {

#if defined(__AVX512F__)
// By five bits of m in [3/4, 3/2): c near 1 / m, 1 itself around m = 1, and -log2(c) in two parts of which the first has
// 14 binary places, so that its sum with an exponent is exact.
alignas(64) constexpr float kPowInverse[32] = {
    1.f, 0.955223858f, 0.927536249f, 0.901408434f, 0.876712322f, 0.853333354f, 0.83116883f, 0.810126603f,
    0.790123463f, 0.771084309f, 0.752941191f, 0.735632181f, 0.719101131f, 0.703296721f, 0.688172042f, 0.673684239f,
    1.31958759f, 1.29292929f, 1.26732671f, 1.24271846f, 1.21904767f, 1.19626164f, 1.17431188f, 1.15315318f,
    1.13274336f, 1.11304343f, 1.09401715f, 1.07563031f, 1.0578512f, 1.04065037f, 1.02400005f, 1.f};
alignas(64) constexpr float kPowLog[32] = {
    0.f, 0.0661010742f, 0.108520508f, 0.149719238f, 0.189819336f, 0.228820801f, 0.266784668f, 0.303771973f,
    0.33984375f, 0.375061035f, 0.409362793f, 0.442932129f, 0.475708008f, 0.5078125f, 0.53918457f, 0.569885254f,
    -0.400085449f, -0.370666504f, -0.341796875f, -0.313476562f, -0.285766602f, -0.258544922f, -0.231811523f,
    -0.205566406f, -0.17980957f, -0.15447998f, -0.129638672f, -0.105163574f, -0.0811157227f, -0.0574951172f,
    -0.0342407227f, 0.f};
alignas(64) constexpr float kPowLogLow[32] = {
    0.f, -1.18501703e-05f, 3.92209358e-06f, 2.79080959e-05f, 5.23369135e-06f, -2.14521924e-06f, 1.87406977e-06f,
    8.73924364e-06f, 6.2421359e-06f, -2.1550064e-05f, 2.81149532e-05f, 1.13723172e-05f, 2.54083734e-05f,
    -1.78960781e-05f, -2.57578613e-05f, -2.97073821e-05f, -1.6642548e-06f, 2.31253289e-05f, 8.3805935e-06f,
    -2.29237521e-05f, 1.20641407e-05f, 1.19539591e-05f, -4.08997948e-06f, -1.77623333e-05f, -1.14618979e-05f,
    -2.99027506e-05f, 3.32024683e-06f, -1.87363712e-05f, -2.09796071e-05f, 9.67627147e-06f, 2.4938794e-05f, 0.f};

// x^y with x > 0 finite and a result from 2^-125 to 2^125, where `ok` holds; log2(x) and its product with y as sums of two floats.
inline Vec pow_positive(Vec x, Vec y, Mask& ok) {
  Vec k;
  const Vec m = split_any(x, k);
  const __m512i row = _mm512_srli_epi32(__m512i(as_int(m).v), 18);  // its low five bits count
  auto entry = [&](const float (&table)[32]) {
    return Vec{_mm512_permutex2var_ps(_mm512_load_ps(table), row, _mm512_load_ps(table + 16))};
  };
  // m c = 1 + r + rest exactly; log2(1 + r + rest) = r log2(e) + r^2 p(r) + rest (1 - r) log2(e)
  const Vec c = entry(kPowInverse), product = m * c, rest = fma(m, c, -product), r = product - Vec::set(1);
  const Vec e1 = Vec::set(1.44269502f), e2 = Vec::set(1.92596303e-8f);
  Vec p = Vec::set(-0.23318015f);
  p = fma(p, r, Vec::set(0.288577944f));
  p = fma(p, r, Vec::set(-0.36067611f));
  p = fma(p, r, Vec::set(0.48089835f));
  p = fma(p, r, Vec::set(-0.721347511f));
  const Vec whole = k + entry(kPowLog), first = r * e1, high = whole + first;
  Vec low = fma(r, e1, -first);
  low = fma(fma(-rest, r, rest), e1, fma(r, e2, low)) + entry(kPowLogLow);
  low = fma(r * r, p, low) + (first - (high - whole));
  const Vec log = high + low, log_low = low - (log - high);
  const Vec t = y * log, t_low = fma(y, log_low, fma(y, log, -t));
  ok = abs(t) < Vec::set(125);
  const Vec n = round(t), f = (t - n) + t_low;
  Vec q = Vec::set(0.00015353362f);
  q = fma(q, f, Vec::set(0.0013398875f));
  q = fma(q, f, Vec::set(0.00961843692f));
  q = fma(q, f, Vec::set(0.0555033237f));
  q = fma(q, f, Vec::set(0.240226477f));
  q = fma(q, f, Vec::set(0.693147182f));
  return ldexp(fma(q, f, Vec::set(1)), n);
}

// A value never depends on its neighbours: each lane goes one way or the other.
inline Vec quick_pow(Vec x, Vec y) {
  Mask ok;
  const Vec fast = pow_positive(x, y, ok);
  if (all(ok)) [[likely]] return fast;
  return select(ok, fast, pow(x, y));
}
#else
inline Vec quick_pow(Vec x, Vec y) { return pow(x, y); }
#endif

}  // namespace
}  // namespace fastnn
