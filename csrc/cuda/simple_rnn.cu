// SimpleRNN over whole sequences (Elman 1990): h = activation(x_t kernel + h recurrent + bias), activation tanh,
// relu or linear; rnn.h runs its cell.
#include "rnn.h"

namespace fastnn::cuda {
namespace {

struct SimpleCell {
  static constexpr int kGates = 1;
  static constexpr bool kTwoPhases = false;

  static __device__ __forceinline__ void forward(const RnnForward& a, int64_t row, int64_t s, int64_t j, const float (&x)[1],
                                                 const float (&r)[1], float& h, float&) {
    const bool on = !a.mask || a.mask[rnn_at(a, row, s)];
    const float z = x[0] + r[0];
    if (on) h = a.variant == kRnnRelu ? relu(z) : a.variant == kRnnLinear ? z : tanhf(z);
    rnn_emit(a, h, on, row, s, j);
  }

  static __device__ __forceinline__ void backward(const RnnBackward& a, bool on, int64_t row, int64_t s, int64_t j, float& gh, float&,
                                                  float (&g)[1]) {
    g[0] = 0;
    if (on) {
      const float h = a.hs[rnn_before(a, row, s + 1) * a.units + j];
      g[0] = rnn_flush(a.variant == kRnnRelu ? (h > 0 ? gh : 0) : a.variant == kRnnLinear ? gh : gh * (1 - h * h));
      gh = 0;
    }
    a.gz[rnn_at(a, row, s) * a.units + j] = g[0];
  }
};

}  // namespace

void simple_rnn_forward(RnnForward a) { rnn_forward<SimpleCell>(a); }

void simple_rnn_backward(RnnBackward a) {
  rnn_through_time<SimpleCell>(a);
  rnn_products(a, a.units);
}

}  // namespace fastnn::cuda
