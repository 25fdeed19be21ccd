#include <algorithm>

#include "check.h"
#include "dispatch.h"
#include "ops.h"

namespace fastnn {
namespace {

// The batch axes of x1 and x2, all but their last two, broadcast. Appends the sizes to *result.
BroadcastShape broadcast_batch(const Shape& a, const Shape& b, Shape* result) {
  BroadcastShape s{};
  const int rank = std::max(a.rank(), b.rank());
  for (int axis = 0; axis < rank - 2; ++axis) result->push_back(1);
  int64_t stride_a = 1, stride_b = 1;
  for (int i = 3; i <= rank; ++i) {  // from the last batch axis
    const int64_t na = i <= a.rank() ? a[-i] : 1, nb = i <= b.rank() ? b[-i] : 1;
    check(na == nb || na == 1 || nb == 1, "[matmul] the batch axes must broadcast. Received: x1.shape=", a,
          ", x2.shape=", b);
    const int64_t n = na == 1 ? nb : na, r = s.rank++;
    result->set(rank - i, n);
    s.size[r] = n, s.stride[0][r] = na == 1 ? 0 : stride_a, s.stride[1][r] = nb == 1 ? 0 : stride_b;
    stride_a *= na, stride_b *= nb;
  }
  return s;
}

}  // namespace

void check_activation(const char* op, int64_t activation) {
  check(activation >= kActivationLinear && activation <= kActivationTanh, "[", op,
        "] activation must be one of the fused ones (0 to ", int64_t(kActivationTanh), "). Received: activation=", activation);
}

Tensor matmul(const Tensor& a, const Tensor& b, const std::optional<Tensor>& bias, bool trans_a, bool trans_b,
              int64_t activation) {
  check_float32("matmul", "x1", a);
  check_float32("matmul", "x2", b);
  check_device("matmul", {&a, &b});
  check_activation("matmul", activation);
  check(a.rank() >= 2 && b.rank() >= 2, "[matmul] x1 and x2 must have at least 2 axes. Received: x1.shape=", a.shape(),
        ", x2.shape=", b.shape());
  MatmulShape s{};
  s.m = a.size(trans_a ? -1 : -2), s.k = a.size(trans_a ? -2 : -1), s.n = b.size(trans_b ? -2 : -1);
  s.trans_a = trans_a, s.trans_b = trans_b, s.activation = activation;
  check(b.size(trans_b ? -1 : -2) == s.k, "[matmul] the inner sizes must be equal. Received: x1.shape=", a.shape(),
        trans_a ? " transposed" : "", ", x2.shape=", b.shape(), trans_b ? " transposed" : "");
  if (bias) {
    check_float32("matmul", "bias", *bias);
    check_shape("matmul", "bias", *bias, Shape{s.n});
    check_device("matmul", {&a, &*bias});
  }
  Shape shape;
  s.batch = broadcast_batch(a.shape(), b.shape(), &shape);
  shape.push_back(s.m);
  shape.push_back(s.n);
  Tensor c(shape, DType::float32, a.device());
  if (!c.numel()) return c;
  // One b for every matrix: their rows are the rows of one larger matrix.
  if (!trans_a && b.numel() == s.k * s.n) {
    s.m = c.numel() / s.n;
    s.batch.rank = 0;
  }
  launch(c.device(), &Kernels::matmul, a.f32(), b.f32(), bias ? bias->f32() : nullptr, c.f32(), s);
  return c;
}

std::pair<Tensor, std::optional<Tensor>> epilogue_backward(int64_t activation, const Tensor& y, const Tensor& gy,
                                                           bool bias) {
  check_float32("epilogue_backward", "y", y);
  check_float32("epilogue_backward", "gy", gy);
  check_shape("epilogue_backward", "gy", gy, y.shape());
  check_device("epilogue_backward", {&y, &gy});
  check_activation("epilogue_backward", activation);
  check(y.rank() >= 1, "[epilogue_backward] y must have at least 1 axis. Received: y.shape=", y.shape());
  Tensor gz = activation == kActivationLinear ? gy : Tensor(y.shape(), DType::float32, y.device());
  std::optional<Tensor> gb;
  const int64_t cols = y.size(-1);
  if (bias) gb = Tensor(Shape{cols}, DType::float32, y.device());
  const bool linear = activation == kActivationLinear;
  if (cols && (bias || !linear))
    launch(y.device(), &Kernels::epilogue_backward, activation, linear ? nullptr : y.f32(), gy.f32(),
           linear ? nullptr : gz.f32(), bias ? gb->f32() : nullptr, y.numel() / cols, cols);
  return {gz, gb};
}

}  // namespace fastnn
