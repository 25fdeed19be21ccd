// Batch normalization over x (rows, c), channels last.
//
// Statistics are those of csrc/cpu: each chunk of rows sums deviations, and their squares, from the mean of its
// first eighth, and chunks are merged in double (Chan, Golub & LeVeque 1983). x is read from memory once for them,
// and once to be normalized: 12 bytes per element in all, bound by memory; backward 20.
#include "columns.h"
#include "functions.h"

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

// A clip is the same for all threads: it costs no divergence.
__device__ __forceinline__ float clipped(float z, int64_t clip) {
  return clip == kClipRelu ? relu(z) : clip == kClipRelu6 ? clamp(z, 0, 6) : z;
}
// g where z passes unclipped, else 0.
__device__ __forceinline__ float through_clip(float g, float z, int64_t clip) {
  return clip == kClipNone || (z > 0 && (clip == kClipRelu || z < 6)) ? g : 0;
}

// z = (x - mean) * scale + shift by channel, scale = gamma * rstd; gamma and beta may be null (1 and 0).
struct Affine {
  const float *mean, *rstd, *variance;  // rstd or variance
  float epsilon;
  const float *gamma, *beta;
  __device__ __forceinline__ float rstd_of(int64_t k) const { return rstd ? rstd[k] : 1 / sqrtf(variance[k] + epsilon); }
};
// Its factors for the columns of a thread.
template <int V>
struct Factors {
  Pack<V> center, scale, shift;
  __device__ __forceinline__ Factors(const Affine& f, int64_t column) : shift{} {
    center = load<V>(f.mean + column);
    FASTNN_UNROLL for (int k = 0; k < V; ++k) {
      const float r = f.rstd_of(column + k);
      scale.v[k] = f.gamma ? f.gamma[column + k] * r : r;
      if (f.beta) shift.v[k] = f.beta[column + k];
    }
  }
  __device__ __forceinline__ float z(float x, int k) const { return fmaf(x - center.v[k], scale.v[k], shift.v[k]); }
};

// y = clip(z + residual)
template <int V>
__global__ void normalize_kernel(const float* __restrict__ x, Affine f, const float* __restrict__ residual, int64_t clip,
                                 float* __restrict__ y, Tiles t) {
  for (int64_t block = blockIdx.x; block < t.chunks * t.tiles; block += gridDim.x) {
    const Place<V> at(t, block);
    if (at.column >= t.c) continue;
    const Factors<V> factors(f, at.column);
    for (int64_t r = at.begin + at.line; r < at.end; r += t.lines) {
      Pack<V> a = load<V>(x + r * t.c + at.column), add = {};
      if (residual) add = load<V>(residual + r * t.c + at.column);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) {
        const float z = factors.z(a.v[k], k);
        a.v[k] = clipped(residual ? z + add.v[k] : z, clip);
      }
      store<V>(y + r * t.c + at.column, a);
    }
  }
}

// Sums of g, and of g * (x - mean); g is what passes of gy through the clip.
template <int V>
struct GradientTerms {
  const float *x, *gy;
  Affine f;
  int64_t clip, c;
  __device__ __forceinline__ void operator()(int64_t row, int64_t column, float (&sums)[2 * V]) const {
    const Pack<V> a = load<V>(gy + row * c + column), v = load<V>(x + row * c + column);
    const Factors<V> factors(f, column);
    FASTNN_UNROLL for (int k = 0; k < V; ++k) {
      const float g = through_clip(a.v[k], factors.z(v.v[k], k), clip);
      sums[k] += g, sums[V + k] += g * (v.v[k] - factors.center.v[k]);
    }
  }
};

// ggamma and gbeta, and where `rest` is given the factors of gx = g * rest[0] + (x - mean) * rest[1] + rest[2].
struct GradientFinish {
  Affine f;
  float *ggamma, *gbeta, *rest;
  int64_t rows, c;
  __device__ __forceinline__ void operator()(int64_t k, double sum_gy, double sum_gyd) const {
    const double r = f.rstd_of(k);
    ggamma[k] = float(sum_gyd * r);
    gbeta[k] = float(sum_gy);
    if (!rest) return;
    const double scale = f.gamma ? f.gamma[k] * r : r;
    rest[k] = float(scale);
    rest[c + k] = float(-scale * r * r * sum_gyd / double(rows));
    rest[2 * c + k] = float(-scale * sum_gy / double(rows));
  }
};

