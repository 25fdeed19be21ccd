// Batch normalization over x (rows, c), channels last.
//
// Statistics: each chunk of rows sums deviations, and their squares, from the mean of its first
// eighth. That eighth alone gives the chunk at least 1/7 of the squared distance between this centre
// and its true mean as variance, so that removing the distance afterwards cancels less than 3 bits.
// Chunks are merged in order, in double (Chan, Golub & LeVeque 1983). x is read from memory once.
//
// Few or odd channels would waste lanes. Memory is therefore walked in lines of `width` floats, a
// whole number of rows, and channel vectors are repeated to that width.
#include "cpu/lanes.h"
#include "cpu/parallel_back.h"
#include "kernels.h"
#include "samples.h"

namespace fastnn {
namespace {

constexpr int64_t kMerge = 256;          // channels whose chunks one task merges

template <int64_t n>
struct Constant {
  static constexpr int64_t value = n;
};

// out (width)[i] = v[i % c], or `missing` without v.
inline void repeat(const float* v, float missing, int64_t c, int64_t width, float* out) {
  for (int64_t i = 0; i < width; i += c)
    for (int64_t k = 0; k < c; ++k) out[i + k] = v ? v[k] : missing;
}

// out (c)[k] = sum of v (width) over its repetitions
inline void fold(const float* v, int64_t c, int64_t width, float* out) {
  for (int64_t k = 0; k < c; ++k) out[k] = v[k];
  for (int64_t i = c; i < width; i += c)
    for (int64_t k = 0; k < c; ++k) out[k] += v[i + k];
}

// Calls f(k, begin, lanes) for the vectors of each line of n floats; k is the place in the line.
template <class F>
inline void for_each_in_lines(int64_t n, int64_t width, F f) {
  for (int64_t begin = 0; begin < n; begin += width)
    for_each_lanes(n - begin < width ? n - begin : width, [&](int64_t k, auto lanes) { f(k, begin + k, lanes); });
}

// f(begin, end, stores) for the chunks of n floats, those first that the pass before ended with: they are in the cache of
// the thread. stores: how to write y, the result.
template <class F>
inline void for_each_chunk_back(int64_t n, const NormLines& l, const float* y, F f) {
  const Stores stores(y, l.width % 16 == 0 ? n : 0);
  parallel_for_back(n, l.chunk, [&](int64_t begin, int64_t end) {
    f(begin, end, stores);
    stores.fence();
  });
}

// acc (width) += the lines of f's values, four lines at a time: f(i, k, lanes) for float i of x.
template <class F>
inline void sum_lines(int64_t n, int64_t width, float* acc, F f) {
  int64_t begin = 0;
  for (; begin + 4 * width <= n; begin += 4 * width)
    for_each_lanes(width, [&](int64_t k, auto lanes) {
      const int64_t i = begin + k;
      const Vec a = f(i, k, lanes) + f(i + width, k, lanes);
      const Vec b = f(i + 2 * width, k, lanes) + f(i + 3 * width, k, lanes);
      lanes.store(lanes.load(acc + k) + (a + b), acc + k);
    });
  for_each_in_lines(n - begin, width, [&](int64_t k, int64_t i, auto lanes) {
    lanes.store(lanes.load(acc + k) + f(begin + i, k, lanes), acc + k);
  });
}

// Sums of two values per float of x in one walk; f(i, k, lanes, a, b) gives them.
template <class F>
inline void sum_lines2(int64_t n, int64_t width, float* acc_a, float* acc_b, F f) {
  int64_t begin = 0;
  for (; begin + 4 * width <= n; begin += 4 * width)
    for_each_lanes(width, [&](int64_t k, auto lanes) {
      Vec a[4], b[4];
      FASTNN_UNROLL for (int r = 0; r < 4; ++r) f(begin + r * width + k, k, lanes, a[r], b[r]);
      lanes.store(lanes.load(acc_a + k) + ((a[0] + a[1]) + (a[2] + a[3])), acc_a + k);
      lanes.store(lanes.load(acc_b + k) + ((b[0] + b[1]) + (b[2] + b[3])), acc_b + k);
    });
  for_each_in_lines(n - begin, width, [&](int64_t k, int64_t i, auto lanes) {
    Vec a, b;
    f(begin + i, k, lanes, a, b);
    lanes.store(lanes.load(acc_a + k) + a, acc_a + k);
    lanes.store(lanes.load(acc_b + k) + b, acc_b + k);
  });
}

inline void fill_zero(float* p, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = 0;
}

inline int64_t chunks_of(int64_t rows, int64_t c, const NormLines& l) { return (rows * c + l.chunk - 1) / l.chunk; }

// partial (chunks, 3, c): a centre, the sum of the deviations from it, the sum of their squares.
void sum_chunks(const float* x, float* partial, int64_t rows, int64_t c) {
  const NormLines l = norm_lines(c);
  const int64_t n = rows * c, chunks = chunks_of(rows, c, l);
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    Scratch<float> work(3 * l.width);
    float *a = work, *b = a + l.width, *center = b + l.width;
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const float* p = x + chunk * l.chunk;
      const int64_t size = n - chunk * l.chunk < l.chunk ? n - chunk * l.chunk : l.chunk;
      float* out = partial + chunk * 3 * c;
      fill_zero(a, l.width);
      const int64_t eighth = (size / 8 / l.width + 1) * l.width, first = eighth < size ? eighth : size;
      sum_lines(first, l.width, a, [&](int64_t i, int64_t, auto lanes) { return lanes.load(p + i); });
      fold(a, c, l.width, out);
      const float count = float(first / c);
      for (int64_t k = 0; k < c; ++k) out[k] /= count;
      repeat(out, 0, c, l.width, center);
      fill_zero(a, 2 * l.width);
      sum_lines2(size, l.width, a, b, [&](int64_t i, int64_t k, auto lanes, Vec& d, Vec& square) {
        __builtin_prefetch(p + i + 4 * l.width);
        d = lanes.load(p + i) - lanes.load(center + k);
        square = d * d;
      });
      fold(a, c, l.width, out + c);
      fold(b, c, l.width, out + 2 * c);
    }
  });
}

