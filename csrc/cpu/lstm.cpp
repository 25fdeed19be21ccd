// LSTM over whole sequences (Hochreiter & Schmidhuber 1997, Gers et al. 2000).
//   i f o = sigmoid(z), g = tanh(z), z = x_t kernel + h recurrent + bias, gates in order i f g o
//   c = f c + i g
//   h = o tanh(c)
#include "cpu/rnn.h"
#include "cpu/rnn_backward.h"
#include "cpu/rnn_row.h"
#include "cpu/rnn_tiles.h"
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

void lstm_forward_row(const RnnForward& a) {
  const int64_t ld = round_up(a.units, W);
  Scratch<float> scratch(6 * ld);  // h, c, z (blocks, 4, W)
  float *const h = scratch, *const c = h + ld, *const z = c + ld;
  rnn_load_state(a.h0, 0, 1, a.units, h, ld);
  rnn_load_state(a.c0, 0, 1, a.units, c, ld);
  rnn_save_initial(a, h, ld, 0, 1, a.hs);
  rnn_save_initial(a, c, ld, 0, 1, a.cs);
  rnn_row(a, 4, h, [&](int64_t s, int64_t unit0, int64_t units, const RnnRowSums& sums) {
    const auto step = [&](int64_t unit) { return LstmStep{a, 0, a.go_backwards ? a.steps - 1 - s : s, s, unit}; };
    for (int64_t k = unit0; k < unit0 + units; k += W) {
      FASTNN_UNROLL for (int gate = 0; gate < 4; ++gate) sums.all(gate, k, step(k).count()).store(z + 4 * k + gate * W);
      step(k).cell(z + 4 * k, c + k);
    }
    for (int64_t k = unit0; k < unit0 + units; k += W) step(k).output(z + 4 * k, c + k, h + k, h + k);
  });
  rnn_store_state(h, ld, 0, 1, a.units, a.h_last);
  rnn_store_state(c, ld, 0, 1, a.units, a.c_last);
}

// The gradients of the arguments of i f g o for n units of one row: p, its gates, u apart; c after and before the step;
// gh of the step. gc becomes that of the step before.
[[gnu::always_inline]] inline void lstm_gradients(const float* p, const float* c, const float* c_prev, int64_t u, int64_t n, Vec gh, float* gc,
                                                  Vec (&gates)[4]) {
  const Vec one = Vec::set(1), i = Vec::load(p, n), f = Vec::load(p + u, n), g = Vec::load(p + 2 * u, n), o = Vec::load(p + 3 * u, n);
  const Vec tc = tanh(Vec::load(c, n));
  const Vec gck = fma(gh * o, one - tc * tc, Vec::load(gc, n));
  gates[0] = rnn_flush(gck * g * (i * (one - i)));
  gates[1] = rnn_flush(gck * Vec::load(c_prev, n) * (f * (one - f)));
  gates[2] = rnn_flush(gck * i * (one - g * g));
  gates[3] = rnn_flush(gh * tc * (o * (one - o)));
  rnn_flush(gck * f).store(gc, n);
}

// Asks for what a row needs in its next step.
inline void lstm_prefetch(const RnnBackward& a, int64_t row, int64_t t, int64_t s, int64_t unit0, int64_t units, float* gz) {
  const int64_t u = a.units;
  if (s == 0) return;
  const int64_t next = a.go_backwards ? 4 * u : -4 * u;
  const float* p = a.gates + (row * a.steps + t) * 4 * u;
  for (int64_t gate = 0; gate < 4; ++gate) {
    rnn_prefetch(p + next + gate * u + unit0, units);
    rnn_prefetch_to_write(gz + next + gate * u + unit0, units);
  }
  rnn_prefetch(a.cs + rnn_before(a.batch, a.steps, row, s - 1, a.go_backwards) * u + unit0, units);
}

#if FASTNN_TILES
// LstmStep for a whole vector of units and no mask, in few instructions: they compete with products for the core.
inline void lstm_cell(const RnnPlaces& to, int64_t u, int64_t r, float* z, float* c_state) {
  const Vec i = sigmoid(Vec::load(z)), f = sigmoid(Vec::load(z + W)), g = tanh(Vec::load(z + 2 * W)), o = sigmoid(Vec::load(z + 3 * W));
  const Vec c = fma(f, Vec::load(c_state), i * g);
  c.store(c_state);
  o.store(z + 3 * W);
  if (!to.gates.base) return;
  float* const p = to.gates.at(r);
  i.store(p), f.store(p + u), g.store(p + 2 * u), o.store(p + 3 * u);
  c.store(to.cs.at(r));
}
inline void lstm_output(const RnnPlaces& to, int64_t r, const float* z, const float* c_state, float* h_state) {
  const Vec h = Vec::load(z + 3 * W) * tanh(Vec::load(c_state));
  h.store(h_state);
  if (to.hs.base) h.store(to.hs.at(r));
  if (to.y.base) h.store(to.y.at(r));
}

