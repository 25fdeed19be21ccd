#include "rnn.h"

namespace fastnn {

static RnnLayout layout(const RnnOptions& o) { return {"gru", 3, 4, false, o.variant != 0}; }

RnnResult gru_forward(const Tensor& x, const Tensor& kernel, const Tensor& recurrent, const OptionalTensor& bias,
                      const OptionalTensor& h0, const OptionalTensor& mask, const RnnOptions& o) {
  return rnn_forward(layout(o), &Kernels::gru_forward, x, kernel, recurrent, bias, h0, {}, mask, o);
}

std::vector<OptionalTensor> gru_backward(const Tensor& x, const Tensor& kernel, const Tensor& recurrent,
                                         const OptionalTensor& mask, const RnnResult& saved, const OptionalTensor& gy,
                                         const OptionalTensor& gh, const RnnOptions& o) {
  check(saved.hs.has_value(), "[gru] the workspace of forward must be given. Received: None");
  return rnn_backward(layout(o), &Kernels::gru_backward, x, kernel, recurrent, mask, saved.gates, *saved.hs, {}, gy, gh, {},
                      o);
}

}  // namespace fastnn
