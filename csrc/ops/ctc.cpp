#include "check.h"
#include "dispatch.h"
#include "ops.h"

namespace fastnn {
namespace {

constexpr const char* kOp = "ctc_loss";

// Labels that count must be classes, lengths must fit.
void check_counts(int64_t device, const void* label, const void* label_count, const void* frame_count, int64_t batch,
                  int64_t frames, int64_t classes, int64_t labels) {
  const HostView label_view(Device(device), label, batch * labels * 8), label_counts(Device(device), label_count, batch * 8),
      frame_counts(Device(device), frame_count, batch * 8);
  const auto* l = static_cast<const int64_t*>(label_view.data());
  const auto* ln = static_cast<const int64_t*>(label_counts.data());
  const auto* fn = static_cast<const int64_t*>(frame_counts.data());
  for (int64_t i = 0; i < batch; ++i) {
    check(0 <= ln[i] && ln[i] <= labels, "[", kOp, "] target_length must be in [0, ", labels, "]. Received: target_length[", i, "]=", ln[i]);
    check(0 <= fn[i] && fn[i] <= frames, "[", kOp, "] output_length must be in [0, ", frames, "]. Received: output_length[", i, "]=", fn[i]);
    for (int64_t s = 0; s < ln[i]; ++s) {
      const int64_t k = l[i * labels + s];
      check(0 <= k && k < classes, "[", kOp, "] target must hold classes in [0, ", classes, "). Received: target[", i, ", ", s, "]=", k);
    }
  }
}

void check_ctc(const Tensor& label, const Tensor& label_count, const Tensor& frame_count, const Tensor& logp, int64_t blank) {
  check_float32(kOp, "output", logp);
  check_rank(kOp, "output", logp, {3});
  check_rank(kOp, "target", label, {2});
  const int64_t batch = logp.size(0);
  check(label.size(0) == batch, "[", kOp, "] target and output must have the same batch. Received: target.shape=", label.shape(),
        ", output.shape=", logp.shape());
  check_shape(kOp, "target_length", label_count, {batch});
  check_shape(kOp, "output_length", frame_count, {batch});
  for (const Tensor* t : {&label, &label_count, &frame_count})
    check_type(t->dtype() == DType::int64, "[", kOp, "] labels and lengths must be int64. Received: ", t->dtype());
  check(0 <= blank && blank < logp.size(2), "[", kOp, "] mask_index must be one of the classes. Received: mask_index=", blank,
        ", output.shape=", logp.shape());
  check_device(kOp, {&label, &label_count, &frame_count, &logp});
  if (logp.is_meta()) return;
  host_step("check_counts", check_counts, int64_t(logp.device()), label.raw(), label_count.raw(), frame_count.raw(), batch,
            logp.size(1), logp.size(2), label.size(1));
}

Shape alpha_shape(const Tensor& label, const Tensor& logp) {
  return {logp.size(0), logp.size(1), checked_mul(2, label.size(1)) + 3};
}

}  // namespace

std::vector<Tensor> ctc_forward(const Tensor& label, const Tensor& label_count, const Tensor& frame_count, const Tensor& logp,
                                int64_t blank) {
  check_ctc(label, label_count, frame_count, logp, blank);
  Tensor y({logp.size(0)}, DType::float32, logp.device()), alpha(alpha_shape(label, logp), DType::float32, logp.device());
  if (y.numel())
    launch(y.device(), &Kernels::ctc_forward, label.data<int64_t>(), label_count.data<int64_t>(), frame_count.data<int64_t>(),
           logp.f32(), y.f32(), alpha.f32(), logp.size(0), logp.size(1), logp.size(2), label.size(1), blank);
  return {y, alpha};
}

Tensor ctc_backward(const Tensor& label, const Tensor& label_count, const Tensor& frame_count, const Tensor& logp,
                    const Tensor& alpha, const Tensor& gy, int64_t blank) {
  check_ctc(label, label_count, frame_count, logp, blank);
  check_float32(kOp, "alpha", alpha);
  check_shape(kOp, "alpha", alpha, alpha_shape(label, logp));
  check_float32(kOp, "gy", gy);
  check_shape(kOp, "gy", gy, {logp.size(0)});
  check_device(kOp, {&logp, &alpha, &gy});
  Tensor glogp(logp.shape(), DType::float32, logp.device());
  if (glogp.numel())
    launch(gy.device(), &Kernels::ctc_backward, label.data<int64_t>(), label_count.data<int64_t>(), frame_count.data<int64_t>(),
           logp.f32(), alpha.f32(), gy.f32(), glogp.f32(), logp.size(0), logp.size(1), logp.size(2), label.size(1), blank);
  return glogp;
}

}  // namespace fastnn
