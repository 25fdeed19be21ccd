// Random numbers by counter (cpu/philox.h): an element's value depends on the key and on its position.
// Keys are read through pointers: they change from step to step.
#include "cpu/math.h"
#include "cpu/parallel.h"
#include "cpu/philox.h"
#include "cpu/simd.h"
#include "kernels.h"
#include "random_range.h"

namespace fastnn::FASTNN_TARGET {
namespace {

constexpr int64_t kGroups = 16 * 1024 / kPhiloxGroup;  // a chunk

// Calls f(i, count, word) with the words of elements i, i + 1, ...; count <= Vec::width.
template <class F>
inline void for_words(const uint32_t* key, int64_t n, F f) {
  const int64_t groups = (n + kPhiloxGroup - 1) / kPhiloxGroup;
  parallel_for(groups, kGroups, [=](int64_t begin, int64_t end) {
    const bool whole = end * kPhiloxGroup <= n;
    for (int64_t g = begin; g < end; ++g)
      for (int part = 0; part < kPhiloxParts; ++part) {
        Word words[4];
        philox_group(key, g, part, words);
        const int64_t i = g * kPhiloxGroup + part * Vec::width;
        if (whole || i + 48 + Vec::width <= n) {
          FASTNN_UNROLL for (int w = 0; w < 4; ++w) f(i + 16 * w, int64_t(Vec::width), words[w]);
        } else {
          for (int w = 0; w < 4 && i + 16 * w < n; ++w) {
            const int64_t rest = n - i - 16 * w;
            f(i + 16 * w, rest < Vec::width ? rest : int64_t(Vec::width), words[w]);
          }
        }
      }
  });
}

// Calls f(words of two elements 16 apart) -> two vectors, and stores them.
template <class F>
inline void store_pairs(const uint32_t* key, float* y, int64_t n, F f) {
  const int64_t groups = (n + kPhiloxGroup - 1) / kPhiloxGroup;
  parallel_for(groups, kGroups, [=](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g)
      for (int part = 0; part < kPhiloxParts; ++part) {
        Word words[4];
        Vec out[4];
        philox_group(key, g, part, words);
        f(words[0], words[1], out[0], out[1]);
        f(words[2], words[3], out[2], out[3]);
        const int64_t i = g * kPhiloxGroup + part * Vec::width;
        for (int w = 0; w < 4 && i + 16 * w < n; ++w) {
          const int64_t rest = n - i - 16 * w;
          if (rest >= Vec::width) out[w].store(y + i + 16 * w);
          else out[w].store(y + i + 16 * w, rest);
        }
      }
  });
}

inline VecI as_signed(Word w) { return {VecI::Lanes(w)}; }
// The upper 24 bits, a whole number below 2^24.
inline Vec upper_bits(Word w) { return to_float(as_signed(w >> 8)); }

}  // namespace

void random_key(uint32_t* state, uint32_t* key) {
  key[0] = state[0];
  key[1] = state[1]++;
}

void random_words(const uint32_t* key, uint32_t* y, int64_t n) {
  for_words(key, n, [=](int64_t i, int64_t count, Word w) {
    const Vec bits = as_float(as_signed(w));
    bits.store((float*)y + i, count);
  });
}

void random_uniform(const uint32_t* key, float* y, int64_t n, float low, float high) {
  const float range = (high - low) * 0x1p-24f, largest = largest_uniform(low, high);
  for_words(key, n, [=](int64_t i, int64_t count, Word w) {
    raw_min(Vec::set(low) + upper_bits(w) * Vec::set(range), Vec::set(largest)).store(y + i, count);
  });
}

// Box and Muller 1958: r = sqrt(-2 log u), angle 2 pi v gives the normals r cos and r sin.
void random_normal(const uint32_t* key, float* y, int64_t n, float mean, float stddev) {
  store_pairs(key, y, n, [=](Word a, Word b, Vec& first, Vec& second) {
    // u in (0, 1] in steps of 2^-31: no logarithm of zero, tails to 6.6
    const Vec u = to_float(as_signed(a >> 1)) * Vec::set(0x1p-31f) + Vec::set(0x1p-32f);
    const Vec r = sqrt(log(u) * Vec::set(-2)) * Vec::set(stddev);
    // b is the angle in units of 2 pi / 2^32: the nearest quarter turn q, and the rest
    const Word q = (b + 0x20000000u) >> 30;
    const Vec rest = to_float(as_signed(b - (q << 30))) * Vec::set(1.46291808e-9f);
    const Vec s = sin_poly(rest), c = cos_poly(rest);
    const Mask swap = as_signed(q & 1u) == VecI::set(1);
    const Vec cosine = as_float(as_int(select(swap, s, c)) ^ as_signed(((q + 1u) & 2u) << 30));
    const Vec sine = as_float(as_int(select(swap, c, s)) ^ as_signed((q & 2u) << 30));
    first = Vec::set(mean) + r * cosine;
    second = Vec::set(mean) + r * sine;
  });
}

// A normal within two standard deviations, by its inverse distribution: sqrt(2) erfinv(x) for x
// uniform in (-erf(sqrt 2), erf(sqrt 2)). erfinv: Giles, "Approximating the erfinv function", 2010.
void random_truncated_normal(const uint32_t* key, float* y, int64_t n, float mean, float stddev) {
  for_words(key, n, [=](int64_t i, int64_t count, Word word) {
    const Vec one = Vec::set(1);
    const Vec u = (upper_bits(word) + Vec::set(0.5f)) * Vec::set(0x1p-23f) - one;
    const Vec x = u * Vec::set(0.954499736f);
    const Vec w = -log((one - x) * (one + x)) - Vec::set(2.5f);
    Vec p = Vec::set(2.81022636e-08f);
    p = fma(p, w, Vec::set(3.43273939e-07f));
    p = fma(p, w, Vec::set(-3.5233877e-06f));
    p = fma(p, w, Vec::set(-4.39150654e-06f));
    p = fma(p, w, Vec::set(0.00021858087f));
    p = fma(p, w, Vec::set(-0.00125372503f));
    p = fma(p, w, Vec::set(-0.00417768164f));
    p = fma(p, w, Vec::set(0.246640727f));
    p = fma(p, w, Vec::set(1.50140941f));
    const Vec z = clamp(p * x * Vec::set(1.41421356f), -2, 2);
    (Vec::set(mean) + z * Vec::set(stddev)).store(y + i, count);
  });
}

void random_integers(const uint32_t* key, int32_t* y, int64_t n, int64_t low, int64_t range) {
  for_words(key, n, [=](int64_t i, int64_t count, Word w) {
    for (int64_t j = 0; j < count; ++j) y[i + j] = int32_t(low + int64_t(uint64_t(w[j]) * uint64_t(range) >> 32));
  });
}

void dropout(const uint32_t* key, const float* x, float* y, int64_t n, float rate) {
  const Vec scale = Vec::set(1 / (1 - rate));
  // unsigned comparison by flipping the sign bit of both sides
  const double bound = double(rate) * 0x1p32;
  const VecI limit = VecI::set(int32_t(uint32_t(bound) ^ 0x80000000u));
  for_words(key, n, [=](int64_t i, int64_t count, Word w) {
    const Mask drop = as_signed(w ^ 0x80000000u) < limit;
    select(drop, Vec::zero(), Vec::load(x + i, count) * scale).store(y + i, count);
  });
}

}  // namespace fastnn::FASTNN_TARGET
