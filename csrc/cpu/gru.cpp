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
inline void gru_update(const RnnForward& a, Vec z, Vec r, Vec g, Vec q, int64_t row, int64_t t, int64_t s,
                       int64_t unit, const float* h_prev, float* h_next) {
  const int64_t u = a.units, n = u - unit < W ? u - unit : W, at = row * a.steps + t;
  Vec h = Vec::load(h_prev);
  const bool on = !a.mask || a.mask[at];
  if (on) {
    h = fma(z, h, (Vec::set(1) - z) * g);
    if (a.gates) {
      float* p = a.gates + at * 4 * u + unit;
      z.store(p, n), r.store(p + u, n), g.store(p + 2 * u, n), q.store(p + 3 * u, n);
    }
  }
  h.store(h_next);
  rnn_emit(a, h, on, row, t, s, unit, n);
}

// Tiles have z, r and the two parts of g: of x and of h.
void gru_forward_reset_after(const RnnForward& a) {
  const RnnWeights w(a, 3, 4, 3, 3);
  const int64_t u = a.units, ld = w.ld();
  if (a.bias)  // z and r take both biases, the parts of g one each
    for (int64_t block = 0; block < w.blocks; ++block) {
      float* start = w.start(block);
      float bias[3 * W];
      rnn_pack(a.bias + 3 * u, 1, 3 * u, u, 3, false, block * W, bias);
      (Vec::load(start) + Vec::load(bias)).store(start);
      (Vec::load(start + W) + Vec::load(bias + W)).store(start + W);
      Vec::load(bias + 2 * W).store(start + 3 * W);
    }
  parallel_for(a.batch, rnn_chunk_rows(a.batch, w.floats, a.steps), [&](int64_t begin, int64_t end) {
    const int64_t rows = end - begin;
    RnnInput<4, 3> input(a, w, begin, rows);
    Scratch<float> scratch(2 * rows * ld + rows * 4 * W);
    float *h = scratch, *h_next = h + rows * ld, *tile_z = h_next + rows * ld;
    rnn_load_state(a.h0, begin, rows, u, h, ld);
    rnn_save_initial(a, h, ld, begin, rows, a.hs);
    for (int64_t s = 0; s < a.steps; ++s) {
      const int64_t t = a.go_backwards ? a.steps - 1 - s : s;
      input.step(s, t);
      for (int64_t block = 0; block < w.blocks; ++block) {
        rnn_tiles<4, 3, 3, 1>(rows, [&](int64_t i) { return input.tile(i, t, block, h + i * ld, ld); }, tile_z, 4 * W);
        // Two passes, as the chain of functions from z to h is longer than what a core can look ahead.
        for (int64_t i = 0; i < rows; ++i) {
          float* p = tile_z + i * 4 * W;
          sigmoid(Vec::load(p)).store(p);
          sigmoid(Vec::load(p + W)).store(p + W);
        }
        for (int64_t i = 0; i < rows; ++i) {
          const float* p = tile_z + i * 4 * W;
          const int64_t at = i * ld + block * W;
          const Vec r = Vec::load(p + W), q = Vec::load(p + 3 * W);
          const Vec g = tanh(fma(r, q, Vec::load(p + 2 * W)));
          gru_update(a, Vec::load(p), r, g, q, begin + i, t, s, block * W, h + at, h_next + at);
        }
      }
      float* last = h;
      h = h_next, h_next = last;
    }
    rnn_store_state(h, ld, begin, rows, u, a.h_last);
  });
}

