// Names of the functions that elementwise kernels and reductions offer, and the plain structs that
// kernels take by value: int64_t, float and pointer members only, no padding.
#pragma once
#include <cstdint>

namespace fastnn {

// y = f(x, p, q); p and q are parameters of the functions that have them, in this order.
#define FASTNN_UNARY_OPS(F)                                                                       \
  F(negative) F(abs) F(sign) F(floor) F(ceil) F(round) F(trunc)                                   \
  F(square) F(sqrt) F(rsqrt) F(reciprocal) F(exp) F(expm1) F(log) F(log1p) F(log2)                \
  F(sin) F(cos) F(tan) F(tanh) F(sigmoid) F(erf) F(softplus) F(log_sigmoid)                       \
  F(relu) F(relu6) F(leaky_relu) /* slope */ F(elu) /* alpha */ F(selu) F(celu) /* alpha */       \
  F(silu) F(gelu) F(gelu_tanh) F(mish) F(softsign) F(hard_sigmoid) F(hard_silu) F(hard_tanh)      \
  F(tanh_shrink) F(soft_shrink) /* t */ F(hard_shrink) /* t */ F(threshold) /* t, value */        \
  F(squareplus) /* b */ F(clip) /* low, high */

// Elementwise functions of two arguments.
#define FASTNN_BINARY_OPS(F) \
  F(add) F(subtract) F(multiply) F(divide) F(maximum) F(minimum) F(power)

#define FASTNN_COMPARE_OPS(F) F(equal) F(not_equal) F(less) F(less_equal) F(greater) F(greater_equal)

#define FASTNN_REDUCE_OPS(F) F(sum) F(mean) F(max) F(min) F(prod)

#define FASTNN_ENUMERATOR(name) name,
namespace unary_op {
enum : int64_t { FASTNN_UNARY_OPS(FASTNN_ENUMERATOR) count };
}
namespace binary_op {
enum : int64_t { FASTNN_BINARY_OPS(FASTNN_ENUMERATOR) count };
}
namespace compare_op {
enum : int64_t { FASTNN_COMPARE_OPS(FASTNN_ENUMERATOR) count };
}
namespace reduce_op {
enum : int64_t { FASTNN_REDUCE_OPS(FASTNN_ENUMERATOR) count };
}
#undef FASTNN_ENUMERATOR

// Functions fused into the end of a matrix product or convolution: those whose derivative is a
// function of their result.
enum Activation : int64_t { kActivationLinear, kActivationRelu, kActivationSigmoid, kActivationTanh };

// What may follow a batch normalization: relu, or relu up to 6.
enum Clip : int64_t { kClipNone, kClipRelu, kClipRelu6 };

// How up to three arrays are walked together: strides in elements, 0 along a broadcast axis. Axis 0
// is the innermost. Axes of size 1 are removed, and neighbours that can be walked as one are merged.
inline constexpr int kMaxAxes = 16;
struct BroadcastShape {
  int64_t rank;
  int64_t size[kMaxAxes];
  int64_t stride[3][kMaxAxes];
};

// The terms of a sum.
inline constexpr int kMaxTerms = 8;
struct Terms {
  int64_t count;
  const float* x[kMaxTerms];
};

// Elementwise calls on arrays of one size. A null array is the result of the call before.
enum ChainKind : int64_t { kChainUnary, kChainUnaryBackward, kChainBinary, kChainBinaryScalar };
struct ChainLink {
  int64_t kind, op, reversed;
  const float* a;  // x, or gy of unary_backward
  const float* b;  // the other operand, or v of unary_backward; of one operand: like a
  float p, q;      // parameters; p: the value of binary_scalar
};
inline constexpr int kChainLinks = 6;
struct Chain {
  int64_t count;
  ChainLink link[kChainLinks];
};

// A recurrent layer over a batch of sequences. x (batch, steps, features), kernel (features, G),
// recurrent (units, G) with G = 4 units (lstm: i f g o), 3 units (gru: z r h) or units (simple_rnn).
// Pointers may be null where noted. Workspace arrays are indexed by the time of x, y by the order of
// processing: they run against each other with go_backwards.
struct RnnForward {
  int64_t batch, steps, features, units;
  int64_t go_backwards;
  int64_t zero_output;  // a masked step gives y = 0 instead of the previous state
  int64_t variant;      // gru: reset_after; simple_rnn: RnnActivation
  const float* x;
  const float* kernel;
  const float* recurrent;
  const float* bias;    // (G) or null; gru with reset_after (2, G)
  const float* h0;      // (batch, units) or null: zeros
  const float* c0;      // (batch, units) or null: zeros
  const uint8_t* mask;  // (batch, steps) or null: step not computed where 0
  float* y;             // (batch, steps, units) or null
  float* h_last;        // (batch, units)
  float* c_last;        // (batch, units), lstm
  // What backward needs, all null when it is not going to be called.
  float* gates;  // lstm (batch, steps, 4 units) i f g o; gru (batch, steps, 4 units) z r h q
  float* hs;     // (batch, steps + 1, units) the initial state and those after each step
  float* cs;     // likewise, lstm
};

struct RnnBackward {
  int64_t batch, steps, features, units;
  int64_t go_backwards, zero_output, variant;
  const float* x;
  const float* kernel;
  const float* recurrent;
  const uint8_t* mask;
  const float* gates;
  const float* hs;
  const float* cs;
  const float* gy;       // (batch, steps, units) or null
  const float* gh_last;  // (batch, units) or null
  const float* gc_last;  // (batch, units) or null
  float* gz;             // (batch, steps, G; gru 4 units), scratch: gradient of z
  float* gx;             // like x, or null: not needed
  float* gkernel;        // like kernel
  float* grecurrent;     // like recurrent
  float* gbias;          // like bias, or null
  float* gh0;            // (batch, units)
  float* gc0;            // (batch, units), lstm
};

enum RnnActivation : int64_t { kRnnTanh, kRnnRelu, kRnnLinear };

// A copy between two strided arrays of one shape. Strides are in bytes, may be negative, and are 0
// where the source is repeated. Axes of size 1 are removed and axes that can be walked as one merged.
struct CopyShape {
  int64_t itemsize;  // 1, 2, 4, 8 or 16 bytes
  int64_t rank;      // >= 1
  int64_t size[kMaxAxes];
  int64_t src_stride[kMaxAxes];
  int64_t dst_stride[kMaxAxes];
};

// One weight of a multi-tensor update; what an optimizer does not use is null.
struct UpdateSlot {
  float* w;            // (n)
  const float* g;      // (n), or (count, cols) summed rows when row_slot is set
  const int32_t* row_slot;  // (n / cols) index of the gradient's row in g, -1 where it is zero
  int64_t cols;
  int64_t n;
  float* m;            // (n) velocity or first moment
  float* v;            // (n) second moment
  float* u;            // (n) maximum of the second moment, or the mean gradient
  const float* scale;  // (1) factor of the gradient: clipping by norm
  int64_t decay;       // 1: weight decay applies to this weight
};
// Weights are passed by value, so that a launch is complete in itself.
inline constexpr int kUpdateSlots = 24;
struct UpdateBatch {
  int64_t count;
  UpdateSlot slot[kUpdateSlots];
};

// Sliding windows over images, one channel at a time (depthwise convolution, pooling).
// Output (i, j) reads the cells (i*sh - ph + u*dh, j*sw - pw + v*dw), 0 <= u < kh, 0 <= v < kw.
struct WindowShape {
  int64_t n, ih, iw, c;
  int64_t oh, ow, kh, kw;
  int64_t sh, sw, ph, pw, dh, dw;
};

// Windows over one cell that max_pool2d_backward_relu can take.
inline constexpr int kPoolCovers = 32;

// c (m, n) = activation(a @ b + bias) for each matrix of a batch; a is (m, k), or (k, m) when trans_a,
// b is (k, n), or (n, k) when trans_b. Strides of the batch count matrices.
struct MatmulShape {
  int64_t m, n, k, trans_a, trans_b, activation;
  BroadcastShape batch;
};

// x (n, ih, iw, ic), kernel (kh, kw, ic / groups, oc), y (n, oh, ow, oc):
// y[n,i,j,o] = sum_{u,v,c} x[n, i*sh - ph + u*dh, j*sw - pw + v*dw, c] * kernel[u,v,c,o]
struct Conv2dShape {
  int64_t n, ih, iw, ic, oh, ow, oc, kh, kw, sh, sw, ph, pw, dh, dw, groups;
};

}  // namespace fastnn
