// The checked geometry of sliding windows over (n, ih, iw, c) images.
#pragma once
#include <array>

#include "check.h"
#include "kernel_args.h"

namespace fastnn {

using Pair = std::array<int64_t, 2>;  // rows, columns
using Pads = std::array<int64_t, 4>;  // top, bottom, left, right

inline void check_between(const char* op, const char* name, const Pair& values, int64_t low) {
  // 2^31 keeps every sum and product of a few of them within int64.
  for (int64_t v : values)
    check(v >= low && v < (int64_t(1) << 31), "[", op, "] ", name, " must be at least ", low,
          " and less than 2^31. Received: ", name, "=(", values[0], ", ", values[1], ")");
}

// ValueError: a size, stride or dilation below 1, a negative pad, a window larger than the padded image.
inline WindowShape window_shape(const char* op, const Shape& x, const Pair& kernel, const Pair& strides,
                                const Pads& pads, const Pair& dilation) {
  check_between(op, "window size", kernel, 1);
  check_between(op, "strides", strides, 1);
  check_between(op, "dilation_rate", dilation, 1);
  check_between(op, "padding", {pads[0], pads[1]}, 0);
  check_between(op, "padding", {pads[2], pads[3]}, 0);
  int64_t out[2];
  for (int i = 0; i < 2; ++i) {
    const int64_t span = checked_mul(kernel[i] - 1, dilation[i]) + 1;
    const int64_t size = x[1 + i] + pads[2 * i] + pads[2 * i + 1];
    // A padded size of 0 is an empty image, and stays one.
    check(size >= span || size == 0, "[", op, "] the window must not be larger than the padded input. Received: window size ",
          span, " along axis ", 1 + i, ", shape=", x, ", padding=(", pads[2 * i], ", ", pads[2 * i + 1], ")");
    out[i] = size == 0 ? 0 : (size - span) / strides[i] + 1;
  }
  checked_mul(kernel[0], kernel[1]);
  return {x[0], x[1], x[2], x[3], out[0], out[1], kernel[0], kernel[1], strides[0], strides[1],
          pads[0], pads[2], dilation[0], dilation[1]};
}

}  // namespace fastnn
