// Softmax and its logarithm over the last axis, and the cross entropies fused with them.
#include "cpu/math.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"
#include "kernels.h"

namespace fastnn::FASTNN_TARGET {
namespace {

constexpr int64_t kChunk = 16 * 1024;  // elements; one exp each
constexpr float kInf = __builtin_inff();
// Keras's epsilon and the bounds it clips probabilities to.
constexpr float kEpsilon = 1e-7f, kOneMinusEpsilon = 1.f - 1e-7f;

template <class F>
inline void for_rows(int64_t rows, int64_t cols, F f) {
  parallel_for(rows, kChunk / cols, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) f(r);
  });
}

// f(r, n) for blocks of n <= kRowBlock rows from r on.
template <class F>
inline void for_blocks(int64_t rows, int64_t cols, F f) {
  const int64_t grain = cols <= kShortRow ? kChunk / cols / kRowBlock * kRowBlock : kChunk / cols;
  parallel_for(rows, grain, [&](int64_t begin, int64_t end) { for_row_blocks(begin, end, cols, f); });
}

// What softmax needs of a block of rows; unused entries hold what they hold.
struct RowStats {
  alignas(64) float max[kRowBlock], total[kRowBlock];
};

// NaN may be dropped: its exponential is NaN wherever the maximum came from.
inline Vec row_max(const float* x, int64_t cols) {
  // Four at a time: each waits four cycles for the one before it.
  Vec m[4];
  FASTNN_UNROLL for (int j = 0; j < 4; ++j) m[j] = Vec::set(-kInf);
  int64_t begin = 0;
  for (; begin + 4 * Vec::width <= cols; begin += 4 * Vec::width)
    FASTNN_UNROLL for (int j = 0; j < 4; ++j) m[j] = raw_max(Vec::load(x + begin + j * Vec::width), m[j]);
  for_each_vec(cols - begin, [&](int64_t i, int64_t n) { m[0] = raw_max(Vec::load(x + begin + i, n, -kInf), m[0]); });
  return raw_max(raw_max(m[0], m[1]), raw_max(m[2], m[3]));
}

// sum(exp(x - max)); y, when kept, receives the terms. Lanes past the end add exp(-inf) = 0; where
// that is NaN because max is -inf or NaN, the row is NaN anyway.
template <bool keep>
inline Vec row_exp_sum(const float* x, float max, float* y, int64_t cols) {
  const Vec m = Vec::set(max);
  Vec s = Vec::zero();
  for_each_vec(cols, [&](int64_t i, int64_t n) {
    // Here the row is in the first-level cache and memory idle: the next row is asked for.
    __builtin_prefetch(x + cols + i);
    if (keep) __builtin_prefetch(y + cols + i, 1);
    const Vec e = exp_or_zero(Vec::load(x + i, n, -kInf) - m);
    if (keep) e.store(y + i, n);
    s = s + e;
  });
  return s;
}

// The maximum of each of n rows, and its sum(exp(x - max)); y, when kept, receives the terms.
template <bool keep>
inline void exp_sums(const float* x, float* y, int64_t n, int64_t cols, RowStats& stats) {
  auto larger = [](Vec a, Vec b) { return raw_max(a, b); };
  if (n == 1) {
    stats.max[0] = reduce_lanes(row_max(x, cols), larger);
    stats.total[0] = sum(row_exp_sum<keep>(x, stats.max[0], y, cols));
    return;
  }
  Vec a[kRowBlock];
  for (int64_t r = 0; r < kRowBlock; ++r) a[r] = r < n ? row_max(x + r * cols, cols) : Vec::zero();
  fold_rows(a, larger).store(stats.max);
  for (int64_t r = 0; r < kRowBlock; ++r)
    a[r] = r < n ? row_exp_sum<keep>(x + r * cols, stats.max[r], y + r * cols, cols) : Vec::zero();
  sum_rows(a).store(stats.total);
}

inline float row_sum(const float* x, int64_t cols) {
  Vec s = Vec::zero();
  for_each_vec(cols, [&](int64_t i, int64_t n) { s = s + Vec::load(x + i, n); });
  return sum(s);
}

