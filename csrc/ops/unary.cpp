#include "check.h"
#include "dispatch.h"
#include "ops.h"

namespace fastnn {
namespace {

#define FASTNN_NAME(name) #name,
constexpr const char* kNames[] = {FASTNN_UNARY_OPS(FASTNN_NAME)};
#undef FASTNN_NAME

const char* unary_name(int64_t op) {
  check(op >= 0 && op < unary_op::count, "[unary] op must be a code of UNARY_OPS. Received: op=", op);
  return kNames[op];
}

}  // namespace

Tensor unary(int64_t op, const Tensor& x, float p, float q) {
  check_float32(unary_name(op), "x", x);
  Tensor y(x.shape(), DType::float32, x.device());
  if (y.numel()) launch(y.device(), &Kernels::unary, op, x.f32(), y.f32(), y.numel(), p, q);
  return y;
}

Tensor unary_backward(int64_t op, const Tensor& gy, const Tensor& v, float p, float q) {
  const char* name = unary_name(op);
  check_float32(name, "gy", gy);
  check_float32(name, "v", v);
  check_shape(name, "gy", gy, v.shape());
  check_device(name, {&gy, &v});
  Tensor gx(v.shape(), DType::float32, v.device());
  if (gx.numel()) launch(gx.device(), &Kernels::unary_backward, op, gy.f32(), v.f32(), gx.f32(), gx.numel(), p, q);
  return gx;
}

}  // namespace fastnn
