#include <algorithm>

#include "check.h"
#include "dispatch.h"
#include "ops.h"

namespace fastnn {
namespace {

using Tensors = std::vector<Tensor>;

// What all optimizers share.
struct Updates {
  float weight_decay;
  const std::vector<bool>& decay;
  float clipvalue;
  const std::optional<Tensor>& scale;
};

void check_list(const char* op, const char* name, const Tensors& list, const Tensors& w, const Tensor& lr) {
  check(list.empty() || list.size() == w.size(), "[", op, "] ", name, " must have one entry for each weight. Received: ",
        list.size(), " for ", w.size(), " weights");
  for (size_t k = 0; k < list.size(); ++k) {
    check_float32(op, name, list[k]);
    check_device(op, {&lr, &list[k]});
    check(list[k].shape() == w[k].shape(), "[", op, "] ", name, " must have the shapes of the weights. Received: ", name, "[", k,
          "].shape=", list[k].shape(), ", w.shape=", w[k].shape());
  }
}

float* item(Tensors& list, size_t k) { return list.empty() ? nullptr : list[k].f32(); }

const float* scalar(const char* op, const char* name, const Tensor& x) {
  check_float32(op, name, x);
  check(x.numel() == 1, "[", op, "] ", name, " must have one element. Received: ", name, ".shape=", x.shape());
  return x.f32();
}

// Gradients into slots: dense ones, or (n, cols) sums with row_slot for the rows that have any.
void set_gradient(const char* op, UpdateSlot& s, const Shape& shape, const Tensor& g, const std::optional<Tensor>& row_slot) {
  check_float32(op, "g", g);
  s.n = shape.numel();
  s.g = g.f32();
  if (!row_slot) {
    check(g.shape() == shape, "[", op, "] a gradient must have the shape of its weight. Received: g.shape=", g.shape(),
          ", w.shape=", shape);
    return;
  }
  check(shape.rank() == 2 && g.rank() == 2 && g.size(1) == shape[1] && row_slot->dtype() == DType::int32 &&
            row_slot->shape() == Shape{shape[0]},
        "[", op, "] a sparse gradient must come from _core.coalesce with the rows of its weight. Received: g.shape=", g.shape(),
        ", w.shape=", shape);
  check_device(op, {&g, &*row_slot});
  check_index_range(op, "row_slot", *row_slot, -1, g.size(0));
  s.row_slot = row_slot->data<int32_t>();
  s.cols = shape[1];
}

// Calls f(batch) for batches of weights, empty weights left out.
template <class F>
void for_batches(const char* op, const Tensor& lr, Tensors& w, const Tensors& g, const RowSlots& row_slots, Tensors m, Tensors v, Tensors u,
                 const Updates& options, F f) {
  check(g.size() == w.size() && (row_slots.empty() || row_slots.size() == w.size()) &&
            (options.decay.empty() || options.decay.size() == w.size()),
        "[", op, "] there must be one gradient for each weight. Received: ", g.size(), " for ", w.size(), " weights");
  check_list(op, "w", w, w, lr);
  check_list(op, "m", m, w, lr);
  check_list(op, "v", v, w, lr);
  check_list(op, "u", u, w, lr);
  const float* scale = nullptr;
  if (options.scale) {
    check_float32(op, "scale", *options.scale);
    check_shape(op, "scale", *options.scale, Shape{int64_t(w.size())});
    check_device(op, {&lr, &*options.scale});
    scale = options.scale->f32();
  }
  UpdateBatch batch;
  batch.count = 0;
  std::vector<UpdateSlot> slots(w.size());
  for (size_t k = 0; k < w.size(); ++k) {  // everything is checked before the first weight changes
    UpdateSlot s{};
    check_device(op, {&lr, &g[k]});
    set_gradient(op, s, w[k].shape(), g[k], row_slots.empty() ? std::nullopt : row_slots[k]);
    s.w = w[k].f32(), s.m = item(m, k), s.v = item(v, k), s.u = item(u, k);
    s.scale = scale ? scale + k : nullptr;
    s.decay = options.weight_decay != 0 && (options.decay.empty() || options.decay[k]);
    slots[k] = s;
  }
  for (const UpdateSlot& s : slots) {
    if (s.n == 0) continue;
    batch.slot[batch.count++] = s;
    if (batch.count == kUpdateSlots) f(batch), batch.count = 0;
  }
  if (batch.count) f(batch);
}

}  // namespace

void sgd_update(Tensors w, const Tensors& g, const RowSlots& row_slots, Tensors m, const Tensor& lr, float momentum,
                bool nesterov, float weight_decay, const std::vector<bool>& decay,
                float clipvalue, const std::optional<Tensor>& scale) {
  const Updates options{weight_decay, decay, clipvalue, scale};
  const float* rate = scalar("sgd_update", "lr", lr);
  for_batches("sgd_update", lr, w, g, row_slots, std::move(m), {}, {}, options, [&](const UpdateBatch& b) {
    launch(lr.device(), &Kernels::sgd_update, b, rate, momentum, int64_t(nesterov), options.weight_decay, options.clipvalue);
  });
}

void rmsprop_update(Tensors w, const Tensors& g, const RowSlots& row_slots, Tensors v, Tensors mean, Tensors m,
                    const Tensor& lr, double rho, float momentum, float epsilon, float weight_decay, const std::vector<bool>& decay,
                float clipvalue, const std::optional<Tensor>& scale) {
  const Updates options{weight_decay, decay, clipvalue, scale};
  const float* rate = scalar("rmsprop_update", "lr", lr);
  check(v.size() == w.size(), "[rmsprop_update] v must have one entry for each weight. Received: ", v.size());
  for_batches("rmsprop_update", lr, w, g, row_slots, std::move(m), std::move(v), std::move(mean), options, [&](const UpdateBatch& b) {
    launch(lr.device(), &Kernels::rmsprop_update, b, rate, float(rho), float(1 - rho), momentum, epsilon,
           options.weight_decay, options.clipvalue);
  });
}

void adam_update(Tensors w, const Tensors& g, const RowSlots& row_slots, Tensors m, Tensors v, Tensors vmax,
                 const Tensor& lr, const Tensor& iterations, double beta1, double beta2, float epsilon,
                 float weight_decay, const std::vector<bool>& decay,
                float clipvalue, const std::optional<Tensor>& scale) {
  const Updates options{weight_decay, decay, clipvalue, scale};
  const float* rate = scalar("adam_update", "lr", lr);
  check(iterations.numel() == 1 && (iterations.dtype() == DType::int32 || iterations.dtype() == DType::int64),
        "[adam_update] iterations must be one int32 or int64. Received: iterations.dtype=", iterations.dtype(),
        ", iterations.shape=", iterations.shape());
  check_device("adam_update", {&lr, &iterations});
  check(m.size() == w.size() && v.size() == w.size(), "[adam_update] m and v must have one entry for each weight. Received: ",
        m.size(), " and ", v.size());
  for_batches("adam_update", lr, w, g, row_slots, std::move(m), std::move(v), std::move(vmax), options, [&](const UpdateBatch& b) {
    launch(lr.device(), &Kernels::adam_update, b, rate, iterations.raw(), itemsize(iterations.dtype()), float(beta1),
           float(beta2), float(1 - beta1), float(1 - beta2), epsilon, options.weight_decay, options.clipvalue);
  });
}

Tensor squared_norms(const Tensors& g, const RowSlots& row_slots) {
  check(row_slots.empty() || row_slots.size() == g.size(), "[squared_norms] there must be one row_slot for each gradient");
  for (const Tensor& gk : g) check_device("squared_norms", {&g[0], &gk});
  Tensor y(Shape{int64_t(g.size())}, DType::float32, g.empty() ? current_device() : g[0].device());
  UpdateBatch batch;
  for (size_t first = 0; first < g.size(); first += kUpdateSlots) {
    batch.count = std::min<int64_t>(kUpdateSlots, int64_t(g.size() - first));
    for (int64_t k = 0; k < batch.count; ++k) {
      UpdateSlot s{};
      const std::optional<Tensor> row_slot = row_slots.empty() ? std::nullopt : row_slots[first + k];
      const Tensor& gk = g[first + k];
      const Shape shape = row_slot && gk.rank() == 2 ? Shape{row_slot->numel(), gk.size(1)} : gk.shape();
      set_gradient("squared_norms", s, shape, gk, row_slot);
      batch.slot[k] = s;
    }
    launch(y.device(), &Kernels::squared_norms, batch, y.f32() + first);
  }
  return y;
}

Tensor clip_scales(const Tensor& squares, float clipnorm, bool global) {
  check_float32("clip_scales", "squares", squares);
  check_rank("clip_scales", "squares", squares, {1});
  check(clipnorm > 0, "[clip_scales] clipnorm must be positive. Received: clipnorm=", clipnorm);
  Tensor y(squares.shape(), DType::float32, squares.device());
  launch(y.device(), &Kernels::clip_scales, squares.f32(), y.f32(), y.numel(), clipnorm, int64_t(global));
  return y;
}

void increment(Tensor x) {
  check(x.numel() == 1 && (x.dtype() == DType::int32 || x.dtype() == DType::int64),
        "[increment] x must be one int32 or int64. Received: x.dtype=", x.dtype(), ", x.shape=", x.shape());
  launch(x.device(), &Kernels::increment, x.raw(), itemsize(x.dtype()));
}

}  // namespace fastnn
