#include "rnn.h"

namespace fastnn {

static const RnnLayout kSimpleRnn = {"simple_rnn", 1, 1, false, false};

static void check_activation(const RnnOptions& o) {
  check(o.variant >= kRnnTanh && o.variant <= kRnnLinear, "[simple_rnn] activation must be tanh, relu or linear. ",
        "Received: activation=", o.variant);
}

RnnResult simple_rnn_forward(const Tensor& x, const Tensor& kernel, const Tensor& recurrent, const OptionalTensor& bias,
                             const OptionalTensor& h0, const OptionalTensor& mask, const RnnOptions& o) {
  check_activation(o);
  return rnn_forward(kSimpleRnn, &Kernels::simple_rnn_forward, x, kernel, recurrent, bias, h0, {}, mask, o);
}

std::vector<OptionalTensor> simple_rnn_backward(const Tensor& x, const Tensor& kernel, const Tensor& recurrent,
                                                const OptionalTensor& mask, const RnnResult& saved, const OptionalTensor& gy,
                                                const OptionalTensor& gh, const RnnOptions& o) {
  check_activation(o);
  check(saved.hs.has_value(), "[simple_rnn] the workspace of forward must be given. Received: None");
  return rnn_backward(kSimpleRnn, &Kernels::simple_rnn_backward, x, kernel, recurrent, mask, {}, *saved.hs, {}, gy, gh, {},
                      o);
}

}  // namespace fastnn
