// Plain structs that kernels take by value: int64_t, float and pointer members only, no padding.
#pragma once
#include <cstdint>

namespace fastnn {

// Elementwise functions of two arguments; comparisons give 0 or 1.
enum BinaryOp : int64_t {
  kAdd, kSubtract, kMultiply, kDivide, kMaximum, kMinimum, kPower,
};

// Functions fused into the end of a matrix product or convolution: those whose derivative is a
// function of their result.
enum Activation : int64_t { kActivationLinear, kActivationRelu, kActivationSigmoid, kActivationTanh };

// How an array is read by an elementwise kernel: strides in elements, 0 along a broadcast axis.
// Axes of size 1 are removed and neighbouring axes that can be walked as one are merged.
inline constexpr int kMaxAxes = 16;
struct BroadcastShape {
  int64_t rank;
  int64_t size[kMaxAxes];
  int64_t stride_a[kMaxAxes];
  int64_t stride_b[kMaxAxes];
};

}  // namespace fastnn
