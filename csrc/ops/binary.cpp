#include <algorithm>

#include "check.h"
#include "dispatch.h"
#include "ops.h"

namespace fastnn {
namespace {

#define FASTNN_NAME(name) #name,
constexpr const char* kBinaryNames[] = {FASTNN_BINARY_OPS(FASTNN_NAME)};
constexpr const char* kCompareNames[] = {FASTNN_COMPARE_OPS(FASTNN_NAME)};
#undef FASTNN_NAME

const char* binary_name(int64_t op) {
  check(op >= 0 && op < binary_op::count, "[binary] op must be a code of BINARY_OPS. Received: op=", op);
  return kBinaryNames[op];
}
const char* compare_name(int64_t op) {
  check(op >= 0 && op < compare_op::count, "[compare] op must be a code of COMPARE_OPS. Received: op=", op);
  return kCompareNames[op];
}

// The device of the result. A shape without values makes it one too, whatever constants are beside it.
Device common_device(std::initializer_list<const Tensor*> tensors) {
  for (const Tensor* x : tensors)
    if (x->is_meta()) return Device::meta;
  return (*tensors.begin())->device();
}

// Aligns the shapes at the right and merges neighbouring axes that every array walks as one.
BroadcastShape broadcast(const char* op, std::initializer_list<const Shape*> shapes, Shape* result) {
  BroadcastShape s{};
  int rank = 0;
  for (const Shape* shape : shapes) rank = std::max(rank, shape->rank());
  *result = Shape();
  for (int i = 0; i < rank; ++i) result->push_back(1);
  int64_t stride[3] = {1, 1, 1};  // of the next axis, if it is not broadcast
  for (int i = 1; i <= rank; ++i) {  // from the last axis
    int64_t n = 1;
    for (const Shape* shape : shapes) {
      const int64_t size = i <= shape->rank() ? (*shape)[-i] : 1;
      if (size != n && n != 1 && size != 1) {
        std::string text;
        for (const Shape* each : shapes) text += (text.empty() ? "" : " and ") + message(*each);
        check(false, "[", op, "] the shapes must broadcast. Received: shapes ", text);
      }
      if (size != 1) n = size;
    }
    result->set(-i, n);
    int64_t axis[3] = {0, 0, 0};
    int k = 0;
    for (const Shape* shape : shapes) {
      const int64_t size = i <= shape->rank() ? (*shape)[-i] : 1;
      axis[k] = size == 1 ? 0 : stride[k];
      stride[k++] *= size;
    }
    if (n == 1) continue;
    const int64_t last = s.rank - 1;
    bool merge = last >= 0;
    for (int j = 0; j < k && merge; ++j) merge = axis[j] == s.stride[j][last] * s.size[last];
    if (merge) {
      s.size[last] *= n;
    } else {
      s.size[s.rank] = n;
      for (int j = 0; j < k; ++j) s.stride[j][s.rank] = axis[j];
      ++s.rank;
    }
  }
  return s;
}

}  // namespace

Tensor binary(int64_t op, const Tensor& a, const Tensor& b) {
  const char* name = binary_name(op);
  check_float32(name, "x1", a);
  check_float32(name, "x2", b);
  Shape shape;
  const BroadcastShape s = broadcast(name, {&a.shape(), &b.shape()}, &shape);
  Tensor y(shape, DType::float32, common_device({&a, &b}));
  if (y.numel()) launch(y.device(), &Kernels::binary, op, a.f32(), b.f32(), y.f32(), s);
  return y;
}

Tensor binary_scalar(int64_t op, const Tensor& a, float value, bool reversed) {
  check_float32(binary_name(op), reversed ? "x2" : "x1", a);
  Tensor y(a.shape(), DType::float32, a.device());
  if (y.numel()) launch(y.device(), &Kernels::binary_scalar, op, a.f32(), value, reversed, y.f32(), y.numel());
  return y;
}

Tensor compare(int64_t op, const Tensor& a, const Tensor& b) {
  const char* name = compare_name(op);
  check_float32(name, "x1", a);
  check_float32(name, "x2", b);
  Shape shape;
  const BroadcastShape s = broadcast(name, {&a.shape(), &b.shape()}, &shape);
  Tensor y(shape, DType::boolean, common_device({&a, &b}));
  if (y.numel()) launch(y.device(), &Kernels::compare, op, a.f32(), b.f32(), y.mut<uint8_t>(), s);
  return y;
}

Tensor compare_scalar(int64_t op, const Tensor& a, float value) {
  check_float32(compare_name(op), "x1", a);
  Tensor y(a.shape(), DType::boolean, a.device());
  if (y.numel()) launch(y.device(), &Kernels::compare_scalar, op, a.f32(), value, y.mut<uint8_t>(), y.numel());
  return y;
}

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  check_type(condition.dtype() == DType::boolean, "[where] condition must be bool. Received: condition.dtype=",
             condition.dtype());
  check_float32("where", "x1", a);
  check_float32("where", "x2", b);
  Shape shape;
  const BroadcastShape s = broadcast("where", {&condition.shape(), &a.shape(), &b.shape()}, &shape);
  Tensor y(shape, DType::float32, common_device({&condition, &a, &b}));
  if (y.numel()) launch(y.device(), &Kernels::where, condition.data<uint8_t>(), a.f32(), b.f32(), y.f32(), s);
  return y;
}

Tensor add_n(const std::vector<Tensor>& terms) {
  check(!terms.empty(), "[add_n] at least one tensor must be given. Received: none");
  for (const Tensor& x : terms) {
    check_float32("add_n", "x", x);
    check_shape("add_n", "x", x, terms[0].shape());
  }
  Device device = terms[0].device();
  for (const Tensor& x : terms)
    if (x.is_meta()) device = Device::meta;
  Tensor y(terms[0].shape(), DType::float32, device);
  if (!y.numel()) return y;
  for (size_t i = 0; i < terms.size();) {
    Terms group{};
    if (i > 0) group.x[group.count++] = y.f32();
    while (i < terms.size() && group.count < kMaxTerms) group.x[group.count++] = terms[i++].f32();
    launch(y.device(), &Kernels::add_n, group, y.f32(), y.numel());
  }
  return y;
}

}  // namespace fastnn
