// What the backward passes of lstm, gru and simple_rnn share.
//
// A pass has two phases: back through time gives gz, the gradient of the arguments of the gates for
// all steps, and its sum, the bias's gradient; then the gradients of weights and input are products.
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

// gh (units) += gy of step s. Returns whether the step was computed, not masked.
inline bool rnn_add_gy(const RnnBackward& a, int64_t row, int64_t t, int64_t s, int64_t unit0, int64_t units, float* gh) {
  const bool on = !a.mask || a.mask[row * a.steps + t];
  if (a.gy && (on || !a.zero_output)) {
    const float* gy = a.gy + (row * a.steps + s) * a.units;
    for_each_vec(units, [&](int64_t i, int64_t n) {
      float* to = gh + unit0 + i;
      (Vec::load(to, n) + Vec::load(gy + unit0 + i, n)).store(to, n);
    });
  }
  return on;
}

// The recurrent weights w (units, k), rows ld apart, for gh += gz @ w^T: packed, each chunk of units
// for itself. A single row is dot products with the rows as they stand.
class RnnWeightsT {
 public:
  RnnWeightsT(const float* w, int64_t units, int64_t k, int64_t ld, int64_t batch, const RnnPlan& plan)
      : w_(w), k_(k), ld_(ld), packs_(batch > 1), chunk_(plan.by_units ? min(plan.chunk, units) : units),
        packed_(packs_ ? ceil_div(units, chunk_) * packed_size(k, chunk_) : 0) {
    if (packs_)
      for (int64_t unit = 0; unit < units; unit += chunk_)
        pack_b_parallel(true, k, min(chunk_, units - unit), w + unit * ld, ld, packed(unit));
  }
  // gh (rows, units) += gz (rows, k) @ w^T, for a chunk of units
  void add_product(int64_t rows, int64_t unit0, int64_t units, const float* gz, int64_t ldgz, float* gh, int64_t ldgh) const {
    if (packs_) gemm_packed_serial(false, rows, units, k_, gz, ldgz, packed(unit0), gh + unit0, ldgh, true);
    else gemm_serial(false, true, rows, units, k_, gz, ldgz, w_ + unit0 * ld_, ld_, gh + unit0, ldgh, true);
  }

 private:
  float* packed(int64_t unit) const { return packed_ + unit / chunk_ * packed_size(k_, chunk_); }
  const float* w_;
  const int64_t k_, ld_;
  const bool packs_;
  const int64_t chunk_;
  Scratch<float> packed_;
};

// Where the gradients of a step go. One row of the batch: gz (columns) of the workspace and of the
// step, which is multiplied with the recurrent weights, and the bias's (columns), which is added to.
struct RnnStepGradients {
  float *gz, *step, *gb, *gh;
};

// Back through time: gates(row, t, s, unit0, units, g) computes the gradients of a row at step s
// from g.gh and leaves in g.gh what does not pass through the recurrent weights. finish(row0, rows,
// t, s, g_of_row) follows it for all rows of a chunk.
// wide: columns of a step that are multiplied with them; columns: of gz and of gb.
template <class F, class G>
inline void rnn_through_time(const RnnBackward& a, const RnnPlan& plan, const RnnWeightsT& recurrent, int64_t wide,
                             int64_t columns, float* gbias, F gates, G finish) {
  const int64_t u = a.units, chunks = plan.by_units ? 1 : max(1, ceil_div(a.batch, plan.chunk));
  // gh (batch, units), step (2, batch, wide), gb (chunks, columns)
  Scratch<float> scratch(a.batch * (u + 2 * wide) + chunks * columns);
  float *const gh = scratch, *const step = gh + a.batch * u, *const gb = step + 2 * a.batch * wide;
  rnn_load_state(a.gh_last, 0, a.batch, u, gh, u);
  rnn_zero(gb, chunks * columns);
  rnn_run(plan, a.batch, a.steps + 1, u, 1, [&](int64_t row0, int64_t rows, int64_t unit0, int64_t units, int64_t i, int) {
    // Chunks of units meet between steps: what they read and write must be apart.
    float* const last = step + (plan.by_units ? (i + 1) % 2 : 0) * a.batch * wide;
    float* const next = step + (plan.by_units ? i % 2 : 0) * a.batch * wide;
    if (i > 0) recurrent.add_product(rows, unit0, units, last + row0 * wide, wide, gh + row0 * u, u);
    if (i == a.steps) return;
    const int64_t s = a.steps - 1 - i, t = a.go_backwards ? a.steps - 1 - s : s;
    float* const gb_chunk = gb + (plan.by_units ? 0 : row0 / plan.chunk) * columns;
    const auto of_row = [=, &a](int64_t r) {
      return RnnStepGradients{a.gz + (r * a.steps + t) * columns, next + r * wide, gb_chunk, gh + r * a.units};
    };
    for (int64_t r = row0; r < row0 + rows; ++r) gates(r, t, s, unit0, units, of_row(r));
    finish(row0, rows, t, s, of_row);
  });
  rnn_store_state(gh, u, 0, a.batch, u, a.gh0);
  if (!gbias) return;
  for (int64_t c = 1; c < chunks; ++c)
    for_each_vec(columns, [&](int64_t k, int64_t n) { (Vec::load(gb + k, n) + Vec::load(gb + c * columns + k, n)).store(gb + k, n); });
  for_each_vec(columns, [&](int64_t k, int64_t n) { Vec::load(gb + k, n).store(gbias + k, n); });
}

