// SimpleRNN over whole sequences (Elman 1990): h = activation(x_t kernel + h recurrent + bias),
// activation tanh, relu or linear.
#include "cpu/rnn.h"
#include "cpu/rnn_backward.h"
#include "cpu/rnn_row.h"
#include "kernels.h"

namespace fastnn::FASTNN_TARGET {
namespace {

constexpr int W = Vec::width;

// A block has NV vectors of units: with a single gate, several of them fill a tile.
template <int NV, class F>
void simple_rnn_blocks(const RnnForward& a, F activation) {
  const RnnWeights w(a, 1, NV, NV, NV);
  const RnnPlan plan = w.plan(a);
  const RnnInput<NV, NV> input(a, w, plan);
  const int64_t u = a.units, ld = w.ld(), state = a.batch * ld;
  Scratch<float> scratch(2 * state);  // h before and after even steps
  rnn_load_state(a.h0, 0, a.batch, u, scratch, ld);
  rnn_save_initial(a, scratch, ld, 0, a.batch, a.hs);
  rnn_run(plan, a.batch, a.steps, ld, 1, [&](int64_t row0, int64_t rows, int64_t unit0, int64_t units, int64_t s, int) {
    const int64_t t = a.go_backwards ? a.steps - 1 - s : s, block0 = unit0 / w.block_units, blocks = units / w.block_units;
    const float* h = scratch + s % 2 * state;
    float* h_next = scratch + (s + 1) % 2 * state;
    input.step(row0, rows, block0, blocks, s);
    rnn_for_each_group(row0, rows, block0, blocks, s, [&](int64_t first, int64_t n, int64_t block) {
      const int64_t unit = block * NV * W;
      rnn_tiles<NV>(n, [&](int64_t r) { return input.tile(first + r, s, block, h + (first + r) * ld, ld); },
                    h_next + first * ld + unit, ld);
      for (int64_t row = first; row < first + n; ++row) {
        const bool on = !a.mask || a.mask[row * a.steps + t];
        for (int64_t i = unit; i < unit + NV * W && i < u; i += W) {
          float* to = h_next + row * ld + i;
          const Vec v = on ? activation(Vec::load(to)) : Vec::load(h + row * ld + i);
          v.store(to);
          rnn_emit(a, v, on, row, s, i, u - i < W ? u - i : W);
        }
      }
    });
  });
  rnn_store_state(scratch + a.steps % 2 * state, ld, 0, a.batch, u, a.h_last);
}

template <class F>
void simple_rnn_row(const RnnForward& a, F activation) {
  const int64_t ld = round_up(a.units, W);
  Scratch<float> h(ld);
  rnn_load_state(a.h0, 0, 1, a.units, h, ld);
  rnn_save_initial(a, h, ld, 0, 1, a.hs);
  rnn_row(a, 1, h, [&](int64_t s, int64_t unit0, int64_t units, const RnnRowSums& sums) {
    const bool on = !a.mask || a.mask[a.go_backwards ? a.steps - 1 - s : s];
    for (int64_t k = unit0; k < unit0 + units; k += W) {
      const int64_t n = min(W, a.units - k);
      const Vec v = on ? activation(sums.all(0, k, n)) : Vec::load(h + k);
      v.store(h + k);
      rnn_emit(a, v, on, 0, s, k, n);
    }
  });
  rnn_store_state(h, ld, 0, 1, a.units, a.h_last);
}

template <class F>
void simple_rnn_units(const RnnForward& a, F activation) {
  if (rnn_is_row(a)) return simple_rnn_row(a, activation);
  if (a.units <= W) return simple_rnn_blocks<1>(a, activation);
  if (a.units <= 2 * W) return simple_rnn_blocks<2>(a, activation);
  simple_rnn_blocks<4>(a, activation);
}

// gz = gh * derivative(h)
template <class F>
void simple_rnn_through_time(const RnnBackward& a, F derivative) {
  const int64_t u = a.units;
  const RnnPlan plan = rnn_plan(a.batch, a.steps, u, W, u * u);
  const RnnWeightsT recurrent(a.recurrent, u, u, u, a.batch, plan);
  rnn_through_time(a, plan, recurrent, u, u, a.gbias, [&](int64_t row, int64_t t, int64_t s, int64_t unit0, int64_t units, RnnStepGradients to) {
    const float* h = a.hs + rnn_before(a.batch, a.steps, row, s + 1, a.go_backwards) * u;
    if (s > 0) {
      rnn_prefetch(a.hs + rnn_before(a.batch, a.steps, row, s, a.go_backwards) * u + unit0, units);
      rnn_prefetch_to_write(to.gz + (a.go_backwards ? u : -u) + unit0, units);
    }
    if (!rnn_add_gy(a, row, t, s, unit0, units, to.gh)) {
      rnn_zero(to.gz + unit0, units), rnn_zero(to.step + unit0, units);
      return;
    }
    for_each_vec(units, [&](int64_t i, int64_t n) {
      const int64_t k = unit0 + i;
      const Vec g = rnn_flush(derivative(Vec::load(h + k, n), Vec::load(to.gh + k, n)));
      g.store(to.gz + k, n), g.store(to.step + k, n);
      (Vec::load(to.gb + k, n) + g).store(to.gb + k, n);
      Vec::zero().store(to.gh + k, n);
    });
  }, [](auto...) {});
}

}  // namespace

void simple_rnn_forward(RnnForward a) {
  switch (a.variant) {
    case kRnnRelu: return simple_rnn_units(a, [](Vec v) { return relu(v); });
    case kRnnLinear: return simple_rnn_units(a, [](Vec v) { return v; });
    default: simple_rnn_units(a, [](Vec v) { return tanh(v); });
  }
}

void simple_rnn_backward(RnnBackward a) {
  const int64_t u = a.units;
  switch (a.variant) {
    case kRnnRelu:
      simple_rnn_through_time(a, [](Vec h, Vec gh) { return select(Vec::zero() < h, gh, Vec::zero()); });
      break;
    case kRnnLinear: simple_rnn_through_time(a, [](Vec, Vec gh) { return gh; }); break;
    default: simple_rnn_through_time(a, [](Vec h, Vec gh) { return gh * (Vec::set(1) - h * h); });
  }
  const RnnProduct products[] = {{a.x, a.features, a.features, 0, u, a.gkernel, u}, {a.hs, u, u, 0, u, a.grecurrent, u}};
  rnn_products(a, u, 0, u, products, 2);
}

}  // namespace fastnn::FASTNN_TARGET
