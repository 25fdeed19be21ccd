// Updates of all weights of a batch in one launch, and the norms that gradient clipping needs.
//
// The elements of every weight are cut into chunks of kChunk, a block per chunk, so one large and many small
// weights do equally well. Four elements at a time where all arrays of a weight are aligned. Bound by memory: Adam
// moves 28 bytes per element. The learning rate and the step count are read through pointers: they change.
#include "functions.h"
#include "rows.h"

namespace fastnn::cuda {
namespace {

constexpr int64_t kChunk = 8 * kThreads;

// The first chunk of each weight, and of what would follow the last.
struct Chunks {
  int64_t first[kUpdateSlots + 1];
};
Chunks chunks_of(const UpdateBatch& batch) {
  Chunks c;
  c.first[0] = 0;
  for (int64_t k = 0; k < batch.count; ++k) c.first[k + 1] = c.first[k] + ceil_div(batch.slot[k].n, kChunk);
  return c;
}
__device__ __forceinline__ int slot_of(const Chunks& c, int64_t chunk) {
  int k = 0;
  while (c.first[k + 1] <= chunk) ++k;
  return k;
}

// Elements i ... i + V - 1 of a gradient. V > 1 only where rows are whole packs.
template <int V>
__device__ __forceinline__ Pack<V> gradient(const UpdateSlot& s, int64_t i) {
  if (!s.row_slot) return load<V>(s.g + i);
  const int64_t row = i / s.cols, slot = s.row_slot[row];
  if (slot < 0) return Pack<V>{};
  return load<V>(s.g + (slot - row) * s.cols + i);
}

// Whether all arrays of a weight are aligned for packs of four.
__device__ __forceinline__ bool by_fours(const UpdateSlot& s) {
  uintptr_t bits = reinterpret_cast<uintptr_t>(s.w) | reinterpret_cast<uintptr_t>(s.g) | reinterpret_cast<uintptr_t>(s.m) |
                   reinterpret_cast<uintptr_t>(s.v) | reinterpret_cast<uintptr_t>(s.u);
  if (s.row_slot) bits |= uintptr_t(s.cols % 4 * 4);
  return bits % 16 == 0;
}

// Calls f(Width, i) for this thread's packs of [begin, end): four by four where possible, then the rest.
template <class F>
__device__ __forceinline__ void for_packs(bool fours, int64_t begin, int64_t end, F f) {
  const int64_t whole = fours ? begin + (end - begin) / 4 * 4 : begin;
  for (int64_t i = begin + threadIdx.x * 4; i < whole; i += kThreads * 4) f(Width<4>(), i);
  for (int64_t i = whole + threadIdx.x; i < end; i += kThreads) f(Width<1>(), i);
}

// The state of one weight: what is null stays out of memory.
struct State {
  float m, v, u;
};

// F: prepare() by all threads of a block, then f(slot, w, g, state) changes w and state.
template <class F>
__global__ void update_kernel(F f, UpdateBatch batch, Chunks chunks, const float* __restrict__ lr, float weight_decay, float clipvalue) {
  const auto step = f.prepare(*lr);
  const float decay = weight_decay * *lr, bound = clipvalue > 0 ? clipvalue : Min::neutral;
  for (int64_t chunk = blockIdx.x; chunk < chunks.first[batch.count]; chunk += gridDim.x) {
    const int k = slot_of(chunks, chunk);
    const UpdateSlot& s = batch.slot[k];
    const int64_t begin = (chunk - chunks.first[k]) * kChunk, end = begin + kChunk < s.n ? begin + kChunk : s.n;
    const float scale = s.scale ? *s.scale : 1, d = s.decay ? decay : 0;
    for_packs(by_fours(s), begin, end, [&](auto v, int64_t i) {
      constexpr int V = decltype(v)::value;
      const Pack<V> g = gradient<V>(s, i);
      Pack<V> w = load<V>(s.w + i), m, r, u;
      if (s.m) m = load<V>(s.m + i);
      if (s.v) r = load<V>(s.v + i);
      if (s.u) u = load<V>(s.u + i);
      FASTNN_UNROLL for (int j = 0; j < V; ++j) {
        State state{s.m ? m.v[j] : 0, s.v ? r.v[j] : 0, s.u ? u.v[j] : 0};
        w.v[j] = w.v[j] - w.v[j] * d;
        step(s, w.v[j], clamp(g.v[j] * scale, -bound, bound), state);
        m.v[j] = state.m, r.v[j] = state.v, u.v[j] = state.u;
      }
      store<V>(s.w + i, w);
      if (s.m) store<V>(s.m + i, m);
      if (s.v) store<V>(s.v + i, r);
      if (s.u) store<V>(s.u + i, u);
    });
  }
}

template <class F>
void update(F f, const UpdateBatch& batch, const float* lr, float weight_decay, float clipvalue) {
  const Chunks chunks = chunks_of(batch);
  launch(update_kernel<F>, blocks_for(chunks.first[batch.count], 1), kThreads, 0, f, batch, chunks, lr, weight_decay, clipvalue);
}

struct Sgd {
  float momentum;
  bool nesterov;
  struct Step {
    float rate, momentum;
    bool nesterov;
    __device__ __forceinline__ void operator()(const UpdateSlot& s, float& w, float g, State& state) const {
      const float step = g * rate;
      if (!s.m) {
        w = w - step;
        return;
      }
      state.m = state.m * momentum - step;
      w = w + (nesterov ? state.m * momentum - step : state.m);
    }
  };
  __device__ __forceinline__ Step prepare(float lr) const { return {lr, momentum, nesterov}; }
};

struct RmsProp {
  float rho, one_minus_rho, momentum, epsilon;
  struct Step {
    float rate, keep, take, momentum, epsilon;
    __device__ __forceinline__ void operator()(const UpdateSlot& s, float& w, float g, State& state) const {
      state.v = state.v * keep + g * g * take;
      float square = state.v;
      if (s.u) {
        state.u = state.u * keep + g * take;
        square = state.v - state.u * state.u;
      }
      float step = rate * g / sqrtf(square + epsilon);
      if (s.m) {
        step = state.m * momentum + step;
        state.m = step;
      }
      w = w - step;
    }
  };
  __device__ __forceinline__ Step prepare(float lr) const { return {lr, rho, one_minus_rho, momentum, epsilon}; }
};

struct Adam {
  const void* iterations;
  int64_t iterations_bytes;
  float beta1, beta2, one_minus_beta1, one_minus_beta2, epsilon;
  struct Step {
    float rate, take1, take2, epsilon;
    __device__ __forceinline__ void operator()(const UpdateSlot& s, float& w, float g, State& state) const {
      state.m = state.m + (g - state.m) * take1;
      state.v = state.v + (g * g - state.v) * take2;
      if (s.u) state.u = Max()(state.u, state.v);
      w = w - state.m * rate / (sqrtf(s.u ? state.u : state.v) + epsilon);
    }
  };
  // One thread of a block computes the rate: powers in double are slow.
  __device__ __forceinline__ Step prepare(float lr) const {
    FASTNN_SHARED(float, rate, [1]);
    if (threadIdx.x == 0) {
      const double t = 1 + double(iterations_bytes == 4 ? *static_cast<const int32_t*>(iterations)
                                                        : *static_cast<const int64_t*>(iterations));
      rate[0] = float(lr * sqrt(1 - pow(double(beta2), t)) / (1 - pow(double(beta1), t)));
    }
    __syncthreads();
    return {rate[0], one_minus_beta1, one_minus_beta2, epsilon};
  }
};

// ---- norms: in double, so that the order of the terms does not show: a sum per chunk, then a block per weight ----

// Every thread gets the sum over the block.
__device__ __forceinline__ double block_sum(double mine) {
  FASTNN_SHARED(double, sums, [kThreads]);
  __syncthreads();  // a caller may still read the last sum
  sums[threadIdx.x] = mine;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (int(threadIdx.x) < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  __syncthreads();
  return sums[0];
}
template <class T>
__device__ __forceinline__ double block_sum(const T* x, int64_t n) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) sum += x[i];
  return block_sum(sum);
}

__global__ void chunk_squares_kernel(UpdateBatch batch, Chunks chunks, double* __restrict__ partial) {
  for (int64_t chunk = blockIdx.x; chunk < chunks.first[batch.count]; chunk += gridDim.x) {
    const int k = slot_of(chunks, chunk);
    const UpdateSlot& s = batch.slot[k];
    const int64_t begin = (chunk - chunks.first[k]) * kChunk, end = begin + kChunk < s.n ? begin + kChunk : s.n;
    double sum = 0;
    for_packs(by_fours(s), begin, end, [&](auto v, int64_t i) {
      constexpr int V = decltype(v)::value;
      const Pack<V> g = gradient<V>(s, i);
      FASTNN_UNROLL for (int j = 0; j < V; ++j) sum = fma(double(g.v[j]), double(g.v[j]), sum);
    });
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[chunk] = sum;
  }
}

__global__ void sum_chunks_kernel(Chunks chunks, const double* __restrict__ partial, float* __restrict__ y) {
  const int64_t first = chunks.first[blockIdx.x];
  const double sum = block_sum(partial + first, chunks.first[blockIdx.x + 1] - first);
  if (threadIdx.x == 0) y[blockIdx.x] = float(sum);
}

__global__ void clip_each_kernel(const float* __restrict__ squares, float* __restrict__ scale, int64_t n, float clipnorm) {
  for (int64_t k = first_index(); k < n; k += index_step()) {
    const float norm = sqrtf(squares[k]);
    scale[k] = clipnorm / (norm < clipnorm ? clipnorm : norm);
  }
}
__global__ void clip_together_kernel(const float* __restrict__ squares, float* __restrict__ scale, int64_t n, float clipnorm) {
  const float norm = float(sqrt(block_sum(squares, n))), inverse = 1 / norm, bound = 1 / clipnorm;
  // an infinite or NaN norm makes every gradient NaN, as in Keras
  const float factor = clipnorm * (inverse < bound ? inverse : bound) + (norm - norm);
  for (int64_t k = threadIdx.x; k < n; k += kThreads) scale[k] = factor;
}

__global__ void increment_kernel(void* x, int64_t bytes) {
  if (bytes == 4) *static_cast<int32_t*>(x) += 1;
  else *static_cast<int64_t*>(x) += 1;
}

}  // namespace