// Two passes over the units per step, as g needs r of all of them.
void gru_forward_reset_before(const RnnForward& a) {
  const RnnWeights w(a, 3, 3, 3, 2);
  const int64_t u = a.units, ld = w.ld();
  Scratch<float> recurrent_h(w.blocks * u * W);
  for (int64_t block = 0; block < w.blocks; ++block)
    rnn_pack(a.recurrent + 2 * u, u, 3 * u, u, 1, false, block * W, recurrent_h + block * u * W);
  parallel_for(a.batch, rnn_chunk_rows(a.batch, w.floats, a.steps), [&](int64_t begin, int64_t end) {
    const int64_t rows = end - begin;
    RnnInput<3, 3> input(a, w, begin, rows);
    Scratch<float> scratch(6 * rows * ld + kRnnRows * W);
    float *h = scratch, *h_next = h + rows * ld, *q = h_next + rows * ld;
    float *zrg = q + rows * ld, *tile_g = zrg + 3 * rows * ld;  // zrg (rows, blocks, 3, W)
    rnn_load_state(a.h0, begin, rows, u, h, ld);
    rnn_save_initial(a, h, ld, begin, rows, a.hs);
    for (int64_t s = 0; s < a.steps; ++s) {
      const int64_t t = a.go_backwards ? a.steps - 1 - s : s;
      input.step(s, t);
      for (int64_t block = 0; block < w.blocks; ++block)
        for_each_tile(rows, [&](int64_t first, int64_t tile) {
          float* out = zrg + first * 3 * ld + block * 3 * W;
          rnn_tile<3, 3, 2>(tile, input.tile(first, t, block, h + first * ld, ld), out, 3 * ld);
          for (int64_t k = 0; k < tile; ++k, out += 3 * ld) {
            const int64_t at = (first + k) * ld + block * W;
            const Vec r = sigmoid(Vec::load(out + W));
            sigmoid(Vec::load(out)).store(out);
            r.store(out + W);
            (r * Vec::load(h + at)).store(q + at);
          }
        });
      for (int64_t block = 0; block < w.blocks; ++block)
        for_each_tile(rows, [&](int64_t first, int64_t tile) {
          const float* p = zrg + first * 3 * ld + block * 3 * W;
          rnn_tile<1>(tile, {p + 2 * W, 3 * ld, q, 0, 0, q, q + first * ld, ld, u, recurrent_h + block * u * W}, tile_g, W);
          for (int64_t k = 0; k < tile; ++k, p += 3 * ld) {
            const int64_t at = (first + k) * ld + block * W;
            gru_update(a, Vec::load(p), Vec::load(p + W), tanh(Vec::load(tile_g + k * W)), Vec::load(q + at),
                       begin + first + k, t, s, block * W, h + at, h_next + at);
          }
        });
      float* last = h;
      h = h_next, h_next = last;
    }
    rnn_store_state(h, ld, begin, rows, u, a.h_last);
  });
}

}  // namespace

void gru_forward(RnnForward a) { a.variant ? gru_forward_reset_after(a) : gru_forward_reset_before(a); }