// mean and variance (c) of x (rows, c), the variance biased.
void merge_chunks(const float* partial, float* mean, float* variance, int64_t rows, int64_t c) {
  const NormLines l = norm_lines(c);
  const int64_t n = rows * c, chunks = chunks_of(rows, c, l);
  parallel_for(c, kMerge, [&](int64_t begin, int64_t end) {
    // chunks outside, channels inside: vectors of doubles
    double m[kMerge] = {}, squares[kMerge] = {};
    const int64_t columns = end - begin;
    auto count_of = [&](int64_t i) { return double((n - i * l.chunk < l.chunk ? n - i * l.chunk : l.chunk) / c); };
    for (int64_t i = 0; i < chunks; ++i) {
      const float* p = partial + i * 3 * c + begin;
      const double count = count_of(i);
      for (int64_t k = 0; k < columns; ++k) m[k] += double(p[k]) * count + double(p[c + k]);
    }
    for (int64_t k = 0; k < columns; ++k) m[k] /= double(rows);
    for (int64_t i = 0; i < chunks; ++i) {
      const float* p = partial + i * 3 * c + begin;
      const double count = count_of(i), inverse = 1 / count;
      for (int64_t k = 0; k < columns; ++k) {
        const double d = p[c + k], shift = d * inverse, distance = double(p[k]) + shift - m[k];
        squares[k] += double(p[2 * c + k]) - d * shift + count * distance * distance;
      }
    }
    for (int64_t k = 0; k < columns; ++k) {
      mean[begin + k] = float(m[k]);
      variance[begin + k] = float((squares[k] < 0 ? 0 : squares[k]) / double(rows));
    }
  });
}

template <int64_t clip>
Vec clipped(Vec z) {
  return clip == kClipRelu ? relu(z) : clip == kClipRelu6 ? clamp(z, 0, 6) : z;
}
// g where z passes unclipped, else 0.
template <int64_t clip>
Vec through_clip(Vec g, Vec z) {
  if (clip == kClipNone) return g;
  const Mask above = z > Vec::zero();
  return select(clip == kClipRelu ? above : above & (z < Vec::set(6)), g, Vec::zero());
}
// f(integral constant) with a Clip known to the compiler.
template <class F>
void with_clip(int64_t clip, F f) {
  if (clip == kClipRelu) return f(Constant<kClipRelu>());
  if (clip == kClipRelu6) return f(Constant<kClipRelu6>());
  f(Constant<kClipNone>());
}

