#include "check.h"
#include "dispatch.h"
#include "ops.h"

namespace fastnn {
namespace {

// x seen as (outer, rows, inner) around `axis`.
struct Split {
  int64_t outer = 1, rows = 1, inner = 1;
};
Split split(const char* op, const Shape& shape, int64_t axis) {
  check(axis >= 0 && axis < shape.rank(), "[", op, "] axis must be in [0, ", shape.rank(), "). Received: axis=", axis,
        ", shape=", shape);
  Split s;
  for (int a = 0; a < shape.rank(); ++a) (a < axis ? s.outer : a == axis ? s.rows : s.inner) *= shape[a];
  return s;
}

void check_int64(const char* op, const Tensor& index) {
  check_type(index.dtype() == DType::int64, "[", op, "] indices must come from _core.indices, as int64. Received: ",
             index.dtype());
}

}  // namespace

Tensor gather(const Tensor& x, const Tensor& index, int64_t axis) {
  check_int64("gather", index);
  check_device("gather", {&x, &index});
  const Split s = split("gather", x.shape(), axis);
  Shape shape;
  for (int a = 0; a < axis; ++a) shape.push_back(x.size(a));
  for (int64_t n : index.shape()) shape.push_back(n);
  for (int a = int(axis) + 1; a < x.rank(); ++a) shape.push_back(x.size(a));
  Tensor y(shape, x.dtype(), x.device());
  check(y.numel() == 0 || s.rows > 0, "[gather] x must not be empty along axis ", axis, ". Received: x.shape=", x.shape());
  check_index_range("gather", "indices", index, 0, s.rows);
  if (y.numel())
    launch(x.device(), &Kernels::gather_rows, x.raw(), index.data<int64_t>(), y.raw(), s.outer, s.rows, index.numel(),
           s.inner * itemsize(x.dtype()));
  return y;
}

Tensor gather_backward(const Tensor& gy, const Tensor& index, const Shape& shape, int64_t axis) {
  check_float32("gather_backward", "gy", gy);
  check_int64("gather_backward", index);
  check_device("gather_backward", {&gy, &index});
  const Split s = split("gather_backward", shape, axis);
  check(gy.numel() == s.outer * index.numel() * s.inner, "[gather_backward] gy must have the shape of the result. Received: gy.shape=",
        gy.shape());
  check_index_range("gather_backward", "indices", index, 0, s.rows);
  Tensor gx(shape, DType::float32, gy.device());
  if (gx.numel())
    launch(gy.device(), &Kernels::scatter_add_rows, gy.f32(), index.data<int64_t>(), gx.f32(), s.outer, s.rows,
           index.numel(), s.inner);
  return gx;
}

Tensor gather_elements(const Tensor& x, const Tensor& index, int64_t axis) {
  check_int64("gather_elements", index);
  check_device("gather_elements", {&x, &index});
  const Split s = split("gather_elements", x.shape(), axis);
  bool ok = index.rank() == x.rank();
  for (int a = 0; ok && a < x.rank(); ++a) ok = a == axis || index.size(a) == x.size(a);
  check(ok, "[take_along_axis] indices must have the shape of x except along axis ", axis, ". Received: x.shape=", x.shape(),
        ", indices.shape=", index.shape());
  check_index_range("take_along_axis", "indices", index, 0, s.rows);
  Tensor y(index.shape(), x.dtype(), x.device());
  if (y.numel())
    launch(x.device(), &Kernels::gather_elements, x.raw(), index.data<int64_t>(), y.raw(), itemsize(x.dtype()), s.outer,
           s.rows, index.size(int(axis)), s.inner);
  return y;
}

Tensor gather_elements_backward(const Tensor& gy, const Tensor& index, const Shape& shape, int64_t axis) {
  check_float32("take_along_axis", "gy", gy);
  check_int64("take_along_axis", index);
  check_device("take_along_axis", {&gy, &index});
  check_shape("take_along_axis", "gy", gy, index.shape());
  const Split s = split("take_along_axis", shape, axis);
  bool ok = index.rank() == shape.rank();
  for (int a = 0; ok && a < shape.rank(); ++a) ok = a == axis || index.size(a) == shape[a];
  check(ok, "[take_along_axis] indices must have the shape of x except along axis ", axis, ". Received: shape=", shape,
        ", indices.shape=", index.shape());
  check_index_range("take_along_axis", "indices", index, 0, s.rows);
  Tensor gx(shape, DType::float32, gy.device());
  if (gx.numel())
    launch(gy.device(), &Kernels::scatter_add_elements, gy.f32(), index.data<int64_t>(), gx.f32(), s.outer, s.rows,
           index.size(int(axis)), s.inner);
  return gx;
}

std::vector<Tensor> coalesce(const Tensor& index, const Tensor& values, int64_t rows) {
  check_float32("coalesce", "values", values);
  check_int64("coalesce", index);
  check_device("coalesce", {&index, &values});
  check_rank("coalesce", "values", values, {2});
  check(index.numel() == values.size(0), "[coalesce] values must have one row for each index. Received: values.shape=",
        values.shape(), ", indices.shape=", index.shape());
  check(rows >= 0 && rows < (int64_t(1) << 31), "[coalesce] rows must be below 2^31. Received: rows=", rows);
  check_index_range("coalesce", "indices", index, 0, rows);
  const int64_t n = index.numel(), cols = values.size(1);
  Tensor row_slot({rows}, DType::int32, values.device()), slot_row({n}, DType::int64, values.device());
  Tensor count({1}, DType::int64, values.device()), sums({n, cols}, DType::float32, values.device());
  launch(values.device(), &Kernels::coalesce_rows, index.data<int64_t>(), values.f32(), row_slot.mut<int32_t>(),
         slot_row.mut<int64_t>(), count.mut<int64_t>(), sums.f32(), rows, n, cols);
  return {row_slot, slot_row, count, sums};
}

Tensor densify(const Tensor& row_slot, const Tensor& sums) {
  check_rank("densify", "row_slot", row_slot, {1});
  check_rank("densify", "sums", sums, {2});
  check_float32("densify", "sums", sums);
  check_type(row_slot.dtype() == DType::int32, "[densify] row_slot must be int32. Received: ", row_slot.dtype());
  check_device("densify", {&row_slot, &sums});
  check_index_range("densify", "row_slot", row_slot, -1, sums.size(0));
  Tensor y({row_slot.size(0), sums.size(1)}, DType::float32, sums.device());
  if (y.numel())
    launch(y.device(), &Kernels::densify_rows, row_slot.data<int32_t>(), sums.f32(), y.f32(), y.size(0), y.size(1));
  return y;
}

}  // namespace fastnn
