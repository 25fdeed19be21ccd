// GRU over whole sequences (Cho et al. 2014), in Keras's two forms; rnn.h runs its cells. Gates in order z r h.
//   z r = sigmoid(x_t kernel + h recurrent + bias)
//   reset_after:  q = h recurrent_h + bias1_h, g = tanh(x_t kernel_h + bias0_h + r q)
//   else:         q = r h,                     g = tanh(x_t kernel_h + bias_h + q recurrent_h)
//   h = z h + (1 - z) g
// Backward's gz is (batch, steps, 3 units), gradients of the arguments of z r g, and behind it (batch, steps, units), of
// the product with the recurrent weights that g contains (reset_after) or of q (else).
#include "rnn.h"

namespace fastnn::cuda {
namespace {

// The end of a step from its gates.
__device__ __forceinline__ void gru_update(const RnnForward& a, int64_t row, int64_t s, int64_t j, float z, float r, float g, float q, float& h) {
  const int64_t u = a.units, at = rnn_at(a, row, s);
  const bool on = !a.mask || a.mask[at];
  if (on) {
    h = fmaf(z, h, (1 - z) * g);
    if (a.gates) {
      float* p = a.gates + at * 4 * u + j;
      p[0] = z, p[u] = r, p[2 * u] = g, p[3 * u] = q;
    }
  } else if (a.gates) {  // q is an operand of backward's products, whose other operand is 0 here
    a.gates[at * 4 * u + 3 * u + j] = 0;
  }
  rnn_emit(a, h, on, row, s, j);
}

// The gradients of z and g, and of the state past the gates.
__device__ __forceinline__ void gru_backward_update(const RnnBackward& a, int64_t row, int64_t s, int64_t j, float& gh, float& gz, float& gg) {
  const int64_t u = a.units;
  const float* p = a.gates + rnn_at(a, row, s) * 4 * u + j;
  const float z = p[0], g = p[2 * u], h = a.hs[rnn_before(a, row, s) * u + j];
  gg = rnn_flush(gh * (1 - z) * (1 - g * g));
  gz = rnn_flush(gh * (h - g) * (z * (1 - z)));
  gh = rnn_flush(gh * z);
}

__device__ __forceinline__ void put_gz(const RnnBackward& a, int64_t row, int64_t s, int64_t j, float z, float r, float g, float q) {
  const int64_t u = a.units, at = rnn_at(a, row, s);
  float* p = a.gz + at * 3 * u + j;
  p[0] = z, p[u] = r, p[2 * u] = g;
  a.gz[(3 * a.batch * a.steps + at) * u + j] = q;
}

struct GruResetAfter {
  static constexpr int kGates = 3;
  static constexpr bool kTwoPhases = false;

  static __device__ __forceinline__ void forward(const RnnForward& a, int64_t row, int64_t s, int64_t j, const float (&x)[3],
                                                 const float (&p)[3], float& h, float&) {
    const float* bias = a.bias ? a.bias + 3 * a.units + j : nullptr;
    const float z = sigmoid(x[0] + (bias ? p[0] + bias[0] : p[0])), r = sigmoid(x[1] + (bias ? p[1] + bias[a.units] : p[1]));
    const float q = bias ? p[2] + bias[2 * a.units] : p[2];
    gru_update(a, row, s, j, z, r, tanhf(fmaf(r, q, x[2])), q, h);
  }

  static __device__ __forceinline__ void backward(const RnnBackward& a, bool on, int64_t row, int64_t s, int64_t j, float& gh, float&,
                                                  float (&step)[3]) {
    float gz = 0, gr = 0, gg = 0, gp = 0;
    if (on) {
      const float* p = a.gates + rnn_at(a, row, s) * 4 * a.units + j;
      const float r = p[a.units], q = p[3 * a.units];
      gru_backward_update(a, row, s, j, gh, gz, gg);
      gr = rnn_flush(gg * q * (r * (1 - r))), gp = rnn_flush(gg * r);
    }
    step[0] = gz, step[1] = gr, step[2] = gp;
    put_gz(a, row, s, j, gz, gr, gg, gp);
  }
};

struct GruResetBefore {
  static constexpr int kGates = 3;
  static constexpr bool kTwoPhases = true;

  // z and r in place of the input's part of their arguments; returns q.
  static __device__ __forceinline__ float make(float (&x)[3], const float (&p)[3], float h) {
    x[0] = sigmoid(x[0] + p[0]);
    x[1] = sigmoid(x[1] + p[1]);
    return x[1] * h;
  }
  static __device__ __forceinline__ void forward(const RnnForward& a, int64_t row, int64_t s, int64_t j, const float (&x)[3],
                                                 const float (&p)[3], float& h, float&) {
    gru_update(a, row, s, j, x[0], x[1], tanhf(x[2] + p[2]), x[1] * h, h);
  }

  static __device__ __forceinline__ void backward(const RnnBackward& a, bool on, int64_t row, int64_t s, int64_t j, float& gh, float&,
                                                  float (&g)[3]) {
    g[0] = g[1] = g[2] = 0;
    if (on) gru_backward_update(a, row, s, j, gh, g[0], g[2]);
  }
  static __device__ __forceinline__ void backward_make(const RnnBackward& a, bool on, int64_t row, int64_t s, int64_t j, float gq, float& gh,
                                                       float (&g)[3]) {
    if (on) {  // q = r h
      const int64_t u = a.units;
      const float r = a.gates[rnn_at(a, row, s) * 4 * u + u + j], h = a.hs[rnn_before(a, row, s) * u + j];
      g[1] = rnn_flush(gq * h * (r * (1 - r)));
      gh = fmaf(gq, r, gh);
    }
    put_gz(a, row, s, j, g[0], g[1], g[2], on ? gq : 0);
  }
};

}  // namespace

void gru_forward(RnnForward a) { a.variant ? rnn_forward<GruResetAfter>(a) : rnn_forward<GruResetBefore>(a); }

void gru_backward(RnnBackward a) {
  const int64_t u = a.units, total = a.batch * a.steps;
  a.variant ? rnn_through_time<GruResetAfter>(a) : rnn_through_time<GruResetBefore>(a);
  rnn_products(a, 3 * u);
  // The last gate's weights and, with reset_after, its second bias have operands of their own.
  const float* const last = a.gz + 3 * total * u;
  Scratch<float> weights(u * u), q(a.variant ? 0 : total * u);
  if (a.variant) {
    rnn_matmul(a.hs, last, nullptr, weights.get(), u, u, total, true);
    if (a.gbias) {
      rnn_copy(a.gbias, u, a.gbias + 3 * u, u, 2, u);
      reduce(reduce_op::sum, last, a.gbias + 5 * u, 1, total, u, total);
    }
  } else {
    rnn_copy(a.gates + 3 * u, 4 * u, q.get(), u, total, u);
    // gz (rows, 3 units): the columns of g alone
    Scratch<float> gg(total * u);
    rnn_copy(a.gz + 2 * u, 3 * u, gg.get(), u, total, u);
    rnn_matmul(q.get(), gg.get(), nullptr, weights.get(), u, u, total, true);
  }
  rnn_copy(weights.get(), u, a.grecurrent + 2 * u, 3 * u, u, u);
}

}  // namespace fastnn::cuda
