#include <math.h>

#include "cpu/parallel.h"
#include "kernels.h"

namespace fastnn {
namespace {

inline float apply(int64_t op, float a, float b) {
  switch (op) {
    case kAdd: return a + b;
    case kSubtract: return a - b;
    case kMultiply: return a * b;
    case kDivide: return a / b;
    case kMaximum: return a > b || a != a ? a : b;
    case kMinimum: return a < b || a != a ? a : b;
    default: return powf(a, b);
  }
}

}  // namespace

namespace FASTNN_TARGET {

// Axis 0 of `s` is the innermost.
void binary(int64_t op, const float* a, const float* b, float* y, BroadcastShape s) {
  const int64_t inner = s.rank ? s.size[0] : 1;
  int64_t outer = 1;
  for (int64_t i = 1; i < s.rank; ++i) outer *= s.size[i];
  parallel_for(outer, 16384 / inner + 1, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      int64_t rest = o, oa = 0, ob = 0;
      for (int64_t i = 1; i < s.rank; ++i) {
        const int64_t at = rest % s.size[i];
        rest /= s.size[i];
        oa += at * s.stride_a[i], ob += at * s.stride_b[i];
      }
      for (int64_t i = 0; i < inner; ++i)
        y[o * inner + i] = apply(op, a[oa + i * s.stride_a[0]], b[ob + i * s.stride_b[0]]);
    }
  });
}

}  // namespace FASTNN_TARGET
}  // namespace fastnn
