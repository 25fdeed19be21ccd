// Random numbers by counter (philox.h): an element's value depends on the key and on its position. Keys are read
// through pointers: they change from step to step.
//
// A thread per counter, whose four words go to elements 16 apart: 16 threads write 64 bytes side by side, whole
// sectors. About 25 operations per element, so bound by memory on large arrays.
#include "functions.h"
#include "philox.h"
#include "random_range.h"

namespace fastnn::cuda {
namespace {

// f(words, i, n): the elements i, i + 16, i + 32, i + 48 that are below n.
template <class F>
__global__ void random_kernel(F f, const uint32_t* __restrict__ key, int64_t n, int64_t counters) {
  const uint32_t k0 = key[0], k1 = key[1];
  for (int64_t c = first_index(); c < counters; c += index_step()) {
    uint32_t words[4];
    philox4x32_10(uint64_t(c), k0, k1, words);
    f(words, c / 16 * 64 + c % 16, n);
  }
}

template <class F>
void run(F f, const uint32_t* key, int64_t n) {
  const int64_t counters = ceil_div(n, 64) * 16;
  launch(random_kernel<F>, blocks_for(counters), kThreads, 0, f, key, n, counters);
}

// y[i] = f(word, i), element by element.
template <class F, class Y>
struct Each {
  F f;
  Y* y;
  __device__ __forceinline__ void operator()(const uint32_t (&words)[4], int64_t i, int64_t n) const {
    FASTNN_UNROLL for (int w = 0; w < 4; ++w)
      if (i + 16 * w < n) y[i + 16 * w] = f(words[w], i + 16 * w);
  }
};

// The upper 24 bits, a whole number below 2^24.
__device__ __forceinline__ float upper_bits(uint32_t word) { return float(word >> 8); }

struct Word {
  __device__ __forceinline__ uint32_t operator()(uint32_t word, int64_t) const { return word; }
};
struct Uniform {
  float low, range, largest;
  __device__ __forceinline__ float operator()(uint32_t word, int64_t) const {
    const float y = low + upper_bits(word) * range;
    return y < largest ? y : largest;
  }
};
struct Integer {
  int64_t low, range;
  __device__ __forceinline__ int32_t operator()(uint32_t word, int64_t) const {
    return int32_t(low + int64_t(uint64_t(word) * uint64_t(range) >> 32));
  }
};
struct Dropout {
  const float* x;
  float scale;
  uint32_t limit;
  __device__ __forceinline__ float operator()(uint32_t word, int64_t i) const { return word < limit ? 0.0f : x[i] * scale; }
};

// A normal within two standard deviations, by its inverse distribution: sqrt(2) erfinv(x) for x uniform in
// (-erf(sqrt 2), erf(sqrt 2)). erfinv: Giles, "Approximating the erfinv function", 2010.
struct TruncatedNormal {
  float mean, stddev;
  __device__ __forceinline__ float operator()(uint32_t word, int64_t) const {
    const float u = (upper_bits(word) + 0.5f) * 0x1p-23f - 1;
    const float x = u * 0.954499736f;
    const float w = -logf((1 - x) * (1 + x)) - 2.5f;
    float p = 2.81022636e-08f;
    p = fmaf(p, w, 3.43273939e-07f);
    p = fmaf(p, w, -3.5233877e-06f);
    p = fmaf(p, w, -4.39150654e-06f);
    p = fmaf(p, w, 0.00021858087f);
    p = fmaf(p, w, -0.00125372503f);
    p = fmaf(p, w, -0.00417768164f);
    p = fmaf(p, w, 0.246640727f);
    p = fmaf(p, w, 1.50140941f);
    const float z = clamp(p * x * 1.41421356f, -2, 2);
    return mean + z * stddev;
  }
};

// |r| <= pi / 4
__device__ __forceinline__ float sin_poly(float r) {
  const float u = r * r;
  float p = 2.71811405e-6f;
  p = fmaf(p, u, -1.98393114e-4f);
  p = fmaf(p, u, 8.33332911e-3f);
  p = fmaf(p, u, -0.166666672f);
  return r * fmaf(p, u, 1);
}
__device__ __forceinline__ float cos_poly(float r) {
  const float u = r * r;
  float p = 2.44637704e-5f;
  p = fmaf(p, u, -1.38876541e-3f);
  p = fmaf(p, u, 4.16666530e-2f);
  return fmaf(u * u, p, fmaf(u, -0.5f, 1));
}

// Box and Muller 1958: r = sqrt(-2 log u), angle 2 pi v gives the normals r cos and r sin.
struct Normal {
  float* y;
  float mean, stddev;
  __device__ __forceinline__ void pair(uint32_t a, uint32_t b, int64_t i, int64_t n) const {
    // u in (0, 1] in steps of 2^-31: no logarithm of zero, tails to 6.6
    const float u = float(a >> 1) * 0x1p-31f + 0x1p-32f;
    const float r = sqrtf(logf(u) * -2) * stddev;
    // b is the angle in units of 2 pi / 2^32: the nearest quarter turn q, and the rest
    const uint32_t q = (b + 0x20000000u) >> 30;
    const float rest = float(int32_t(b - (q << 30))) * 1.46291808e-9f;
    const float s = sin_poly(rest), c = cos_poly(rest);
    const float cosine = __uint_as_float(__float_as_uint(q & 1 ? s : c) ^ ((q + 1) & 2) << 30);
    const float sine = __uint_as_float(__float_as_uint(q & 1 ? c : s) ^ (q & 2) << 30);
    if (i < n) y[i] = mean + r * cosine;
    if (i + 16 < n) y[i + 16] = mean + r * sine;
  }
  __device__ __forceinline__ void operator()(const uint32_t (&words)[4], int64_t i, int64_t n) const {
    pair(words[0], words[1], i, n);
    pair(words[2], words[3], i + 32, n);
  }
};

__global__ void random_key_kernel(uint32_t* state, uint32_t* key) {
  key[0] = state[0];
  key[1] = state[1]++;
}

}  // namespace

void random_key(uint32_t* state, uint32_t* key) { launch(random_key_kernel, 1, 1, 0, state, key); }

void random_words(const uint32_t* key, uint32_t* y, int64_t n) { run(Each<Word, uint32_t>{{}, y}, key, n); }

void random_uniform(const uint32_t* key, float* y, int64_t n, float low, float high) {
  run(Each<Uniform, float>{{low, (high - low) * 0x1p-24f, largest_uniform(low, high)}, y}, key, n);
}

void random_normal(const uint32_t* key, float* y, int64_t n, float mean, float stddev) { run(Normal{y, mean, stddev}, key, n); }

void random_truncated_normal(const uint32_t* key, float* y, int64_t n, float mean, float stddev) {
  run(Each<TruncatedNormal, float>{{mean, stddev}, y}, key, n);
}

void random_integers(const uint32_t* key, int32_t* y, int64_t n, int64_t low, int64_t range) {
  run(Each<Integer, int32_t>{{low, range}, y}, key, n);
}

void dropout(const uint32_t* key, const float* x, float* y, int64_t n, float rate) {
  run(Each<Dropout, float>{{x, 1 / (1 - rate), uint32_t(double(rate) * 0x1p32)}, y}, key, n);
}

}  // namespace fastnn::cuda
