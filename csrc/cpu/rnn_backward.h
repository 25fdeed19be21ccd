// What the backward passes of lstm, gru and simple_rnn share.
//
// A pass has three phases: back through time (threads own rows of the batch) gives gz, the gradient
// of the arguments of the gates for all steps; then the weights' gradients are products over batch
// and time, and the input's is one product more.
#pragma once
#include "cpu/gemm.h"
#include "cpu/rnn.h"

namespace fastnn {
namespace {

inline void rnn_zero(float* p, int64_t n) {
  for_each_vec(n, [&](int64_t i, int64_t k) { Vec::zero().store(p + i, k); });
}

// Gradients vanish over long sequences; below 2^-100 they are 0 here, before arithmetic on subnormal
// numbers, which is a hundred times slower on many CPUs, can start.
inline Vec rnn_flush(Vec g) { return select(abs(g) < Vec::set(7.9e-31f), Vec::zero(), g); }

// gh (units) += gy of the step. Returns whether the step was computed, not masked.
inline bool rnn_add_gy(const RnnBackward& a, int64_t row, int64_t t, int64_t s, float* gh) {
  const bool on = !a.mask || a.mask[row * a.steps + t];
  if (a.gy && (on || !a.zero_output)) {
    const float* gy = a.gy + (row * a.steps + s) * a.units;
    for_each_vec(a.units, [&](int64_t i, int64_t n) { (Vec::load(gh + i, n) + Vec::load(gy + i, n)).store(gh + i, n); });
  }
  return on;
}

// Columns of the recurrent weights, transposed and packed for gh += gz @ w^T.
struct RnnWeightsT {
  const int64_t units, k;
  Scratch<float> packed;
  // w (units, k), rows ld apart
  RnnWeightsT(const float* w, int64_t units, int64_t k, int64_t ld)
      : units(units), k(k), packed(packed_size(k, units)) {
    pack_b_parallel(true, k, units, w, ld, packed);
  }
  // gh (rows, units) += gz (rows, k) @ w^T
  void add_product(int64_t rows, const float* gz, int64_t ldgz, float* gh, int64_t ldgh) const {
    gemm_packed_serial(false, rows, units, k, gz, ldgz, packed, gh, ldgh, true);
  }
};

// c (m, n) = sum over batch and time of a[row, t, :m] (outer) gz[row, t, col : col + n]
struct RnnProduct {
  const float* a;
  int64_t stride, lda, m;  // of a: between rows of the batch, between times; columns
  int64_t col, n;
  float* c;
  int64_t ldc;
};

// The product of the states before each step.
inline RnnProduct rnn_state_product(const RnnBackward& a, int64_t col, int64_t n, float* c, int64_t ldc) {
  const float* before = a.hs + (a.go_backwards ? a.units : 0);
  return {before, (a.steps + 1) * a.units, a.units, a.units, col, n, c, ldc};
}

// All products, and gbias (bias_columns) = sum of gz over batch and time, or null.
//
// Batch and time are cut into a few slices, fixed by the problem; each gives a partial result, and
// these are added in order. Columns are cut as well when there are many.
inline void rnn_weight_gradients(const RnnBackward& a, int64_t ldgz, const RnnProduct* products,
                                 int64_t count, float* gbias, int64_t bias_columns) {
  constexpr int64_t kColumns = 256, kSteps = 512;
  const int64_t total = a.batch * a.steps;
  int64_t tasks = 1, floats = bias_columns;  // task 0 of a slice is the bias
  for (int64_t i = 0; i < count; ++i) {
    tasks += ceil_div(products[i].n, kColumns);
    floats += products[i].m * products[i].n;
  }
  const int64_t slices = max(1, min(min(8, ceil_div(total, 256)), ceil_div(16, tasks)));
  const int64_t slice_rows = ceil_div(total, slices);
  Scratch<float> partial(slices * floats);
  parallel_for(slices * tasks, total * floats > 200000 ? 1 : slices * tasks, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t slice = task / tasks, first = slice * slice_rows, last = min(total, first + slice_rows);
      float* c = partial + slice * floats;
      int64_t part = task % tasks;
      if (part == 0) {
        rnn_zero(c, bias_columns);
        if (gbias)
          for (int64_t i = first; i < last; ++i)
            for_each_vec(bias_columns, [&](int64_t k, int64_t n) {
              (Vec::load(c + k, n) + Vec::load(a.gz + i * ldgz + k, n)).store(c + k, n);
            });
        continue;
      }
      --part;
      c += bias_columns;
      const RnnProduct* p = products;
      for (; part >= ceil_div(p->n, kColumns); ++p) part -= ceil_div(p->n, kColumns), c += p->m * p->n;
      const int64_t col = part * kColumns, n = min(kColumns, p->n - col);
      if (first >= last)
        for (int64_t i = 0; i < p->m; ++i) rnn_zero(c + i * p->n + col, n);
      // Pieces of rows that lie at one distance: within a row of the batch, or all.
      const bool flat = a.steps == 1 || p->stride == a.steps * p->lda;
      const int64_t steps = flat ? total : a.steps, lda = a.steps == 1 ? p->stride : p->lda;
      for (int64_t i = first; i < last;) {
        const int64_t row = i / steps, t = i % steps, k = min(min(kSteps, steps - t), last - i);
        gemm_serial(true, false, p->m, n, k, p->a + row * p->stride + t * lda, lda, a.gz + i * ldgz + p->col + col, ldgz,
                    c + col, p->n, i != first);
        i += k;
      }
    }
  });
  // c = partial[0] + partial[1] + ...
  const auto combine = [&](int64_t offset, int64_t m, int64_t n, float* c, int64_t ldc) {
    parallel_for(m, 1 + 16384 / (n * slices + 1), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        for_each_vec(n, [&](int64_t j, int64_t w) {
          const float* from = partial + offset + i * n + j;
          Vec sum = Vec::load(from, w);
          for (int64_t slice = 1; slice < slices; ++slice) sum = sum + Vec::load(from + slice * floats, w);
          sum.store(c + i * ldc + j, w);
        });
    });
  };
  if (gbias) combine(0, 1, bias_columns, gbias, bias_columns);
  for (int64_t i = 0, offset = bias_columns; i < count; offset += products[i].m * products[i].n, ++i)
    combine(offset, products[i].m, products[i].n, products[i].c, products[i].ldc);
}

}  // namespace
}  // namespace fastnn
