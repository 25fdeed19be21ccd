// Layer normalization: each row of x (rows, c) is normalized by its own mean and variance.
#include "cpu/lanes.h"
#include "cpu/parallel.h"
#include "kernels.h"

namespace fastnn {
namespace {

// sum over a row of f(k, lanes), whose unused lanes must be 0. Four sums hide the latency of adding.
template <class F>
inline float sum_row(int64_t c, F f) {
  Vec acc[4] = {Vec::zero(), Vec::zero(), Vec::zero(), Vec::zero()};
  int64_t k = 0;
  for (; k + 4 * Vec::width <= c; k += 4 * Vec::width)
    FASTNN_UNROLL for (int i = 0; i < 4; ++i) acc[i] = acc[i] + f(k + i * Vec::width, FullLanes{});
  for_each_lanes(c - k, [&](int64_t i, auto lanes) { acc[0] = acc[0] + f(k + i, lanes); });
  return sum((acc[0] + acc[1]) + (acc[2] + acc[3]));
}

inline Vec centered(const float* x, Vec mean, FullLanes lanes) { return lanes.load(x) - mean; }
inline Vec centered(const float* x, Vec mean, TailLanes lanes) {
  float same[Vec::width];
  mean.store(same);
  return Vec::load(x, lanes.count, same[0]) - mean;  // lanes past the row give 0
}

inline int64_t rows_per_chunk(int64_t c) { return c >= 32768 ? 1 : (32768 + c - 1) / c; }

}  // namespace

namespace FASTNN_TARGET {

void layer_norm_forward(const float* x, const float* gamma, const float* beta, float epsilon, float* y,
                        float* mean, float* rstd, int64_t rows, int64_t c) {
  parallel_for(rows, rows_per_chunk(c), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* xr = x + r * c;
      float* yr = y + r * c;
      // mean = sum(x) / c; variance = sum((x - mean)^2) / c
      const float m = sum_row(c, [&](int64_t k, auto lanes) { return lanes.load(xr + k); }) / float(c);
      const Vec mv = Vec::set(m);
      const float squares = sum_row(c, [&](int64_t k, auto lanes) {
        const Vec d = centered(xr + k, mv, lanes);
        return d * d;
      });
      const float s = 1 / __builtin_sqrtf(squares / float(c) + epsilon);
      mean[r] = m, rstd[r] = s;
      const Vec sv = Vec::set(s);
      for_each_lanes(c, [&](int64_t k, auto lanes) {
        Vec v = (lanes.load(xr + k) - mv) * sv;
        if (gamma) v = v * lanes.load(gamma + k);
        if (beta) v = v + lanes.load(beta + k);
        lanes.store(v, yr + k);
      });
    }
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
      for (int64_t r = chunk * grain; r < end; ++r) {
        const float *xr = x + r * c, *gr = gy + r * c;
        const Vec mv = Vec::set(mean[r]), sv = Vec::set(rstd[r]);
        // g = gy * gamma, n = (x - mean) * rstd; gx = rstd * (g - mean(g) - n * mean(g * n))
        auto scaled = [&](int64_t k, auto lanes) {
          const Vec g = lanes.load(gr + k);
          return gamma ? g * lanes.load(gamma + k) : g;
        };
        const float sum_g = sum_row(c, scaled);
        const float sum_gn = sum_row(c, [&](int64_t k, auto lanes) {
          return scaled(k, lanes) * ((lanes.load(xr + k) - mv) * sv);
        });
        const Vec mean_g = Vec::set(sum_g / float(c)), mean_gn = Vec::set(sum_gn / float(c));
        for_each_lanes(c, [&](int64_t k, auto lanes) {
          const Vec g = lanes.load(gr + k), n = (lanes.load(xr + k) - mv) * sv;
          lanes.store(lanes.load(pg + k) + g * n, pg + k);
          lanes.store(lanes.load(pb + k) + g, pb + k);
          if (gx) lanes.store(sv * (scaled(k, lanes) - mean_g - n * mean_gn), gx + r * c + k);
        });
      }
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
