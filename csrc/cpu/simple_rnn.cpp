// SimpleRNN over whole sequences (Elman 1990): h = activation(x_t kernel + h recurrent + bias),
// activation tanh, relu or linear.
#include "cpu/rnn.h"
#include "cpu/rnn_backward.h"
#include "kernels.h"

namespace fastnn::FASTNN_TARGET {
namespace {

constexpr int W = Vec::width;

// A block has NV vectors of units: with a single gate, several of them fill a tile.
template <int NV, class F>
void simple_rnn_blocks(const RnnForward& a, F activation) {
  const RnnWeights w(a, 1, NV, NV, NV);
  const int64_t u = a.units, ld = w.ld();
  parallel_for(a.batch, rnn_chunk_rows(a.batch, w.floats, a.steps), [&](int64_t begin, int64_t end) {
    const int64_t rows = end - begin;
    RnnInput<NV, NV> input(a, w, begin, rows);
    Scratch<float> scratch(2 * rows * ld);
    float *h = scratch, *h_next = h + rows * ld;
    rnn_load_state(a.h0, begin, rows, u, h, ld);
    rnn_save_initial(a, h, ld, begin, rows, a.hs);
    for (int64_t s = 0; s < a.steps; ++s) {
      const int64_t t = a.go_backwards ? a.steps - 1 - s : s;
      input.step(s, t);
      for (int64_t block = 0; block < w.blocks; ++block) {
        const int64_t unit = block * NV * W;
        rnn_tiles<NV>(rows, [&](int64_t r) { return input.tile(r, t, block, h + r * ld, ld); }, h_next + unit, ld);
        for (int64_t r = 0; r < rows; ++r) {
          const bool on = !a.mask || a.mask[(begin + r) * a.steps + t];
          for (int64_t i = unit; i < unit + NV * W && i < u; i += W) {
            float* to = h_next + r * ld + i;
            const Vec v = on ? activation(Vec::load(to)) : Vec::load(h + r * ld + i);
            v.store(to);
            rnn_emit(a, v, on, begin + r, t, s, i, u - i < W ? u - i : W);
          }
        }
      }
      float* last = h;
      h = h_next, h_next = last;
    }
    rnn_store_state(h, ld, begin, rows, u, a.h_last);
  });
}

template <class F>
void simple_rnn_units(const RnnForward& a, F activation) {
  if (a.units <= W) return simple_rnn_blocks<1>(a, activation);
  if (a.units <= 2 * W) return simple_rnn_blocks<2>(a, activation);
  simple_rnn_blocks<4>(a, activation);
}

// gz = gh * derivative(h)
template <class F>
void simple_rnn_through_time(const RnnBackward& a, F derivative) {
  const int64_t u = a.units;
  const RnnWeightsT recurrent(a.recurrent, u, u, u);
  parallel_for(a.batch, rnn_chunk_rows(a.batch, u * u, a.steps), [&](int64_t begin, int64_t end) {
    const int64_t rows = end - begin;
    Scratch<float> scratch(rows * 2 * u);
    float *gh = scratch, *step = gh + rows * u;
    rnn_load_state(a.gh_last, begin, rows, u, gh, u);
    for (int64_t s = a.steps - 1; s >= 0; --s) {
      const int64_t t = a.go_backwards ? a.steps - 1 - s : s;
      for (int64_t r = 0; r < rows; ++r) {
        float *out = a.gz + ((begin + r) * a.steps + t) * u, *st = step + r * u, *gh_r = gh + r * u;
        const float* h = a.hs + rnn_after(begin + r, a.steps, t, a.go_backwards) * u;
        if (s > 0) {
          const int64_t next = a.go_backwards ? 1 : -1;
          rnn_prefetch(h + next * u, u);
          rnn_prefetch_to_write(out + next * u, u);
        }
        if (!rnn_add_gy(a, begin + r, t, s, gh_r)) {
          rnn_zero(out, u), rnn_zero(st, u);
          continue;
        }
        for_each_vec(u, [&](int64_t k, int64_t n) {
          const Vec g = rnn_flush(derivative(Vec::load(h + k, n), Vec::load(gh_r + k, n)));
          g.store(out + k, n), g.store(st + k, n);
          Vec::zero().store(gh_r + k, n);
        });
      }
      recurrent.add_product(rows, step, u, gh, u);
    }
    rnn_store_state(gh, u, begin, rows, u, a.gh0);
  });
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
  const RnnProduct products[] = {
      {a.x, a.steps * a.features, a.features, a.features, 0, u, a.gkernel, u},
      rnn_state_product(a, 0, u, a.grecurrent, u),
  };
  rnn_weight_gradients(a, u, products, 2, a.gbias, u);
  if (a.gx) gemm(false, true, a.batch * a.steps, a.features, u, a.gz, u, a.kernel, u, a.gx, a.features);
}

}  // namespace fastnn::FASTNN_TARGET
