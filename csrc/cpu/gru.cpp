// GRU over whole sequences (Cho et al. 2014), in Keras's two forms. Gates in order z r h.
//   z r = sigmoid(x_t kernel + h recurrent + bias)
//   reset_after:  q = h recurrent_h + bias1_h, g = tanh(x_t kernel_h + bias0_h + r q)
//   else:         q = r h,                     g = tanh(x_t kernel_h + bias_h + q recurrent_h)
//   h = z h + (1 - z) g
#include "cpu/rnn.h"
#include "cpu/rnn_backward.h"
#include "kernels.h"

namespace fastnn::FASTNN_TARGET {
namespace {

constexpr int W = Vec::width;

// The end of a step at time t of a block of units of one row, from its gates.
inline void gru_update(const RnnForward& a, Vec z, Vec r, Vec g, Vec q, int64_t row, int64_t s, int64_t unit,
                       const float* h_prev, float* h_next) {
  const int64_t u = a.units, n = u - unit < W ? u - unit : W, at = row * a.steps + (a.go_backwards ? a.steps - 1 - s : s);
  Vec h = Vec::load(h_prev);
  const bool on = !a.mask || a.mask[at];
  if (on) {
    h = fma(z, h, (Vec::set(1) - z) * g);
    if (a.gates) {
      float* p = a.gates + at * 4 * u + unit;
      z.store(p, n), r.store(p + u, n), g.store(p + 2 * u, n), q.store(p + 3 * u, n);
    }
  } else if (a.gates) {  // q is an operand of backward's products, whose other operand is 0 here
    Vec::zero().store(a.gates + at * 4 * u + 3 * u + unit, n);
  }
  h.store(h_next);
  rnn_emit(a, h, on, row, s, unit, n);
}

// Tiles have z, r and the two parts of g: of x and of h.
void gru_forward_reset_after(const RnnForward& a) {
  const RnnWeights w(a, 3, 4, 3, 3);
  const int64_t u = a.units;
  if (a.bias)  // z and r take both biases, the parts of g one each
    for (int64_t block = 0; block < w.blocks; ++block) {
      float* start = w.start(block);
      float bias[3 * W];
      rnn_pack(a.bias + 3 * u, 1, 3 * u, u, 3, false, block * W, bias);
      (Vec::load(start) + Vec::load(bias)).store(start);
      (Vec::load(start + W) + Vec::load(bias + W)).store(start + W);
      Vec::load(bias + 2 * W).store(start + 3 * W);
    }
  const RnnPlan plan = w.plan(a);
  const RnnInput<4, 3> input(a, w, plan);
  const int64_t ld = w.ld(), state = a.batch * ld;
  Scratch<float> scratch(2 * state);  // h before and after even steps
  rnn_load_state(a.h0, 0, a.batch, u, scratch, ld);
  rnn_save_initial(a, scratch, ld, 0, a.batch, a.hs);
  rnn_run(plan, a.batch, a.steps, ld, 1, [&](int64_t row0, int64_t rows, int64_t unit0, int64_t units, int64_t s, int) {
    const float* h = scratch + s % 2 * state;
    float* h_next = scratch + (s + 1) % 2 * state;
    alignas(64) float tile_z[kRnnGroup * 4 * W];
    input.step(row0, rows, unit0 / W, units / W, s);
    rnn_for_each_group(row0, rows, unit0 / W, units / W, s, [&](int64_t first, int64_t n, int64_t block) {
      rnn_tiles<4, 3, 3, 1>(n, [&](int64_t r) { return input.tile(first + r, s, block, h + (first + r) * ld, ld); }, tile_z, 4 * W);
      // Two passes, as the chain of functions from z to h is longer than what a core can look ahead.
      for (int64_t i = 0; i < n; ++i) {
        float* p = tile_z + i * 4 * W;
        sigmoid(Vec::load(p)).store(p);
        sigmoid(Vec::load(p + W)).store(p + W);
      }
      for (int64_t i = 0; i < n; ++i) {
        const float* p = tile_z + i * 4 * W;
        const int64_t at = (first + i) * ld + block * W;
        const Vec r = Vec::load(p + W), q = Vec::load(p + 3 * W);
        const Vec g = tanh(fma(r, q, Vec::load(p + 2 * W)));
        gru_update(a, Vec::load(p), r, g, q, first + i, s, block * W, h + at, h_next + at);
      }
    });
  });
  rnn_store_state(scratch + a.steps % 2 * state, ld, 0, a.batch, u, a.h_last);
}

// Two passes over the units per step, as g needs r of all of them.
void gru_forward_reset_before(const RnnForward& a) {
  const RnnWeights w(a, 3, 3, 3, 2);
  const int64_t u = a.units;
  Scratch<float> recurrent_h(w.blocks * u * W);
  for (int64_t block = 0; block < w.blocks; ++block)
    rnn_pack(a.recurrent + 2 * u, u, 3 * u, u, 1, false, block * W, recurrent_h + block * u * W);
  const RnnPlan plan = w.plan(a);
  const RnnInput<3, 3> input(a, w, plan);
  const int64_t ld = w.ld(), state = a.batch * ld;
  Scratch<float> scratch(6 * state);  // h before and after even steps, q, and z r g (batch, blocks, 3, W)
  float *const q = scratch + 2 * state, *const zrg = q + state;
  rnn_load_state(a.h0, 0, a.batch, u, scratch, ld);
  rnn_save_initial(a, scratch, ld, 0, a.batch, a.hs);
  rnn_run(plan, a.batch, a.steps, ld, 2, [&](int64_t row0, int64_t rows, int64_t unit0, int64_t units, int64_t s, int phase) {
    const float* h = scratch + s % 2 * state;
    float* h_next = scratch + (s + 1) % 2 * state;
    alignas(64) float tile_g[kRnnGroup * W];
    if (phase == 0) input.step(row0, rows, unit0 / W, units / W, s);
    rnn_for_each_group(row0, rows, unit0 / W, units / W, s + phase, [&](int64_t first, int64_t n, int64_t block) {
      float* p = zrg + first * 3 * ld + block * 3 * W;
      if (phase == 0) {
        rnn_tiles<3, 3, 2>(n, [&](int64_t r) { return input.tile(first + r, s, block, h + (first + r) * ld, ld); }, p, 3 * ld);
        for (int64_t i = 0; i < n; ++i, p += 3 * ld) {
          const int64_t at = (first + i) * ld + block * W;
          const Vec r = sigmoid(Vec::load(p + W));
          sigmoid(Vec::load(p)).store(p);
          r.store(p + W);
          (r * Vec::load(h + at)).store(q + at);
        }
        return;
      }
      const float* panel = recurrent_h + block * u * W;
      rnn_tiles<1>(n, [&](int64_t r) {
        return RnnTile{p + 2 * W + r * 3 * ld, 3 * ld, q, 0, 0, q, q + (first + r) * ld, ld, u, panel};
      }, tile_g, W);
      for (int64_t i = 0; i < n; ++i, p += 3 * ld) {
        const int64_t at = (first + i) * ld + block * W;
        gru_update(a, Vec::load(p), Vec::load(p + W), tanh(Vec::load(tile_g + i * W)), Vec::load(q + at), first + i, s,
                   block * W, h + at, h_next + at);
      }
    });
  });
  rnn_store_state(scratch + a.steps % 2 * state, ld, 0, a.batch, u, a.h_last);
}

}  // namespace

void gru_forward(RnnForward a) { a.variant ? gru_forward_reset_after(a) : gru_forward_reset_before(a); }

// gz (batch, steps, 4 units): gradients of the product with the recurrent weights that g contains
// (reset_after) or of q (else), and of the arguments of z, r and g. Of a step z, r and the first are
// multiplied with the recurrent weights.
void gru_backward(RnnBackward a) {
  const int64_t u = a.units, wide = a.variant ? 3 * u : 2 * u;
  RnnPlan plan = rnn_plan(a.batch, a.steps, u, W, 3 * u * u);
  if (!a.variant && plan.by_units) plan = {false, min(16, ceil_div(a.batch, 2))};  // q's product needs all units
  const RnnWeightsT recurrent(a.recurrent, u, wide, 3 * u, a.batch, plan);
  const RnnWeightsT recurrent_g(a.recurrent + 2 * u, u, a.variant ? 0 : u, 3 * u, a.batch, plan);
  Scratch<float> gb(4 * u), gq(a.variant ? 0 : a.batch * u);
  const auto put = [u](const RnnStepGradients& to, int64_t gate, int64_t k, int64_t n, Vec g) {
    const int64_t at = gate * u + k;
    g.store(to.gz + at, n);
    (Vec::load(to.gb + at, n) + g).store(to.gb + at, n);
  };
  const auto gates_of = [&](int64_t row, int64_t t) { return a.gates + (row * a.steps + t) * 4 * u; };
  const auto h_before = [&](int64_t row, int64_t s) { return a.hs + rnn_before(a.batch, a.steps, row, s, a.go_backwards) * u; };
  const auto gates = [&](int64_t row, int64_t t, int64_t s, int64_t unit0, int64_t units, const RnnStepGradients& to) {
    const bool on = rnn_add_gy(a, row, t, s, unit0, units, to.gh);
    const float *p = gates_of(row, t), *h = h_before(row, s);
    if (s > 0) {
      const int64_t next = a.go_backwards ? 4 * u : -4 * u;
      for (int64_t gate = 0; gate < 4; ++gate) {
        rnn_prefetch(p + next + gate * u + unit0, units);
        rnn_prefetch_to_write(to.gz + next + gate * u + unit0, units);
      }
      rnn_prefetch(h_before(row, s - 1) + unit0, units);
    }
    if (!on) {
      for (int64_t gate = 0; gate < 4; ++gate) rnn_zero(to.gz + gate * u + unit0, units);
      for (int64_t at = 0; at < wide; at += u) rnn_zero(to.step + at + unit0, units);
      if (!a.variant) rnn_zero(gq + row * u, u);
      return;
    }
    for_each_vec(units, [&](int64_t i, int64_t n) {
      const int64_t k = unit0 + i;
      const Vec one = Vec::set(1), z = Vec::load(p + k, n), r = Vec::load(p + u + k, n), g = Vec::load(p + 2 * u + k, n);
      const Vec gh = Vec::load(to.gh + k, n), gg = rnn_flush(gh * (one - z) * (one - g * g));
      const Vec gz = rnn_flush(gh * (Vec::load(h + k, n) - g) * (z * (one - z)));
      rnn_flush(gh * z).store(to.gh + k, n);
      put(to, 1, k, n, gz), gz.store(to.step + k, n);
      put(to, 3, k, n, gg);
      if (a.variant) {
        const Vec gr = rnn_flush(gg * Vec::load(p + 3 * u + k, n) * (r * (one - r))), gp = rnn_flush(gg * r);
        put(to, 2, k, n, gr), gr.store(to.step + u + k, n);
        put(to, 0, k, n, gp), gp.store(to.step + 2 * u + k, n);
      } else {
        Vec::zero().store(gq + row * u + k, n);
      }
    });
  };
  const auto through_q = [&](int64_t row0, int64_t rows, int64_t t, int64_t s, auto to_row) {
    if (a.variant) return;
    recurrent_g.add_product(rows, 0, u, to_row(row0).gz + 3 * u, a.steps * 4 * u, gq + row0 * u, u);
    for (int64_t row = row0; row < row0 + rows; ++row) {  // q = r h
      if (a.mask && !a.mask[row * a.steps + t]) continue;
      const RnnStepGradients to = to_row(row);
      const float *p = gates_of(row, t), *h = h_before(row, s);
      for_each_vec(u, [&](int64_t k, int64_t n) {
        const Vec r = Vec::load(p + u + k, n), gqk = Vec::load(gq + row * u + k, n);
        const Vec gr = rnn_flush(gqk * Vec::load(h + k, n) * (r * (Vec::set(1) - r)));
        put(to, 0, k, n, gqk);
        put(to, 2, k, n, gr), gr.store(to.step + u + k, n);
        fma(gqk, r, Vec::load(to.gh + k, n)).store(to.gh + k, n);
      });
    }
  };
  rnn_through_time(a, plan, recurrent, wide, 4 * u, gb, gates, through_q);
  if (a.gbias)
    for_each_vec(u, [&](int64_t k, int64_t n) {
      const Vec q = Vec::load(gb + k, n), z = Vec::load(gb + u + k, n), r = Vec::load(gb + 2 * u + k, n);
      z.store(a.gbias + k, n), r.store(a.gbias + u + k, n), Vec::load(gb + 3 * u + k, n).store(a.gbias + 2 * u + k, n);
      if (a.variant) z.store(a.gbias + 3 * u + k, n), r.store(a.gbias + 4 * u + k, n), q.store(a.gbias + 5 * u + k, n);
    });
  const RnnProduct products[] = {
      {a.x, a.features, a.features, u, 3 * u, a.gkernel, 3 * u},
      {a.hs, u, u, u, 2 * u, a.grecurrent, 3 * u},
      a.variant ? RnnProduct{a.hs, u, u, 0, u, a.grecurrent + 2 * u, 3 * u}
                : RnnProduct{a.gates + 3 * u, 4 * u, u, 3 * u, u, a.grecurrent + 2 * u, 3 * u},
  };
  rnn_products(a, 4 * u, u, 3 * u, products, 3);
}

}  // namespace fastnn::FASTNN_TARGET