template <int V>
__global__ void gradient_kernel(const float* __restrict__ x, const float* __restrict__ gy, Affine f, int64_t clip,
                                const float* __restrict__ rest, float* __restrict__ gx, Tiles t) {
  for (int64_t block = blockIdx.x; block < t.chunks * t.tiles; block += gridDim.x) {
    const Place<V> at(t, block);
    if (at.column >= t.c) continue;
    const Factors<V> factors(f, at.column);
    const Pack<V> a = load<V>(rest + at.column), b = load<V>(rest + t.c + at.column), d = load<V>(rest + 2 * t.c + at.column);
    for (int64_t r = at.begin + at.line; r < at.end; r += t.lines) {
      Pack<V> v = load<V>(x + r * t.c + at.column);
      const Pack<V> gs = load<V>(gy + r * t.c + at.column);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) {
        const float g = through_clip(gs.v[k], factors.z(v.v[k], k), clip);
        v.v[k] = fmaf(g, a.v[k], fmaf(v.v[k] - factors.center.v[k], b.v[k], d.v[k]));
      }
      store<V>(gx + r * t.c + at.column, v);
    }
  }
}

// y = x * scale by channel: the gradient with constant statistics, and weights with batch norm folded into them.
template <int V>
__global__ void scale_kernel(const float* __restrict__ x, Affine f, float* __restrict__ y, Tiles t) {
  for (int64_t block = blockIdx.x; block < t.chunks * t.tiles; block += gridDim.x) {
    const Place<V> at(t, block);
    if (at.column >= t.c) continue;
    const Factors<V> factors(f, at.column);
    for (int64_t r = at.begin + at.line; r < at.end; r += t.lines) {
      Pack<V> a = load<V>(x + r * t.c + at.column);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) a.v[k] = a.v[k] * factors.scale.v[k];
      store<V>(y + r * t.c + at.column, a);
    }
  }
}

__global__ void fold_bias_kernel(const float* __restrict__ bias, Affine f, float* __restrict__ ba, int64_t c) {
  for (int64_t k = first_index(); k < c; k += index_step()) {
    const float r = f.rstd_of(k), scale = f.gamma ? f.gamma[k] * r : r;
    ba[k] = ((bias ? bias[k] : 0) - f.mean[k]) * scale + (f.beta ? f.beta[k] : 0);
  }
}

__global__ void moving_average_kernel(float* moving, const float* __restrict__ value, float momentum, float rest, int64_t n) {
  for (int64_t i = first_index(); i < n; i += index_step()) moving[i] = moving[i] * momentum + value[i] * rest;
}

}  // namespace

void batch_norm_statistics(const float* x, float epsilon, float* mean, float* variance, float* rstd, int64_t rows, int64_t c) {
  with_pack(c, [&](auto v) {
    constexpr int V = decltype(v)::value;
    const Tiles t = tiles_of<V>(rows, c);
    Scratch<float> partial(3 * t.chunks * c);
    launch(moments_kernel<V>, tile_blocks(t), kThreads, 0, x, t, partial.get());
    launch(merge_moments_kernel, unsigned(ceil_div(c, 32)), kThreads, 0, partial.get(), t, epsilon, mean, variance, rstd);
  }, x);
}

void batch_norm_forward(const float* x, const float* gamma, const float* beta, const float* residual, float epsilon, int64_t clip,
                        float* y, float* mean, float* variance, float* rstd, int64_t rows, int64_t c) {
  batch_norm_statistics(x, epsilon, mean, variance, rstd, rows, c);
  with_pack(c, [&](auto v) {
    constexpr int V = decltype(v)::value;
    const Tiles t = tiles_of<V>(rows, c);
    launch(normalize_kernel<V>, tile_blocks(t), kThreads, 0, x, Affine{mean, rstd, nullptr, 0, gamma, beta}, residual, clip, y, t);
  }, x, y, mean, residual);
}