// y = clip((x - mean) * scale + shift + residual), scale and shift by channel; scale, shift and residual
// may be null (1, 0 and 0).
template <int64_t clip, bool adds>
void normalize(const float* x, const float* mean, const float* scale, const float* shift, const float* residual, float* y,
               int64_t rows, int64_t c) {
  const NormLines l = norm_lines(c);
  Scratch<float> line(3 * l.width);
  float *m = line, *a = m + l.width, *b = a + l.width;
  repeat(mean, 0, c, l.width, m);
  repeat(scale, 1, c, l.width, a);
  repeat(shift, 0, c, l.width, b);
  for_each_chunk_back(rows * c, l, y, [&](int64_t begin, int64_t end, const Stores& stores) {
    const float *p = x + begin, *r = residual + (adds ? begin : 0);
    float* q = y + begin;
    for_each_in_lines(end - begin, l.width, [&](int64_t k, int64_t i, auto lanes) {
      __builtin_prefetch(p + i + 512);  // as in `gradient`
      const Vec d = lanes.load(p + i) - lanes.load(m + k);
      Vec z = fma(d, lanes.load(a + k), lanes.load(b + k));
      if constexpr (adds) z = z + lanes.load(r + i);
      stores.put(clipped<clip>(z), q + i, lanes.count);
    });
  });
}
void normalize(const float* x, const float* mean, const float* scale, const float* shift, const float* residual, float* y,
               int64_t rows, int64_t c, int64_t clip) {
  with_clip(clip, [&](auto k) {
    if (residual) normalize<k.value, true>(x, mean, scale, shift, residual, y, rows, c);
    else normalize<k.value, false>(x, mean, scale, shift, residual, y, rows, c);
  });
}

// out (c) = gamma / sqrt(variance + epsilon)
inline void scale_of(const float* gamma, const float* rstd, int64_t c, float* out) {
  for (int64_t k = 0; k < c; ++k) out[k] = gamma ? gamma[k] * rstd[k] : rstd[k];
}

inline void reciprocal_sqrt(const float* variance, float epsilon, int64_t c, float* rstd) {
  for (int64_t k = 0; k < c; ++k) rstd[k] = 1 / __builtin_sqrtf(variance[k] + epsilon);
}

// Sums of gradients over chunks are added up in groups of neighbouring ones, because partial sums that another thread wrote
// come slowly: 100352 x 64 in 196 chunks was 1.2 times as fast in 24 groups. Eight chunks are some 2 MB to read.
inline int64_t groups_of(int64_t chunks) {
  const int64_t groups = chunks / 8 / 4 * 4;
  return chunks < 8 ? chunks : groups > 8 ? groups : 8;
}

// What the sums of gradients read: g is what passes of gy through the clip of z = (x - mean) * scale + shift. mean, scale, shift:
// lines; the last two are not read without a clip.
struct GradientLines {
  const float *x, *gy, *mean, *scale, *shift;
};

// out (2, c): sums of g and of g * (x - mean) over the rows of a chunk. work (2, width).
template <int64_t clip>
void sum_chunk(const GradientLines& v, int64_t chunk, int64_t n, int64_t c, const NormLines& l, float* work, float* out) {
  const float *p = v.x + chunk * l.chunk, *g = v.gy + chunk * l.chunk, *center = v.mean, *scale = v.scale, *shift = v.shift;
  const int64_t size = n - chunk * l.chunk < l.chunk ? n - chunk * l.chunk : l.chunk;
  fill_zero(work, 2 * l.width);
  sum_lines2(size, l.width, work, work + l.width, [=](int64_t i, int64_t k, auto lanes, Vec& a, Vec& b) {
    // The hardware does not see through four lines of two arrays at a time.
    __builtin_prefetch(p + i + 4 * l.width), __builtin_prefetch(g + i + 4 * l.width);
    const Vec d = lanes.load(p + i) - lanes.load(center + k);
    a = lanes.load(g + i);
    if constexpr (clip != kClipNone) a = through_clip<clip>(a, fma(d, lanes.load(scale + k), lanes.load(shift + k)));
    b = a * d;
  });
  fold(work, c, l.width, out);
  fold(work + l.width, c, l.width, out + c);
}

