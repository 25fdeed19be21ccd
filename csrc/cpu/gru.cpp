// GRU over whole sequences (Cho et al. 2014), in Keras's two forms. Gates in order z r h.
//   z r = sigmoid(x_t kernel + h recurrent + bias)
//   reset_after:  q = h recurrent_h + bias1_h, g = tanh(x_t kernel_h + bias0_h + r q)
//   else:         q = r h,                     g = tanh(x_t kernel_h + bias_h + q recurrent_h)
//   h = z h + (1 - z) g
#include "cpu/rnn.h"
#include "cpu/rnn_backward.h"
#include "cpu/rnn_row.h"
#include "cpu/rnn_tiles.h"
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

void gru_forward_row(const RnnForward& a) {
  const int64_t u = a.units, ld = round_up(u, W);
  Scratch<float> scratch(5 * ld);  // h, and z r and the two parts of g (blocks, 4, W)
  float *const h = scratch, *const parts = h + ld;
  rnn_load_state(a.h0, 0, 1, u, h, ld);
  rnn_save_initial(a, h, ld, 0, 1, a.hs);
  rnn_row(a, 3, h, [&](int64_t s, int64_t unit0, int64_t units, const RnnRowSums& sums) {
    for (int64_t k = unit0; k < unit0 + units; k += W) {
      const int64_t n = min(W, u - k);
      const auto from_h = [&](int64_t gate) {
        const Vec sum = sums.from_h(gate, k, n);
        return a.bias ? sum + Vec::load(a.bias + (3 + gate) * u + k, n) : sum;
      };
      float* const p = parts + 4 * k;
      sigmoid(sums.from_x(0, k, n) + from_h(0)).store(p);
      sigmoid(sums.from_x(1, k, n) + from_h(1)).store(p + W);
      sums.from_x(2, k, n).store(p + 2 * W);
      from_h(2).store(p + 3 * W);
    }
    for (int64_t k = unit0; k < unit0 + units; k += W) {
      const float* const p = parts + 4 * k;
      const Vec r = Vec::load(p + W), q = Vec::load(p + 3 * W);
      gru_update(a, Vec::load(p), r, tanh(fma(r, q, Vec::load(p + 2 * W))), q, 0, s, k, h + k, h + k);
    }
  });
  rnn_store_state(h, ld, 0, 1, u, a.h_last);
}

#if FASTNN_TILES
// gru_update for a whole vector of units and no mask, in few instructions: they compete with products for the core.
inline void gru_output(const RnnPlaces& to, int64_t u, int64_t i, Vec z, Vec r, Vec g, Vec q, float* h_state) {
  const Vec h = fma(z, Vec::load(h_state), (Vec::set(1) - z) * g);
  h.store(h_state);
  if (to.y.base) h.store(to.y.at(i));
  if (!to.gates.base) return;
  float* const p = to.gates.at(i);
  z.store(p), r.store(p + u), g.store(p + 2 * u), q.store(p + 3 * u);
  h.store(to.hs.at(i));
}

