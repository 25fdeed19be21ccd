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
    if (a.cs) c.store(a.cs + rnn_before(a.batch, a.steps, row, s + 1, a.go_backwards) * u + unit, n);
  }
  void output(const float* z, const float* c_state, const float* h_prev, float* h_next) const {
    const bool computed = on();
    const Vec h = computed ? Vec::load(z + 3 * W) * tanh(Vec::load(c_state)) : Vec::load(h_prev);
    h.store(h_next);
    rnn_emit(a, h, computed, row, s, unit, count());
  }
};

}  // namespace

void lstm_forward(RnnForward a) {
  const RnnWeights w(a, 4, 4, 4, 4);
  const RnnPlan plan = w.plan(a);
  const RnnInput<4, 4> input(a, w, plan);
  const int64_t ld = w.ld(), state = a.batch * ld;
  Scratch<float> scratch(3 * state);  // h before and after even steps, c
  float* const c = scratch + 2 * state;
  rnn_load_state(a.h0, 0, a.batch, a.units, scratch, ld);
  rnn_load_state(a.c0, 0, a.batch, a.units, c, ld);
  rnn_save_initial(a, scratch, ld, a.hs);
  rnn_save_initial(a, c, ld, a.cs);
  rnn_run(plan, a.batch, a.steps, ld, 1, [&](int64_t row0, int64_t rows, int64_t unit0, int64_t units, int64_t s, int) {
    const int64_t t = a.go_backwards ? a.steps - 1 - s : s;
    const float* h = scratch + s % 2 * state;
    float* h_next = scratch + (s + 1) % 2 * state;
    alignas(64) float z[kRnnGroup * 4 * W];
    input.step(row0, rows, unit0 / W, units / W, s);
    rnn_for_each_group(row0, rows, unit0 / W, units / W, s, [&](int64_t first, int64_t n, int64_t block) {
      rnn_tiles<4>(n, [&](int64_t r) { return input.tile(first + r, s, block, h + (first + r) * ld, ld); }, z, 4 * W);
      const auto step = [&](int64_t r) { return LstmStep{a, first + r, t, s, block * W}; };
      const int64_t at = first * ld + block * W;
      for (int64_t r = 0; r < n; ++r) step(r).cell(z + r * 4 * W, c + at + r * ld);
      for (int64_t r = 0; r < n; ++r) step(r).output(z + r * 4 * W, c + at + r * ld, h + at + r * ld, h_next + at + r * ld);
    });
  });
  rnn_store_state(scratch + a.steps % 2 * state, ld, 0, a.batch, a.units, a.h_last);
  rnn_store_state(c, ld, 0, a.batch, a.units, a.c_last);
}

void lstm_backward(RnnBackward a) {
  const int64_t u = a.units;
  const RnnPlan plan = rnn_plan(a.batch, a.steps, u, W, 4 * u * u);
  const RnnWeightsT recurrent(a.recurrent, u, 4 * u, 4 * u, a.batch, plan);
  rnn_load_state(a.gc_last, 0, a.batch, u, a.gc0, u);
  rnn_through_time(a, plan, recurrent, 4 * u, 4 * u, a.gbias, [&](int64_t row, int64_t t, int64_t s, int64_t unit0, int64_t units, RnnStepGradients to) {
    const bool on = rnn_add_gy(a, row, t, s, unit0, units, to.gh);
    const auto before = [&](int64_t step) { return rnn_before(a.batch, a.steps, row, step, a.go_backwards) * u; };
    const float *p = a.gates + (row * a.steps + t) * 4 * u, *c = a.cs + before(s + 1), *c_prev = a.cs + before(s);
    if (s > 0) {
      const int64_t next = a.go_backwards ? 4 * u : -4 * u;
      for (int64_t gate = 0; gate < 4; ++gate) {
        rnn_prefetch(p + next + gate * u + unit0, units);
        rnn_prefetch_to_write(to.gz + next + gate * u + unit0, units);
      }
      rnn_prefetch(a.cs + before(s - 1) + unit0, units);
    }
    if (!on) {
      for (int64_t gate = 0; gate < 4; ++gate) rnn_zero(to.gz + gate * u + unit0, units), rnn_zero(to.step + gate * u + unit0, units);
      return;
    }
    float *gh = to.gh, *gc = a.gc0 + row * u;
    for_each_vec(units, [&](int64_t i0, int64_t n) {
      const int64_t k = unit0 + i0;
      const Vec one = Vec::set(1), i = Vec::load(p + k, n), f = Vec::load(p + u + k, n);
      const Vec g = Vec::load(p + 2 * u + k, n), o = Vec::load(p + 3 * u + k, n);
      const Vec tc = tanh(Vec::load(c + k, n)), ghk = Vec::load(gh + k, n);
      const Vec go = rnn_flush(ghk * tc * (o * (one - o)));
      const Vec gck = fma(ghk * o, one - tc * tc, Vec::load(gc + k, n));
      const Vec gi = rnn_flush(gck * g * (i * (one - i)));
      const Vec gf = rnn_flush(gck * Vec::load(c_prev + k, n) * (f * (one - f)));
      const Vec gg = rnn_flush(gck * i * (one - g * g));
      rnn_flush(gck * f).store(gc + k, n);
      Vec::zero().store(gh + k, n);
      const Vec gates[] = {gi, gf, gg, go};
      FASTNN_UNROLL for (int gate = 0; gate < 4; ++gate) {
        const int64_t at = gate * u + k;
        gates[gate].store(to.gz + at, n), gates[gate].store(to.step + at, n);
        (Vec::load(to.gb + at, n) + gates[gate]).store(to.gb + at, n);
      }
    });
  }, [](auto...) {});
  const RnnProduct products[] = {{a.x, a.features, a.features, 0, 4 * u, a.gkernel, 4 * u},
                                 {a.hs, u, u, 0, 4 * u, a.grecurrent, 4 * u}};
  rnn_products(a, 4 * u, 0, 4 * u, products, 2);
}

}  // namespace fastnn::FASTNN_TARGET