inline float row_dot(const float* x, const float* y, int64_t cols) {
  Vec s = Vec::zero();
  for_each_vec(cols, [&](int64_t i, int64_t n) { s = fma(Vec::load(x + i, n), Vec::load(y + i, n), s); });
  return sum(s);
}

inline float log_scalar(float x) {
  float y[Vec::width];
  log(Vec::set(x)).store(y);
  return y[0];
}
// y = log(x), kRowBlock of them
inline void log_rows(const float* x, float* y) { log(Vec::load(x)).store(y); }

// epsilon <= p <= 1 - epsilon; NaN stays NaN.
inline Vec clip(Vec p) { return clamp(p, kEpsilon, kOneMinusEpsilon); }
inline float clip(float p) { return p < kEpsilon ? kEpsilon : p > kOneMinusEpsilon ? kOneMinusEpsilon : p; }
// 1 where clip(p) = p: elsewhere the derivative is 0. NaN passes.
inline Vec inside(Vec p) {
  return select((p < Vec::set(kEpsilon)) | (Vec::set(kOneMinusEpsilon) < p), Vec::zero(), Vec::set(1));
}
inline bool inside(float p) { return !(p < kEpsilon || p > kOneMinusEpsilon); }

}  // namespace

void softmax_forward(const float* x, float* y, int64_t rows, int64_t cols) {
  for_blocks(rows, cols, [=](int64_t first, int64_t count) {
    RowStats stats;
    exp_sums<true>(x + first * cols, y + first * cols, count, cols, stats);
    for (int64_t r = 0; r < count; ++r) {
      float* yr = y + (first + r) * cols;
      const Vec scale = Vec::set(1 / stats.total[r]);
      for_each_vec(cols, [&](int64_t i, int64_t n) { (Vec::load(yr + i, n) * scale).store(yr + i, n); });
    }
  });
}

void softmax_backward(const float* y, const float* gy, float* gx, int64_t rows, int64_t cols) {
  for_rows(rows, cols, [=](int64_t r) {
    const float *yr = y + r * cols, *gr = gy + r * cols;
    float* out = gx + r * cols;
    const Vec dot = Vec::set(row_dot(yr, gr, cols));
    for_each_vec(cols, [&](int64_t i, int64_t n) {
      (Vec::load(yr + i, n) * (Vec::load(gr + i, n) - dot)).store(out + i, n);
    });
  });
}

void log_softmax_forward(const float* x, float* y, int64_t rows, int64_t cols) {
  for_blocks(rows, cols, [=](int64_t first, int64_t count) {
    RowStats stats;
    float log_total[kRowBlock];
    exp_sums<false>(x + first * cols, nullptr, count, cols, stats);
    log_rows(stats.total, log_total);
    for (int64_t r = 0; r < count; ++r) {
      const float* xr = x + (first + r) * cols;
      float* yr = y + (first + r) * cols;
      const Vec m = Vec::set(stats.max[r]), s = Vec::set(log_total[r]);
      for_each_vec(cols, [&](int64_t i, int64_t n) { (Vec::load(xr + i, n) - m - s).store(yr + i, n); });
    }
  });
}

void log_softmax_backward(const float* y, const float* gy, float* gx, int64_t rows, int64_t cols) {
  for_rows(rows, cols, [=](int64_t r) {
    const float *yr = y + r * cols, *gr = gy + r * cols;
    float* out = gx + r * cols;
    const Vec total = Vec::set(row_sum(gr, cols));
    for_each_vec(cols, [&](int64_t i, int64_t n) {
      (Vec::load(gr + i, n) - exp_or_zero(Vec::load(yr + i, n)) * total).store(out + i, n);
    });
  });
}

