#include "check.h"
#include "dispatch.h"
#include "ops.h"

namespace fastnn {
namespace {

constexpr const char* kOp = "layer_norm";

// x seen as (rows, c): its first axes, and those of gamma and beta.
struct Matrix {
  int64_t rows, c;
};

Matrix matrix(const Tensor& x, int64_t axes) {
  check_float32(kOp, "x", x);
  check(axes >= 1 && axes <= x.rank(), "[", kOp, "] between 1 and all axes of x can be normalized. Received: axes=", axes,
        ", x.shape=", x.shape());
  Matrix m{1, 1};
  for (int i = 0; i < x.rank(); ++i) (i < x.rank() - axes ? m.rows : m.c) *= x.size(i);
  return m;
}

void check_last(const char* name, const std::optional<Tensor>& v, const Tensor& x, int64_t axes) {
  if (!v) return;
  check_float32(kOp, name, *v);
  check_device(kOp, {&x, &*v});
  check_shape(kOp, name, *v, Shape(x.shape().begin() + x.rank() - axes, int(axes)));
}

const float* pointer(const std::optional<Tensor>& v) { return v ? v->f32() : nullptr; }

}  // namespace

std::tuple<Tensor, Tensor, Tensor> layer_norm_forward(const Tensor& x, const std::optional<Tensor>& gamma,
                                                      const std::optional<Tensor>& beta, int64_t axes, double epsilon) {
  const Matrix m = matrix(x, axes);
  check_last("gamma", gamma, x, axes);
  check_last("beta", beta, x, axes);
  const Shape rows(x.shape().begin(), int(x.rank() - axes));
  Tensor y(x.shape(), DType::float32, x.device()), mean(rows, DType::float32, x.device()), rstd(rows, DType::float32, x.device());
  check(m.c > 0 || m.rows == 0, "[", kOp, "] the normalized axes must not be empty. Received: x.shape=", x.shape());
  if (y.numel())
    launch(x.device(), &Kernels::layer_norm_forward, x.f32(), pointer(gamma), pointer(beta), float(epsilon), y.f32(),
           mean.f32(), rstd.f32(), m.rows, m.c);
  return {y, mean, rstd};
}

std::tuple<std::optional<Tensor>, Tensor, Tensor> layer_norm_backward(const Tensor& x, const Tensor& gy,
                                                                      const std::optional<Tensor>& gamma, const Tensor& mean,
                                                                      const Tensor& rstd, int64_t axes, bool need_gx) {
  const Matrix m = matrix(x, axes);
  check_float32(kOp, "gy", gy);
  check_float32(kOp, "mean", mean);
  check_float32(kOp, "rstd", rstd);
  check_device(kOp, {&x, &gy, &mean, &rstd});
  check_shape(kOp, "gy", gy, x.shape());
  check_last("gamma", gamma, x, axes);
  const Shape rows(x.shape().begin(), int(x.rank() - axes)), last(x.shape().begin() + x.rank() - axes, int(axes));
  check_shape(kOp, "mean", mean, rows);
  check_shape(kOp, "rstd", rstd, rows);
  std::optional<Tensor> gx;
  if (need_gx) gx = Tensor(x.shape(), DType::float32, x.device());
  Tensor ggamma(last, DType::float32, x.device()), gbeta(last, DType::float32, x.device());
  if (m.c)
    launch(x.device(), &Kernels::layer_norm_backward, x.f32(), gy.f32(), pointer(gamma), mean.f32(), rstd.f32(),
           gx ? gx->f32() : nullptr, ggamma.f32(), gbeta.f32(), m.rows, m.c);
  return {gx, ggamma, gbeta};
}

}  // namespace fastnn