// gru_forward_reset_after on the tile unit, as lstm_forward_tiles. Blocks of units come in pairs, as the two parts of g have
// other operands: with four tiles of sums each waits for none before it. Weights are [pair][z r of each block, g of each][chunks of
// x, then of h][part]; columns of sums are z r of each block, then its part of g from x of each, from h of each.
// False: something was out of range (split_in_range), and what was written is of no use.
bool gru_forward_tiles(const RnnForward& a) {
  const int64_t u = a.units, blocks = ceil_div(u, W), pairs = ceil_div(blocks, 2), chunk = rnn_tile_rows(a.batch), chunks = ceil_div(a.batch, chunk);
  const int64_t kx = ceil_div(a.features, kTileDepth), kh = ceil_div(u, kTileDepth), next = (kx + kh) * kSplit;
  constexpr int64_t ldz = 8 * W;
  const auto size_of = [&](int64_t pair) { return min(2, blocks - 2 * pair); };
  Scratch<uint16_t> weights(blocks * 3 * next);
  Scratch<float> bias(pairs * ldz);
  LargestSplit kernel(pairs), recurrent(pairs), inputs(chunks), states(chunks);
  parallel_for(pairs, 1 + 16384 / next, [&](int64_t begin, int64_t end) {
    for (int64_t pair = begin; pair < end; ++pair) {
      Split from_x, from_h;
      const int64_t size = size_of(pair);
      for (int64_t i = 0; i < size; ++i)
        for (int64_t gate = 0; gate < 3; ++gate) {
          const int64_t unit = (2 * pair + i) * W, n = min(W, u - unit), from = gate * u + unit, column = gate < 2 ? 2 * i + gate : 2 * size + i;
          uint16_t* const out = weights + (pair * 6 + column) * next;
          split_columns(from_x, a.kernel + from, a.features, n, 3 * u, out);
          split_columns(from_h, a.recurrent + from, u, n, 3 * u, out + kx * kSplit);
          // z and r take both biases, the parts of g one each
          const Vec of_x = a.bias ? Vec::load(a.bias + from, n) : Vec::zero();
          const Vec of_h = a.bias ? Vec::load(a.bias + 3 * u + from, n) : Vec::zero();
          float* const to = bias + pair * ldz + column * W;
          (gate < 2 ? of_x + of_h : of_x).store(to);
          if (gate == 2) of_h.store(to + size * W);
        }
      kernel.put(pair, from_x), recurrent.put(pair, from_h);
    }
  });
  if (!split_in_range(kernel.all(), 1) || !split_in_range(recurrent.all(), 1)) return false;
  parallel_for(a.batch, chunk, [&](int64_t row0, int64_t end) {
    const TilesReady ready;
    RnnTileRows own(a, row0, end - row0);
    const int64_t rows = own.rows, tiles = own.tiles;
    // The sums of two pairs. Where products of a step end, its last gates remain: beside them the next step begins, with the
    // input's part of the first pair.
    const int64_t z_size = tiles * kTileRows * ldz;
    Scratch<float> z(2 * z_size);
    const auto z_of = [&](int64_t s, int64_t pair) { return z + (s * pairs + pair) % 2 * z_size; };
    // Columns [col, col + cols) of sums += chunks [k0, k1) of x and h by the weights from `column` on; from the bias where they are the first.
    const auto product = [&](int64_t s, int64_t pair, int64_t col, int64_t cols, int64_t column, bool first, int64_t k0, int64_t k1, auto&& beside) {
      float* const to = z_of(s, pair) + col * W;
      const float* const start = first ? bias + pair * ldz + col * W : to;
      tiles_product(tiles, cols, k1 - k0, own.operand(s) + k0 * kSplit, next, weights + (pair * 6 + column) * next + k0 * kSplit, next, start,
                    first ? 0 : ldz, to, ldz, beside);
    };
    const auto of_input = [&](int64_t s, int64_t pair, auto&& beside) {
      const int64_t n = size_of(pair);
      product(s, pair, 2 * n, n, 2 * n, true, 0, kx, beside);
    };
    const auto slots = [&](int64_t n, int64_t of_zr, int64_t of_g) { return tiles_slots(tiles, 2 * n, of_zr) + tiles_slots(tiles, n, of_g); };
    const auto begin_step = [&](int64_t s, auto&& beside) {
      own.put_x(s);
      product(s, 0, 0, 2 * size_of(0), 0, true, 0, kx, beside);
      of_input(s, 0, beside);
    };
    begin_step(0, Nothing());
    for (int64_t s = 0; s < a.steps; ++s) {
      // z and r of all rows, then their outputs: the chain of functions from z to h is longer than what a core can look ahead.
      const auto gates = [&](int64_t pair, int64_t portions) {
        const int64_t n = pair < 0 ? 0 : size_of(pair), items = n * rows;
        const bool whole = !a.mask && (2 * pair + n) * W <= u;
        const RnnPlaces places[2] = {{a, row0, s, 2 * pair}, {a, row0, s, 2 * pair + 1}};
        return Beside(2 * items, portions, [&, pair, n, items, whole, places](int64_t item) {
          const int64_t i = item < items ? item : item - items, r = n == 2 ? i / 2 : i, of = n == 2 ? i % 2 : 0, block = 2 * pair + of;
          float *const p = z_of(s, pair) + r * ldz, *const zr = p + 2 * of * W, *const hr = own.h(r, block * W);
          if (item < items) {
            sigmoid(Vec::load(zr)).store(zr);
            sigmoid(Vec::load(zr + W)).store(zr + W);
            return;
          }
          const Vec reset = Vec::load(zr + W), q = Vec::load(p + (3 * n + of) * W), g = tanh(fma(reset, q, Vec::load(p + (2 * n + of) * W)));
          if (whole) gru_output(places[of], u, r, Vec::load(zr), reset, g, q, hr);
          else gru_update(a, Vec::load(zr), reset, g, q, row0 + r, s, block * W, hr, hr);
          own.put_h(s + 1, r, block * W);
        });
      };
      for (int64_t pair = 0; pair < pairs; ++pair) {
        const int64_t n = size_of(pair), k0 = pair ? 0 : kx;
        auto before = gates(pair - 1, slots(n, kx + kh - k0, kx - k0 + kh));
        product(s, pair, 0, 2 * n, 0, pair > 0, k0, kx + kh, before);
        if (pair) of_input(s, pair, before);
        product(s, pair, 3 * n, n, 2 * n, true, kx, kx + kh, before);
        before.finish();
      }
      auto last = gates(pairs - 1, slots(size_of(0), kx, kx));
      if (s + 1 < a.steps) begin_step(s + 1, last);
      last.finish();
    }
    own.finish();
    inputs.put(row0 / chunk, own.of_x), states.put(row0 / chunk, own.of_h);
  });
  return split_in_range(kernel.all(), inputs.all()) && split_in_range(recurrent.all(), states.all());
}
#endif

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

void gru_forward(RnnForward a) {
  if (a.variant && rnn_is_row(a)) return gru_forward_row(a);
#if FASTNN_TILES
  // Short sums are soon done: the gates take most of the time then, and vectors share their core better with vectors.
  if (a.variant && a.features + a.units >= 112 && rnn_uses_tiles(a.batch, a.steps, a.features, a.units, 3) && gru_forward_tiles(a)) return;
#endif
  a.variant ? gru_forward_reset_after(a) : gru_forward_reset_before(a);
}

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
