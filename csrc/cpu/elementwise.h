// The loops of elementwise kernels: over flat arrays and over broadcast ones.
#pragma once
#include "cpu/parallel.h"
#include "cpu/simd.h"
#include "kernel_args.h"

namespace fastnn {
namespace {

// Elements per chunk: 128 KB of each array when memory is the limit, about 10 us of arithmetic else.
constexpr int64_t kStreamGrain = 32768, kMathGrain = 8192;

// f(i, n) for every vector of n <= Vec::width elements at i of [0, size), in parallel.
template <class F>
inline void parallel_vectors(int64_t size, int64_t grain, F f) {
  parallel_for(size, grain, [=](int64_t begin, int64_t end) {
    for_each_vec(end - begin, [=](int64_t i, int64_t n) { f(begin + i, n); });
  });
}

// y[i] = f(i, n), vectors of n elements, in parallel. f should capture values: through references, its pointers
// would be read again for each vector, because a store may have changed them.
template <class F>
inline void parallel_map(float* y, int64_t size, int64_t grain, F f) {
  const Stores stores(y, size);
  parallel_for(size, grain, [=](int64_t begin, int64_t end) {
    const F g = f;
    const Stores put = stores;
    float* out = y + begin;
    int64_t done = 0;
    if constexpr (Vec::width == 8) {
      // Both halves of a line at once: half a line on its way around the caches is written as several pieces when its buffer is needed.
      for (; done + 16 <= end - begin; done += 16) {
        const Vec low = g(begin + done, int64_t(8)), high = g(begin + done + 8, int64_t(8));
        put.put(low, out + done);
        put.put(high, out + done + 8);
      }
    }
    for_each_vec(end - begin - done, [=](int64_t i, int64_t n) { put.put(g(begin + done + i, n), out + done + i, n); });
    put.fence();
  });
}

// f(y, o, n) for every run of n elements at y of the result that lies in one row of the innermost
// axis; o[k] is where the run begins in array k, which is walked with s.stride[k][0], 0 or 1.
template <int arrays, class F>
inline void parallel_rows(const BroadcastShape& s, int64_t grain, F f) {
  const int64_t inner = s.rank ? s.size[0] : 1;
  int64_t total = inner;
  for (int64_t i = 1; i < s.rank; ++i) total *= s.size[i];
  parallel_for(total, grain, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end;) {
      const int64_t row = at / inner, column = at - row * inner;
      const int64_t n = inner - column < end - at ? inner - column : end - at;
      int64_t o[arrays];
      for (int k = 0; k < arrays; ++k) o[k] = s.rank ? column * s.stride[k][0] : 0;
      int64_t rest = row;
      for (int64_t i = 1; i < s.rank; ++i) {
        const int64_t index = i + 1 < s.rank ? rest % s.size[i] : rest;
        if (i + 1 < s.rank) rest /= s.size[i];
        for (int k = 0; k < arrays; ++k) o[k] += index * s.stride[k][i];
      }
      f(at, o, n);
      at += n;
    }
  });
}

// y[i] = f(a[i * sa], b[i * sb]) along one row; a stride is 0 or 1. put(value, i, n) stores.
template <class F, class Put>
inline void binary_row(const float* a, int64_t sa, const float* b, int64_t sb, int64_t n, F f, Put put) {
  if (sa && sb) {
    for_each_vec(n, [=](int64_t i, int64_t k) { put(f(Vec::load(a + i, k), Vec::load(b + i, k)), i, k); });
  } else if (sa) {
    const Vec value = Vec::set(*b);
    for_each_vec(n, [=](int64_t i, int64_t k) { put(f(Vec::load(a + i, k), value), i, k); });
  } else if (sb) {
    const Vec value = Vec::set(*a);
    for_each_vec(n, [=](int64_t i, int64_t k) { put(f(value, Vec::load(b + i, k)), i, k); });
  } else {
    const Vec va = Vec::set(*a), vb = Vec::set(*b);
    for_each_vec(n, [=](int64_t i, int64_t k) { put(f(va, vb), i, k); });
  }
}

}  // namespace
}  // namespace fastnn