// lstm_forward on the tile unit. Weights are [block][gate][chunks of x, then of h][part].
// False: something was out of range (split_in_range), and what was written is of no use.
bool lstm_forward_tiles(const RnnForward& a) {
  const int64_t u = a.units, blocks = ceil_div(u, W), chunk = rnn_tile_rows(a.batch), chunks = ceil_div(a.batch, chunk);
  const int64_t kx = ceil_div(a.features, kTileDepth), kh = ceil_div(u, kTileDepth), next = (kx + kh) * kSplit;
  Scratch<uint16_t> weights(blocks * 4 * next);
  Scratch<float> bias(blocks * 4 * W);
  LargestSplit kernel(blocks), recurrent(blocks), inputs(chunks), states(chunks);
  parallel_for(blocks, 1 + 32768 / next, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      Split from_x, from_h;
      const int64_t n = min(W, u - block * W);
      for (int64_t gate = 0; gate < 4; ++gate) {
        uint16_t* out = weights + (block * 4 + gate) * next;
        const int64_t column = gate * u + block * W;
        split_columns(from_x, a.kernel + column, a.features, n, 4 * u, out);
        split_columns(from_h, a.recurrent + column, u, n, 4 * u, out + kx * kSplit);
        (a.bias ? Vec::load(a.bias + column, n) : Vec::zero()).store(bias + (block * 4 + gate) * W);
      }
      kernel.put(block, from_x), recurrent.put(block, from_h);
    }
  });
  if (!split_in_range(kernel.all(), 1) || !split_in_range(recurrent.all(), 1)) return false;
  parallel_for(a.batch, chunk, [&](int64_t row0, int64_t end) {
    const TilesReady ready;
    RnnTileRows own(a, row0, end - row0);
    const int64_t rows = own.rows, tiles = own.tiles;
    Scratch<float> c(rows * own.ld);
    rnn_load_state(a.c0, row0, rows, u, c, own.ld);
    rnn_save_initial(a, c, own.ld, row0, rows, a.cs);
    // z (rows, 4, W) of a block. Where products of a step end, its last gates remain: beside them the next step
    // begins, with the input's part of the first blocks.
    const int64_t z_size = tiles * kTileRows * 4 * W, ahead = blocks == 2 ? 2 : 1;
    Scratch<float> z((ahead + 1) * z_size);
    const auto z_of = [&](int64_t s, int64_t block) { return z + (s * blocks + block) % (ahead + 1) * z_size; };
    const auto product = [&](int64_t s, int64_t block, int64_t k0, int64_t k1, auto&& beside) {
      float* const to = z_of(s, block);
      const float* const start = k0 ? to : bias + block * 4 * W;
      tiles_product(tiles, 4, k1 - k0, own.operand(s) + k0 * kSplit, next, weights + block * 4 * next + k0 * kSplit, next, start, k0 ? 4 * W : 0, to,
                    4 * W, beside);
    };
    const auto begin_step = [&](int64_t s, auto&& beside) {
      own.put_x(s);
      for (int64_t block = 0; block < ahead; ++block) product(s, block, 0, kx, beside);
    };
    begin_step(0, Nothing());
    for (int64_t s = 0; s < a.steps; ++s) {
      const int64_t t = a.go_backwards ? a.steps - 1 - s : s;
      // The cells of all rows, then their outputs: the chain of functions from z to h is longer than what a core can look ahead.
      const auto gates = [&](int64_t block, int64_t slots) {
        const bool whole = !a.mask && (block + 1) * W <= u;
        return Beside(block < 0 ? 0 : 2 * rows, slots, [&, block, whole, z_block = z_of(s, block), to = RnnPlaces(a, row0, s, block)](int64_t i) {
          const int64_t r = i < rows ? i : i - rows;
          float *const zr = z_block + r * 4 * W, *const cr = c + r * own.ld + block * W, *const hr = own.h(r, block * W);
          if (whole) {
            if (i < rows) return lstm_cell(to, u, r, zr, cr);
            lstm_output(to, r, zr, cr, hr);
          } else {
            const LstmStep step{a, row0 + r, t, s, block * W};
            if (i < rows) return step.cell(zr, cr);
            step.output(zr, cr, hr, hr);
          }
          own.put_h(s + 1, r, block * W);
        });
      };
      for (int64_t block = 0; block < blocks; ++block) {
        const int64_t k0 = block < ahead ? kx : 0;
        auto before = gates(block - 1, tiles_slots(tiles, 4, kx + kh - k0));
        product(s, block, k0, kx + kh, before);
        before.finish();
      }
      auto last = gates(blocks - 1, ahead * tiles_slots(tiles, 4, kx));
      if (s + 1 < a.steps) begin_step(s + 1, last);
      last.finish();
    }
    own.finish();
    rnn_store_state(c, own.ld, row0, rows, u, a.c_last);
    inputs.put(row0 / chunk, own.of_x), states.put(row0 / chunk, own.of_h);
  });
  return split_in_range(kernel.all(), inputs.all()) && split_in_range(recurrent.all(), states.all());
}

