// Index arithmetic of sliding windows, shared by depthwise convolution and pooling.
#pragma once
#include "kernel_args.h"

namespace fastnn {
namespace {

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// floor(a / b) and ceil(a / b) for b > 0.
inline int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }
inline int64_t ceil_div(int64_t a, int64_t b) { return -floor_div(-a, b); }
inline int64_t clamp(int64_t a, int64_t low, int64_t high) { return a < low ? low : a > high ? high : a; }

// The taps v in [0, k) whose cell, start + v * d, lies in [0, size). Never negative in size.
inline Range valid_taps(int64_t start, int64_t k, int64_t d, int64_t size) {
  const int64_t begin = clamp(ceil_div(-start, d), 0, k);
  return {begin, clamp(ceil_div(size - start, d), begin, k)};
}

// The outputs in [0, outputs) all of whose k taps lie in [0, size).
inline Range interior(int64_t outputs, int64_t k, int64_t s, int64_t p, int64_t d, int64_t size) {
  const int64_t begin = clamp(ceil_div(p, s), 0, outputs);
  return {begin, clamp(floor_div(size - 1 - (k - 1) * d + p, s) + 1, begin, outputs)};
}

// The outputs o in [0, outputs) whose window spans cell i: 0 <= i + p - o * s <= (k - 1) * d.
// The cell is tap (i + p - o * s) / d of output o, where d divides it.
inline Range covering(int64_t i, int64_t outputs, int64_t k, int64_t s, int64_t p, int64_t d) {
  const int64_t begin = clamp(ceil_div(i + p - (k - 1) * d, s), 0, outputs);
  return {begin, clamp(floor_div(i + p, s) + 1, begin, outputs)};
}

// Rows per chunk of parallel_for: at least `floats` of streaming work in each.
inline int64_t row_grain(int64_t row_floats, int64_t floats = 32768) {
  return row_floats >= floats ? 1 : (floats + row_floats - 1) / row_floats;
}

}  // namespace
}  // namespace fastnn
