// LSTM over whole sequences (Hochreiter & Schmidhuber 1997, Gers et al. 2000).
//   i f o = sigmoid(z), g = tanh(z), z = x_t kernel + h recurrent + bias, gates in order i f g o
//   c = f c + i g
//   h = o tanh(c)
#include "cpu/rnn.h"
#include "cpu/rnn_backward.h"
#include "kernels.h"

namespace fastnn::FASTNN_TARGET {
namespace {

constexpr int W = Vec::width;

// The step at time t of a block of units of one row: z (4, W) -> h, c, and the workspace.
inline void lstm_gates(const RnnForward& a, const float* z, int64_t row, int64_t t, int64_t s,
                       int64_t unit, const float* h_prev, float* h_next, float* c_state) {
  const int64_t u = a.units, n = u - unit < W ? u - unit : W, at = row * a.steps + t;
  Vec h = Vec::load(h_prev), c = Vec::load(c_state);
  const bool on = !a.mask || a.mask[at];
  if (on) {
    const Vec i = sigmoid(Vec::load(z)), f = sigmoid(Vec::load(z + W));
    const Vec g = tanh(Vec::load(z + 2 * W)), o = sigmoid(Vec::load(z + 3 * W));
    c = fma(f, c, i * g);
    h = o * tanh(c);
    if (a.gates) {
      float* p = a.gates + at * 4 * u + unit;
      i.store(p, n), f.store(p + u, n), g.store(p + 2 * u, n), o.store(p + 3 * u, n);
    }
  }
  h.store(h_next);
  c.store(c_state);
  if (a.cs) c.store(a.cs + rnn_after(row, a.steps, t, a.go_backwards) * u + unit, n);
  rnn_emit(a, h, on, row, t, s, unit, n);
}

}  // namespace

void lstm_forward(RnnForward a) {
  const RnnWeights w(a, 4, 4, 4, 4);
  const int64_t u = a.units, ld = w.ld();
  parallel_for(a.batch, rnn_chunk_rows(a.batch, w.floats, a.steps), [&](int64_t begin, int64_t end) {
    const int64_t rows = end - begin;
    RnnInput<4, 4> input(a, w, begin, rows);
    Scratch<float> scratch(3 * rows * ld + rows * 4 * W);
    float *h = scratch, *h_next = h + rows * ld, *c = h_next + rows * ld, *z = c + rows * ld;
    rnn_load_state(a.h0, begin, rows, u, h, ld);
    rnn_load_state(a.c0, begin, rows, u, c, ld);
    rnn_save_initial(a, h, ld, begin, rows, a.hs);
    rnn_save_initial(a, c, ld, begin, rows, a.cs);
    for (int64_t s = 0; s < a.steps; ++s) {
      const int64_t t = a.go_backwards ? a.steps - 1 - s : s;
      input.step(s, t);
      for (int64_t block = 0; block < w.blocks; ++block) {
        rnn_tiles<4>(rows, [&](int64_t r) { return input.tile(r, t, block, h + r * ld, ld); }, z, 4 * W);
        for (int64_t r = 0; r < rows; ++r) {
          const int64_t at = r * ld + block * W;
          lstm_gates(a, z + r * 4 * W, begin + r, t, s, block * W, h + at, h_next + at, c + at);
        }
      }
      float* last = h;
      h = h_next, h_next = last;
    }
    rnn_store_state(h, ld, begin, rows, u, a.h_last);
    rnn_store_state(c, ld, begin, rows, u, a.c_last);
  });
}

void lstm_backward(RnnBackward a) {
  const int64_t u = a.units;
  const RnnWeightsT recurrent(a.recurrent, u, 4 * u, 4 * u);
  parallel_for(a.batch, rnn_chunk_rows(a.batch, 4 * u * u, a.steps), [&](int64_t begin, int64_t end) {
    const int64_t rows = end - begin;
    Scratch<float> scratch(rows * 6 * u);
    float *gh = scratch, *gc = gh + rows * u, *gz_step = gc + rows * u;
    rnn_load_state(a.gh_last, begin, rows, u, gh, u);
    rnn_load_state(a.gc_last, begin, rows, u, gc, u);
    for (int64_t s = a.steps - 1; s >= 0; --s) {
      const int64_t t = a.go_backwards ? a.steps - 1 - s : s;
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t at = (begin + r) * a.steps + t;
        float *out = a.gz + at * 4 * u, *step = gz_step + r * 4 * u, *gh_r = gh + r * u, *gc_r = gc + r * u;
        const bool on = rnn_add_gy(a, begin + r, t, s, gh_r);
        if (s > 0) {
          const int64_t next = a.go_backwards ? 1 : -1;
          rnn_prefetch(a.gates + (at + next) * 4 * u, 4 * u);
          rnn_prefetch_to_write(out + next * 4 * u, 4 * u);
          rnn_prefetch(a.cs + (rnn_before(begin + r, a.steps, t, a.go_backwards) + next) * u, u);
        }
        if (!on) {
          rnn_zero(out, 4 * u), rnn_zero(step, 4 * u);
          continue;
        }
        const float* p = a.gates + at * 4 * u;
        const float* c = a.cs + rnn_after(begin + r, a.steps, t, a.go_backwards) * u;
        const float* c_prev = a.cs + rnn_before(begin + r, a.steps, t, a.go_backwards) * u;
        for_each_vec(u, [&](int64_t k, int64_t n) {
          const Vec one = Vec::set(1), i = Vec::load(p + k, n), f = Vec::load(p + u + k, n);
          const Vec g = Vec::load(p + 2 * u + k, n), o = Vec::load(p + 3 * u + k, n);
          const Vec tc = tanh(Vec::load(c + k, n)), ghk = Vec::load(gh_r + k, n);
          const Vec go = rnn_flush(ghk * tc * (o * (one - o)));
          const Vec gck = fma(ghk * o, one - tc * tc, Vec::load(gc_r + k, n));
          const Vec gi = rnn_flush(gck * g * (i * (one - i)));
          const Vec gf = rnn_flush(gck * Vec::load(c_prev + k, n) * (f * (one - f)));
          const Vec gg = rnn_flush(gck * i * (one - g * g));
          rnn_flush(gck * f).store(gc_r + k, n);
          Vec::zero().store(gh_r + k, n);
          float* const copies[] = {out, step};
          for (float* to : copies)
            gi.store(to + k, n), gf.store(to + u + k, n), gg.store(to + 2 * u + k, n), go.store(to + 3 * u + k, n);
        });
      }
      recurrent.add_product(rows, gz_step, 4 * u, gh, u);
    }
    rnn_store_state(gh, u, begin, rows, u, a.gh0);
    rnn_store_state(gc, u, begin, rows, u, a.gc0);
  });
  const RnnProduct products[] = {
      {a.x, a.steps * a.features, a.features, a.features, 0, 4 * u, a.gkernel, 4 * u},
      rnn_state_product(a, 0, 4 * u, a.grecurrent, 4 * u),
  };
  rnn_weight_gradients(a, 4 * u, products, 2, a.gbias, 4 * u);
  if (a.gx)
    gemm(false, true, a.batch * a.steps, a.features, 4 * u, a.gz, 4 * u, a.kernel, 4 * u, a.gx, a.features);
}

}  // namespace fastnn::FASTNN_TARGET
