#include "check.h"
#include "dispatch.h"
#include "ops.h"

namespace fastnn {
namespace {

// Rows of the last axis.
int64_t rows_of(const Tensor& x) {
  int64_t rows = 1;
  for (int a = 0; a + 1 < x.rank(); ++a) rows *= x.size(a);
  return rows;
}
Shape without_last(const Tensor& x) {
  Shape shape;
  for (int a = 0; a + 1 < x.rank(); ++a) shape.push_back(x.size(a));
  return shape;
}
void check_ranked(const char* op, const char* name, const Tensor& x) {
  check_float32(op, name, x);
  check(x.rank() >= 1, "[", op, "] ", name, " must have at least 1 dimension. Received: ", name, ".shape=", x.shape());
}

using Rowwise = void (*Kernels::*)(const float*, float*, int64_t, int64_t);
Tensor forward(const char* op, Rowwise kernel, const Tensor& x) {
  check_ranked(op, "x", x);
  Tensor y(x.shape(), DType::float32, x.device());
  if (y.numel()) launch(x.device(), kernel, x.f32(), y.f32(), rows_of(x), x.size(-1));
  return y;
}
using RowwiseBackward = void (*Kernels::*)(const float*, const float*, float*, int64_t, int64_t);
Tensor backward(const char* op, RowwiseBackward kernel, const Tensor& y, const Tensor& gy) {
  check_ranked(op, "y", y);
  check_float32(op, "gy", gy);
  check_shape(op, "gy", gy, y.shape());
  check_device(op, {&y, &gy});
  Tensor gx(y.shape(), DType::float32, y.device());
  if (gx.numel()) launch(y.device(), kernel, y.f32(), gy.f32(), gx.f32(), rows_of(y), y.size(-1));
  return gx;
}

void check_classes(const char* op, const Tensor& output) {
  check_ranked(op, "output", output);
  check(output.size(-1) > 0, "[", op, "] output must have at least one class. Received: output.shape=", output.shape());
}
void check_target(const char* op, const Tensor& target, const Tensor& output) {
  check_float32(op, "target", target);
  check(target.shape() == output.shape(), "[", op, "] target and output must have the same shape. Received: target.shape=",
        target.shape(), ", output.shape=", output.shape());
  check_device(op, {&target, &output});
}
void check_label(const char* op, const Tensor& label, const Tensor& output) {
  check_type(label.dtype() == DType::int64, "[", op, "] labels must come from _core.class_labels. Received: ", label.dtype());
  check_shape(op, "label", label, without_last(output));
  check_device(op, {&label, &output});
  check_label_range(op, "label", label, output.size(-1));
}
void check_gy(const char* op, const Tensor& gy, const Shape& shape, const Tensor& output) {
  check_float32(op, "gy", gy);
  check_shape(op, "gy", gy, shape);
  check_device(op, {&output, &gy});
}
Shape stats_shape(const Tensor& x) { return {rows_of(x), 2}; }
// None, or what forward returned beside the losses.
void check_stats(const char* op, const std::vector<Tensor>& stats, const Tensor& output) {
  if (stats.empty()) return;
  check_float32(op, "stats", stats[0]);
  check_shape(op, "stats", stats[0], stats_shape(output));
  check_device(op, {&output, &stats[0]});
}

}  // namespace

Tensor softmax_forward(const Tensor& x) { return forward("softmax", &Kernels::softmax_forward, x); }
Tensor softmax_backward(const Tensor& y, const Tensor& gy) {
  return backward("softmax_backward", &Kernels::softmax_backward, y, gy);
}
Tensor log_softmax_forward(const Tensor& x) { return forward("log_softmax", &Kernels::log_softmax_forward, x); }
Tensor log_softmax_backward(const Tensor& y, const Tensor& gy) {
  return backward("log_softmax_backward", &Kernels::log_softmax_backward, y, gy);
}

Tensor class_labels(const Tensor& label, int64_t classes) {
  return class_indices("sparse_categorical_crossentropy", "target", label, classes);
}

std::vector<Tensor> categorical_crossentropy_forward(const Tensor& target, const Tensor& output, bool from_logits) {
  const char* op = "categorical_crossentropy";
  check_classes(op, output);
  check_target(op, target, output);
  Tensor y(without_last(output), DType::float32, output.device());
  if (!from_logits) {
    if (y.numel())
      launch(y.device(), &Kernels::cross_entropy_forward, target.f32(), output.f32(), y.f32(), y.numel(), output.size(-1));
    return {y};
  }
  Tensor stats(stats_shape(output), DType::float32, output.device());
  if (y.numel())
    launch(y.device(), &Kernels::softmax_cross_entropy_forward, target.f32(), output.f32(), y.f32(), stats.f32(), y.numel(),
           output.size(-1));
  return {y, stats};
}

Tensor categorical_crossentropy_backward(const Tensor& target, const Tensor& output, const std::vector<Tensor>& stats,
                                         const Tensor& gy) {
  const char* op = "categorical_crossentropy_backward";
  check_classes(op, output);
  check_target(op, target, output);
  check_gy(op, gy, without_last(output), output);
  check_stats(op, stats, output);
  Tensor gx(output.shape(), DType::float32, output.device());
  if (gx.numel() == 0) return gx;
  if (stats.empty()) {
    launch(gx.device(), &Kernels::cross_entropy_backward, target.f32(), output.f32(), gy.f32(), gx.f32(), gy.numel(),
           output.size(-1));
  } else {
    launch(gx.device(), &Kernels::softmax_cross_entropy_backward, target.f32(), output.f32(), stats[0].f32(), gy.f32(),
           gx.f32(), gy.numel(), output.size(-1));
  }
  return gx;
}

std::vector<Tensor> sparse_categorical_crossentropy_forward(const Tensor& label, const Tensor& output, bool from_logits) {
  const char* op = "sparse_categorical_crossentropy";
  check_classes(op, output);
  check_label(op, label, output);
  Tensor y(without_last(output), DType::float32, output.device());
  if (!from_logits) {
    if (y.numel())
      launch(y.device(), &Kernels::sparse_cross_entropy_forward, label.data<int64_t>(), output.f32(), y.f32(), y.numel(),
             output.size(-1));
    return {y};
  }
  Tensor stats(stats_shape(output), DType::float32, output.device());
  if (y.numel())
    launch(y.device(), &Kernels::sparse_softmax_cross_entropy_forward, label.data<int64_t>(), output.f32(), y.f32(),
           stats.f32(), y.numel(), output.size(-1));
  return {y, stats};
}

Tensor sparse_categorical_crossentropy_backward(const Tensor& label, const Tensor& output,
                                                const std::vector<Tensor>& stats, const Tensor& gy) {
  const char* op = "sparse_categorical_crossentropy_backward";
  check_classes(op, output);
  check_label(op, label, output);
  check_gy(op, gy, without_last(output), output);
  check_stats(op, stats, output);
  Tensor gx(output.shape(), DType::float32, output.device());
  if (gx.numel() == 0) return gx;
  if (stats.empty()) {
    launch(gx.device(), &Kernels::sparse_cross_entropy_backward, label.data<int64_t>(), output.f32(), gy.f32(), gx.f32(),
           gy.numel(), output.size(-1));
  } else {
    launch(gx.device(), &Kernels::sparse_softmax_cross_entropy_backward, label.data<int64_t>(), output.f32(),
           stats[0].f32(), gy.f32(), gx.f32(), gy.numel(), output.size(-1));
  }
  return gx;
}

Tensor binary_crossentropy_forward(const Tensor& target, const Tensor& output, bool from_logits) {
  const char* op = "binary_crossentropy";
  check_float32(op, "output", output);
  check_target(op, target, output);
  Tensor y(output.shape(), DType::float32, output.device());
  if (y.numel())
    launch(y.device(), from_logits ? &Kernels::sigmoid_cross_entropy_forward : &Kernels::binary_cross_entropy_forward,
           target.f32(), output.f32(), y.f32(), y.numel());
  return y;
}

Tensor binary_crossentropy_backward(const Tensor& target, const Tensor& output, const Tensor& gy, bool from_logits) {
  const char* op = "binary_crossentropy_backward";
  check_float32(op, "output", output);
  check_target(op, target, output);
  check_gy(op, gy, output.shape(), output);
  Tensor gx(output.shape(), DType::float32, output.device());
  if (gx.numel())
    launch(gx.device(), from_logits ? &Kernels::sigmoid_cross_entropy_backward : &Kernels::binary_cross_entropy_backward,
           target.f32(), output.f32(), gy.f32(), gx.f32(), gx.numel());
  return gx;
}

}  // namespace fastnn