// gz (batch, steps, 4 units): gradients of the arguments of z, r and g, and of the product with the
// recurrent weights that g contains (reset_after).
void gru_backward(RnnBackward a) {
  const int64_t u = a.units, wide = a.variant ? 3 * u : 2 * u;
  const RnnWeightsT recurrent(a.recurrent, u, wide, 3 * u);
  const RnnWeightsT recurrent_g(a.recurrent + 2 * u, u, a.variant ? 0 : u, 3 * u);
  parallel_for(a.batch, rnn_chunk_rows(a.batch, 3 * u * u, a.steps), [&](int64_t begin, int64_t end) {
    const int64_t rows = end - begin;
    Scratch<float> scratch(rows * 5 * u);  // step (rows, 3 units): z, r and the last of gz
    float *gh = scratch, *step = gh + rows * u, *gq = step + rows * 3 * u;
    rnn_load_state(a.gh_last, begin, rows, u, gh, u);
    for (int64_t s = a.steps - 1; s >= 0; --s) {
      const int64_t t = a.go_backwards ? a.steps - 1 - s : s;
      const auto on = [&](int64_t r) { return !a.mask || a.mask[(begin + r) * a.steps + t]; };
      const auto gates_of = [&](int64_t r) { return a.gates + ((begin + r) * a.steps + t) * 4 * u; };
      const auto h_prev_of = [&](int64_t r) { return a.hs + rnn_before(begin + r, a.steps, t, a.go_backwards) * u; };
      for (int64_t r = 0; r < rows; ++r) {
        float *out = a.gz + ((begin + r) * a.steps + t) * 4 * u, *st = step + r * 3 * u, *gh_r = gh + r * u;
        rnn_add_gy(a, begin + r, t, s, gh_r);
        if (s > 0) {
          const int64_t next = a.go_backwards ? 1 : -1;
          rnn_prefetch(gates_of(r) + next * 4 * u, 4 * u);
          rnn_prefetch_to_write(out + next * 4 * u, 4 * u);
          rnn_prefetch(h_prev_of(r) + next * u, u);
        }
        if (!on(r)) {
          rnn_zero(out, 4 * u), rnn_zero(st, 3 * u), rnn_zero(gq + r * u, u);
          continue;
        }
        const float *p = gates_of(r), *h = h_prev_of(r);
        for_each_vec(u, [&](int64_t k, int64_t n) {
          const Vec one = Vec::set(1), z = Vec::load(p + k, n), rg = Vec::load(p + u + k, n);
          const Vec g = Vec::load(p + 2 * u + k, n), q = Vec::load(p + 3 * u + k, n), ghk = Vec::load(gh_r + k, n);
          const Vec gg = rnn_flush(ghk * (one - z) * (one - g * g));
          const Vec gzk = rnn_flush(ghk * (Vec::load(h + k, n) - g) * (z * (one - z)));
          rnn_flush(ghk * z).store(gh_r + k, n);
          float* const copies[] = {out, st};
          for (float* to : copies) gzk.store(to + k, n);
          gg.store(out + 2 * u + k, n);
          if (a.variant) {
            const Vec gr = rnn_flush(gg * q * (rg * (one - rg))), gp = rnn_flush(gg * rg);
            gr.store(out + u + k, n), gp.store(out + 3 * u + k, n);
            gr.store(st + u + k, n), gp.store(st + 2 * u + k, n);
          } else {
            gg.store(st + 2 * u + k, n);
            Vec::zero().store(gq + r * u + k, n);
          }
        });
      }
      if (!a.variant) {  // through q = r h
        recurrent_g.add_product(rows, step + 2 * u, 3 * u, gq, u);
        for (int64_t r = 0; r < rows; ++r) {
          if (!on(r)) continue;
          float *out = a.gz + ((begin + r) * a.steps + t) * 4 * u, *st = step + r * 3 * u, *gh_r = gh + r * u;
          const float *p = gates_of(r), *h = h_prev_of(r);
          for_each_vec(u, [&](int64_t k, int64_t n) {
            const Vec rg = Vec::load(p + u + k, n), gqk = Vec::load(gq + r * u + k, n);
            const Vec gr = rnn_flush(gqk * Vec::load(h + k, n) * (rg * (Vec::set(1) - rg)));
            gr.store(out + u + k, n), gr.store(st + u + k, n);
            fma(gqk, rg, Vec::load(gh_r + k, n)).store(gh_r + k, n);
          });
        }
      }
      recurrent.add_product(rows, step, 3 * u, gh, u);
    }
    rnn_store_state(gh, u, begin, rows, u, a.gh0);
  });
  const RnnProduct products[] = {
      {a.x, a.steps * a.features, a.features, a.features, 0, 3 * u, a.gkernel, 3 * u},
      rnn_state_product(a, 0, 2 * u, a.grecurrent, 3 * u),
      a.variant ? rnn_state_product(a, 3 * u, u, a.grecurrent + 2 * u, 3 * u)
                : RnnProduct{a.gates + 3 * u, a.steps * 4 * u, 4 * u, u, 2 * u, u, a.grecurrent + 2 * u, 3 * u},
  };
  if (a.variant && a.gbias) {  // both biases of z and r have the same gradient
    Scratch<float> gb(4 * u);
    rnn_weight_gradients(a, 4 * u, products, 3, gb, 4 * u);
    for (int64_t i = 0; i < 3 * u; ++i) a.gbias[i] = gb[i], a.gbias[3 * u + i] = gb[i < 2 * u ? i : i + u];
  } else {
    rnn_weight_gradients(a, 4 * u, products, 3, a.gbias, 3 * u);
  }
  if (a.gx)
    gemm(false, true, a.batch * a.steps, a.features, 3 * u, a.gz, 4 * u, a.kernel, 3 * u, a.gx, a.features);
}

}  // namespace fastnn::FASTNN_TARGET
