// Batch normalization over x (rows, c), channels last.
//
// Statistics are those of csrc/cpu: each chunk of rows sums deviations, and their squares, from the mean of its
// first eighth, and chunks are merged in double (Chan, Golub & LeVeque 1983). x is read from memory once for them,
// and once to be normalized: 12 bytes per element in all, bound by memory; backward 20.
#include "columns.h"

namespace fastnn::cuda {
namespace {

// partial (chunks, 3, c): a centre of each chunk, the sum of deviations from it, and of their squares.
template <int V>
__global__ void moments_kernel(const float* __restrict__ x, Tiles t, float* __restrict__ partial) {
  FASTNN_SHARED(float, tile, [2 * V * kThreads]);
  for (int64_t block = blockIdx.x; block < t.chunks * t.tiles; block += gridDim.x) {
    const Place<V> at(t, block);
    const int64_t rows = at.end - at.begin, eighth = (rows / 8 / t.lines + 1) * t.lines, first = eighth < rows ? eighth : rows;
    float center[V] = {}, sums[2 * V] = {};
    if (at.column < t.c)
      for (int64_t r = at.begin + at.line; r < at.begin + first; r += t.lines) {
        const Pack<V> a = load<V>(x + r * t.c + at.column);
        FASTNN_UNROLL for (int k = 0; k < V; ++k) center[k] += a.v[k];
      }
    sum_over_lines(center, tile, t);
    FASTNN_UNROLL for (int k = 0; k < V; ++k) center[k] = center[k] / float(first);
    if (at.column < t.c)
      for (int64_t r = at.begin + at.line; r < at.end; r += t.lines) {
        const Pack<V> a = load<V>(x + r * t.c + at.column);
        FASTNN_UNROLL for (int k = 0; k < V; ++k) {
          const float d = a.v[k] - center[k];
          sums[k] += d;
          sums[V + k] += d * d;
        }
      }
    sum_over_lines(sums, tile, t);
    if (at.line == 0 && at.column < t.c) {
      float* to = partial + 3 * at.chunk * t.c + at.column;
      store_part<V>(to, center, 0);
      store_part<V>(to + t.c, sums, 0);
      store_part<V>(to + 2 * t.c, sums, V);
    }
  }
}

// All chunks together: 32 columns per block.
__global__ void merge_moments_kernel(const float* __restrict__ partial, Tiles t, float epsilon, float* __restrict__ mean,
                                     float* __restrict__ variance, float* __restrict__ rstd) {
  const int64_t column = int64_t(blockIdx.x) * 32 + threadIdx.x % 32;
  const int line = threadIdx.x / 32;
  const auto count_of = [&t](int64_t i) { return double(t.rows - i * t.chunk < t.chunk ? t.rows - i * t.chunk : t.chunk); };
  double sum = 0, squares = 0;
  if (column < t.c)
    for (int64_t i = line; i < t.chunks; i += kMergeLines)
      sum += partial[3 * i * t.c + column] * count_of(i) + partial[(3 * i + 1) * t.c + column];
  const double m = sum_lines(sum) / double(t.rows);
  if (column < t.c)
    for (int64_t i = line; i < t.chunks; i += kMergeLines) {
      const double count = count_of(i), d = partial[(3 * i + 1) * t.c + column], shift = d / count;
      const double distance = partial[3 * i * t.c + column] + shift - m;
      squares += partial[(3 * i + 2) * t.c + column] - d * shift + count * distance * distance;
    }
  squares = sum_lines(squares);
  if (line == 0 && column < t.c) {
    const float v = float((squares < 0 ? 0 : squares) / double(t.rows));
    mean[column] = float(m);
    variance[column] = v;
    rstd[column] = 1 / sqrtf(v + epsilon);
  }
}

// y = (x - mean) * scale + shift by channel, scale = gamma * rstd; gamma and beta may be null (1 and 0).
template <int V>
__global__ void normalize_kernel(const float* __restrict__ x, const float* __restrict__ mean, const float* __restrict__ rstd,
                                 const float* __restrict__ variance, float epsilon, const float* __restrict__ gamma,
                                 const float* __restrict__ beta, float* __restrict__ y, Tiles t) {
  for (int64_t block = blockIdx.x; block < t.chunks * t.tiles; block += gridDim.x) {
    const Place<V> at(t, block);
    if (at.column >= t.c) continue;
    Pack<V> scale, shift = {}, center = load<V>(mean + at.column);
    FASTNN_UNROLL for (int k = 0; k < V; ++k) {
      const float r = rstd ? rstd[at.column + k] : 1 / sqrtf(variance[at.column + k] + epsilon);
      scale.v[k] = gamma ? gamma[at.column + k] * r : r;
      if (beta) shift.v[k] = beta[at.column + k];
    }
    for (int64_t r = at.begin + at.line; r < at.end; r += t.lines) {
      Pack<V> a = load<V>(x + r * t.c + at.column);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) a.v[k] = fmaf(a.v[k] - center.v[k], scale.v[k], shift.v[k]);
      store<V>(y + r * t.c + at.column, a);
    }
  }
}

// sums of gy, and of gy * (x - mean)
template <int V>
struct GradientTerms {
  const float *x, *gy, *mean;
  int64_t c;
  __device__ __forceinline__ void operator()(int64_t row, int64_t column, float (&sums)[2 * V]) const {
    const Pack<V> g = load<V>(gy + row * c + column), v = load<V>(x + row * c + column), m = load<V>(mean + column);
    FASTNN_UNROLL for (int k = 0; k < V; ++k) sums[k] += g.v[k], sums[V + k] += g.v[k] * (v.v[k] - m.v[k]);
  }
};

// ggamma and gbeta, and where `rest` is given the factors of gx: gx = gy * rest[0] + (x - mean) * rest[1] + rest[2]
struct GradientFinish {
  const float *gamma, *rstd, *variance;  // rstd or variance
  float epsilon;
  float *ggamma, *gbeta, *rest;
  int64_t rows, c;
  __device__ __forceinline__ void operator()(int64_t k, double sum_gy, double sum_gyd) const {
    const double r = rstd ? rstd[k] : 1 / sqrtf(variance[k] + epsilon);
    ggamma[k] = float(sum_gyd * r);
    gbeta[k] = float(sum_gy);
    if (!rest) return;
    const double scale = gamma ? gamma[k] * r : r;
    rest[k] = float(scale);
    rest[c + k] = float(-scale * r * r * sum_gyd / double(rows));
    rest[2 * c + k] = float(-scale * sum_gy / double(rows));
  }
};

template <int V>
__global__ void gradient_kernel(const float* __restrict__ x, const float* __restrict__ gy, const float* __restrict__ mean,
                                const float* __restrict__ rest, float* __restrict__ gx, Tiles t) {
  for (int64_t block = blockIdx.x; block < t.chunks * t.tiles; block += gridDim.x) {
    const Place<V> at(t, block);
    if (at.column >= t.c) continue;
    const Pack<V> m = load<V>(mean + at.column), a = load<V>(rest + at.column);
    const Pack<V> b = load<V>(rest + t.c + at.column), d = load<V>(rest + 2 * t.c + at.column);
    for (int64_t r = at.begin + at.line; r < at.end; r += t.lines) {
      Pack<V> v = load<V>(x + r * t.c + at.column);
      const Pack<V> g = load<V>(gy + r * t.c + at.column);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) v.v[k] = fmaf(g.v[k], a.v[k], fmaf(v.v[k] - m.v[k], b.v[k], d.v[k]));
      store<V>(gx + r * t.c + at.column, v);
    }
  }
}

