// Updates of all weights in one pass over memory, and the norms that gradient clipping needs.
// Work is cut by element ranges over all weights together, so one large and many small weights do
// equally well. The learning rate and the step count are read through pointers: they change.
#include <math.h>

#include "cpu/parallel.h"
#include "cpu/simd.h"
#include "kernels.h"

namespace fastnn::FASTNN_TARGET {
namespace {

constexpr int64_t kChunk = 16 * 1024;
// Of updates, whose elements take longer: few enough for the threads to end together with 100,000 weights.
constexpr int64_t kUpdateChunk = 4 * 1024;

inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }

inline int64_t total_size(const UpdateBatch& batch) {
  int64_t total = 0;
  for (int64_t k = 0; k < batch.count; ++k) total += batch.slot[k].n;
  return total;
}

// Calls f(k, begin, end) for the parts of the weights that lie in [begin, end) of all of them.
template <class F>
inline void for_parts(const UpdateBatch& batch, int64_t begin, int64_t end, F f) {
  int64_t first = 0;
  for (int64_t k = 0; k < batch.count && first < end; ++k) {
    const int64_t last = first + batch.slot[k].n;
    if (last > begin) f(k, max(begin, first) - first, min(end, last) - first);
    first = last;
  }
}

// Calls f(i, n, g) over [begin, end) of a weight with its gradient, n <= Vec::width elements at a time.
template <class F>
inline void for_gradient(const UpdateSlot& s, int64_t begin, int64_t end, F f) {
  if (!s.row_slot) {
    for_each_vec(end - begin, [&](int64_t j, int64_t n) { f(begin + j, n, Vec::load(s.g + begin + j, n)); });
    return;
  }
  // Gradients of rows lie in the order in which these were first looked up: no hardware prefetcher follows them.
  constexpr int64_t kAhead = 8;
  const int64_t rows = (end - 1) / s.cols + 1;
  for (int64_t i = begin; i < end;) {
    const int64_t row = i / s.cols, stop = min(end, (row + 1) * s.cols);
    const int64_t slot = s.row_slot[row], later = row + kAhead < rows ? s.row_slot[row + kAhead] : -1;
    if (later >= 0 && s.cols <= 512)
      for (int64_t j = 0; j < s.cols; j += 16) __builtin_prefetch(s.g + later * s.cols + j);
    const float* g = s.g + slot * s.cols - row * s.cols;
    for_each_vec(stop - i, [&](int64_t j, int64_t n) { f(i + j, n, slot < 0 ? Vec::zero() : Vec::load(g + i + j, n)); });
    i = stop;
  }
}

// a / (sqrt(v) + epsilon) within 2 ulp. On AVX-512 a division and a root keep their port for 35 cycles, three times as
// long as the loads and stores of an update take; estimates of 14 bits, refined, do not.
inline Vec scaled(Vec a, Vec v, Vec epsilon) {
#ifdef __AVX512F__
  const Mask usual = (Vec::set(1e-30f) < v) & (v < Vec::set(1e30f));
  const Vec r = {_mm512_rsqrt14_ps(v.v)}, s = v * r, half = Vec::set(0.5f);
  const Vec root = fma(fma(-s, s, v), r * half, s), d = root + epsilon;
  const Vec e = {_mm512_rcp14_ps(d.v)}, inverse = fma(fma(-d, e, Vec::set(1)), e, e), q = a * inverse;
  const Vec fast = fma(fma(-d, q, a), inverse, q);
  if (all(usual)) return fast;
  return select(usual, fast, a / (sqrt(v) + epsilon));
#else
  return a / (sqrt(v) + epsilon);
#endif
}

// Calls f(slot, i, n, w, g) for every weight: w after its decay, g after its clipping.
template <class F>
inline void update(const UpdateBatch& batch, float decay, float clipvalue, F f) {
  const float bound = clipvalue > 0 ? clipvalue : __builtin_inff();
  parallel_for(total_size(batch), kUpdateChunk, [&](int64_t begin, int64_t end) {
    for_parts(batch, begin, end, [&](int64_t k, int64_t from, int64_t to) {
      const UpdateSlot& s = batch.slot[k];
      const Vec scale = Vec::set(s.scale ? *s.scale : 1), d = Vec::set(s.decay ? decay : 0);
      for_gradient(s, from, to, [&](int64_t i, int64_t n, Vec g) {
        const Vec w = Vec::load(s.w + i, n);
        f(s, i, n, w - w * d, clamp(g * scale, -bound, bound));
      });
    });
  });
}

}  // namespace

