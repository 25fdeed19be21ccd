// Reductions over one group of neighbouring axes: x (outer, n, inner) -> y (outer, inner).
//
// Sums are pairwise over blocks of a fixed size, so their error grows with the logarithm of n, and
// work is cut by the problem alone: the result has the same bits for every number of threads.
#include <math.h>
#include <stdint.h>

#include "cpu/parallel.h"
#include "cpu/rows.h"
#include "kernels.h"

namespace fastnn {
namespace {

struct Sum {
  static constexpr float init = 0;
  static Vec combine(Vec a, Vec b) { return a + b; }
  static float combine(float a, float b) { return a + b; }
};
struct Prod {
  static constexpr float init = 1;
  static Vec combine(Vec a, Vec b) { return a * b; }
  static float combine(float a, float b) { return a * b; }
};
// The larger one; NaN if either is. A blend is three operations with AVX2, and what was there waits for them: here b is looked
// at, and NaN's mask is a NaN itself.
inline Vec larger_of(Vec a, Vec b) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  return {_mm256_or_ps(raw_max(b, a).v, isnan(b).m)};
#else
  return max(a, b);
#endif
}
inline Vec smaller_of(Vec a, Vec b) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  return {_mm256_or_ps(raw_min(b, a).v, isnan(b).m)};
#else
  return min(a, b);
#endif
}
struct Max {
  static constexpr float init = -INFINITY;
  static Vec combine(Vec a, Vec b) { return larger_of(a, b); }
  static float combine(float a, float b) { return max_scalar(a, b); }
};
struct Min {
  static constexpr float init = INFINITY;
  static Vec combine(Vec a, Vec b) { return smaller_of(a, b); }
  static float combine(float a, float b) { return min_scalar(a, b); }
};

constexpr int64_t kBlock = 1024;   // elements of a row that are added up without recursion
constexpr int64_t kRows = 64;      // rows of a column sum likewise
constexpr int64_t kColumns = 512;  // columns summed together: their partial sums stay in L1
constexpr int64_t kTask = 32768;   // elements of one task of the thread pool

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// ---- along contiguous rows ----

template <class R>
inline Vec reduce_to_vec(const float* x, int64_t n) {
  Vec acc[4];
  FASTNN_UNROLL for (int k = 0; k < 4; ++k) acc[k] = Vec::set(R::init);
  int64_t i = 0;
  for (; i + 4 * Vec::width <= n; i += 4 * Vec::width)
    FASTNN_UNROLL for (int k = 0; k < 4; ++k) acc[k] = R::combine(acc[k], Vec::load(x + i + k * Vec::width));
  for (; i + Vec::width <= n; i += Vec::width) acc[0] = R::combine(acc[0], Vec::load(x + i));
  if (i < n) acc[1] = R::combine(acc[1], Vec::load(x + i, n - i, R::init));
  return R::combine(R::combine(acc[0], acc[1]), R::combine(acc[2], acc[3]));
}

template <class R>
inline float reduce_block(const float* x, int64_t n) {
  return reduce_lanes(reduce_to_vec<R>(x, n), [](Vec a, Vec b) { return R::combine(a, b); });
}

// kRowBlock rows of n <= kBlock elements: the bits of reduce_block for each.
template <class R>
inline void reduce_row_block(const float* x, float* y, int64_t n, float divisor) {
  Vec a[kRowBlock];
  for (int64_t r = 0; r < kRowBlock; ++r) a[r] = reduce_to_vec<R>(x + r * n, n);
  (fold_rows(a, [](Vec u, Vec v) { return R::combine(u, v); }) / Vec::set(divisor)).store(y);
}

template <class R>
float reduce_row(const float* x, int64_t n) {
  if (n <= kBlock) return reduce_block<R>(x, n);
  const int64_t half = ceil_div(n, 2 * kBlock) * kBlock;
  return R::combine(reduce_row<R>(x, half), reduce_row<R>(x + half, n - half));
}

