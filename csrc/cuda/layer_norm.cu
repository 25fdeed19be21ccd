// Layer normalization: each row of x (rows, c) is normalized by its own mean and variance.
//
// A group of threads per row (rows.h), which walks its row three times: memory gives it once, caches the rest. The
// gradients of gamma and beta are sums over columns (columns.h). Bound by memory: 8 bytes per element, backward 20.
#include "columns.h"

namespace fastnn::cuda {
namespace {

template <int V>
__global__ void layer_norm_forward_kernel(const float* __restrict__ x, const float* __restrict__ gamma, const float* __restrict__ beta,
                                          float epsilon, float* __restrict__ y, float* __restrict__ mean, float* __restrict__ rstd,
                                          int64_t rows, int64_t c, int width) {
  const Group g(width);
  for (int64_t row = g.first_row(); g.more(row, rows); row += g.row_step()) {
    const bool valid = row < rows;
    const int64_t n = valid ? c : 0;
    const float* p = x + row * c;
    // mean = sum(x) / c; variance = sum((x - mean)^2) / c
    float sum = 0, squares = 0;
    for (int64_t i = g.rank * V; i < n; i += width * V) {
      const Pack<V> a = load<V>(p + i);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) sum += a.v[k];
    }
    const float m = g.reduce(sum, Sum()) / float(c);
    for (int64_t i = g.rank * V; i < n; i += width * V) {
      const Pack<V> a = load<V>(p + i);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) squares += (a.v[k] - m) * (a.v[k] - m);
    }
    const float s = 1 / sqrtf(g.reduce(squares, Sum()) / float(c) + epsilon);
    if (valid && g.rank == 0) mean[row] = m, rstd[row] = s;
    for (int64_t i = g.rank * V; i < n; i += width * V) {
      Pack<V> a = load<V>(p + i);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) {
        a.v[k] = (a.v[k] - m) * s;
        if (gamma) a.v[k] = a.v[k] * gamma[i + k];
        if (beta) a.v[k] = a.v[k] + beta[i + k];
      }
      store<V>(y + row * c + i, a);
    }
  }
}

// With g = gy * gamma and n = (x - mean) * rstd: gx = rstd * (g - mean(g) - n * mean(g * n))
template <int V>
__global__ void layer_norm_backward_kernel(const float* __restrict__ x, const float* __restrict__ gy, const float* __restrict__ gamma,
                                           const float* __restrict__ mean, const float* __restrict__ rstd, float* __restrict__ gx,
                                           int64_t rows, int64_t c, int width) {
  const Group g(width);
  for (int64_t row = g.first_row(); g.more(row, rows); row += g.row_step()) {
    const bool valid = row < rows;
    const int64_t n = valid ? c : 0, at = row * c;
    const float m = valid ? mean[row] : 0, s = valid ? rstd[row] : 0;
    float sum_g = 0, sum_gn = 0;
    for (int64_t i = g.rank * V; i < n; i += width * V) {
      const Pack<V> a = load<V>(x + at + i), b = load<V>(gy + at + i);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) {
        const float scaled = gamma ? b.v[k] * gamma[i + k] : b.v[k];
        sum_g += scaled;
        sum_gn += scaled * ((a.v[k] - m) * s);
      }
    }
    const float mean_g = g.reduce(sum_g, Sum()) / float(c), mean_gn = g.reduce(sum_gn, Sum()) / float(c);
    for (int64_t i = g.rank * V; i < n; i += width * V) {
      Pack<V> a = load<V>(x + at + i);
      const Pack<V> b = load<V>(gy + at + i);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) {
        const float scaled = gamma ? b.v[k] * gamma[i + k] : b.v[k];
        a.v[k] = s * (scaled - mean_g - (a.v[k] - m) * s * mean_gn);
      }
      store<V>(gx + at + i, a);
    }
  }
}

// sums of gy, and of gy * (x - mean) * rstd
template <int V>
struct WeightTerms {
  const float *x, *gy, *mean, *rstd;
  int64_t c;
  __device__ __forceinline__ void operator()(int64_t row, int64_t column, float (&sums)[2 * V]) const {
    const Pack<V> g = load<V>(gy + row * c + column), v = load<V>(x + row * c + column);
    const float m = mean[row], s = rstd[row];
    FASTNN_UNROLL for (int k = 0; k < V; ++k) sums[k] += g.v[k], sums[V + k] += g.v[k] * ((v.v[k] - m) * s);
  }
};
struct StoreWeights {
  float *ggamma, *gbeta;
  __device__ __forceinline__ void operator()(int64_t k, double a, double b) const { gbeta[k] = float(a), ggamma[k] = float(b); }
};

}  // namespace

void layer_norm_forward(const float* x, const float* gamma, const float* beta, float epsilon, float* y, float* mean, float* rstd,
                        int64_t rows, int64_t c) {
  with_pack(c, [&](auto v) {
    constexpr int V = decltype(v)::value;
    const int width = group_width(c / V);
    launch(layer_norm_forward_kernel<V>, row_blocks(rows, width), kThreads, 0, x, gamma, beta, epsilon, y, mean, rstd, rows, c, width);
  }, x, y);
}

void layer_norm_backward(const float* x, const float* gy, const float* gamma, const float* mean, const float* rstd, float* gx,
                         float* ggamma, float* gbeta, int64_t rows, int64_t c) {
  with_pack(c, [&](auto v) {
    constexpr int V = decltype(v)::value;
    const int width = group_width(c / V);
    if (gx && rows) launch(layer_norm_backward_kernel<V>, row_blocks(rows, width), kThreads, 0, x, gy, gamma, mean, rstd, gx, rows, c, width);
    column_sums<V>(WeightTerms<V>{x, gy, mean, rstd, c}, StoreWeights{ggamma, gbeta}, rows, c);
  }, x, gy, gx);
}

}  // namespace fastnn::cuda