// lstm_backward likewise. Sums over gates and units run over (block of units, gate): a chunk of k is two gates of a block.
bool lstm_backward_tiles(const RnnBackward& a) {
  const int64_t u = a.units, blocks = ceil_div(u, W), ld = blocks * W, depth = 2 * blocks, next = depth * kSplit;
  const int64_t f = a.features, ldx = round_up(f, 16), tx = ldx / 16, gx_tiles = a.gx ? tx : 0;
  // A task takes some chunks of rows, so that there are few sums to add up.
  const int64_t chunk = rnn_tile_rows(a.batch), chunks = ceil_div(a.batch, chunk), task = ceil_div(chunks, 16), tasks = ceil_div(chunks, task);
  // recurrent^T and kernel^T: [tile of units or features][chunk of k][part]
  Scratch<uint16_t> weights((blocks + gx_tiles) * next);
  LargestSplit largest(blocks + gx_tiles), gradients(tasks), inputs(tasks), states(tasks);
  parallel_for(blocks + gx_tiles, 1 + 32768 / next, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      Split split;
      const int64_t row = (tile < blocks ? tile : tile - blocks) * 16, rows = (tile < blocks ? u : f) - row;
      const float* w = (tile < blocks ? a.recurrent : a.kernel) + row * 4 * u;
      for (int64_t k = 0; k < depth; ++k) {
        uint16_t* const out = weights + tile * next + k * kSplit;
        const float* const from = w + k % 2 * 2 * u + k / 2 * W;
        const int64_t n = min(W, u - k / 2 * W);
        for (int64_t r = 0; r < kTileRows; ++r) {
          const float* const p = from + r * 4 * u;
          split.row(r < rows ? Vec::load(p, n) : Vec::zero(), r < rows ? Vec::load(p + u, n) : Vec::zero(), out + r * kTileDepth);
        }
        transpose_tiles(out);
      }
      largest.put(tile, split);
    }
  });
  if (!split_in_range(largest.all(), 1)) return false;
  rnn_load_state(a.gc_last, 0, a.batch, u, a.gc0, u);
  // Of each task: gradients of weights (features, then units in whole tiles; 4 ld) and of the bias (4 ld).
  const int64_t floats = (ldx + ld + 1) * 4 * ld;
  Scratch<float> partial(tasks * floats);
  parallel_for(chunks, task, [&](int64_t chunk0, int64_t chunk_end) {
    const TilesReady ready;
    Split of_gz, of_x, of_h;
    float *const sums_c = partial + chunk0 / task * floats, *const gb = sums_c + (ldx + ld) * 4 * ld;
    rnn_zero(gb, 4 * ld);
    RnnSums sums(tx + blocks, 4 * blocks, sums_c);
    for (int64_t row0 = chunk0 * chunk; row0 < min(a.batch, chunk_end * chunk); row0 += chunk) {
      const int64_t rows = min(chunk, a.batch - row0), tiles = ceil_div(rows, kTileRows);
      Scratch<uint16_t> step(tiles * next);
      Scratch<float> gh(tiles * kTileRows * ld), gx(tiles * kTileRows * ldx);
      rnn_zero(gh, tiles * kTileRows * ld);
      rnn_load_state(a.gh_last, row0, rows, u, gh, ld);
      __builtin_memset(step, 0, size_t(tiles * next) * 2);
      sums.clear();
      alignas(64) float gz[2][4 * W];
      for (int64_t i = 0; i < a.steps; ++i) {
        const int64_t s = a.steps - 1 - i, t = a.go_backwards ? a.steps - 1 - s : s, later = a.go_backwards ? 1 : -1;
        // Of row 0; rows are so far apart.
        const int64_t of_row = a.steps * u, at = (row0 * a.steps + t) * u, of_c = s + 1 == a.steps ? u : of_row;
        const float *const gates0 = a.gates + 4 * at, *const before0 = a.cs + at, *const gy0 = a.gy ? a.gy + (row0 * a.steps + s) * u : nullptr;
        const float* const c0 = a.cs + rnn_before(a.batch, a.steps, row0, s + 1, a.go_backwards) * u;
        const uint8_t* const mask0 = a.mask ? a.mask + row0 * a.steps + t : nullptr;
        uint16_t* const right = sums.right(i);
        // Beside gradients of weights, for each pair of rows and block of units: gates of the first row, of the second, and parts of two gates each.
        Beside gates((rows + 1) / 2 * blocks * 4, sums.slots(i), [&, pair = int64_t(0), block = int64_t(0)](int64_t item) mutable {
          const int64_t part = item % 4, k = block * W;
          if (part >= 2) {
            const int64_t gate = 2 * part - 4, r = 2 * pair;
            const auto of = [&](int row) { return gz[row] + gate * W; };
            const Vec first[2] = {Vec::load(of(0)), Vec::load(of(0) + W)}, second[2] = {Vec::load(of(1)), Vec::load(of(1) + W)};
            of_gz.square(first, second, step + r / kTileRows * next + (2 * block + part - 2) * kSplit + half_row(r % kTileRows, 0),
                         right + (gate * blocks + block) * sums.next() + pair * kTileDepth, blocks * sums.next());
            float* const b = gb + gate * ld + k;
            (Vec::load(b) + (first[0] + second[0])).store(b);
            (Vec::load(b + ld) + (first[1] + second[1])).store(b + ld);
            if (part == 3 && ++block == blocks) block = 0, ++pair;
            return;
          }
          const int64_t r = 2 * pair + part, n = min(W, u - k);
          const bool on = r < rows && (!mask0 || mask0[r * a.steps]);
          float *const to = gz[part], *const ghk = gh + r * ld + k;
          if (gy0 && r < rows && (on || !a.zero_output)) (Vec::load(ghk) + Vec::load(gy0 + r * of_row + k, n)).store(ghk);
          Vec g[4] = {Vec::zero(), Vec::zero(), Vec::zero(), Vec::zero()};
          if (on) {
            const float *const p = gates0 + r * 4 * of_row + k, *const c = c0 + r * of_c + k, *const before = before0 + r * of_row + k;
            // Asked for four rows ahead, or in the first rows of the next step: a whole step ahead it would leave the first-level cache again.
            const int64_t ahead = r + 4 < rows ? 4 * of_row : (4 - rows) * of_row + later * u;
            FASTNN_UNROLL for (int gate = 0; gate < 4; ++gate) __builtin_prefetch(p + 4 * ahead + gate * u);
            __builtin_prefetch(before + ahead);
            float* const gc = a.gc0 + (row0 + r) * u + k;
            if (n == W) lstm_gradients(p, c, before, u, W, Vec::load(ghk), gc, g);
            else lstm_gradients(p, c, before, u, n, Vec::load(ghk), gc, g);
            Vec::zero().store(ghk);
          }
          FASTNN_UNROLL for (int gate = 0; gate < 4; ++gate) g[gate].store(to + gate * W);
        });
        sums.add_share(i, gates);
        gates.finish();
        // x and the state before, transposed, beside the products with the weights: of each tile four times 8 rows, then three parts.
        uint16_t* const left = sums.left(i);
        const int64_t slots = tiles_slots(tiles, blocks, depth) + (a.gx ? tiles_slots(tiles, tx, depth) : 0);
        Beside operands((tx + blocks) * 7, slots, [&](int64_t item) {
          const int64_t tile = item / 7, part = item % 7;
          uint16_t* const to = left + tile * sums.next();
          if (part >= 4) {
            char* const square = (char*)(to + (part - 4) * kTile);
            return transpose_square(square, 64, square, 64);
          }
          const bool is_x = tile < tx;
          const int64_t size = is_x ? f : u, col = (is_x ? tile : tile - tx) * 16, n = min(16, size - col);
          Split& split = is_x ? of_x : of_h;
          for (int64_t r = 8 * part; r < 8 * part + 8; r += 2) {
            const float *const row = (is_x ? a.x : a.hs) + ((row0 + r) * a.steps + t) * size + col, *const second = row + a.steps * size;
            split.row(r < rows ? Vec::load(row, n) : Vec::zero(), r + 1 < rows ? Vec::load(second, n) : Vec::zero(), to + r / 2 * kTileDepth);
            __builtin_prefetch(row + later * size), __builtin_prefetch(second + later * size);
          }
        });
        tiles_product(tiles, blocks, depth, step, next, weights, next, gh, ld, gh, ld, operands);
        if (a.gx) tiles_product(tiles, tx, depth, step, next, weights + blocks * next, next, nullptr, 0, gx, ldx, operands);
        operands.finish();
        if (!a.gx) continue;
        for (int64_t r = 0; r < rows; ++r) {
          const int64_t at = (row0 + r) * a.steps + t;
          rnn_store_state(gx + r * ldx, ldx, at, 1, f, a.gx);
          rnn_prefetch_to_write(a.gx + (at + later) * f, f);
        }
      }
      sums.add_rest(a.steps);
      rnn_store_state(gh, ld, row0, rows, u, a.gh0);
    }
    gradients.put(chunk0 / task, of_gz), inputs.put(chunk0 / task, of_x), states.put(chunk0 / task, of_h);
  });
  const float top = gradients.all();
  if (!split_in_range(top, largest.of(0, blocks)) || !split_in_range(top, largest.of(blocks, blocks + gx_tiles)) ||
      !split_in_range(top, inputs.all()) || !split_in_range(top, states.all()))
    return false;
  rnn_add_up(partial, tasks, floats, f, 4, u, ld, a.gkernel);
  rnn_add_up(partial + ldx * 4 * ld, tasks, floats, u, 4, u, ld, a.grecurrent);
  if (a.gbias) rnn_add_up(partial + (ldx + ld) * 4 * ld, tasks, floats, 1, 4, u, ld, a.gbias);
  return true;
}
#endif

}  // namespace

