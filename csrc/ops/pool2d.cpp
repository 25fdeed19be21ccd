#include "dispatch.h"
#include "ops.h"
#include "ops/window.h"

namespace fastnn {
namespace {

WindowShape geometry(const char* op, const Shape& x, const Pair& size, const Pair& strides, const Pads& pads) {
  check(x.rank() == 4, "[", op, "] x must have 4 dimensions. Received: x.shape=", x);
  const WindowShape s = window_shape(op, x, size, strides, pads, {1, 1});
  for (int i = 0; i < 4; ++i)
    check(pads[i] < size[i / 2], "[", op, "] padding must be smaller than the window, which would read no input. Received: padding=",
          pads[i], ", window size ", size[i / 2]);
  check((s.ih > 0 && s.iw > 0) || s.oh * s.ow == 0, "[", op, "] x must not be empty. Received: x.shape=", x);
  check(s.kh * s.kw < (int64_t(1) << 31), "[", op, "] the window must have less than 2^31 cells. Received: (", s.kh, ", ",
        s.kw, ")");
  return s;
}

DType tap_type(const Pair& size) { return size[0] * size[1] <= 256 ? DType::uint8 : DType::int32; }

void check_taps(const char* op, const Tensor& taps, const Pair& size, const Shape& shape) {
  check_type(taps.dtype() == tap_type(size), "[", op, "] taps must be ", tap_type(size), ". Received: taps.dtype=", taps.dtype());
  check_shape(op, "taps", taps, shape);
}

}  // namespace

Tensor max_pool2d_forward(const Tensor& x, Pair size, Pair strides, Pads pads) {
  check_float32("max_pool", "x", x);
  const WindowShape s = geometry("max_pool", x.shape(), size, strides, pads);
  Tensor y({s.n, s.oh, s.ow, s.c}, DType::float32, x.device());
  if (y.numel()) launch(y.device(), &Kernels::max_pool2d_forward, x.f32(), y.f32(), nullptr, 0, s);
  return y;
}

std::pair<Tensor, Tensor> max_pool2d_forward_with_taps(const Tensor& x, Pair size, Pair strides, Pads pads) {
  check_float32("max_pool", "x", x);
  const WindowShape s = geometry("max_pool", x.shape(), size, strides, pads);
  Tensor y({s.n, s.oh, s.ow, s.c}, DType::float32, x.device());
  Tensor taps(y.shape(), tap_type(size), x.device());
  if (y.numel())
    launch(y.device(), &Kernels::max_pool2d_forward, x.f32(), y.f32(), taps.raw(), itemsize(taps.dtype()), s);
  return {y, taps};
}

Tensor max_pool2d_backward(const Tensor& gy, const Tensor& taps, const Shape& x_shape, Pair size, Pair strides, Pads pads) {
  check_float32("max_pool", "gy", gy);
  check_device("max_pool", {&gy, &taps});
  const WindowShape s = geometry("max_pool", x_shape, size, strides, pads);
  check_shape("max_pool", "gy", gy, {s.n, s.oh, s.ow, s.c});
  check_taps("max_pool", taps, size, gy.shape());
  Tensor gx(x_shape, DType::float32, gy.device());
  if (gx.numel())
    launch(gx.device(), &Kernels::max_pool2d_backward, gy.f32(), taps.raw(), itemsize(taps.dtype()), gx.f32(), s);
  return gx;
}

Tensor max_pool2d_take(const Tensor& x, const Tensor& taps, Pair size, Pair strides, Pads pads) {
  check_float32("max_pool", "x", x);
  check_device("max_pool", {&x, &taps});
  const WindowShape s = geometry("max_pool", x.shape(), size, strides, pads);
  Tensor y({s.n, s.oh, s.ow, s.c}, DType::float32, x.device());
  check_taps("max_pool", taps, size, y.shape());
  if (y.numel()) launch(y.device(), &Kernels::max_pool2d_take, x.f32(), taps.raw(), itemsize(taps.dtype()), y.f32(), s);
  return y;
}

Tensor average_pool2d_forward(const Tensor& x, Pair size, Pair strides, Pads pads) {
  check_float32("average_pool", "x", x);
  const WindowShape s = geometry("average_pool", x.shape(), size, strides, pads);
  Tensor y({s.n, s.oh, s.ow, s.c}, DType::float32, x.device());
  if (y.numel()) launch(y.device(), &Kernels::average_pool2d_forward, x.f32(), y.f32(), s);
  return y;
}

Tensor average_pool2d_backward(const Tensor& gy, const Shape& x_shape, Pair size, Pair strides, Pads pads) {
  check_float32("average_pool", "gy", gy);
  const WindowShape s = geometry("average_pool", x_shape, size, strides, pads);
  check_shape("average_pool", "gy", gy, {s.n, s.oh, s.ow, s.c});
  Tensor gx(x_shape, DType::float32, gy.device());
  if (gx.numel()) launch(gx.device(), &Kernels::average_pool2d_backward, gy.f32(), gx.f32(), s);
  return gx;
}

}  // namespace fastnn
