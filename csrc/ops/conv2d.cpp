#include <algorithm>

#include "check.h"
#include "dispatch.h"
#include "ops.h"

namespace fastnn {
namespace {

// (size + pads - window) / stride + 1 with window = (taps - 1) * dilation + 1.
int64_t output_size(const char* op, int64_t size, int64_t pads, int64_t taps, int64_t dilation, int64_t stride) {
  const int64_t window = checked_mul(taps - 1, dilation) + 1;
  check(window <= size + pads, "[", op, "] the window must fit into the padded input. Received: window=", window,
        ", padded input=", size + pads);
  return (size + pads - window) / stride + 1;
}

// Sequences (n, w, c) and their kernels are images and kernels of height 1.
Shape with_height(const Shape& s) { return s.rank() == 4 ? s : Shape{s[0], 1, s[1], s[2]}; }
Shape kernel_with_height(const Shape& s) { return s.rank() == 4 ? s : Shape{1, s[0], s[1], s[2]}; }
Shape image_shape(int rank, int64_t n, int64_t h, int64_t w, int64_t c) {
  return rank == 4 ? Shape{n, h, w, c} : Shape{n, w, c};
}

void check_images(const char* op, const char* name, const Tensor& x, const char* other_name, const Tensor& other) {
  check_float32(op, name, x);
  check_float32(op, other_name, other);
  check_rank(op, name, x, {3, 4});
  check_rank(op, other_name, other, {x.rank()});
  check_device(op, {&x, &other});
}

// The checked sizes of a convolution of images x (n, ih, iw, ic) with kernels w (kh, kw, ic / groups, oc).
Conv2dShape conv2d_shape(const char* op, const Shape& x, const Shape& w, const Conv2dOptions& o) {
  constexpr int64_t kLimit = int64_t(1) << 31;
  for (int i = 0; i < 2; ++i) {
    check(o.strides[i] >= 1 && o.strides[i] < kLimit, "[", op, "] strides must be at least 1. Received: strides=(",
          o.strides[0], ", ", o.strides[1], ")");
    check(o.dilations[i] >= 1 && o.dilations[i] < kLimit, "[", op,
          "] dilation_rate must be at least 1. Received: dilation_rate=(", o.dilations[0], ", ", o.dilations[1], ")");
  }
  for (int64_t pad : o.pads)
    check(pad >= 0 && pad < kLimit, "[", op, "] padding must be from 0 to 2^31 - 1. Received: padding=", pad);
  check(o.groups >= 1, "[", op, "] groups must be at least 1. Received: groups=", o.groups);
  check(w[0] > 0 && w[1] > 0 && w[2] > 0 && w[3] > 0, "[", op,
        "] kernel must have no empty axis. Received: kernel.shape=", w);
  check(x[3] == checked_mul(w[2], o.groups), "[", op, "] the kernel must have input channels / groups = ", x[3], " / ",
        o.groups, " on axis -2. Received: kernel.shape=", w);
  check(w[3] % o.groups == 0, "[", op, "] groups must divide the output channels. Received: groups=", o.groups,
        ", kernel.shape=", w);
  Conv2dShape s{};
  s.n = x[0], s.ih = x[1], s.iw = x[2], s.ic = x[3];
  s.kh = w[0], s.kw = w[1], s.oc = w[3];
  s.sh = o.strides[0], s.sw = o.strides[1], s.dh = o.dilations[0], s.dw = o.dilations[1];
  s.ph = o.pads[0], s.pw = o.pads[2], s.groups = o.groups;
  s.oh = output_size(op, s.ih, o.pads[0] + o.pads[1], s.kh, s.dh, s.sh);
  s.ow = output_size(op, s.iw, o.pads[2] + o.pads[3], s.kw, s.dw, s.sw);
  // Kernels copy the parts of an image that windows pass the border of, padded.
  const int64_t channels = std::max(s.ic, s.oc), image = checked_mul(checked_mul(s.ih, s.iw), channels);
  const int64_t padded = checked_mul(checked_mul(s.ih + o.pads[0] + o.pads[1], s.iw + o.pads[2] + o.pads[3]), channels);
  check(padded <= (int64_t(1) << 28) || padded / 16 <= image, "[", op,
        "] padding must not make an image of more than 2^28 values 16 times larger. Received: padding=((", o.pads[0],
        ", ", o.pads[1], "), (", o.pads[2], ", ", o.pads[3], "))");
  return s;
}

void check_bias(const char* op, const std::optional<Tensor>& bias, int64_t channels, const Tensor& x) {
  if (!bias) return;
  check_float32(op, "bias", *bias);
  check_shape(op, "bias", *bias, Shape{channels});
  check_device(op, {&x, &*bias});
}

}  // namespace

Tensor conv2d_forward(const Tensor& x, const Tensor& w, const std::optional<Tensor>& bias, const Conv2dOptions& o,
                      int64_t activation) {
  check_images("conv", "inputs", x, "kernel", w);
  check_activation("conv", activation);
  const Conv2dShape s = conv2d_shape("conv", with_height(x.shape()), kernel_with_height(w.shape()), o);
  check_bias("conv", bias, s.oc, x);
  Tensor y(image_shape(x.rank(), s.n, s.oh, s.ow, s.oc), DType::float32, x.device());
  if (y.numel())
    launch(y.device(), &Kernels::conv2d_forward, x.f32(), w.f32(), bias ? bias->f32() : nullptr, y.f32(), s, activation);
  return y;
}

Tensor conv2d_backward_input(const Tensor& gy, const Tensor& w, const std::optional<Tensor>& bias,
                             std::array<int64_t, 2> size, const Conv2dOptions& o, int64_t activation) {
  const char* op = "conv_transpose";
  check_images(op, "inputs", gy, "kernel", w);
  check_activation(op, activation);
  check(size[0] >= 1 && size[1] >= 1, "[", op, "] the output must have at least one pixel. Received: size=(", size[0],
        ", ", size[1], ")");
  check(o.groups >= 1, "[", op, "] groups must be at least 1. Received: groups=", o.groups);
  const Shape kernel = kernel_with_height(w.shape());
  const Conv2dShape s =
      conv2d_shape(op, Shape{gy.size(0), size[0], size[1], checked_mul(kernel[2], o.groups)}, kernel, o);
  check_shape(op, "inputs", gy, image_shape(gy.rank(), s.n, s.oh, s.ow, s.oc));
  check_bias(op, bias, s.ic, gy);
  Tensor gx(image_shape(gy.rank(), s.n, s.ih, s.iw, s.ic), DType::float32, gy.device());
  if (gx.numel())
    launch(gx.device(), &Kernels::conv2d_backward_input, gy.f32(), w.f32(), bias ? bias->f32() : nullptr, gx.f32(), s,
           activation);
  return gx;
}

Tensor conv2d_backward_weights(const Tensor& x, const Tensor& gy, std::array<int64_t, 2> size, const Conv2dOptions& o) {
  const char* op = "conv2d_backward_weights";
  check_images(op, "x", x, "gy", gy);
  const int64_t ic = x.size(-1), oc = gy.size(-1);
  check(o.groups >= 1 && ic % o.groups == 0, "[", op, "] groups must divide the channels of x. Received: groups=",
        o.groups, ", x.shape=", x.shape());
  check(size[0] >= 1 && size[1] >= 1 && (x.rank() == 4 || size[0] == 1), "[", op,
        "] the kernel must have at least one tap. Received: size=(", size[0], ", ", size[1], ")");
  const Conv2dShape s =
      conv2d_shape(op, with_height(x.shape()), Shape{size[0], size[1], ic / o.groups, oc}, o);
  check_shape(op, "gy", gy, image_shape(x.rank(), s.n, s.oh, s.ow, s.oc));
  const Shape shape{size[0], size[1], ic / o.groups, oc};
  Tensor gw(x.rank() == 4 ? shape : Shape{shape[1], shape[2], shape[3]}, DType::float32, x.device());
  launch(gw.device(), &Kernels::conv2d_backward_weights, x.f32(), gy.f32(), gw.f32(), s);
  return gw;
}

}  // namespace fastnn