void sgd_update(UpdateBatch batch, const float* lr, float momentum, int64_t nesterov, float weight_decay, float clipvalue) {
  const Vec rate = Vec::set(*lr), mu = Vec::set(momentum);
  update(batch, weight_decay * *lr, clipvalue, [=](const UpdateSlot& s, int64_t i, int64_t n, Vec w, Vec g) {
    const Vec step = g * rate;
    if (!s.m) {
      (w - step).store(s.w + i, n);
      return;
    }
    const Vec m = Vec::load(s.m + i, n) * mu - step;
    m.store(s.m + i, n);
    (w + (nesterov ? m * mu - step : m)).store(s.w + i, n);
  });
}

void rmsprop_update(UpdateBatch batch, const float* lr, float rho, float one_minus_rho, float momentum, float epsilon,
                    float weight_decay, float clipvalue) {
  const Vec rate = Vec::set(*lr), keep = Vec::set(rho), take = Vec::set(one_minus_rho), mu = Vec::set(momentum);
  update(batch, weight_decay * *lr, clipvalue, [=](const UpdateSlot& s, int64_t i, int64_t n, Vec w, Vec g) {
    const Vec v = Vec::load(s.v + i, n) * keep + g * g * take;
    v.store(s.v + i, n);
    Vec square = v;
    if (s.u) {
      const Vec mean = Vec::load(s.u + i, n) * keep + g * take;
      mean.store(s.u + i, n);
      square = v - mean * mean;
    }
    Vec step = scaled(rate * g, square + Vec::set(epsilon), Vec::zero());
    if (s.m) {
      step = Vec::load(s.m + i, n) * mu + step;
      step.store(s.m + i, n);
    }
    (w - step).store(s.w + i, n);
  });
}

void adam_update(UpdateBatch batch, const float* lr, const void* iterations, int64_t iterations_bytes, float beta1,
                 float beta2, float one_minus_beta1, float one_minus_beta2, float epsilon, float weight_decay,
                 float clipvalue) {
  const double t = 1 + double(iterations_bytes == 4 ? *static_cast<const int32_t*>(iterations)
                                                    : *static_cast<const int64_t*>(iterations));
  const double alpha = *lr * ::sqrt(1 - ::pow(double(beta2), t)) / (1 - ::pow(double(beta1), t));
  const Vec rate = Vec::set(float(alpha)), take1 = Vec::set(one_minus_beta1), take2 = Vec::set(one_minus_beta2);
  update(batch, weight_decay * *lr, clipvalue, [=](const UpdateSlot& s, int64_t i, int64_t n, Vec w, Vec g) {
    Vec m = Vec::load(s.m + i, n), v = Vec::load(s.v + i, n);
    m = m + (g - m) * take1;
    v = v + (g * g - v) * take2;
    m.store(s.m + i, n);
    v.store(s.v + i, n);
    if (s.u) {
      v = fastnn::max(Vec::load(s.u + i, n), v);
      v.store(s.u + i, n);
    }
    (w - scaled(m * rate, v, Vec::set(epsilon))).store(s.w + i, n);
  });
}

void squared_norms(UpdateBatch batch, float* y) {
  const int64_t total = total_size(batch), chunks = (total + kChunk - 1) / kChunk;
  Scratch<double> partial(chunks * kUpdateSlots + 1);
  parallel_for(total, kChunk, [&](int64_t begin, int64_t end) {
    double* p = partial + begin / kChunk * kUpdateSlots;
    for (int k = 0; k < kUpdateSlots; ++k) p[k] = 0;
    for_parts(batch, begin, end, [&](int64_t k, int64_t from, int64_t to) {
      Vec s = Vec::zero();
      for_gradient(batch.slot[k], from, to, [&](int64_t, int64_t, Vec g) { s = s + g * g; });
      p[k] = sum(s);
    });
  });
  for (int64_t k = 0; k < batch.count; ++k) {
    double s = 0;
    for (int64_t c = 0; c < chunks; ++c) s += partial[c * kUpdateSlots + k];
    y[k] = float(s);
  }
}

void clip_scales(const float* squares, float* scale, int64_t n, float clipnorm, int64_t global) {
  if (global) {
    double total = 0;
    for (int64_t k = 0; k < n; ++k) total += squares[k];
    const float norm = float(::sqrt(total)), inverse = 1 / norm, bound = 1 / clipnorm;
    // an infinite or NaN norm makes every gradient NaN, as in Keras
    const float s = clipnorm * (inverse < bound ? inverse : bound) + (norm - norm);
    for (int64_t k = 0; k < n; ++k) scale[k] = s;
  } else {
    for (int64_t k = 0; k < n; ++k) {
      const float norm = ::sqrtf(squares[k]);
      scale[k] = clipnorm / (norm < clipnorm ? clipnorm : norm);
    }
  }
}

void increment(void* x, int64_t bytes) {
  if (bytes == 4) *static_cast<int32_t*>(x) += 1;
  else *static_cast<int64_t*>(x) += 1;
}

}  // namespace fastnn::FASTNN_TARGET