void lstm_forward(RnnForward a) {
  if (rnn_is_row(a)) return lstm_forward_row(a);
#if FASTNN_TILES
  // Short sums are soon done: the gates take most of the time then, and vectors share their core better with vectors.
  if (a.features + a.units >= 112 && rnn_uses_tiles(a.batch, a.steps, a.features, a.units, 4) && lstm_forward_tiles(a)) return;
#endif
  const RnnWeights w(a, 4, 4, 4, 4);
  const RnnPlan plan = w.plan(a);
  const RnnInput<4, 4> input(a, w, plan);
  const int64_t ld = w.ld(), state = a.batch * ld;
  Scratch<float> scratch(3 * state);  // h before and after even steps, c
  float* const c = scratch + 2 * state;
  rnn_load_state(a.h0, 0, a.batch, a.units, scratch, ld);
  rnn_load_state(a.c0, 0, a.batch, a.units, c, ld);
  rnn_save_initial(a, scratch, ld, 0, a.batch, a.hs);
  rnn_save_initial(a, c, ld, 0, a.batch, a.cs);
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
#if FASTNN_TILES
  // Gradients of weights are sums over the rows of a chunk, of which fewer than 32 fill half a tile.
  if (a.features + a.units >= (a.batch < 64 ? 112 : 40) && rnn_uses_tiles(a.batch, a.steps, a.features, a.units, 4) && lstm_backward_tiles(a)) return;
#endif
  const int64_t u = a.units;
  const RnnPlan plan = rnn_plan(a.batch, a.steps, u, W, 4 * u * u);
  const RnnWeightsT recurrent(a.recurrent, u, 4 * u, 4 * u, a.batch, plan);
  rnn_load_state(a.gc_last, 0, a.batch, u, a.gc0, u);
  rnn_through_time(a, plan, recurrent, 4 * u, 4 * u, a.gbias, [&](int64_t row, int64_t t, int64_t s, int64_t unit0, int64_t units, RnnStepGradients to) {
    const bool on = rnn_add_gy(a, row, t, s, unit0, units, to.gh);
    lstm_prefetch(a, row, t, s, unit0, units, to.gz);
    if (!on) {
      for (int64_t gate = 0; gate < 4; ++gate) rnn_zero(to.gz + gate * u + unit0, units), rnn_zero(to.step + gate * u + unit0, units);
      return;
    }
    const auto before = [&](int64_t step) { return a.cs + rnn_before(a.batch, a.steps, row, step, a.go_backwards) * u; };
    const float *p = a.gates + (row * a.steps + t) * 4 * u, *c = before(s + 1), *c_prev = before(s);
    for_each_vec(units, [&](int64_t i, int64_t n) {
      const int64_t k = unit0 + i;
      Vec gates[4];
      lstm_gradients(p + k, c + k, c_prev + k, u, n, Vec::load(to.gh + k, n), a.gc0 + row * u + k, gates);
      Vec::zero().store(to.gh + k, n);
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
