#include "check.h"
#include "dispatch.h"
#include "ops.h"

namespace fastnn {

Tensor cast(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x.borrowed() ? x.copy() : x;
  Tensor y(x.shape(), dtype, x.device());
  if (y.numel()) launch(y.device(), &Kernels::cast, int64_t(x.dtype()), int64_t(dtype), x.raw(), y.raw(), x.numel());
  return y;
}

namespace {

double number_at(const void* item, int64_t dtype) {
  double y;
  cpu_kernels().cast(dtype, int64_t(DType::float64), item, &y, 1);
  return y;
}

// The shape of what was read and the limits it must keep; labels are told by row.
struct IndexRule {
  int64_t device, dtype, limit, wrap, labels, rank;
  int64_t size[Shape::kMaxRank];
};
template <class F>
void for_each_pointer(IndexRule&, F) {}

// Throws if the kernel read_indices has found something: *bad is its first position, or -1.
void check_indices(Text op, Text name, IndexRule rule, const void* x, const int64_t* bad) {
  const Device device = Device(rule.device);
  const int64_t at = *static_cast<const int64_t*>(HostView(device, bad, sizeof *bad).data());
  if (at < 0) return;
  const char* item = static_cast<const char*>(x) + at * itemsize(DType(rule.dtype));
  const double value = number_at(HostView(device, item, itemsize(DType(rule.dtype))).data(), rule.dtype);
  check(value - value == 0 && double(int64_t(value)) == value, "[", op.chars, "] ", name.chars,
        " must hold whole numbers. Received: ", name.chars, "[", at, "]=", value, " (position in row-major order)");
  check(!rule.labels, "[", op.chars, "] ", name.chars, " must hold classes in [0, ", rule.limit, "). Received: ", name.chars, "[",
        at, "]=", int64_t(value), " (row ", at, ")");
  std::ostringstream where;
  int64_t rest = at, inside = 1;
  for (int a = 0; a < rule.rank; ++a) inside *= rule.size[a];
  for (int a = 0; a < rule.rank; ++a) {
    inside /= rule.size[a];
    where << (a ? ", " : "") << rest / inside;
    rest %= inside;
  }
  check_index(false, "[", op.chars, "] ", name.chars, " must be in [", rule.wrap ? -rule.limit : 0, ", ", rule.limit,
              "). Received: ", name.chars, "[", where.str(), "]=", int64_t(value));
}

Tensor read(const char* op, const char* name, const Tensor& x, int64_t limit, bool wrap, bool labels) {
  Tensor y(x.shape(), DType::int64, x.device());
  if (x.numel() == 0 || x.is_meta()) return y;
  Tensor bad({1}, DType::int64, x.device());
  launch(x.device(), &Kernels::read_indices, int64_t(x.dtype()), x.raw(), y.mut<int64_t>(), x.numel(), limit, int64_t(wrap),
         bad.mut<int64_t>());
  IndexRule rule{int64_t(x.device()), int64_t(x.dtype()), limit, wrap, labels, x.rank(), {}};
  for (int a = 0; a < x.rank(); ++a) rule.size[a] = x.size(a);
  host_step("check_indices", check_indices, Text{op}, Text{name}, rule, x.raw(), bad.data<int64_t>());
  return y;
}

}  // namespace

Tensor indices(const char* op, const char* name, const Tensor& x, int64_t limit, bool wrap) {
  return read(op, name, x, limit, wrap, false);
}
Tensor class_indices(const char* op, const char* name, const Tensor& x, int64_t classes) {
  return read(op, name, x, classes, false, true);
}

}  // namespace fastnn
