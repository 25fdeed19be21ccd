#include "rnn.h"

namespace fastnn {

static const RnnLayout kLstm = {"lstm", 4, 4, true, false};

RnnResult lstm_forward(const Tensor& x, const Tensor& kernel, const Tensor& recurrent, const OptionalTensor& bias,
                       const OptionalTensor& h0, const OptionalTensor& c0, const OptionalTensor& mask,
                       const RnnOptions& o) {
  return rnn_forward(kLstm, &Kernels::lstm_forward, x, kernel, recurrent, bias, h0, c0, mask, o);
}

std::vector<OptionalTensor> lstm_backward(const Tensor& x, const Tensor& kernel, const Tensor& recurrent,
                                          const OptionalTensor& mask, const RnnResult& saved, const OptionalTensor& gy,
                                          const OptionalTensor& gh, const OptionalTensor& gc, const RnnOptions& o) {
  check(saved.hs.has_value(), "[lstm] the workspace of forward must be given. Received: None");
  return rnn_backward(kLstm, &Kernels::lstm_backward, x, kernel, recurrent, mask, saved.gates, *saved.hs, saved.cs, gy, gh,
                      gc, o);
}

}  // namespace fastnn