// partial (chunks, 2, c), where the chunks are called for by parts
template <int64_t clip>
void sum_chunks_of_gradients(const GradientLines& v, float* partial, int64_t rows, int64_t c) {
  const NormLines l = norm_lines(c);
  parallel_for(chunks_of(rows, c, l), 1, [&](int64_t begin, int64_t end) {
    Scratch<float> work(2 * l.width);
    for (int64_t chunk = begin; chunk < end; ++chunk) sum_chunk<clip>(v, chunk, rows * c, c, l, work, partial + chunk * 2 * c);
  });
}
// partial (groups, 2, c): a group's chunks added in double and rounded
template <int64_t clip>
void sum_groups_of_gradients(const GradientLines& v, float* partial, int64_t rows, int64_t c) {
  const NormLines l = norm_lines(c);
  const int64_t chunks = chunks_of(rows, c, l), groups = groups_of(chunks);
  parallel_for(groups, 1, [&](int64_t begin, int64_t end) {
    Scratch<float> work(2 * l.width + 2 * c);
    Scratch<double> sums(2 * c);
    float* one = work + 2 * l.width;
    double* s = sums;
    for (int64_t group = begin; group < end; ++group) {
      for (int64_t k = 0; k < 2 * c; ++k) s[k] = 0;
      for (int64_t chunk = group * chunks / groups; chunk < (group + 1) * chunks / groups; ++chunk) {
        sum_chunk<clip>(v, chunk, rows * c, c, l, work, one);
        for (int64_t k = 0; k < 2 * c; ++k) s[k] += one[k];
      }
      for (int64_t k = 0; k < 2 * c; ++k) partial[group * 2 * c + k] = float(s[k]);
    }
  });
}
// sums (2, c) of partial (count, 2, c), which are of groups, or of chunks and are grouped here: the same bits.
void merge_gradients(const float* partial, double* sums, int64_t count, int64_t groups, int64_t c) {
  parallel_for(2 * c, kMerge, [&](int64_t begin, int64_t end) {
    double of_group[kMerge];
    double* out = sums + begin;
    const int64_t columns = end - begin;
    for (int64_t k = 0; k < columns; ++k) out[k] = 0;
    for (int64_t group = 0; group < groups; ++group) {
      for (int64_t k = 0; k < columns; ++k) of_group[k] = 0;
      for (int64_t i = group * count / groups; i < (group + 1) * count / groups; ++i) {
        const float* p = partial + i * 2 * c + begin;
        for (int64_t k = 0; k < columns; ++k) of_group[k] += p[k];
      }
      for (int64_t k = 0; k < columns; ++k) out[k] += float(of_group[k]);
    }
  });
}

}  // namespace

namespace FASTNN_TARGET {

void batch_norm_chunks(const float* x, float* partial, int64_t rows, int64_t c) { sum_chunks(x, partial, rows, c); }

void batch_norm_merge(const float* partial, float epsilon, float* mean, float* variance, float* rstd, int64_t rows, int64_t c) {
  merge_chunks(partial, mean, variance, rows, c);
  reciprocal_sqrt(variance, epsilon, c, rstd);
}

void batch_norm_statistics(const float* x, float epsilon, float* mean, float* variance, float* rstd, int64_t rows, int64_t c) {
  Scratch<float> partial(chunks_of(rows, c, norm_lines(c)) * 3 * c);
  batch_norm_chunks(x, partial, rows, c);
  batch_norm_merge(partial, epsilon, mean, variance, rstd, rows, c);
}

void batch_norm_forward(const float* x, const float* gamma, const float* beta, const float* residual, float epsilon,
                        int64_t clip, float* y, float* mean, float* variance, float* rstd, int64_t rows, int64_t c) {
  batch_norm_statistics(x, epsilon, mean, variance, rstd, rows, c);
  Scratch<float> scale(c);
  scale_of(gamma, rstd, c, scale);
  normalize(x, mean, scale, beta, residual, y, rows, c, clip);
}

void batch_norm_inference(const float* x, const float* mean, const float* variance, const float* gamma,
                          const float* beta, const float* residual, float epsilon, int64_t clip, float* y, int64_t rows, int64_t c) {
  Scratch<float> scale(c);
  reciprocal_sqrt(variance, epsilon, c, scale);
  scale_of(gamma, scale, c, scale);
  normalize(x, mean, scale, beta, residual, y, rows, c, clip);
}

void fold_batch_norm(const float* w, const float* bias, const float* mean, const float* variance, const float* gamma,
                     const float* beta, float epsilon, float* wa, float* ba, int64_t rows, int64_t c) {
  Scratch<float> a(c);
  reciprocal_sqrt(variance, epsilon, c, a);
  scale_of(gamma, a, c, a);
  for (int64_t k = 0; k < c; ++k) ba[k] = ((bias ? bias[k] : 0) - mean[k]) * a[k] + (beta ? beta[k] : 0);
  parallel_for(rows, 1 + 32768 / c, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for_each_lanes(c, [&](int64_t k, auto lanes) { lanes.store(lanes.load(w + i * c + k) * lanes.load(a + k), wa + i * c + k); });
  });
}

}  // namespace FASTNN_TARGET

