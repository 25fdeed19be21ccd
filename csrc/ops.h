// One prototype per op function: check, allocate the result, launch the kernel.
#pragma once
#include <optional>

#include "tensor.h"

namespace fastnn {

using OptionalTensor = std::optional<Tensor>;

// ---- elementwise ----
// a op b with NumPy's broadcasting, float32. op: BinaryOp.
Tensor binary(int64_t op, const Tensor& a, const Tensor& b);

// ---- recurrent layers over whole sequences: x (batch, steps, features) ----
struct RnnOptions {
  bool go_backwards = false;
  bool zero_output = false;       // masked steps give zeros in y
  bool return_sequences = false;  // y (batch, steps, units)
  bool keep = false;              // what backward needs
  int64_t variant = 0;            // gru: reset_after; simple_rnn: RnnActivation
  bool use_bias = true, need_gx = true;  // of backward
};
struct RnnResult {
  OptionalTensor y, h, c;        // all outputs, last state
  OptionalTensor gates, hs, cs;  // workspace
};
RnnResult lstm_forward(const Tensor& x, const Tensor& kernel, const Tensor& recurrent, const OptionalTensor& bias,
                       const OptionalTensor& h0, const OptionalTensor& c0, const OptionalTensor& mask, const RnnOptions& o);
RnnResult gru_forward(const Tensor& x, const Tensor& kernel, const Tensor& recurrent, const OptionalTensor& bias,
                      const OptionalTensor& h0, const OptionalTensor& mask, const RnnOptions& o);
RnnResult simple_rnn_forward(const Tensor& x, const Tensor& kernel, const Tensor& recurrent, const OptionalTensor& bias,
                             const OptionalTensor& h0, const OptionalTensor& mask, const RnnOptions& o);
// gx, gkernel, grecurrent, gbias, gh0, gc0; gy, gh, gc: gradients of y and of the last state.
std::vector<OptionalTensor> lstm_backward(const Tensor& x, const Tensor& kernel, const Tensor& recurrent,
                                          const OptionalTensor& mask, const RnnResult& saved, const OptionalTensor& gy,
                                          const OptionalTensor& gh, const OptionalTensor& gc, const RnnOptions& o);
std::vector<OptionalTensor> gru_backward(const Tensor& x, const Tensor& kernel, const Tensor& recurrent,
                                         const OptionalTensor& mask, const RnnResult& saved, const OptionalTensor& gy,
                                         const OptionalTensor& gh, const RnnOptions& o);
std::vector<OptionalTensor> simple_rnn_backward(const Tensor& x, const Tensor& kernel, const Tensor& recurrent,
                                                const OptionalTensor& mask, const RnnResult& saved,
                                                const OptionalTensor& gy, const OptionalTensor& gh, const RnnOptions& o);

}  // namespace fastnn
