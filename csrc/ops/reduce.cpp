#include "check.h"
#include "dispatch.h"
#include "ops.h"

namespace fastnn {
namespace {

#define FASTNN_NAME(name) #name,
constexpr const char* kNames[] = {FASTNN_REDUCE_OPS(FASTNN_NAME)};
#undef FASTNN_NAME

int normal_axis(const char* op, int64_t axis, int rank) {
  check(axis >= -rank && axis < rank, "[", op, "] axis must be from ", -rank, " to ", rank - 1,
        " for a tensor of rank ", rank, ". Received: axis=", axis);
  return int(axis < 0 ? axis + rank : axis);
}

// Reduces the axes marked in `reduced`: the last group of neighbours first, until none is left.
Tensor reduce_groups(int64_t op, Tensor x, bool* reduced, const Shape& result) {
  int64_t count = 1;
  for (int i = 0; i < x.rank(); ++i)
    if (reduced[i]) count *= x.size(i);
  for (;;) {
    int end = x.rank();
    while (end > 0 && !reduced[end - 1]) --end;
    if (end == 0) return x.reshape(result);
    int begin = end;
    while (begin > 0 && reduced[begin - 1]) --begin;
    int64_t outer = 1, n = 1, inner = 1;
    Shape shape;
    for (int i = 0; i < x.rank(); ++i) {
      (i < begin ? outer : i < end ? n : inner) *= x.size(i);
      shape.push_back(i >= begin && i < end ? 1 : x.size(i));
    }
    bool last = true;  // a mean is divided once, at the end
    for (int i = 0; i < begin; ++i) last &= !reduced[i];
    for (int i = begin; i < end; ++i) reduced[i] = false;
    const int64_t step = op == reduce_op::mean && !last ? int64_t(reduce_op::sum) : op;
    Tensor y(shape, DType::float32, x.device());
    if (y.numel()) launch(y.device(), &Kernels::reduce, step, x.f32(), y.f32(), outer, n, inner, count);
    x = y;
  }
}

}  // namespace

Tensor reduce(int64_t op, const Tensor& x, const std::vector<int64_t>& axes, bool keepdims) {
  check(op >= 0 && op < reduce_op::count, "[reduce] op must be a code of REDUCE_OPS. Received: op=", op);
  const char* name = kNames[op];
  check_float32(name, "x", x);
  bool reduced[Shape::kMaxRank] = {};
  for (int64_t axis : axes) {
    bool& r = reduced[normal_axis(name, axis, x.rank())];
    check(!r, "[", name, "] an axis must not be given twice. Received: axis=", axis);
    r = true;
  }
  Shape shape;
  bool any = false;
  for (int i = 0; i < x.rank(); ++i) {
    if (!reduced[i] || keepdims) shape.push_back(reduced[i] ? 1 : x.size(i));
    any |= reduced[i];
    check(!(reduced[i] && x.size(i) == 0 && (op == reduce_op::max || op == reduce_op::min)), "[", name,
          "] the axes must not be empty. Received: x.shape=", x.shape());
  }
  // A scalar, or no axis: one column of one value each.
  if (!any) {
    Tensor y(x.shape(), DType::float32, x.device());
    if (y.numel()) launch(y.device(), &Kernels::reduce, op, x.f32(), y.f32(), int64_t(1), int64_t(1), y.numel(), int64_t(1));
    return y;
  }
  return reduce_groups(op, x, reduced, shape);
}

Tensor arg_reduce(const Tensor& x, int64_t axis, bool minimum, bool keepdims) {
  const char* name = minimum ? "argmin" : "argmax";
  check_float32(name, "x", x);
  const int a = normal_axis(name, axis, x.rank());
  check(x.size(a) > 0, "[", name, "] the axis must not be empty. Received: x.shape=", x.shape());
  check(x.size(a) <= INT32_MAX, "[", name, "] positions must fit int32. Received: x.shape=", x.shape());
  int64_t outer = 1, inner = 1;
  Shape shape;
  for (int i = 0; i < x.rank(); ++i) {
    if (i != a) (i < a ? outer : inner) *= x.size(i);
    if (i != a || keepdims) shape.push_back(i == a ? 1 : x.size(i));
  }
  Tensor y(shape, DType::int32, x.device());
  if (y.numel())
    launch(y.device(), &Kernels::arg_reduce, minimum, x.f32(), y.mut<int32_t>(), outer, x.size(a), inner);
  return y;
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  check_float32("sum_to", "x", x);
  bool ok = shape.rank() <= x.rank(), reduced[Shape::kMaxRank] = {};
  for (int i = 1; ok && i <= x.rank(); ++i) {
    const int64_t n = x.size(-i), m = i <= shape.rank() ? shape[-i] : 1;
    ok = m == n || m == 1;
    reduced[x.rank() - i] = n != m || i > shape.rank();
  }
  check(ok, "[sum_to] shape must broadcast to the shape of x. Received: x.shape=", x.shape(), ", shape=", shape);
  return reduce_groups(reduce_op::sum, x, reduced, shape);
}

}  // namespace fastnn
