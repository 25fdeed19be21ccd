// What lstm, gru and simple_rnn share: a cell (one unit of one row at one step) is described once, and run in one of
// two ways.
//
// The input projection of all steps is one product, through the kernel `matmul`. Where the recurrent weights fit in
// shared memory, a block then owns some rows of the batch and walks through all steps without leaving the kernel: a
// thread has one unit of R rows and all its gates, reads each weight once for R rows (neighbouring threads,
// neighbouring banks) and gets the rows' states as broadcasts; a step costs one barrier. 2 G u flops per row and
// step against 4 G u / R bytes of shared memory. Larger weights are bound by their product: each step is a product
// with `matmul` and a kernel over elements. Every sum has one order, so both the grid and the bits follow from the
// problem.
//
// Backward walks back likewise and leaves gz, the gradients of the gates' arguments, for all steps; the gradients of
// weights, bias and input are then products and sums over it.
#pragma once
#include "functions.h"

namespace fastnn::cuda {

// Recurrent weights up to this size stay in shared memory, of which the smallest GPU gives a block 99 KB.
constexpr int64_t kRnnShared = 96 * 1024;

// Where the state before step s of a row is in hs and cs: rows (batch, time), then those after the last step.
__host__ __device__ __forceinline__ int64_t rnn_before(int64_t batch, int64_t steps, int64_t row, int64_t s, int64_t go_backwards) {
  return s == steps ? batch * steps + row : row * steps + (go_backwards ? steps - 1 - s : s);
}
template <class Rnn>
__device__ __forceinline__ int64_t rnn_before(const Rnn& a, int64_t row, int64_t s) { return rnn_before(a.batch, a.steps, row, s, a.go_backwards); }
// The row of (batch, time) arrays at step s.
template <class Rnn>
__device__ __forceinline__ int64_t rnn_at(const Rnn& a, int64_t row, int64_t s) { return row * a.steps + (a.go_backwards ? a.steps - 1 - s : s); }

// The state h of unit j after step s: workspace and output.
__device__ __forceinline__ void rnn_emit(const RnnForward& a, float h, bool on, int64_t row, int64_t s, int64_t j) {
  if (a.hs) a.hs[rnn_before(a, row, s + 1) * a.units + j] = h;
  if (a.y) a.y[(row * a.steps + s) * a.units + j] = on || !a.zero_output ? h : 0;
}

// Gradients vanish over long sequences: below 2^-100 they are 0, as on the CPU.
__device__ __forceinline__ float rnn_flush(float g) { return fabsf(g) < 7.9e-31f ? 0 : g; }

// A cell has
//   kGates          columns of the weights per unit
//   kTwoPhases      whether the last gate's product is with a state that the others make (q, see gru.cu)
//   forward         x (kGates): the input's part of the arguments, r: the state's; h and c in and out
//   make            of two phases: the first gates, into x; returns q
//   backward        gh and gc in and out; g (kGates): gradients of the products with the recurrent weights
//   backward_make   of two phases: gq is the gradient of q
// gz, the gradients that the products need: (batch, steps, kGates units), and for gru another (batch, steps, units).

// How rows are shared out among blocks where the weights are in shared memory.
struct RnnPlan {
  bool persistent;
  int threads_x, threads_y, rows;  // units and groups of rows of a block; rows of a thread
};
inline RnnPlan rnn_plan(int64_t batch, int64_t units, int64_t gates, int64_t row_floats) {
  RnnPlan p{false, int((units + 31) / 32 * 32), 1, 1};
  if (units > kThreads) return p;
  // Blocks for half of a large GPU come first, then reuse of the weights.
  while (p.threads_x * p.threads_y * 2 <= kThreads && batch >= 128 * p.threads_y) p.threads_y *= 2;
  while (p.rows < 4 && batch >= 128 * p.threads_y * p.rows) p.rows *= 2;
  p.persistent = (units * units * gates + row_floats * p.threads_y * p.rows) * 4 <= kRnnShared;
  return p;
}

// ---- forward ----

template <class Cell, int R>
__global__ void __launch_bounds__(kThreads, 1) rnn_forward_kernel(RnnForward a, const float* __restrict__ zx) {
  constexpr int G = Cell::kGates, first_gates = Cell::kTwoPhases ? G - 1 : G;
  FASTNN_DYNAMIC_SHARED(float, shared);
  const int64_t u = a.units;
  const int rows = blockDim.y * R, threads = blockDim.x * blockDim.y, rank = threadIdx.y * blockDim.x + threadIdx.x;
  float* const w = shared;               // (u, G, u)
  float* const states = w + G * u * u;   // 2 (u, rows): h before and after even steps
  float* const q = states + 2 * u * rows;  // (u, rows), two phases
  for (int64_t i = rank; i < G * u * u; i += threads) w[i] = a.recurrent[i];
  const int64_t j = threadIdx.x, row0 = int64_t(blockIdx.x) * rows + threadIdx.y * R;
  const int slot = threadIdx.y * R;
  const bool has_unit = j < u;
  float h[R], c[R];
  FASTNN_UNROLL for (int r = 0; r < R; ++r) {
    const int64_t row = row0 + r;
    const bool valid = has_unit && row < a.batch;
    h[r] = valid && a.h0 ? a.h0[row * u + j] : 0;
    c[r] = valid && a.c0 ? a.c0[row * u + j] : 0;
    if (has_unit) states[j * rows + slot + r] = h[r];
    if (valid && a.hs) a.hs[rnn_before(a, row, 0) * u + j] = h[r];
    if (valid && a.cs) a.cs[rnn_before(a, row, 0) * u + j] = c[r];
  }
  for (int64_t s = 0; s < a.steps; ++s) {
    const float* now = states + (s % 2) * u * rows;
    float* next = states + (1 - s % 2) * u * rows;
    float x[R][G], sum[R][G];
    FASTNN_UNROLL for (int r = 0; r < R; ++r)
      FASTNN_UNROLL for (int k = 0; k < G; ++k) {
        x[r][k] = has_unit && row0 + r < a.batch ? zx[(rnn_at(a, row0 + r, s) * G + k) * u + j] : 0;
        sum[r][k] = 0;
      }
    __syncthreads();
    if (has_unit)
      for (int64_t p = 0; p < u; ++p)
        FASTNN_UNROLL for (int k = 0; k < first_gates; ++k) {
          const float weight = w[(p * G + k) * u + j];
          FASTNN_UNROLL for (int r = 0; r < R; ++r) sum[r][k] = fmaf(now[p * rows + slot + r], weight, sum[r][k]);
        }
    if constexpr (Cell::kTwoPhases) {
      if (has_unit)
        FASTNN_UNROLL for (int r = 0; r < R; ++r) q[j * rows + slot + r] = Cell::make(x[r], sum[r], h[r]);
      __syncthreads();
      if (has_unit)
        for (int64_t p = 0; p < u; ++p) {
          const float weight = w[(p * G + G - 1) * u + j];
          FASTNN_UNROLL for (int r = 0; r < R; ++r) sum[r][G - 1] = fmaf(q[p * rows + slot + r], weight, sum[r][G - 1]);
        }
    }
    FASTNN_UNROLL for (int r = 0; r < R; ++r)
      if (has_unit && row0 + r < a.batch) {
        Cell::forward(a, row0 + r, s, j, x[r], sum[r], h[r], c[r]);
        next[j * rows + slot + r] = h[r];
      } else if (has_unit) {
        next[j * rows + slot + r] = 0;
      }
  }
  FASTNN_UNROLL for (int r = 0; r < R; ++r)
    if (has_unit && row0 + r < a.batch) {
      a.h_last[(row0 + r) * u + j] = h[r];
      if (a.c_last) a.c_last[(row0 + r) * u + j] = c[r];
    }
}

// Of the way by steps. state (batch, units) becomes `from`, or zeros; saved in its place of the workspace.
static __global__ void rnn_begin_kernel(const float* from, float* state, float* saved, int64_t batch, int64_t steps, int64_t units, int64_t go_backwards) {
  for (int64_t i = first_index(); i < batch * units; i += index_step()) {
    const int64_t row = i / units;
    state[i] = from ? from[i] : 0;
    if (saved) saved[rnn_before(batch, steps, row, 0, go_backwards) * units + i % units] = state[i];
  }
}

// q (batch, units) of step s and the first gates, in place of the state's part of their arguments.
template <class Cell>
__global__ void rnn_make_kernel(RnnForward a, const float* __restrict__ zx, float* zh, float* __restrict__ q, const float* __restrict__ h, int64_t s) {
  constexpr int G = Cell::kGates;
  for (int64_t i = first_index(); i < a.batch * a.units; i += index_step()) {
    const int64_t row = i / a.units, j = i - row * a.units;
    float x[G], sum[G];
    FASTNN_UNROLL for (int k = 0; k < G; ++k) {
      x[k] = zx[(rnn_at(a, row, s) * G + k) * a.units + j];
      sum[k] = zh[(row * G + k) * a.units + j];
    }
    q[i] = Cell::make(x, sum, h[i]);
    FASTNN_UNROLL for (int k = 0; k + 1 < G; ++k) zh[(row * G + k) * a.units + j] = x[k];
  }
}

// The end of step s from zh (batch, G units), the product of the state and its weights; with two phases zh has the
// first gates, and zq (batch, units) the product of q.
template <class Cell>
__global__ void rnn_step_kernel(RnnForward a, const float* __restrict__ zx, const float* __restrict__ zh, const float* __restrict__ zq,
                                float* h, float* c, int64_t s) {
  constexpr int G = Cell::kGates;
  for (int64_t i = first_index(); i < a.batch * a.units; i += index_step()) {
    const int64_t row = i / a.units, j = i - row * a.units;
    float x[G], sum[G], state = h[i], cell = c ? c[i] : 0;
    FASTNN_UNROLL for (int k = 0; k < G; ++k) {
      x[k] = zx[(rnn_at(a, row, s) * G + k) * a.units + j];
      sum[k] = zh[(row * G + k) * a.units + j];
    }
    if constexpr (Cell::kTwoPhases) {
      FASTNN_UNROLL for (int k = 0; k + 1 < G; ++k) x[k] = sum[k];
      sum[G - 1] = zq[i];
    }
    Cell::forward(a, row, s, j, x, sum, state, cell);
    h[i] = state;
    if (c) c[i] = cell;
  }
}

// c (m, n) = a @ b + bias
inline void rnn_matmul(const float* a, const float* b, const float* bias, float* c, int64_t m, int64_t n, int64_t k, bool trans_a = false, bool trans_b = false) {
  MatmulShape s{};
  s.m = m, s.n = n, s.k = k, s.trans_a = trans_a, s.trans_b = trans_b, s.activation = kActivationLinear;
  if (m && n) matmul(a, b, bias, c, s);
}

// to (rows, n), rows `ldt` apart = from, rows `ldf` apart.
inline void rnn_copy(const float* from, int64_t ldf, float* to, int64_t ldt, int64_t rows, int64_t n) {
  CopyShape s{};
  s.itemsize = 4, s.rank = 2, s.size[0] = rows, s.size[1] = n;
  s.src_stride[0] = 4 * ldf, s.dst_stride[0] = 4 * ldt, s.src_stride[1] = s.dst_stride[1] = 4;
  if (rows && n) copy(from, to, s);
}

template <class Cell>
void rnn_forward(const RnnForward& a) {
  constexpr int G = Cell::kGates;
  const int64_t u = a.units, total = a.batch * a.steps, size = a.batch * u;
  if (!size) return;
  Scratch<float> zx(total * G * u);
  rnn_matmul(a.x, a.kernel, a.bias, zx.get(), total, G * u, a.features);
  const int64_t row_floats = (Cell::kTwoPhases ? 3 : 2) * u;
  const RnnPlan p = rnn_plan(a.batch, u, G, row_floats);
  if (p.persistent) {
    const int64_t rows = p.threads_y * p.rows, bytes = (G * u * u + row_floats * rows) * 4;
    const dim3 block(unsigned(p.threads_x), unsigned(p.threads_y));
    const auto kernel = p.rows == 1 ? rnn_forward_kernel<Cell, 1> : p.rows == 2 ? rnn_forward_kernel<Cell, 2> : rnn_forward_kernel<Cell, 4>;
    return launch(kernel, unsigned(ceil_div(a.batch, rows)), block, size_t(bytes), a, zx.get());
  }
  Scratch<float> zh(size * G), q(Cell::kTwoPhases ? 2 * size : 0), weights(Cell::kTwoPhases ? u * u : 0);
  const unsigned blocks = blocks_for(size);
  launch(rnn_begin_kernel, blocks, kThreads, 0, a.h0, a.h_last, a.hs, a.batch, a.steps, u, a.go_backwards);
  if (a.c_last) launch(rnn_begin_kernel, blocks, kThreads, 0, a.c0, a.c_last, a.cs, a.batch, a.steps, u, a.go_backwards);
  if constexpr (Cell::kTwoPhases) rnn_copy(a.recurrent + (G - 1) * u, G * u, weights.get(), u, u, u);
  for (int64_t s = 0; s < a.steps; ++s) {
    rnn_matmul(a.h_last, a.recurrent, nullptr, zh.get(), a.batch, G * u, u);
    if constexpr (Cell::kTwoPhases) {
      launch(rnn_make_kernel<Cell>, blocks, kThreads, 0, a, zx.get(), zh.get(), q.get(), a.h_last, s);
      rnn_matmul(q.get(), weights.get(), nullptr, q.get() + size, a.batch, u, u);
    }
    launch(rnn_step_kernel<Cell>, blocks, kThreads, 0, a, zx.get(), zh.get(), q.get() + (Cell::kTwoPhases ? size : 0), a.h_last, a.c_last, s);
  }
}

// ---- backward ----

// gy of step s, where it reaches the state. `on`: the step was computed, not masked.
__device__ __forceinline__ float rnn_gy(const RnnBackward& a, bool on, int64_t row, int64_t s, int64_t j) {
  return a.gy && (on || !a.zero_output) ? a.gy[(row * a.steps + s) * a.units + j] : 0;
}

template <class Cell, int R>
__global__ void __launch_bounds__(kThreads, 1) rnn_backward_kernel(RnnBackward a) {  // one block fills an SM's shared memory
  constexpr int G = Cell::kGates, first_gates = Cell::kTwoPhases ? G - 1 : G;
  FASTNN_DYNAMIC_SHARED(float, shared);
  const int64_t u = a.units;
  const int rows = blockDim.y * R, threads = blockDim.x * blockDim.y, rank = threadIdx.y * blockDim.x + threadIdx.x;
  float* const w = shared;                         // (G u, u): the weights transposed
  float* const steps = w + G * u * u;              // 2 (G u, rows): gradients of this step and of the last
  float* const last = steps + 2 * G * u * rows;    // (u, rows): of the last gate, two phases
  for (int64_t i = rank; i < G * u * u; i += threads) {
    const int64_t p = i / (G * u), column = i - p * G * u;
    w[column * u + p] = a.recurrent[i];
  }
  const int64_t j = threadIdx.x, row0 = int64_t(blockIdx.x) * rows + threadIdx.y * R;
  const int slot = threadIdx.y * R;
  const bool has_unit = j < u;
  float gh[R], gc[R];
  FASTNN_UNROLL for (int r = 0; r < R; ++r) {
    const bool valid = has_unit && row0 + r < a.batch;
    gh[r] = valid && a.gh_last ? a.gh_last[(row0 + r) * u + j] : 0;
    gc[r] = valid && a.gc_last ? a.gc_last[(row0 + r) * u + j] : 0;
  }
  // gh += the gradients of a step, all gates from `from` up to `to`, and the weights
  const auto add_product = [&](const float* of, int from, int to) {
    if (has_unit)
      for (int64_t p = from * u; p < to * u; ++p) {
        const float weight = w[p * u + j];
        FASTNN_UNROLL for (int r = 0; r < R; ++r) gh[r] = fmaf(of[p * rows + slot + r], weight, gh[r]);
      }
  };
  for (int64_t i = 0; i < a.steps; ++i) {
    const int64_t s = a.steps - 1 - i;
    float* const now = steps + (i % 2) * G * u * rows;
    __syncthreads();
    if (i > 0) add_product(steps + (1 - i % 2) * G * u * rows, 0, first_gates);
    float g[R][G];
    bool on[R];
    FASTNN_UNROLL for (int r = 0; r < R; ++r) {
      const int64_t row = row0 + r;
      FASTNN_UNROLL for (int k = 0; k < G; ++k) g[r][k] = 0;
      const bool valid = has_unit && row < a.batch;
      on[r] = valid && (!a.mask || a.mask[rnn_at(a, row, s)]);
      if (valid) {
        gh[r] += rnn_gy(a, on[r], row, s, j);
        Cell::backward(a, on[r], row, s, j, gh[r], gc[r], g[r]);
      }
      if (Cell::kTwoPhases && has_unit) last[j * rows + slot + r] = g[r][G - 1];
    }
    if constexpr (Cell::kTwoPhases) {
      __syncthreads();
      float gq[R] = {};
      if (has_unit)
        for (int64_t p = 0; p < u; ++p) {
          const float weight = w[((G - 1) * u + p) * u + j];
          FASTNN_UNROLL for (int r = 0; r < R; ++r) gq[r] = fmaf(last[p * rows + slot + r], weight, gq[r]);
        }
      FASTNN_UNROLL for (int r = 0; r < R; ++r)
        if (has_unit && row0 + r < a.batch) Cell::backward_make(a, on[r], row0 + r, s, j, gq[r], gh[r], g[r]);
    }
    if (has_unit)
      FASTNN_UNROLL for (int k = 0; k < first_gates; ++k)
        FASTNN_UNROLL for (int r = 0; r < R; ++r) now[(k * u + j) * rows + slot + r] = g[r][k];
  }
  __syncthreads();
  if (a.steps) add_product(steps + ((a.steps - 1) % 2) * G * u * rows, 0, first_gates);
  FASTNN_UNROLL for (int r = 0; r < R; ++r)
    if (has_unit && row0 + r < a.batch) {
      a.gh0[(row0 + r) * u + j] = gh[r];
      if (a.gc0) a.gc0[(row0 + r) * u + j] = gc[r];
    }
}

// Of the way by steps: to += x
static __global__ void rnn_add_kernel(float* to, const float* __restrict__ x, int64_t n) {
  for (int64_t i = first_index(); i < n; i += index_step()) to[i] += x[i];
}
// gh += product, the gradient through the step after s, if any; then the gates of step s: step (batch, G units), and with two
// phases `last` (batch, units), the last gate's.
template <class Cell>
__global__ void rnn_backward_step_kernel(RnnBackward a, const float* __restrict__ product, float* __restrict__ step,
                                         float* __restrict__ last, int64_t s) {
  constexpr int G = Cell::kGates;
  for (int64_t i = first_index(); i < a.batch * a.units; i += index_step()) {
    const int64_t row = i / a.units, j = i - row * a.units;
    const bool on = !a.mask || a.mask[rnn_at(a, row, s)];
    float g[G] = {}, gc = a.gc0 ? a.gc0[i] : 0;
    float gh = (s + 1 < a.steps ? a.gh0[i] + product[i] : a.gh0[i]) + rnn_gy(a, on, row, s, j);
    Cell::backward(a, on, row, s, j, gh, gc, g);
    a.gh0[i] = gh;
    if (a.gc0) a.gc0[i] = gc;
    FASTNN_UNROLL for (int k = 0; k < G; ++k) step[(row * G + k) * a.units + j] = g[k];
    if (Cell::kTwoPhases) last[i] = g[G - 1];
  }
}
// The second phase: gq (batch, units). The last gate has had its product: its gradients are zero for the next.
template <class Cell>
__global__ void rnn_backward_make_kernel(RnnBackward a, const float* __restrict__ gq, float* step, int64_t s) {
  constexpr int G = Cell::kGates;
  for (int64_t i = first_index(); i < a.batch * a.units; i += index_step()) {
    const int64_t row = i / a.units, j = i - row * a.units;
    const bool on = !a.mask || a.mask[rnn_at(a, row, s)];
    float g[G], gh = a.gh0[i];
    FASTNN_UNROLL for (int k = 0; k < G; ++k) g[k] = step[(row * G + k) * a.units + j];
    Cell::backward_make(a, on, row, s, j, gq[i], gh, g);
    a.gh0[i] = gh;
    FASTNN_UNROLL for (int k = 0; k + 1 < G; ++k) step[(row * G + k) * a.units + j] = g[k];
    step[(row * G + G - 1) * a.units + j] = 0;
  }
}

// gz, gh0 and gc0.
template <class Cell>
void rnn_through_time(const RnnBackward& a) {
  constexpr int G = Cell::kGates;
  const int64_t u = a.units, size = a.batch * u;
  if (!size) return;
  const int64_t row_floats = (2 * G + (Cell::kTwoPhases ? 1 : 0)) * u;
  const RnnPlan p = rnn_plan(a.batch, u, G, row_floats);
  if (p.persistent) {
    const int64_t rows = p.threads_y * p.rows, bytes = (G * u * u + row_floats * rows) * 4;
    const dim3 block(unsigned(p.threads_x), unsigned(p.threads_y));
    const auto kernel = p.rows == 1 ? rnn_backward_kernel<Cell, 1> : p.rows == 2 ? rnn_backward_kernel<Cell, 2> : rnn_backward_kernel<Cell, 4>;
    return launch(kernel, unsigned(ceil_div(a.batch, rows)), block, size_t(bytes), a);
  }
  Scratch<float> step(size * G), product(size), last(Cell::kTwoPhases ? 2 * size : 0), weights(Cell::kTwoPhases ? u * u : 0);
  const unsigned blocks = blocks_for(size);
  launch(rnn_begin_kernel, blocks, kThreads, 0, a.gh_last, a.gh0, nullptr, a.batch, a.steps, u, a.go_backwards);
  if (a.gc0) launch(rnn_begin_kernel, blocks, kThreads, 0, a.gc_last, a.gc0, nullptr, a.batch, a.steps, u, a.go_backwards);
  if constexpr (Cell::kTwoPhases) rnn_copy(a.recurrent + (G - 1) * u, G * u, weights.get(), u, u, u);
  for (int64_t s = a.steps - 1; s >= 0; --s) {
    launch(rnn_backward_step_kernel<Cell>, blocks, kThreads, 0, a, product.get(), step.get(), last.get(), s);
    if constexpr (Cell::kTwoPhases) {
      rnn_matmul(last.get(), weights.get(), nullptr, last.get() + size, a.batch, u, u, false, true);
      launch(rnn_backward_make_kernel<Cell>, blocks, kThreads, 0, a, last.get() + size, step.get(), s);
    }
    rnn_matmul(step.get(), a.recurrent, nullptr, product.get(), a.batch, u, G * u, false, true);
  }
  if (a.steps) launch(rnn_add_kernel, blocks, kThreads, 0, a.gh0, product.get(), size);
}

// The gradients of the input, its weights and the bias, and h^T gz: gz (batch steps, columns).
inline void rnn_products(const RnnBackward& a, int64_t columns) {
  const int64_t total = a.batch * a.steps;
  rnn_matmul(a.x, a.gz, nullptr, a.gkernel, a.features, columns, total, true);
  rnn_matmul(a.hs, a.gz, nullptr, a.grecurrent, a.units, columns, total, true);
  if (a.gx && total) rnn_matmul(a.gz, a.kernel, nullptr, a.gx, total, a.features, columns, false, true);
  if (a.gbias) reduce(reduce_op::sum, a.gz, a.gbias, 1, total, columns, total);
}

}  // namespace fastnn::cuda
