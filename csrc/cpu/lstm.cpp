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

// A block of units of one row at time t, step s. The step is two passes over the rows of a chunk:
// the chain of functions from z to h is longer than what a core can look ahead.
struct LstmStep {
  const RnnForward& a;
  int64_t row, t, s, unit;

  int64_t at() const { return row * a.steps + t; }
  int64_t count() const { return a.units - unit < W ? a.units - unit : W; }
  bool on() const { return !a.mask || a.mask[at()]; }

  // z (4, W) -> c, and o in place of its argument
  void cell(float* z, float* c_state) const {
    const int64_t u = a.units, n = count();
    Vec c = Vec::load(c_state);
    if (on()) {
      const Vec i = sigmoid(Vec::load(z)), f = sigmoid(Vec::load(z + W));
      const Vec g = tanh(Vec::load(z + 2 * W)), o = sigmoid(Vec::load(z + 3 * W));
      c = fma(f, c, i * g);
      c.store(c_state);
      o.store(z + 3 * W);
      if (a.gates) {
        float* p = a.gates + at() * 4 * u + unit;
        i.store(p, n), f.store(p + u, n), g.store(p + 2 * u, n), o.store(p + 3 * u, n);
      }
    }
    if (a.cs) c.store(a.cs + rnn_after(row, a.steps, t, a.go_backwards) * u + unit, n);
  }
  void output(const float* z, const float* c_state, const float* h_prev, float* h_next) const {
    const bool computed = on();
    const Vec h = computed ? Vec::load(z + 3 * W) * tanh(Vec::load(c_state)) : Vec::load(h_prev);
    h.store(h_next);
    rnn_emit(a, h, computed, row, t, s, unit, count());
  }
};

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
        const auto step = [&](int64_t r) { return LstmStep{a, begin + r, t, s, block * W}; };
        for (int64_t r = 0, i = block * W; r < rows; ++r, i += ld) step(r).cell(z + r * 4 * W, c + i);
        for (int64_t r = 0, i = block * W; r < rows; ++r, i += ld)
          step(r).output(z + r * 4 * W, c + i, h + i, h_next + i);
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