// gx = gy * gamma / sqrt(variance + epsilon)
template <int V>
__global__ void scale_gradient_kernel(const float* __restrict__ gy, const float* __restrict__ gamma, const float* __restrict__ variance,
                                      float epsilon, float* __restrict__ gx, Tiles t) {
  for (int64_t block = blockIdx.x; block < t.chunks * t.tiles; block += gridDim.x) {
    const Place<V> at(t, block);
    if (at.column >= t.c) continue;
    Pack<V> scale;
    FASTNN_UNROLL for (int k = 0; k < V; ++k) {
      const float r = 1 / sqrtf(variance[at.column + k] + epsilon);
      scale.v[k] = gamma ? gamma[at.column + k] * r : r;
    }
    for (int64_t r = at.begin + at.line; r < at.end; r += t.lines) {
      Pack<V> g = load<V>(gy + r * t.c + at.column);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) g.v[k] = g.v[k] * scale.v[k];
      store<V>(gx + r * t.c + at.column, g);
    }
  }
}

__global__ void moving_average_kernel(float* moving, const float* __restrict__ value, float momentum, float rest, int64_t n) {
  for (int64_t i = first_index(); i < n; i += index_step()) moving[i] = moving[i] * momentum + value[i] * rest;
}

}  // namespace

void batch_norm_forward(const float* x, const float* gamma, const float* beta, float epsilon, float* y, float* mean,
                        float* variance, float* rstd, int64_t rows, int64_t c) {
  with_pack(c, [&](auto v) {
    constexpr int V = decltype(v)::value;
    const Tiles t = tiles_of<V>(rows, c);
    Scratch<float> partial(3 * t.chunks * c);
    launch(moments_kernel<V>, tile_blocks(t), kThreads, 0, x, t, partial.get());
    launch(merge_moments_kernel, unsigned(ceil_div(c, 32)), kThreads, 0, partial.get(), t, epsilon, mean, variance, rstd);
    launch(normalize_kernel<V>, tile_blocks(t), kThreads, 0, x, mean, rstd, nullptr, epsilon, gamma, beta, y, t);
  }, x, y, mean);
}