void softmax_cross_entropy_forward(const float* t, const float* x, float* y, float* stats, int64_t rows,
                                   int64_t cols) {
  for_blocks(rows, cols, [=](int64_t first, int64_t count) {
    RowStats s;
    float log_total[kRowBlock];
    exp_sums<false>(x + first * cols, nullptr, count, cols, s);
    log_rows(s.total, log_total);
    for (int64_t r = 0; r < count; ++r) {
      const float *xr = x + (first + r) * cols, *tr = t + (first + r) * cols;
      const Vec m = Vec::set(s.max[r]), l = Vec::set(log_total[r]);
      Vec loss = Vec::zero();
      for_each_vec(cols, [&](int64_t i, int64_t n) {
        loss = fma(Vec::load(tr + i, n), l - (Vec::load(xr + i, n, s.max[r]) - m), loss);
      });
      y[first + r] = sum(loss);
      stats[2 * (first + r)] = s.max[r];
      stats[2 * (first + r) + 1] = s.total[r];
    }
  });
}

void softmax_cross_entropy_backward(const float* t, const float* x, const float* stats, const float* gy, float* gx,
                                    int64_t rows, int64_t cols) {
  for_rows(rows, cols, [=](int64_t r) {
    const float *xr = x + r * cols, *tr = t + r * cols;
    float* out = gx + r * cols;
    const Vec m = Vec::set(stats[2 * r]), g = Vec::set(gy[r]);
    const Vec scale = Vec::set(row_sum(tr, cols) / stats[2 * r + 1]);
    for_each_vec(cols, [&](int64_t i, int64_t n) {
      (g * (exp_or_zero(Vec::load(xr + i, n) - m) * scale - Vec::load(tr + i, n))).store(out + i, n);
    });
  });
}

void sparse_softmax_cross_entropy_forward(const int64_t* label, const float* x, float* y, float* stats, int64_t rows,
                                          int64_t cols) {
  for_blocks(rows, cols, [=](int64_t first, int64_t count) {
    RowStats s;
    float log_total[kRowBlock];
    exp_sums<false>(x + first * cols, nullptr, count, cols, s);
    log_rows(s.total, log_total);
    for (int64_t r = first; r < first + count; ++r) {
      y[r] = log_total[r - first] - (x[r * cols + label[r]] - s.max[r - first]);
      stats[2 * r] = s.max[r - first];
      stats[2 * r + 1] = s.total[r - first];
    }
  });
}

void sparse_softmax_cross_entropy_backward(const int64_t* label, const float* x, const float* stats, const float* gy,
                                           float* gx, int64_t rows, int64_t cols) {
  for_rows(rows, cols, [=](int64_t r) {
    const float* xr = x + r * cols;
    float* out = gx + r * cols;
    const Vec m = Vec::set(stats[2 * r]), scale = Vec::set(1 / stats[2 * r + 1]), g = Vec::set(gy[r]);
    for_each_vec(cols, [&](int64_t i, int64_t n) { (g * (exp_or_zero(Vec::load(xr + i, n) - m) * scale)).store(out + i, n); });
    out[label[r]] -= gy[r];
  });
}

void cross_entropy_forward(const float* t, const float* p, float* y, int64_t rows, int64_t cols) {
  for_rows(rows, cols, [=](int64_t r) {
    const float *pr = p + r * cols, *tr = t + r * cols;
    const Vec total = Vec::set(row_sum(pr, cols));
    Vec s = Vec::zero();
    for_each_vec(cols, [&](int64_t i, int64_t n) {
      s = fma(Vec::load(tr + i, n), log(clip(Vec::load(pr + i, n, 1) / total)), s);
    });
    y[r] = -sum(s);
  });
}

void cross_entropy_backward(const float* t, const float* p, const float* gy, float* gx, int64_t rows, int64_t cols) {
  for_rows(rows, cols, [=](int64_t r) {
    const float *pr = p + r * cols, *tr = t + r * cols;
    float* out = gx + r * cols;
    const float total = row_sum(pr, cols);
    const Vec s = Vec::set(total);
    // with q = p / sum(p) and d = -t / q where q is not clipped: gx = gy (d - sum(d q)) / sum(p)
    Vec dot = Vec::zero();
    for_each_vec(cols, [&](int64_t i, int64_t n) {
      const Vec q = Vec::load(pr + i, n, 1) / s;
      const Vec d = -Vec::load(tr + i, n) / clip(q) * inside(q);
      d.store(out + i, n);
      dot = fma(d, q, dot);
    });
    const Vec mean = Vec::set(sum(dot)), g = Vec::set(gy[r] / total);
    for_each_vec(cols, [&](int64_t i, int64_t n) { (g * (Vec::load(out + i, n) - mean)).store(out + i, n); });
  });
}