// c (m, n) = sum over batch and time of a[i, :m] (outer) gz[i, col : col + n]
struct RnnProduct {
  const float* a;  // (batch * steps, m)
  int64_t lda, m, col, n;
  float* c;
  int64_t ldc;
};

// All products with gz (batch * steps, columns), and gx = gz[:, col : col + wide] @ kernel^T. Products with the
// same columns of gz stand next to each other: gz is packed once for them.
inline void rnn_products(const RnnBackward& a, int64_t columns, int64_t col, int64_t wide, const RnnProduct* products, int64_t count) {
  constexpr int64_t kSlice = 256;  // rows of gz that stay in L2 until all products have used them
  const int64_t total = a.batch * a.steps;
  int64_t floats = 0, widest = 0;
  for (int64_t i = 0; i < count; ++i) floats += products[i].m * products[i].n, widest = max(widest, products[i].n);
  if (floats > int64_t(1) << 17) {  // partial sums would be read from L3
    for (const RnnProduct* p = products; p < products + count; ++p)
      gemm(true, false, p->m, p->n, total, p->a, p->lda, a.gz + p->col, columns, p->c, p->ldc);
    if (a.gx) gemm(false, true, total, a.features, wide, a.gz + col, columns, a.kernel, wide, a.gx, a.features);
    return;
  }
  const int64_t chunks = max(1, min(8, total * floats / 400000)), rows = ceil_div(total, chunks);
  Scratch<float> partial(chunks * floats), kernel(a.gx ? packed_size(wide, a.features) : 0);
  if (a.gx) pack_b_parallel(true, wide, a.features, a.kernel, wide, kernel);
  parallel_for(chunks, 1, [&](int64_t chunk, int64_t) {
    const int64_t first = min(total, chunk * rows), end = min(total, first + rows);
    Scratch<float> packed(packed_size(kSlice, widest));
    if (first == end) rnn_zero(partial + chunk * floats, floats);
    for (int64_t i = first; i < end; i += kSlice) {
      const int64_t n = min(kSlice, end - i);
      const float* gz = a.gz + i * columns;
      float* c = partial + chunk * floats;
      for (const RnnProduct* p = products; p < products + count; c += p->m * p->n, ++p) {
        if (p == products || p[-1].col != p->col || p[-1].n != p->n) pack_b(false, n, p->n, gz + p->col, columns, packed);
        gemm_packed_serial(true, p->m, p->n, n, p->a + i * p->lda, p->lda, packed, c, p->n, i > first);
      }
      if (a.gx) gemm_packed_serial(false, n, a.features, wide, gz + col, columns, kernel, a.gx + i * a.features, a.features);
    }
  });
  const float* from = partial;
  for (const RnnProduct* p = products; p < products + count; from += p->m * p->n, ++p)
    parallel_for(p->m, 1 + 16384 / (p->n * chunks), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        for_each_vec(p->n, [&](int64_t j, int64_t w) {
          Vec sum = Vec::load(from + i * p->n + j, w);
          for (int64_t chunk = 1; chunk < chunks; ++chunk) sum = sum + Vec::load(from + chunk * floats + i * p->n + j, w);
          sum.store(p->c + i * p->ldc + j, w);
        });
    });
}

}  // namespace
}  // namespace fastnn
