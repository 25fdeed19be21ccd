#include "dispatch.h"
#include "ops.h"

#include "check.h"

namespace fastnn {
namespace {

constexpr const char* kOp = "batch_norm";

void check_x(const Tensor& x) {
  check(x.rank() >= 1, "[", kOp, "] x must have at least 1 dimension. Received: x.shape=", x.shape());
  check_float32(kOp, "x", x);
}

// One float per channel of x.
void check_channels(const char* name, const Tensor& v, const Tensor& x) {
  check_float32(kOp, name, v);
  check_device(kOp, {&x, &v});
  check_shape(kOp, name, v, {x.size(-1)});
}
void check_channels(const char* name, const std::optional<Tensor>& v, const Tensor& x) {
  if (v) check_channels(name, *v, x);
}

const float* pointer(const std::optional<Tensor>& v) { return v ? v->f32() : nullptr; }
float* pointer(std::optional<Tensor>& v) { return v ? v->f32() : nullptr; }

int64_t rows(const Tensor& x) { return x.numel() / x.size(-1); }

Tensor channels(const Tensor& x) { return Tensor({x.size(-1)}, DType::float32, x.device()); }

}  // namespace

std::tuple<Tensor, Tensor, Tensor, Tensor> batch_norm_forward(const Tensor& x, const std::optional<Tensor>& gamma,
                                                              const std::optional<Tensor>& beta, double epsilon) {
  check_x(x);
  check_channels("gamma", gamma, x);
  check_channels("beta", beta, x);
  check(x.numel() > 0, "[", kOp, "] statistics need at least one value per channel. Received: x.shape=", x.shape());
  Tensor y(x.shape(), DType::float32, x.device()), mean = channels(x), variance = channels(x), rstd = channels(x);
  launch(x.device(), &Kernels::batch_norm_forward, x.f32(), pointer(gamma), pointer(beta), nullptr, float(epsilon),
         kClipNone, y.f32(), mean.f32(), variance.f32(), rstd.f32(), rows(x), x.size(-1));
  return {y, mean, variance, rstd};
}

Tensor batch_norm_inference(const Tensor& x, const Tensor& mean, const Tensor& variance, const std::optional<Tensor>& gamma,
                            const std::optional<Tensor>& beta, double epsilon) {
  check_x(x);
  check_channels("mean", mean, x);
  check_channels("variance", variance, x);
  check_channels("gamma", gamma, x);
  check_channels("beta", beta, x);
  Tensor y(x.shape(), DType::float32, x.device());
  if (y.numel())
    launch(x.device(), &Kernels::batch_norm_inference, x.f32(), mean.f32(), variance.f32(), pointer(gamma), pointer(beta),
           nullptr, float(epsilon), kClipNone, y.f32(), rows(x), x.size(-1));
  return y;
}

std::tuple<std::optional<Tensor>, Tensor, Tensor> batch_norm_backward(const Tensor& x, const Tensor& gy,
                                                                      const std::optional<Tensor>& gamma, const Tensor& mean,
                                                                      const Tensor& rstd, bool need_gx) {
  check_x(x);
  check_float32(kOp, "gy", gy);
  check_device(kOp, {&x, &gy});
  check_shape(kOp, "gy", gy, x.shape());
  check_channels("gamma", gamma, x);
  check_channels("mean", mean, x);
  check_channels("rstd", rstd, x);
  check(x.numel() > 0, "[", kOp, "] statistics need at least one value per channel. Received: x.shape=", x.shape());
  std::optional<Tensor> gx;
  if (need_gx) gx = Tensor(x.shape(), DType::float32, x.device());
  Tensor ggamma = channels(x), gbeta = channels(x);
  launch(x.device(), &Kernels::batch_norm_backward, x.f32(), gy.f32(), pointer(gamma), nullptr, mean.f32(), rstd.f32(),
         kClipNone, pointer(gx), ggamma.f32(), gbeta.f32(), rows(x), x.size(-1));
  return {gx, ggamma, gbeta};
}

std::tuple<std::optional<Tensor>, Tensor, Tensor> batch_norm_backward_inference(
    const Tensor& x, const Tensor& gy, const std::optional<Tensor>& gamma, const Tensor& mean, const Tensor& variance,
    double epsilon, bool need_gx) {
  check_x(x);
  check_float32(kOp, "gy", gy);
  check_device(kOp, {&x, &gy});
  check_shape(kOp, "gy", gy, x.shape());
  check_channels("gamma", gamma, x);
  check_channels("mean", mean, x);
  check_channels("variance", variance, x);
  std::optional<Tensor> gx;
  if (need_gx) gx = Tensor(x.shape(), DType::float32, x.device());
  Tensor ggamma = channels(x), gbeta = channels(x);
  if (x.size(-1))
    launch(x.device(), &Kernels::batch_norm_backward_inference, x.f32(), gy.f32(), pointer(gamma), mean.f32(), variance.f32(),
           float(epsilon), pointer(gx), ggamma.f32(), gbeta.f32(), rows(x), x.size(-1));
  return {gx, ggamma, gbeta};
}

void moving_average(Tensor moving, const Tensor& value, double momentum) {
  check_float32(kOp, "moving", moving);
  check_float32(kOp, "value", value);
  check_device(kOp, {&moving, &value});
  check_shape(kOp, "value", value, moving.shape());
  launch(moving.device(), &Kernels::moving_average, moving.f32(), value.f32(), float(momentum), float(1 - momentum),
         moving.numel());
}

}  // namespace fastnn