void batch_norm_inference(const float* x, const float* mean, const float* variance, const float* gamma, const float* beta,
                          const float* residual, float epsilon, int64_t clip, float* y, int64_t rows, int64_t c) {
  with_pack(c, [&](auto v) {
    constexpr int V = decltype(v)::value;
    const Tiles t = tiles_of<V>(rows, c);
    launch(normalize_kernel<V>, tile_blocks(t), kThreads, 0, x, Affine{mean, nullptr, variance, epsilon, gamma, beta}, residual, clip, y, t);
  }, x, y, mean, residual);
}

void batch_norm_gradient_sums(const float* x, const float* gy, const float* gamma, const float* beta, const float* mean,
                              const float* rstd, int64_t clip, float* ggamma, float* gbeta, float* rest, int64_t rows, int64_t c) {
  with_pack(c, [&](auto v) {
    constexpr int V = decltype(v)::value;
    const Affine f{mean, rstd, nullptr, 0, gamma, beta};
    column_sums<V>(GradientTerms<V>{x, gy, f, clip, c}, GradientFinish{f, ggamma, gbeta, rest, rows, c}, rows, c);
  }, x, gy, mean);
}

void batch_norm_gradient(const float* x, const float* gy, const float* beta, const float* mean, const float* rest, int64_t clip,
                         float* gx, int64_t rows, int64_t c) {
  with_pack(c, [&](auto v) {
    constexpr int V = decltype(v)::value;
    const Tiles t = tiles_of<V>(rows, c);
    // rest[0] = gamma * rstd, as z is computed with
    launch(gradient_kernel<V>, tile_blocks(t), kThreads, 0, x, gy, Affine{mean, rest, nullptr, 0, nullptr, beta}, clip, rest, gx, t);
  }, x, gy, mean, gx);
}

void batch_norm_backward(const float* x, const float* gy, const float* gamma, const float* beta, const float* mean,
                         const float* rstd, int64_t clip, float* gx, float* ggamma, float* gbeta, int64_t rows, int64_t c) {
  Scratch<float> rest(3 * c);
  batch_norm_gradient_sums(x, gy, gamma, beta, mean, rstd, clip, ggamma, gbeta, rest.get(), rows, c);
  if (gx) batch_norm_gradient(x, gy, beta, mean, rest.get(), clip, gx, rows, c);
}

void batch_norm_backward_inference(const float* x, const float* gy, const float* gamma, const float* mean, const float* variance,
                                   float epsilon, float* gx, float* ggamma, float* gbeta, int64_t rows, int64_t c) {
  with_pack(c, [&](auto v) {
    constexpr int V = decltype(v)::value;
    const Affine f{mean, nullptr, variance, epsilon, gamma, nullptr};
    if (ggamma)
      column_sums<V>(GradientTerms<V>{x, gy, f, kClipNone, c}, GradientFinish{f, ggamma, gbeta, nullptr, rows, c}, rows, c);
    const Tiles t = tiles_of<V>(rows, c);
    if (gx && rows) launch(scale_kernel<V>, tile_blocks(t), kThreads, 0, gy, f, gx, t);
  }, x, gy, mean, gx);
}

void fold_batch_norm(const float* w, const float* bias, const float* mean, const float* variance, const float* gamma,
                     const float* beta, float epsilon, float* wa, float* ba, int64_t rows, int64_t c) {
  with_pack(c, [&](auto v) {
    constexpr int V = decltype(v)::value;
    const Affine f{mean, nullptr, variance, epsilon, gamma, beta};
    const Tiles t = tiles_of<V>(rows, c);
    launch(scale_kernel<V>, tile_blocks(t), kThreads, 0, w, f, wa, t);
    launch(fold_bias_kernel, blocks_for(c), kThreads, 0, bias, f, ba, c);
  }, w, wa, mean);
}

void moving_average(float* moving, const float* value, float momentum, float rest, int64_t n) {
  launch(moving_average_kernel, blocks_for(n), kThreads, 0, moving, value, momentum, rest, n);
}

}  // namespace fastnn::cuda
