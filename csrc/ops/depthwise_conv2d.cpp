#include "dispatch.h"
#include "ops.h"
#include "ops/window.h"

namespace fastnn {
namespace {

constexpr const char* kOp = "depthwise_conv";

// x (n, ih, iw, c), kernel (kh, kw, c, m): the geometry, with the c * m channels of the output.
WindowShape geometry(const Shape& x, const Shape& kernel, const Pair& strides, const Pads& pads, const Pair& dilation) {
  for (int i = 0; i < 4; ++i)
    check(kernel[i] >= 1, "[", kOp, "] every size of kernel must be at least 1. Received: kernel.shape=", kernel);
  check(kernel[2] == x[3], "[", kOp, "] kernel must have as many input channels as x. Received: kernel.shape=", kernel,
        ", x.shape=", x);
  WindowShape s = window_shape(kOp, x, {kernel[0], kernel[1]}, strides, pads, dilation);
  s.c = checked_mul(kernel[2], kernel[3]);
  return s;
}

// x with every channel repeated m times; with one copy, x itself.
Tensor repeat(const Tensor& x, int64_t m) {
  if (m == 1) return x;
  Shape shape = x.shape();
  shape.set(-1, checked_mul(x.size(-1), m));
  Tensor y(shape, DType::float32, x.device());
  if (y.numel()) launch(x.device(), &Kernels::repeat_channels, x.f32(), y.f32(), x.numel() / x.size(-1), x.size(-1), m);
  return y;
}

}  // namespace

Tensor depthwise_conv2d_forward(const Tensor& x, const Tensor& w, Pair strides, Pads pads, Pair dilation) {
  check_rank(kOp, "x", x, {4});
  check_rank(kOp, "kernel", w, {4});
  check_float32(kOp, "x", x);
  check_float32(kOp, "kernel", w);
  check_device(kOp, {&x, &w});
  const WindowShape s = geometry(x.shape(), w.shape(), strides, pads, dilation);
  Tensor y({s.n, s.oh, s.ow, s.c}, DType::float32, x.device());
  if (y.numel()) launch(y.device(), &Kernels::depthwise_conv2d_forward, repeat(x, w.size(3)).f32(), w.f32(), y.f32(), s);
  return y;
}

Tensor depthwise_conv2d_backward_input(const Tensor& gy, const Tensor& w, const Shape& x_shape, Pair strides, Pads pads,
                                       Pair dilation) {
  check(x_shape.rank() == 4, "[", kOp, "] x must have 4 dimensions. Received: x.shape=", x_shape);
  check_rank(kOp, "kernel", w, {4});
  check_float32(kOp, "gy", gy);
  check_float32(kOp, "kernel", w);
  check_device(kOp, {&gy, &w});
  const WindowShape s = geometry(x_shape, w.shape(), strides, pads, dilation);
  check_shape(kOp, "gy", gy, {s.n, s.oh, s.ow, s.c});
  Tensor gx(x_shape, DType::float32, gy.device());
  if (!gx.numel()) return gx;
  const int64_t m = w.size(3), c = x_shape[3];
  if (m == 1) {
    launch(gx.device(), &Kernels::depthwise_conv2d_backward_input, gy.f32(), w.f32(), gx.f32(), s);
    return gx;
  }
  Tensor all({s.n, s.ih, s.iw, s.c}, DType::float32, gy.device());
  launch(gx.device(), &Kernels::depthwise_conv2d_backward_input, gy.f32(), w.f32(), all.f32(), s);
  launch(gx.device(), &Kernels::sum_channel_groups, all.f32(), gx.f32(), s.n * s.ih * s.iw, c, m);
  return gx;
}

Tensor depthwise_conv2d_backward_weights(const Tensor& x, const Tensor& gy, const Shape& w_shape, Pair strides, Pads pads,
                                         Pair dilation) {
  check_rank(kOp, "x", x, {4});
  check(w_shape.rank() == 4, "[", kOp, "] kernel must have 4 dimensions. Received: kernel.shape=", w_shape);
  check_float32(kOp, "x", x);
  check_float32(kOp, "gy", gy);
  check_device(kOp, {&x, &gy});
  const WindowShape s = geometry(x.shape(), w_shape, strides, pads, dilation);
  check_shape(kOp, "gy", gy, {s.n, s.oh, s.ow, s.c});
  Tensor gw(w_shape, DType::float32, x.device());
  launch(gw.device(), &Kernels::depthwise_conv2d_backward_weights, repeat(x, w_shape[3]).f32(), gy.f32(), gw.f32(), s);
  return gw;
}

}  // namespace fastnn