namespace {

// Calls f(GradientLines, clip) with the lines of the channels' values.
template <class F>
void with_lines(const float* x, const float* gy, const float* gamma, const float* beta, const float* mean, const float* rstd, int64_t clip,
                int64_t c, F f) {
  const NormLines l = norm_lines(c);
  Scratch<float> line(3 * l.width), v(c);
  float *center = line, *a = center + l.width, *shift = a + l.width;
  repeat(mean, 0, c, l.width, center);
  if (clip != kClipNone) {  // z as the forward pass computed it, bit by bit
    scale_of(gamma, rstd, c, v);
    repeat(v, 0, c, l.width, a);
    repeat(beta, 0, c, l.width, shift);
  }
  with_clip(clip, [&](auto k) { f(GradientLines{x, gy, center, a, shift}, k); });
}

// gx = scale * (g - mean(g) - (x - mean) * rstd^2 * mean(g * (x - mean))) = g * rest[0] + (x - mean) * rest[1] + rest[2]
void finish_gradients(const float* partial, int64_t count, int64_t groups, const float* gamma, const float* rstd, float* ggamma,
                      float* gbeta, float* rest, int64_t rows, int64_t c) {
  Scratch<double> sums(2 * c);
  merge_gradients(partial, sums, count, groups, c);
  for (int64_t k = 0; k < c; ++k) {
    const double r = rstd[k], scale = gamma ? double(gamma[k]) * r : r;
    ggamma[k] = float(sums[c + k] * r);
    gbeta[k] = float(sums[k]);
    rest[k] = float(scale);
    rest[c + k] = float(-scale * r * r * sums[c + k] / double(rows));
    rest[2 * c + k] = float(-scale * sums[k] / double(rows));
  }
}

template <int64_t clip>
void gradient(const float* x, const float* gy, const float* beta, const float* mean, const float* rest, float* gx, int64_t rows, int64_t c) {
  const NormLines l = norm_lines(c);
  Scratch<float> line(5 * l.width);
  float *m = line, *a = m + l.width, *b = a + l.width, *d = b + l.width, *shift = d + l.width;
  repeat(mean, 0, c, l.width, m);
  repeat(rest, 0, c, l.width, a);
  repeat(rest + c, 0, c, l.width, b);
  repeat(rest + 2 * c, 0, c, l.width, d);
  if (clip != kClipNone) repeat(beta, 0, c, l.width, shift);
  for_each_chunk_back(rows * c, l, gx, [&](int64_t begin, int64_t end, const Stores& stores) {
    for_each_in_lines(end - begin, l.width, [&](int64_t k, int64_t i, auto lanes) {
      // 2 KB and 1 KB ahead: what comes from the third level in the time of as many vectors.
      __builtin_prefetch(x + begin + i + 512), __builtin_prefetch(gy + begin + i + 512), __builtin_prefetch(gx + begin + i + 256, 1);
      const Vec centered = lanes.load(x + begin + i) - lanes.load(m + k);
      const Vec others = fma(centered, lanes.load(b + k), lanes.load(d + k));
      Vec g = lanes.load(gy + begin + i);
      if constexpr (clip != kClipNone) g = through_clip<clip>(g, fma(centered, lanes.load(a + k), lanes.load(shift + k)));
      stores.put(fma(g, lanes.load(a + k), others), gx + begin + i, lanes.count);
    });
  });
}

}  // namespace

