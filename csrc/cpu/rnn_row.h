// The forward pass of lstm, gru and simple_rnn for a single row: each step is the product of a vector and the recurrent
// weights, which takes as long as reading these. So they are read where they lie, row after row, and are shared by rows: who
// computes some units of the state multiplies them with their rows, which stay in its second-level cache. What the others
// need of it is its part of every sum: threads meet once in a step.
#pragma once
#include "cpu/gemm.h"
#include "cpu/rnn.h"

namespace fastnn {
namespace {

inline bool rnn_is_row(const RnnForward& a) { return a.batch == 1 && a.features > 0; }

// y (n) = [y +] h (R) @ w (R, n)
template <int R>
inline void rnn_row_add(const float* h, const float* w, int64_t n, bool add, float* y) {
  Vec hs[R];
  FASTNN_UNROLL for (int i = 0; i < R; ++i) hs[i] = Vec::set(h[i]);
  for_each_vec(n, [&](int64_t j, int64_t m) {
    Vec sum = add ? Vec::load(y + j, m) : Vec::zero();
    FASTNN_UNROLL for (int i = 0; i < R; ++i) sum = fma(hs[i], Vec::load(w + i * n + j, m), sum);
    sum.store(y + j, m);
  });
}

// y (n) = h (k) @ w (k, n), k > 0. `back`: from the last rows on.
inline void rnn_row_product(const float* h, const float* w, int64_t k, int64_t n, bool back, float* y) {
  constexpr int64_t R = 8;  // y is read and written once for 8 rows, all of which have a stream of the prefetcher
  const int64_t groups = k / R;
  for (int64_t i = 0; i < groups; ++i) {
    const int64_t p = (back ? groups - 1 - i : i) * R;
    rnn_row_add<R>(h + p, w + p * n, n, i > 0, y);
  }
  for (int64_t p = groups * R; p < k; ++p) rnn_row_add<1>(h + p, w + p * n, n, p > 0, y);
}

// The arguments of the gates of a step: what comes from x (with its bias), and from h.
struct RnnRowSums {
  const float *input, *partial;  // (gates * units), (shares, gates * units)
  int64_t units, wide, shares;
  Vec from_x(int64_t gate, int64_t unit, int64_t n) const { return Vec::load(input + gate * units + unit, n); }
  Vec from_h(int64_t gate, int64_t unit, int64_t n) const {
    const float* p = partial + gate * units + unit;
    Vec sum = Vec::load(p, n);
    for (int64_t i = 1; i < shares; ++i) sum = sum + Vec::load(p + i * wide, n);
    return sum;
  }
  Vec all(int64_t gate, int64_t unit, int64_t n) const { return from_x(gate, unit, n) + from_h(gate, unit, n); }
};

// h (units) is the state before the first step. cells(s, unit0, units, sums) makes that after step s of it.
template <class F>
inline void rnn_row(const RnnForward& a, int64_t gates, const float* h, F cells) {
  constexpr int64_t kAhead = 64;                 // steps whose input is multiplied at once
  constexpr int64_t kShared = int64_t(1) << 17;  // 512 KB: to read half of less takes no longer than to exchange the sums
  const int64_t u = a.units, wide = gates * u;
  const RnnPlan plan = rnn_plan(1, a.steps, u, Vec::width, u * wide);
  const int64_t chunk = plan.by_units && u * wide >= kShared ? plan.chunk : u, shares = ceil_div(u, chunk);
  Scratch<float> input(min(kAhead, a.steps) * wide), partials(2 * shares * wide);
  for (int64_t s = -1; s < a.steps; ++s) {
    const int64_t ahead = min(kAhead, a.steps - max(s, 0) / kAhead * kAhead);
    // By time: the last step of a group comes first where time goes backwards.
    const auto row = [&](int64_t step) { return a.go_backwards ? ahead - 1 - step % kAhead : step % kAhead; };
    if (s >= 0 && s % kAhead == 0)
      gemm(false, false, ahead, wide, a.features, a.x + (a.go_backwards ? a.steps - s - ahead : s) * a.features, a.features, a.kernel, wide, input,
           wide, false, {1, a.bias, kActivationLinear});
    // What the steps before and after this one have: they take turns.
    float *const before = partials + (s & 1) * shares * wide, *const after = partials + (~s & 1) * shares * wide;
    parallel_for(u, chunk, [&](int64_t begin, int64_t end) {
      if (s >= 0) cells(s, begin, end - begin, RnnRowSums{input + row(s) * wide, before, u, wide, shares});
      if (s + 1 < a.steps) rnn_row_product(h + begin, a.recurrent + begin * wide, end - begin, wide, s & 1, after + begin / chunk * wide);
    });
  }
}

}  // namespace
}  // namespace fastnn