void batch_norm_inference(const float* x, const float* mean, const float* variance, const float* gamma, const float* beta,
                          float epsilon, float* y, int64_t rows, int64_t c) {
  with_pack(c, [&](auto v) {
    constexpr int V = decltype(v)::value;
    const Tiles t = tiles_of<V>(rows, c);
    launch(normalize_kernel<V>, tile_blocks(t), kThreads, 0, x, mean, nullptr, variance, epsilon, gamma, beta, y, t);
  }, x, y, mean);
}

void batch_norm_backward(const float* x, const float* gy, const float* gamma, const float* mean, const float* rstd,
                         float* gx, float* ggamma, float* gbeta, int64_t rows, int64_t c) {
  with_pack(c, [&](auto v) {
    constexpr int V = decltype(v)::value;
    Scratch<float> rest(3 * c);
    column_sums<V>(GradientTerms<V>{x, gy, mean, c}, GradientFinish{gamma, rstd, nullptr, 0, ggamma, gbeta, rest.get(), rows, c}, rows, c);
    if (!gx) return;
    const Tiles t = tiles_of<V>(rows, c);
    launch(gradient_kernel<V>, tile_blocks(t), kThreads, 0, x, gy, mean, rest.get(), gx, t);
  }, x, gy, mean, gx);
}

void batch_norm_backward_inference(const float* x, const float* gy, const float* gamma, const float* mean, const float* variance,
                                   float epsilon, float* gx, float* ggamma, float* gbeta, int64_t rows, int64_t c) {
  with_pack(c, [&](auto v) {
    constexpr int V = decltype(v)::value;
    if (ggamma)
      column_sums<V>(GradientTerms<V>{x, gy, mean, c}, GradientFinish{gamma, nullptr, variance, epsilon, ggamma, gbeta, nullptr, rows, c}, rows, c);
    const Tiles t = tiles_of<V>(rows, c);
    if (gx && rows) launch(scale_gradient_kernel<V>, tile_blocks(t), kThreads, 0, gy, gamma, variance, epsilon, gx, t);
  }, x, gy, mean, gx);
}

void moving_average(float* moving, const float* value, float momentum, float rest, int64_t n) {
  launch(moving_average_kernel, blocks_for(n), kThreads, 0, moving, value, momentum, rest, n);
}

}  // namespace fastnn::cuda