template <class R>
inline void reduce_rows(const float* x, float* y, int64_t outer, int64_t n, float divisor) {
  const int64_t parts = outer < 16 ? ceil_div(n, kTask) : 1;
  if (parts > 1) {  // few long rows: parts of kTask elements, then the parts
    Scratch<float> partial(outer * parts);
    float* p = partial;
    parallel_for(outer * parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t o = i / parts, at = (i - o * parts) * kTask;
        p[i] = reduce_row<R>(x + o * n + at, smaller(kTask, n - at));
      }
    });
    for (int64_t o = 0; o < outer; ++o) y[o] = reduce_row<R>(p + o * parts, parts) / divisor;
    return;
  }
  parallel_for(outer, kTask / larger(n, 16) + 1, [&](int64_t begin, int64_t end) {
    int64_t o = begin;
    if (n <= kShortRow)
      for (; o + kRowBlock <= end; o += kRowBlock) reduce_row_block<R>(x + o * n, y + o, n, divisor);
    for (; o < end; ++o) y[o] = reduce_row<R>(x + o * n, n) / divisor;
  });
}

// ---- along strided columns ----

// out[c] = reduction of x[r * stride + c] over r, for c < columns <= kColumns.
template <class R>
void reduce_columns(const float* x, int64_t stride, int64_t rows, int64_t columns, float* out) {
  if (rows > kRows) {
    float right[kColumns];
    const int64_t half = ceil_div(rows, 2 * kRows) * kRows;
    reduce_columns<R>(x, stride, half, columns, out);
    reduce_columns<R>(x + half * stride, stride, rows - half, columns, right);
    for_each_vec(columns, [&](int64_t c, int64_t k) {
      R::combine(Vec::load(out + c, k), Vec::load(right + c, k)).store(out + c, k);
    });
    return;
  }
  int64_t r = rows % 4;
  for_each_vec(columns, [&](int64_t c, int64_t k) {
    Vec s = Vec::set(R::init);
    for (int64_t i = 0; i < r; ++i) s = R::combine(s, Vec::load(x + i * stride + c, k));
    s.store(out + c, k);
  });
  for (; r < rows; r += 4) {
    const float *x0 = x + r * stride, *x1 = x0 + stride, *x2 = x1 + stride, *x3 = x2 + stride;
    for_each_vec(columns, [&](int64_t c, int64_t k) {
      const Vec a = R::combine(Vec::load(x0 + c, k), Vec::load(x1 + c, k));
      const Vec b = R::combine(Vec::load(x2 + c, k), Vec::load(x3 + c, k));
      R::combine(Vec::load(out + c, k), R::combine(a, b)).store(out + c, k);
    });
  }
}

// Fewer columns than a vector has lanes: several rows are read as one, and folded at the end.
template <class R>
inline void reduce_narrow(const float* x, int64_t rows, int64_t columns, float* out) {
  const int64_t fold = ceil_div(4 * Vec::width, columns), wide = rows / fold;
  float sums[kColumns];
  reduce_columns<R>(x, fold * columns, wide, fold * columns, sums);
  for (int64_t c = 0; c < columns; ++c) {
    float s = R::init;
    for (int64_t r = wide * fold; r < rows; ++r) s = R::combine(s, x[r * columns + c]);
    for (int64_t f = 0; f < fold; ++f) s = R::combine(s, sums[f * columns + c]);
    out[c] = s;
  }
}

template <class R>
inline void divide_all(float* y, int64_t n, float divisor) {
  if (divisor == 1) return;
  const Vec d = Vec::set(divisor);
  for_each_vec(n, [&](int64_t i, int64_t k) { (Vec::load(y + i, k) / d).store(y + i, k); });
}

// One task: rows of one outer index and one tile of columns.
template <class R>
inline void reduce_tile(const float* x, int64_t inner, int64_t rows, int64_t columns, float* out, float divisor) {
  if (inner < Vec::width) reduce_narrow<R>(x, rows, inner, out);
  else reduce_columns<R>(x, inner, rows, columns, out);
  divide_all<R>(out, columns, divisor);
}

