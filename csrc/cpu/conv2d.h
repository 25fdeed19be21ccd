// Ways to compute a convolution that serve some shapes only: each returns whether it did.
#pragma once
#include "kernel_args.h"

namespace fastnn::FASTNN_TARGET {
#pragma GCC visibility push(hidden)

// Winograd's minimal filtering, for kernels of 3 x 3 taps that step by one pixel.
bool winograd_forward(const float* x, const float* w, const float* bias, float* y, const Conv2dShape& s, int64_t activation);
bool winograd_backward_input(const float* gy, const float* w, const float* bias, float* gx, const Conv2dShape& s,
                             int64_t activation);
bool winograd_backward_weights(const float* x, const float* gy, float* gw, const Conv2dShape& s);
// The gradient of images of few channels, which leave most of a vector empty.
bool thin_backward_input(const float* gy, const float* w, const float* bias, float* gx, const Conv2dShape& s,
                         int64_t activation);

#pragma GCC visibility pop
}  // namespace fastnn::FASTNN_TARGET