void sgd_update(UpdateBatch batch, const float* lr, float momentum, int64_t nesterov, float weight_decay, float clipvalue) {
  update(Sgd{momentum, nesterov != 0}, batch, lr, weight_decay, clipvalue);
}

void rmsprop_update(UpdateBatch batch, const float* lr, float rho, float one_minus_rho, float momentum, float epsilon,
                    float weight_decay, float clipvalue) {
  update(RmsProp{rho, one_minus_rho, momentum, epsilon}, batch, lr, weight_decay, clipvalue);
}

void adam_update(UpdateBatch batch, const float* lr, const void* iterations, int64_t iterations_bytes, float beta1,
                 float beta2, float one_minus_beta1, float one_minus_beta2, float epsilon, float weight_decay, float clipvalue) {
  update(Adam{iterations, iterations_bytes, beta1, beta2, one_minus_beta1, one_minus_beta2, epsilon}, batch, lr, weight_decay, clipvalue);
}

void squared_norms(UpdateBatch batch, float* y) {
  const Chunks chunks = chunks_of(batch);
  const int64_t total = chunks.first[batch.count];
  Scratch<double> partial(total);
  if (total) launch(chunk_squares_kernel, blocks_for(total, 1), kThreads, 0, batch, chunks, partial.get());
  launch(sum_chunks_kernel, unsigned(batch.count), kThreads, 0, chunks, partial.get(), y);
}

void clip_scales(const float* squares, float* scale, int64_t n, float clipnorm, int64_t global) {
  if (global) launch(clip_together_kernel, 1, kThreads, 0, squares, scale, n, clipnorm);
  else launch(clip_each_kernel, blocks_for(n), kThreads, 0, squares, scale, n, clipnorm);
}

void increment(void* x, int64_t bytes) { launch(increment_kernel, 1, 1, 0, x, bytes); }

}  // namespace fastnn::cuda
