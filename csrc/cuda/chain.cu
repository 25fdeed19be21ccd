// Elementwise calls in a row, one launch each: what one leaves for the next stays in the second-level cache where
// it fits. The last call writes y, the others take turns in two arrays.
#include "cuda.h"

namespace fastnn::cuda {

void chain(Chain c, float* y, int64_t n) {
  Scratch<float> results(2 * n);
  const float* last = nullptr;
  for (int64_t k = 0; k < c.count; ++k) {
    const ChainLink& l = c.link[k];
    const float *a = l.a ? l.a : last, *b = l.b ? l.b : last;
    float* to = k + 1 < c.count ? results.get() + k % 2 * n : y;
    switch (l.kind) {
      case kChainUnary: unary(l.op, a, to, n, l.p, l.q); break;
      case kChainUnaryBackward: unary_backward(l.op, a, b, to, n, l.p, l.q); break;
      case kChainBinaryScalar: binary_scalar(l.op, a, l.p, l.reversed, to, n); break;
      default: binary(l.op, a, b, to, {1, {n}, {{1}, {1}, {0}}});
    }
    last = to;
  }
}

}  // namespace fastnn::cuda
