// Several short rows at a time: reducing the lanes of one vector costs more than the row's arithmetic,
// so as many rows as a vector has lanes are reduced together, into one vector of results.
#pragma once
#include "cpu/simd.h"
#include "cpu/transpose.h"

namespace fastnn {
namespace {

// The rows reduced together, and the columns up to which that pays.
constexpr int64_t kRowBlock = Vec::width, kShortRow = 4 * Vec::width;

// Lane r of the result is the lanes of a[r] combined by f, in the order of reduce_lanes. a is destroyed.
template <int half = Vec::width / 2, class F>
inline Vec fold_rows(Vec* a, F f) {
  FASTNN_UNROLL for (int i = 0; i < half; ++i) {
    const VecI x = as_int(a[i]), y = as_int(a[i + half]);
    a[i] = f(as_float(interleave_low(x, y)), as_float(interleave_high(x, y)));
  }
  if constexpr (half > 1) return fold_rows<half / 2>(a, f);
  return a[0];
}
inline Vec sum_rows(Vec* a) {
  return fold_rows(a, [](Vec x, Vec y) { return x + y; });
}

// out[r] = the sum of the lanes of f(r), r < n; n is 1 or at most kRowBlock, and out has room for that many.
template <class F>
inline void sum_each(int64_t n, float* out, F f) {
  if (n == 1) {
    out[0] = sum(f(0));
    return;
  }
  Vec a[kRowBlock];
  for (int64_t r = 0; r < kRowBlock; ++r) a[r] = r < n ? f(r) : Vec::zero();
  sum_rows(a).store(out);
}

// Calls f(first, count) for blocks of rows in [begin, end): kRowBlock short ones, or single long ones.
template <class F>
inline void for_row_blocks(int64_t begin, int64_t end, int64_t cols, F f) {
  const int64_t block = cols <= kShortRow ? kRowBlock : 1;
  for (int64_t r = begin; r < end; r += block) f(r, r + block <= end ? block : end - r);
}

}  // namespace
}  // namespace fastnn
