// One prototype per op function: check, allocate the result, launch the kernel.
#pragma once
#include <optional>
#include <vector>
#include <array>
#include <optional>
#include <tuple>
#include <utility>

#include "kernel_args.h"
#include "tensor.h"

namespace fastnn {

using OptionalTensor = std::optional<Tensor>;

// ---- elementwise ----
// a op b with NumPy's broadcasting, float32. op: BinaryOp.
// ---- elementwise, float32 ----
// y = f(x, p, q). op: unary_op.
Tensor unary(int64_t op, const Tensor& x, float p, float q);
// gx = gy f'(v), v being the input or the result of f: see unary.cpp.
Tensor unary_backward(int64_t op, const Tensor& gy, const Tensor& v, float p, float q);
// a op b with NumPy's broadcasting. op: binary_op.
Tensor binary(int64_t op, const Tensor& a, const Tensor& b);
// a op value, or value op a.
Tensor binary_scalar(int64_t op, const Tensor& a, float value, bool reversed);
// bool: a op b. op: compare_op.
Tensor compare(int64_t op, const Tensor& a, const Tensor& b);
Tensor compare_scalar(int64_t op, const Tensor& a, float value);
// condition (bool) ? a : b, broadcast.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);
// The sum of tensors of one shape, from the left.
Tensor add_n(const std::vector<Tensor>& terms);
Tensor broadcast_to(const Tensor& x, const Shape& shape);

// ---- reductions, float32 ----
// Over the given axes (negative from the end, no axis twice). op: reduce_op.
Tensor reduce(int64_t op, const Tensor& x, const std::vector<int64_t>& axes, bool keepdims);
// int32 positions of the first largest (or smallest) value along one axis; the first NaN if any.
Tensor arg_reduce(const Tensor& x, int64_t axis, bool minimum, bool keepdims);
// The sum over the axes along which `shape` was broadcast to the shape of x.
Tensor sum_to(const Tensor& x, const Shape& shape);

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
// ---- data movement, any dtype ----
// y's axis i is x's axis axes[i].
Tensor transpose(const Tensor& x, const std::vector<int64_t>& axes);
// y[i, ...] = x[begin + i step, ...], all inside x; one entry of begin, size and step for each axis.
Tensor slice(const Tensor& x, const std::vector<int64_t>& begin, const Shape& size, const std::vector<int64_t>& step);
// Zeros of `shape` with gy written where slice read.
Tensor slice_backward(const Tensor& gy, const Shape& shape, const std::vector<int64_t>& begin,
                      const std::vector<int64_t>& step);
// x with `updates` written where slice would read.
Tensor slice_update(const Tensor& x, const Tensor& updates, const std::vector<int64_t>& begin,
                    const std::vector<int64_t>& step);
Tensor concatenate(const std::vector<Tensor>& xs, int64_t axis);
// `value`, one element of x's dtype, around x.
Tensor pad(const Tensor& x, const std::vector<int64_t>& before, const std::vector<int64_t>& after, const Tensor& value);
Tensor cast(const Tensor& x, DType dtype);

// ---- indexing ----
// x, of any dtype, as int64 in [0, limit). wrap: negative ones count from the end.
// IndexError names the first position out of range, ValueError the first that is not whole.
Tensor indices(const char* op, const char* name, const Tensor& x, int64_t limit, bool wrap);
// The same for labels: one that is no class is a ValueError that names its row.
Tensor class_indices(const char* op, const char* name, const Tensor& x, int64_t classes);
// y = x with `axis` replaced by the axes of index, which comes from indices().
Tensor gather(const Tensor& x, const Tensor& index, int64_t axis);
Tensor gather_backward(const Tensor& gy, const Tensor& index, const Shape& shape, int64_t axis);
// y[.., i, ..] = x[.., index[.., i, ..], ..] along axis; the other sizes agree.
Tensor gather_elements(const Tensor& x, const Tensor& index, int64_t axis);
Tensor gather_elements_backward(const Tensor& gy, const Tensor& index, const Shape& shape, int64_t axis);
// The sum of values (n, cols) over equal indices (n), as (row_slot, slot_row, count, sums): row r of the
// gradient is sums[row_slot[r]], or zero where row_slot is -1; slot_row[:count] are the rows that have one.
std::vector<Tensor> coalesce(const Tensor& index, const Tensor& values, int64_t rows);
// (rows, cols) from what coalesce gives.
Tensor densify(const Tensor& row_slot, const Tensor& sums);

// ---- softmax and cross entropies over the last axis, float32 ----
Tensor softmax_forward(const Tensor& x);
Tensor softmax_backward(const Tensor& y, const Tensor& gy);
Tensor log_softmax_forward(const Tensor& x);
Tensor log_softmax_backward(const Tensor& y, const Tensor& gy);
// Labels of any dtype as int64; ValueError names the first row that is no class.
Tensor class_labels(const Tensor& label, int64_t classes);
// One loss per row, and with from_logits the row statistics that backward needs.
std::vector<Tensor> categorical_crossentropy_forward(const Tensor& target, const Tensor& output, bool from_logits);
Tensor categorical_crossentropy_backward(const Tensor& target, const Tensor& output, const std::vector<Tensor>& stats,
                                         const Tensor& gy);
std::vector<Tensor> sparse_categorical_crossentropy_forward(const Tensor& label, const Tensor& output, bool from_logits);
Tensor sparse_categorical_crossentropy_backward(const Tensor& label, const Tensor& output,
                                                const std::vector<Tensor>& stats, const Tensor& gy);
Tensor binary_crossentropy_forward(const Tensor& target, const Tensor& output, bool from_logits);
Tensor binary_crossentropy_backward(const Tensor& target, const Tensor& output, const Tensor& gy, bool from_logits);

// ---- connectionist temporal classification; int64 labels and lengths, float32 log probabilities (b, t, k) ----
// The losses (b), and alpha, which backward needs.
std::vector<Tensor> ctc_forward(const Tensor& label, const Tensor& label_count, const Tensor& frame_count, const Tensor& logp,
                                int64_t blank);
Tensor ctc_backward(const Tensor& label, const Tensor& label_count, const Tensor& frame_count, const Tensor& logp,
                    const Tensor& alpha, const Tensor& gy, int64_t blank);

// ---- random numbers; key: (2,) uint32, what is drawn depends on it alone ----
// The next key of a generator; `state` (a variable's storage) is advanced in place.
Tensor random_key(Tensor state);
Tensor random_words(const Tensor& key, int64_t n);
Tensor random_uniform(const Tensor& key, const Shape& shape, float low, float high);
Tensor random_normal(const Tensor& key, const Shape& shape, float mean, float stddev);
Tensor random_truncated_normal(const Tensor& key, const Shape& shape, float mean, float stddev);
Tensor random_integers(const Tensor& key, const Shape& shape, int64_t low, int64_t high);
// x / (1 - rate) where kept, 0 with probability rate: its own gradient under the same key.
Tensor dropout(const Tensor& key, const Tensor& x, float rate);

// ---- optimizers: all weights in one call, float32, overwritten in place ----
// w, m, v, ...: the storage of variables (Variable.mutable()). g: one gradient per weight; a sparse one is the
// `sums` of coalesce with its row_slot at the same place of row_slots (which may be empty when all are dense).
// lr: one float, iterations: one int32 or int64, the number of updates made before; both are read by the kernel.
// weight_decay: w -= weight_decay lr w first, for weights whose `decay` is true (empty: all). clipvalue: bound of
// every gradient element, 0 for none. scale: (weights,) factor of each gradient, from clip_scales.
using RowSlots = std::vector<std::optional<Tensor>>;
// m empty: plain descent.
void sgd_update(std::vector<Tensor> w, const std::vector<Tensor>& g, const RowSlots& row_slots, std::vector<Tensor> m,
                const Tensor& lr, float momentum, bool nesterov, float weight_decay, const std::vector<bool>& decay,
                float clipvalue, const std::optional<Tensor>& scale);
// v: mean square. mean: for centered, or empty. m: for momentum, or empty.
void rmsprop_update(std::vector<Tensor> w, const std::vector<Tensor>& g, const RowSlots& row_slots, std::vector<Tensor> v,
                    std::vector<Tensor> mean, std::vector<Tensor> m, const Tensor& lr, double rho, float momentum,
                    float epsilon, float weight_decay, const std::vector<bool>& decay, float clipvalue,
                    const std::optional<Tensor>& scale);
// vmax: for amsgrad, or empty.
void adam_update(std::vector<Tensor> w, const std::vector<Tensor>& g, const RowSlots& row_slots, std::vector<Tensor> m,
                 std::vector<Tensor> v, std::vector<Tensor> vmax, const Tensor& lr, const Tensor& iterations, double beta1,
                 double beta2, float epsilon, float weight_decay, const std::vector<bool>& decay, float clipvalue,
                 const std::optional<Tensor>& scale);
// (weights,) sums of squares of the gradients.
Tensor squared_norms(const std::vector<Tensor>& g, const RowSlots& row_slots);
// (weights,) factors that bring each gradient's norm (global: the norm of all together) down to clipnorm.
Tensor clip_scales(const Tensor& squares, float clipnorm, bool global);
// x += 1 in place, for the step count: one int32 or int64.
void increment(Tensor x);
// ---- depthwise convolution ----
// x (n, ih, iw, c), w (kh, kw, c, m), y and gy (n, oh, ow, c * m); output channel k * m + q reads channel k.
// strides, dilation: rows, columns; pads: top, bottom, left, right.
Tensor depthwise_conv2d_forward(const Tensor& x, const Tensor& w, std::array<int64_t, 2> strides,
                                std::array<int64_t, 4> pads, std::array<int64_t, 2> dilation);
Tensor depthwise_conv2d_backward_input(const Tensor& gy, const Tensor& w, const Shape& x_shape,
                                       std::array<int64_t, 2> strides, std::array<int64_t, 4> pads,
                                       std::array<int64_t, 2> dilation);
Tensor depthwise_conv2d_backward_weights(const Tensor& x, const Tensor& gy, const Shape& w_shape,
                                         std::array<int64_t, 2> strides, std::array<int64_t, 4> pads,
                                         std::array<int64_t, 2> dilation);

// ---- pooling ----
// x (n, ih, iw, c), y and gy (n, oh, ow, c). Padding does not take part in maxima and averages.
Tensor max_pool2d_forward(const Tensor& x, std::array<int64_t, 2> size, std::array<int64_t, 2> strides,
                          std::array<int64_t, 4> pads);
// y and the number of the chosen cell in each window, uint8 or int32.
std::pair<Tensor, Tensor> max_pool2d_forward_with_taps(const Tensor& x, std::array<int64_t, 2> size,
                                                       std::array<int64_t, 2> strides, std::array<int64_t, 4> pads);
Tensor max_pool2d_backward(const Tensor& gy, const Tensor& taps, const Shape& x_shape, std::array<int64_t, 2> size,
                           std::array<int64_t, 2> strides, std::array<int64_t, 4> pads);
// y = x at the chosen cells.
Tensor max_pool2d_take(const Tensor& x, const Tensor& taps, std::array<int64_t, 2> size, std::array<int64_t, 2> strides,
                       std::array<int64_t, 4> pads);
Tensor average_pool2d_forward(const Tensor& x, std::array<int64_t, 2> size, std::array<int64_t, 2> strides,
                              std::array<int64_t, 4> pads);
Tensor average_pool2d_backward(const Tensor& gy, const Shape& x_shape, std::array<int64_t, 2> size,
                               std::array<int64_t, 2> strides, std::array<int64_t, 4> pads);

// ---- normalization ----
// x (..., c) is normalized along all axes but the last; gamma, beta, mean, variance, rstd (c).
// y, mean, variance, rstd
std::tuple<Tensor, Tensor, Tensor, Tensor> batch_norm_forward(const Tensor& x, const std::optional<Tensor>& gamma,
                                                              const std::optional<Tensor>& beta, double epsilon);
Tensor batch_norm_inference(const Tensor& x, const Tensor& mean, const Tensor& variance, const std::optional<Tensor>& gamma,
                            const std::optional<Tensor>& beta, double epsilon);
// gx (if wanted), ggamma, gbeta
std::tuple<std::optional<Tensor>, Tensor, Tensor> batch_norm_backward(const Tensor& x, const Tensor& gy,
                                                                      const std::optional<Tensor>& gamma, const Tensor& mean,
                                                                      const Tensor& rstd, bool need_gx);
std::tuple<std::optional<Tensor>, Tensor, Tensor> batch_norm_backward_inference(
    const Tensor& x, const Tensor& gy, const std::optional<Tensor>& gamma, const Tensor& mean, const Tensor& variance,
    double epsilon, bool need_gx);
// moving = moving * momentum + value * (1 - momentum), in place: for storage that nobody else holds.
void moving_average(Tensor moving, const Tensor& value, double momentum);
// Each row of the last `axes` axes is normalized; gamma, beta have their shape, mean and rstd that of the rest.
// y, mean, rstd
std::tuple<Tensor, Tensor, Tensor> layer_norm_forward(const Tensor& x, const std::optional<Tensor>& gamma,
                                                      const std::optional<Tensor>& beta, int64_t axes, double epsilon);
// gx (if wanted), ggamma, gbeta
std::tuple<std::optional<Tensor>, Tensor, Tensor> layer_norm_backward(const Tensor& x, const Tensor& gy,
                                                                      const std::optional<Tensor>& gamma, const Tensor& mean,
                                                                      const Tensor& rstd, int64_t axes, bool need_gx);
// ---- matmul ----
// activation(a @ b + bias), NumPy's broadcasting of batch axes; a and b have at least 2 axes.
// trans_a, trans_b: the last two axes are swapped. activation: Activation.
Tensor matmul(const Tensor& a, const Tensor& b, const std::optional<Tensor>& bias, bool trans_a, bool trans_b,
              int64_t activation);
// The gradient before the epilogue of matmul or conv, and that of its bias if asked for.
std::pair<Tensor, std::optional<Tensor>> epilogue_backward(int64_t activation, const Tensor& y, const Tensor& gy,
                                                           bool bias);
void check_activation(const char* op, int64_t activation);

// ---- conv2d: x (n, ih, iw, ic), w (kh, kw, ic / groups, oc), y (n, oh, ow, oc) ----
// or sequences x (n, iw, ic), w (kw, ic / groups, oc), y (n, ow, oc): images of height 1.
struct Conv2dOptions {
  std::array<int64_t, 2> strides, dilations;
  std::array<int64_t, 4> pads;  // top, bottom, left, right
  int64_t groups;
};
Tensor conv2d_forward(const Tensor& x, const Tensor& w, const std::optional<Tensor>& bias, const Conv2dOptions& o,
                      int64_t activation);
// size: (ih, iw).
Tensor conv2d_backward_input(const Tensor& gy, const Tensor& w, const std::optional<Tensor>& bias,
                             std::array<int64_t, 2> size, const Conv2dOptions& o, int64_t activation);
// size: (kh, kw).
Tensor conv2d_backward_weights(const Tensor& x, const Tensor& gy, std::array<int64_t, 2> size, const Conv2dOptions& o);

// ---- what the machine can do at most: benchmarks time these ----
// 768 * chunks * steps floating-point operations in registers.
Tensor ceiling_fma(int64_t chunks, int64_t steps);
// x, and x + 3 z, computed repeats times by chunk.
Tensor ceiling_copy(const Tensor& x, int64_t chunks, int64_t repeats);
Tensor ceiling_triad(const Tensor& x, const Tensor& z, int64_t chunks, int64_t repeats);

}  // namespace fastnn