void sparse_cross_entropy_forward(const int64_t* label, const float* p, float* y, int64_t rows, int64_t cols) {
  for_rows(rows, cols, [=](int64_t r) {
    const float* pr = p + r * cols;
    y[r] = -log_scalar(clip(pr[label[r]] / row_sum(pr, cols)));
  });
}

void sparse_cross_entropy_backward(const int64_t* label, const float* p, const float* gy, float* gx, int64_t rows,
                                   int64_t cols) {
  for_rows(rows, cols, [=](int64_t r) {
    const float* pr = p + r * cols;
    float* out = gx + r * cols;
    const float total = row_sum(pr, cols), q = pr[label[r]] / total;
    // d = -1 / q at the label, 0 where q is clipped; the other probabilities enter through the sum
    const float d = inside(q) ? -1 / q : 0, g = gy[r] / total;
    const Vec rest = Vec::set(g * (-d * q));
    for_each_vec(cols, [&](int64_t i, int64_t n) { rest.store(out + i, n); });
    out[label[r]] = g * (d - d * q);
  });
}

void binary_cross_entropy_forward(const float* t, const float* p, float* y, int64_t n) {
  parallel_for(n, kChunk, [=](int64_t begin, int64_t end) {
    for_each_vec(end - begin, [&](int64_t j, int64_t m) {
      const int64_t i = begin + j;
      const Vec tv = Vec::load(t + i, m), c = clip(Vec::load(p + i, m)), one = Vec::set(1);
      (-(tv * log(c) + (one - tv) * log(one - c))).store(y + i, m);
    });
  });
}

void binary_cross_entropy_backward(const float* t, const float* p, const float* gy, float* gx, int64_t n) {
  parallel_for(n, kChunk, [=](int64_t begin, int64_t end) {
    for_each_vec(end - begin, [&](int64_t j, int64_t m) {
      const int64_t i = begin + j;
      const Vec tv = Vec::load(t + i, m), pv = Vec::load(p + i, m), c = clip(pv), one = Vec::set(1);
      const Vec d = ((one - tv) / (one - c) - tv / c) * inside(pv);
      (Vec::load(gy + i, m) * d).store(gx + i, m);
    });
  });
}

// -t log sigmoid(x) - (1 - t) log sigmoid(-x), with -log sigmoid(x) = max(-x, 0) + log(1 + exp(-|x|))
void sigmoid_cross_entropy_forward(const float* t, const float* x, float* y, int64_t n) {
  parallel_for(n, kChunk, [=](int64_t begin, int64_t end) {
    for_each_vec(end - begin, [&](int64_t j, int64_t m) {
      const int64_t i = begin + j;
      const Vec tv = Vec::load(t + i, m), xv = Vec::load(x + i, m), zero = Vec::zero();
      const Vec soft = log1p(exp(-abs(xv)));
      (tv * (max(-xv, zero) + soft) + (Vec::set(1) - tv) * (max(xv, zero) + soft)).store(y + i, m);
    });
  });
}

void sigmoid_cross_entropy_backward(const float* t, const float* x, const float* gy, float* gx, int64_t n) {
  parallel_for(n, kChunk, [=](int64_t begin, int64_t end) {
    for_each_vec(end - begin, [&](int64_t j, int64_t m) {
      const int64_t i = begin + j;
      (Vec::load(gy + i, m) * (sigmoid(Vec::load(x + i, m)) - Vec::load(t + i, m))).store(gx + i, m);
    });
  });
}

}  // namespace fastnn::FASTNN_TARGET