namespace FASTNN_TARGET {

void batch_norm_gradient_chunks(const float* x, const float* gy, const float* gamma, const float* beta, const float* mean,
                                const float* rstd, int64_t clip, float* partial, int64_t rows, int64_t c) {
  with_lines(x, gy, gamma, beta, mean, rstd, clip, c,
             [&](const GradientLines& v, auto k) { sum_chunks_of_gradients<k.value>(v, partial, rows, c); });
}

void batch_norm_gradient_merge(const float* partial, const float* gamma, const float* rstd, float* ggamma, float* gbeta, float* rest,
                               int64_t rows, int64_t c) {
  const int64_t chunks = chunks_of(rows, c, norm_lines(c));
  finish_gradients(partial, chunks, groups_of(chunks), gamma, rstd, ggamma, gbeta, rest, rows, c);
}

void batch_norm_gradient_sums(const float* x, const float* gy, const float* gamma, const float* beta, const float* mean,
                              const float* rstd, int64_t clip, float* ggamma, float* gbeta, float* rest, int64_t rows, int64_t c) {
  const int64_t groups = groups_of(chunks_of(rows, c, norm_lines(c)));
  Scratch<float> partial(groups * 2 * c);
  with_lines(x, gy, gamma, beta, mean, rstd, clip, c,
             [&](const GradientLines& v, auto k) { sum_groups_of_gradients<k.value>(v, partial, rows, c); });
  finish_gradients(partial, groups, groups, gamma, rstd, ggamma, gbeta, rest, rows, c);
}

void batch_norm_gradient(const float* x, const float* gy, const float* beta, const float* mean, const float* rest, int64_t clip,
                         float* gx, int64_t rows, int64_t c) {
  with_clip(clip, [&](auto k) { gradient<k.value>(x, gy, beta, mean, rest, gx, rows, c); });
}

void batch_norm_backward(const float* x, const float* gy, const float* gamma, const float* beta, const float* mean,
                         const float* rstd, int64_t clip, float* gx, float* ggamma, float* gbeta, int64_t rows, int64_t c) {
  Scratch<float> rest(3 * c);
  batch_norm_gradient_sums(x, gy, gamma, beta, mean, rstd, clip, ggamma, gbeta, rest, rows, c);
  if (gx) batch_norm_gradient(x, gy, beta, mean, rest, clip, gx, rows, c);
}

void batch_norm_backward_inference(const float* x, const float* gy, const float* gamma, const float* mean,
                                   const float* variance, float epsilon, float* gx, float* ggamma, float* gbeta,
                                   int64_t rows, int64_t c) {
  Scratch<float> rstd(2 * c);
  float* scale = rstd + c;
  reciprocal_sqrt(variance, epsilon, c, rstd);
  if (ggamma) {
    const int64_t groups = groups_of(chunks_of(rows, c, norm_lines(c)));
    Scratch<double> sums(2 * c);
    Scratch<float> partial(groups * 2 * c);
    with_lines(x, gy, gamma, nullptr, mean, rstd, kClipNone, c,
               [&](const GradientLines& v, auto k) { sum_groups_of_gradients<k.value>(v, partial, rows, c); });
    merge_gradients(partial, sums, groups, groups, c);
    for (int64_t k = 0; k < c; ++k) {
      ggamma[k] = float(sums[c + k] * double(rstd[k]));
      gbeta[k] = float(sums[k]);
    }
  }
  if (!gx) return;
  scale_of(gamma, rstd, c, scale);
  const NormLines l = norm_lines(c);
  Scratch<float> a(l.width);
  repeat(scale, 1, c, l.width, a);
  parallel_for(rows * c, l.chunk, [&](int64_t begin, int64_t end) {
    for_each_in_lines(end - begin, l.width, [&](int64_t k, int64_t i, auto lanes) {
      lanes.store(lanes.load(gy + begin + i) * lanes.load(a + k), gx + begin + i);
    });
  });
}

void moving_average(float* moving, const float* value, float momentum, float rest, int64_t n) {
  const Vec old = Vec::set(momentum), fresh = Vec::set(rest);
  for_each_lanes(n, [&](int64_t i, auto lanes) {
    lanes.store(lanes.load(moving + i) * old + lanes.load(value + i) * fresh, moving + i);
  });
}

}  // namespace FASTNN_TARGET
}  // namespace fastnn