template <class R>
inline void reduce_middle(const float* x, float* y, int64_t outer, int64_t n, int64_t inner, float divisor) {
  const int64_t tiles = ceil_div(inner, kColumns);
  // few columns, many rows: parts of rows first, then the parts
  const int64_t part = larger(kRows, kTask / inner), parts = outer * tiles < 16 ? ceil_div(n, part) : 1;
  if (parts > 1) {
    Scratch<float> partial(outer * parts * inner);
    float* p = partial;
    parallel_for(outer * parts * tiles, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t op = i / tiles, c = (i - op * tiles) * kColumns, o = op / parts, r = (op - o * parts) * part;
        reduce_tile<R>(x + (o * n + r) * inner + c, inner, smaller(part, n - r), smaller(kColumns, inner - c),
                       p + op * inner + c, 1);
      }
    });
    return reduce_middle<R>(p, y, outer, parts, inner, divisor);
  }
  parallel_for(outer * tiles, kTask / larger(n * smaller(inner, kColumns), 16) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t o = i / tiles, c = (i - o * tiles) * kColumns;
      reduce_tile<R>(x + o * n * inner + c, inner, n, smaller(kColumns, inner - c), y + o * inner + c, divisor);
    }
  });
}

template <class R>
inline void reduce_any(const float* x, float* y, int64_t outer, int64_t n, int64_t inner, float divisor) {
  if (inner == 1) reduce_rows<R>(x, y, outer, n, divisor);
  else reduce_middle<R>(x, y, outer, n, inner, divisor);
}

// ---- positions of extrema ----

// The first position of the extremum of a row; of the first NaN if there is one.
template <class R>
inline int32_t arg_row(const float* x, int64_t n) {
  if (n <= Vec::width) {  // lanes past the end repeat the first element
    const Vec v = Vec::load(x, n, x[0]);
    const Mask nan = isnan(v);
    if (any(nan)) return first_lane(nan);
    return first_lane(v == Vec::set(reduce_lanes(v, [](Vec a, Vec b) { return R::combine(a, b); })));
  }
  const float best = reduce_row<R>(x, n);
  const bool nan = best != best;
  for (int64_t i = 0; i < n; i += Vec::width) {
    const int64_t k = smaller(Vec::width, n - i);
    const Vec v = Vec::load(x + i, k, x[0]);
    if (!any(nan ? isnan(v) : v == Vec::set(best))) continue;
    for (int64_t j = i; j < i + k; ++j)
      if (nan ? x[j] != x[j] : x[j] == best) return int32_t(j);
  }
  return 0;
}

template <bool minimum>
inline void arg_columns(const float* x, int64_t n, int64_t inner, int64_t k, int32_t* y) {
  Vec best = Vec::load(x, k);
  VecI at = VecI::set(0);
  for (int64_t j = 1; j < n; ++j) {
    const Vec v = Vec::load(x + j * inner, k);
    const Mask better = ((minimum ? v < best : v > best) | isnan(v)) & !isnan(best);
    best = select(better, v, best);
    at = select(better, VecI::set(int32_t(j)), at);
  }
  int32_t lanes[Vec::width];
  at.store(lanes);
  for (int64_t i = 0; i < k; ++i) y[i] = lanes[i];
}

}  // namespace

namespace FASTNN_TARGET {

void reduce(int64_t op, const float* x, float* y, int64_t outer, int64_t n, int64_t inner, int64_t count) {
  switch (op) {
    case reduce_op::sum: return reduce_any<Sum>(x, y, outer, n, inner, 1);
    case reduce_op::mean: return reduce_any<Sum>(x, y, outer, n, inner, float(count));
    case reduce_op::max: return reduce_any<Max>(x, y, outer, n, inner, 1);
    case reduce_op::min: return reduce_any<Min>(x, y, outer, n, inner, 1);
    case reduce_op::prod: return reduce_any<Prod>(x, y, outer, n, inner, 1);
  }
}

void arg_reduce(int64_t minimum, const float* x, int32_t* y, int64_t outer, int64_t n, int64_t inner) {
  const int64_t grain = kTask / larger(n, 16) + 1;
  if (inner == 1) {
    return parallel_for(outer, grain, [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) y[o] = minimum ? arg_row<Min>(x + o * n, n) : arg_row<Max>(x + o * n, n);
    });
  }
  const int64_t tiles = ceil_div(inner, Vec::width);
  parallel_for(outer * tiles, grain / Vec::width + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t o = i / tiles, c = (i - o * tiles) * Vec::width, k = smaller(Vec::width, inner - c);
      const float* from = x + o * n * inner + c;
      int32_t* to = y + o * inner + c;
      minimum ? arg_columns<true>(from, n, inner, k, to) : arg_columns<false>(from, n, inner, k, to);
    }
  });
}

}  // namespace FASTNN_TARGET
}  // namespace fastnn
