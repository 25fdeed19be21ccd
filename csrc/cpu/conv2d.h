// Ways to compute a convolution that serve some shapes only: each returns whether it did.
#pragma once
#include "kernel_args.h"

namespace fastnn::FASTNN_TARGET {
#pragma GCC visibility push(hidden)

// Windows of one pixel and no padding: images are matrices (pixels, channels), whose products need no
// offsets. With strides, of the pixels that windows reach.
static inline bool is_pointwise(const Conv2dShape& s) {
  return s.kh == 1 && s.kw == 1 && s.ph == 0 && s.pw == 0 && (s.oh - 1) * s.sh < s.ih && (s.ow - 1) * s.sw < s.iw &&
         s.groups == 1 && s.n * s.oh * s.ow > 0;
}
static inline bool takes_all_pixels(const Conv2dShape& s) { return s.sh == 1 && s.sw == 1 && s.oh == s.ih && s.ow == s.iw; }
// Minimal filtering, for kernels of 3 x 3 taps, or 3 or 5 in a row or column, that step by one pixel.
bool winograd_forward(const float* x, const float* w, const float* bias, float* y, const Conv2dShape& s, int64_t activation);
bool winograd_backward_input(const float* gy, const float* w, const float* bias, float* gx, const Conv2dShape& s,
                             int64_t activation);
bool winograd_backward_weights(const float* x, const float* gy, float* gw, const Conv2dShape& s);
// The gradient of images of few channels, which leave most of a vector empty.
bool thin_backward_input(const float* gy, const float* w, const float* bias, float* gx, const Conv2dShape& s,
                         int64_t activation);
// Few filters.
bool few_forward(const float* x, const float* w, const float* bias, float* y, const Conv2dShape& s, int64_t activation);
bool few_backward_weights(const float* x, const float* gy, float* gw, const Conv2dShape& s);

#pragma GCC visibility pop
}  // namespace fastnn::FASTNN_TARGET
