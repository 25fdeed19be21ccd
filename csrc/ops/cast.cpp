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

double number_at(const Tensor& x, int64_t position) {
  Tensor y({1}, DType::float64);
  const char* item = static_cast<const char*>(x.raw()) + position * itemsize(x.dtype());
  launch(Device::cpu, &Kernels::cast, int64_t(x.dtype()), int64_t(DType::float64), item, y.raw(), 1);
  return *y.data<double>();
}

Tensor read_indices(const char* op, const char* name, const Tensor& x, int64_t limit, bool wrap, int64_t* bad) {
  Tensor y(x.shape(), DType::int64, x.device());
  *bad = -1;
  if (x.numel() == 0 || x.is_meta()) return y;
  launch(x.device(), &Kernels::read_indices, int64_t(x.dtype()), x.raw(), y.mut<int64_t>(), x.numel(), limit, int64_t(wrap), bad);
  if (*bad >= 0) {
    const double value = number_at(x, *bad);
    check(value - value == 0 && double(int64_t(value)) == value, "[", op, "] ", name,
          " must hold whole numbers. Received: ", name, "[", *bad, "]=", value, " (position in row-major order)");
  }
  return y;
}

Tensor indices(const char* op, const char* name, const Tensor& x, int64_t limit, bool wrap) {
  int64_t bad;
  Tensor y = read_indices(op, name, x, limit, wrap, &bad);
  if (bad >= 0) {
    std::ostringstream where;
    int64_t rest = bad, inside = x.numel();
    for (int a = 0; a < x.rank(); ++a) {
      inside /= x.size(a);
      where << (a ? ", " : "") << rest / inside;
      rest %= inside;
    }
    check_index(false, "[", op, "] ", name, " must be in [", wrap ? -limit : 0, ", ", limit, "). Received: ", name, "[",
                where.str(), "]=", int64_t(number_at(x, bad)));
  }
  return y;
}

}  // namespace fastnn
