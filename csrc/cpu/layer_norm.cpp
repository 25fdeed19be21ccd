// Layer normalization: each row of x (rows, c) is normalized by its own mean and variance.
#include "cpu/lanes.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"
#include "kernels.h"

namespace fastnn {
namespace {

// f(k, lanes) added up over a row, lane by lane; unused lanes must be 0. Four sums hide the latency of adding.
template <class F>
inline Vec add_row(int64_t c, F f) {
  Vec acc[4] = {Vec::zero(), Vec::zero(), Vec::zero(), Vec::zero()};
  int64_t k = 0;
  for (; k + 4 * Vec::width <= c; k += 4 * Vec::width)
    FASTNN_UNROLL for (int i = 0; i < 4; ++i) acc[i] = acc[i] + f(k + i * Vec::width, FullLanes{});
  for_each_lanes(c - k, [&](int64_t i, auto lanes) { acc[0] = acc[0] + f(k + i, lanes); });
  return (acc[0] + acc[1]) + (acc[2] + acc[3]);
}

// The same of two values in one walk: f(k, lanes, a, b) gives them.
template <class F>
inline void add_row2(int64_t c, Vec& sum_a, Vec& sum_b, F f) {
  Vec a[4], b[4];
  FASTNN_UNROLL for (int i = 0; i < 4; ++i) a[i] = b[i] = Vec::zero();
  Vec u, v;
  int64_t k = 0;
  for (; k + 4 * Vec::width <= c; k += 4 * Vec::width)
    FASTNN_UNROLL for (int i = 0; i < 4; ++i) {
      f(k + i * Vec::width, FullLanes{}, u, v);
      a[i] = a[i] + u, b[i] = b[i] + v;
    }
  for_each_lanes(c - k, [&](int64_t i, auto lanes) {
    f(k + i, lanes, u, v);
    a[0] = a[0] + u, b[0] = b[0] + v;
  });
  sum_a = (a[0] + a[1]) + (a[2] + a[3]), sum_b = (b[0] + b[1]) + (b[2] + b[3]);
}

// x - mean; lanes past the row give 0.
inline Vec centered(const float* x, float mean, FullLanes lanes) { return lanes.load(x) - Vec::set(mean); }
inline Vec centered(const float* x, float mean, TailLanes lanes) { return Vec::load(x, lanes.count, mean) - Vec::set(mean); }

inline int64_t rows_per_chunk(int64_t c) { return c >= 32768 ? 1 : (32768 + c - 1) / c; }

}  // namespace

namespace FASTNN_TARGET {

void layer_norm_forward(const float* x, const float* gamma, const float* beta, float epsilon, float* y,
                        float* mean, float* rstd, int64_t rows, int64_t c) {
  const Stores stores(y, c % 16 == 0 ? rows * c : 0);
  parallel_for(rows, rows_per_chunk(c), [&](int64_t begin, int64_t end) {
    for_row_blocks(begin, end, c, [&](int64_t first, int64_t n) {
      const float* xb = x + first * c;
      alignas(64) float m[kRowBlock], s[kRowBlock];
      // mean = sum(x) / c; variance = sum((x - mean)^2) / c
      sum_each(n, m, [&](int64_t r) {
        return add_row(c, [&](int64_t k, auto lanes) { return lanes.load(xb + r * c + k); });
      });
      for (int64_t r = 0; r < n; ++r) m[r] = m[r] / float(c);
      sum_each(n, s, [&](int64_t r) {
        return add_row(c, [&](int64_t k, auto lanes) {
          const Vec d = centered(xb + r * c + k, m[r], lanes);
          return d * d;
        });
      });
      for (int64_t r = 0; r < n; ++r) {
        mean[first + r] = m[r];
        rstd[first + r] = s[r] = 1 / __builtin_sqrtf(s[r] / float(c) + epsilon);
      }
      for (int64_t r = 0; r < n; ++r) {
        const float* xr = xb + r * c;
        float* yr = y + (first + r) * c;
        const Vec mv = Vec::set(m[r]), sv = Vec::set(s[r]);
        for_each_lanes(c, [&](int64_t k, auto lanes) {
          Vec v = (lanes.load(xr + k) - mv) * sv;
          if (gamma) v = v * lanes.load(gamma + k);
          if (beta) v = v + lanes.load(beta + k);
          stores.put(v, yr + k, lanes.count);
        });
      }
    });
    stores.fence();
  });
}

void layer_norm_backward(const float* x, const float* gy, const float* gamma, const float* mean, const float* rstd,
                         float* gx, float* ggamma, float* gbeta, int64_t rows, int64_t c) {
  if (rows == 0) {
    for (int64_t k = 0; k < c; ++k) ggamma[k] = gbeta[k] = 0;
    return;
  }
  // Each chunk of rows sums ggamma and gbeta for itself; at most 64 chunks, added in order.
  int64_t grain = rows_per_chunk(c);
  if (grain < (rows + 63) / 64) grain = (rows + 63) / 64;
  const int64_t chunks = (rows + grain - 1) / grain;
  Scratch<float> partial(chunks * 2 * c);
  parallel_for(chunks, 1, [&](int64_t first, int64_t last) {
    for (int64_t chunk = first; chunk < last; ++chunk) {
      float *pg = partial + chunk * 2 * c, *pb = pg + c;
      for (int64_t k = 0; k < 2 * c; ++k) pg[k] = 0;
      const int64_t end = (chunk + 1) * grain < rows ? (chunk + 1) * grain : rows;
      for_row_blocks(chunk * grain, end, c, [&](int64_t first, int64_t n) {
        // g = gy * gamma, n = (x - mean) * rstd; gx = rstd * (g - mean(g) - n * mean(g * n))
        auto scaled = [&](int64_t r, int64_t k, auto lanes) {
          const Vec g = lanes.load(gy + (first + r) * c + k);
          return gamma ? g * lanes.load(gamma + k) : g;
        };
        auto normal = [&](int64_t r, int64_t k, auto lanes) {
          return (lanes.load(x + (first + r) * c + k) - Vec::set(mean[first + r])) * Vec::set(rstd[first + r]);
        };
        alignas(64) float sum_g[kRowBlock], sum_gn[kRowBlock];
        Vec g_lanes[kRowBlock], gn_lanes[kRowBlock];
        for (int64_t r = 0; r < n; ++r)
          add_row2(c, g_lanes[r], gn_lanes[r], [&](int64_t k, auto lanes, Vec& g, Vec& gn) {
            g = scaled(r, k, lanes);
            gn = g * normal(r, k, lanes);
          });
        sum_each(n, sum_g, [&](int64_t r) { return g_lanes[r]; });
        sum_each(n, sum_gn, [&](int64_t r) { return gn_lanes[r]; });
        for (int64_t r = 0; r < n; ++r) {
          const Vec mean_g = Vec::set(sum_g[r] / float(c)), mean_gn = Vec::set(sum_gn[r] / float(c));
          const Vec s = Vec::set(rstd[first + r]);
          for_each_lanes(c, [&](int64_t k, auto lanes) {
            const Vec g = lanes.load(gy + (first + r) * c + k), v = normal(r, k, lanes);
            lanes.store(lanes.load(pg + k) + g * v, pg + k);
            lanes.store(lanes.load(pb + k) + g, pb + k);
            if (gx) lanes.store(s * (scaled(r, k, lanes) - mean_g - v * mean_gn), gx + (first + r) * c + k);
          });
        }
      });
    }
  });
  for_each_lanes(c, [&](int64_t k, auto lanes) {
    Vec a = lanes.load(partial + k), b = lanes.load(partial + c + k);
    for (int64_t i = 1; i < chunks; ++i) {
      a = a + lanes.load(partial + i * 2 * c + k);
      b = b + lanes.load(partial + i * 2 * c + c + k);
    }
    lanes.store(a, ggamma + k);
    lanes.store(b, gbeta + k);
  });
}

}  // namespace FASTNN_TARGET
}  // namespace fastnn
