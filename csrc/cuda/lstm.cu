// LSTM over whole sequences (Hochreiter & Schmidhuber 1997, Gers et al. 2000); rnn.h runs its cell.
//   i f o = sigmoid(z), g = tanh(z), z = x_t kernel + h recurrent + bias, gates in order i f g o
//   c = f c + i g
//   h = o tanh(c)
#include "rnn.h"

namespace fastnn::cuda {
namespace {

struct LstmCell {
  static constexpr int kGates = 4;
  static constexpr bool kTwoPhases = false;

  static __device__ __forceinline__ void forward(const RnnForward& a, int64_t row, int64_t s, int64_t j, const float (&x)[4],
                                                 const float (&r)[4], float& h, float& c) {
    const int64_t u = a.units, at = rnn_at(a, row, s);
    const bool on = !a.mask || a.mask[at];
    if (on) {
      const float i = sigmoid(x[0] + r[0]), f = sigmoid(x[1] + r[1]), g = tanhf(x[2] + r[2]), o = sigmoid(x[3] + r[3]);
      c = fmaf(f, c, i * g);
      h = o * tanhf(c);
      if (a.gates) {
        float* p = a.gates + at * 4 * u + j;
        p[0] = i, p[u] = f, p[2 * u] = g, p[3 * u] = o;
      }
    }
    if (a.cs) a.cs[rnn_before(a, row, s + 1) * u + j] = c;
    rnn_emit(a, h, on, row, s, j);
  }

  static __device__ __forceinline__ void backward(const RnnBackward& a, bool on, int64_t row, int64_t s, int64_t j, float& gh, float& gc,
                                                  float (&g4)[4]) {
    const int64_t u = a.units, at = rnn_at(a, row, s);
    FASTNN_UNROLL for (int k = 0; k < 4; ++k) g4[k] = 0;
    if (on) {
      const float* p = a.gates + at * 4 * u + j;
      const float i = p[0], f = p[u], g = p[2 * u], o = p[3 * u];
      const float tc = tanhf(a.cs[rnn_before(a, row, s + 1) * u + j]), c = fmaf(gh * o, 1 - tc * tc, gc);
      g4[0] = rnn_flush(c * g * (i * (1 - i)));
      g4[1] = rnn_flush(c * a.cs[rnn_before(a, row, s) * u + j] * (f * (1 - f)));
      g4[2] = rnn_flush(c * i * (1 - g * g));
      g4[3] = rnn_flush(gh * tc * (o * (1 - o)));
      gc = rnn_flush(c * f);
      gh = 0;
    }
    FASTNN_UNROLL for (int k = 0; k < 4; ++k) a.gz[(at * 4 + k) * u + j] = g4[k];
  }
};

}  // namespace

void lstm_forward(RnnForward a) { rnn_forward<LstmCell>(a); }

void lstm_backward(RnnBackward a) {
  rnn_through_time<LstmCell>(a);
  rnn_products(a, 4 * a.units);
}

}  // namespace fastnn::cuda
