#include "check.h"
#include "dispatch.h"
#include "ops.h"

namespace fastnn {
namespace {

// The shapes aligned at the right; neighbouring axes that both arrays walk as one are merged.
BroadcastShape broadcast(const char* op, const Shape& a, const Shape& b, Shape* result) {
  const int rank = std::max(a.rank(), b.rank());
  int64_t stride_a = 1, stride_b = 1;
  Shape full;
  for (int i = 0; i < rank; ++i) full.push_back(0);
  BroadcastShape s{};
  for (int i = 1; i <= rank; ++i) {  // from the last axis
    const int64_t na = i <= a.rank() ? a[-i] : 1, nb = i <= b.rank() ? b[-i] : 1;
    check(na == nb || na == 1 || nb == 1, "[", op, "] the shapes must broadcast. Received: a.shape=", a,
          ", b.shape=", b);
    const int64_t n = na == 1 ? nb : na;
    full.set(-i, n);
    const int64_t sa = na == 1 ? 0 : stride_a, sb = nb == 1 ? 0 : stride_b;
    stride_a *= na, stride_b *= nb;
    if (n == 1) continue;
    const int64_t r = s.rank;
    if (r && sa == s.stride_a[r - 1] * s.size[r - 1] && sb == s.stride_b[r - 1] * s.size[r - 1]) {
      s.size[r - 1] *= n;
    } else {
      s.size[r] = n, s.stride_a[r] = sa, s.stride_b[r] = sb;
      ++s.rank;
    }
  }
  *result = full;
  return s;
}

}  // namespace

Tensor binary(int64_t op, const Tensor& a, const Tensor& b) {
  check_float32("binary", "a", a);
  check_float32("binary", "b", b);
  check_device("binary", {&a, &b});
  Shape shape;
  const BroadcastShape s = broadcast("binary", a.shape(), b.shape(), &shape);
  Tensor y(shape, DType::float32, a.device());
  if (y.numel()) launch(y.device(), &Kernels::binary, op, a.f32(), b.f32(), y.f32(), s);
  return y;
}

}  // namespace fastnn
