// What lstm, gru and simple_rnn check and allocate: they differ in gates, states and bias shapes.
#pragma once
#include "check.h"
#include "dispatch.h"
#include "ops.h"

namespace fastnn {

struct RnnLayout {
  const char* op;
  int64_t gates;        // columns of kernel / units
  int64_t saved_gates;  // of the workspace, in units; also the columns of gz
  bool has_cell;
  bool two_biases;
};

// Checks the sizes of a layer and fills them in: batch, steps, features, units.
template <class Args>
void rnn_sizes(const RnnLayout& layout, Args& a, const Tensor& x, const Tensor& kernel, const Tensor& recurrent,
               const OptionalTensor& mask) {
  const char* op = layout.op;
  check_rank(op, "x", x, {3});
  check_rank(op, "kernel", kernel, {2});
  check_rank(op, "recurrent_kernel", recurrent, {2});
  for (const auto& [name, t] : {std::pair{"x", &x}, {"kernel", &kernel}, {"recurrent_kernel", &recurrent}})
    check_float32(op, name, *t);
  check_device(op, {&x, &kernel, &recurrent});
  a.batch = x.size(0), a.steps = x.size(1), a.features = x.size(2), a.units = recurrent.size(0);
  check(a.steps >= 1, "[", op, "] x must have at least one timestep. Received: x.shape=", x.shape());
  check_positive(op, "units", a.units);
  const int64_t columns = checked_mul(layout.gates, a.units);
  check_shape(op, "recurrent_kernel", recurrent, Shape{a.units, columns});
  check_shape(op, "kernel", kernel, Shape{a.features, columns});
  if (mask) {
    check_type(mask->dtype() == DType::boolean, "[", op, "] mask must be bool. Received: mask.dtype=", mask->dtype());
    check_shape(op, "mask", *mask, Shape{a.batch, a.steps});
    check_device(op, {&x, &*mask});
    a.mask = mask->data<uint8_t>();
  }
  a.x = x.f32(), a.kernel = kernel.f32(), a.recurrent = recurrent.f32();
}

inline Shape rnn_bias_shape(const RnnLayout& layout, int64_t units) {
  return layout.two_biases ? Shape{2, layout.gates * units} : Shape{layout.gates * units};
}

// The memory of an optional argument of the given shape, or null.
inline const float* rnn_optional(const RnnLayout& layout, const char* name, const OptionalTensor& t, const Shape& shape,
                                 Device device) {
  if (!t) return nullptr;
  check_float32(layout.op, name, *t);
  check_shape(layout.op, name, *t, shape);
  check(t->device() == device, "[", layout.op, "] all arguments must be on one device. Received: ", name);
  return t->f32();
}

inline RnnResult rnn_forward(const RnnLayout& layout, void (*Kernels::*kernel_fn)(RnnForward), const Tensor& x,
                             const Tensor& kernel, const Tensor& recurrent, const OptionalTensor& bias,
                             const OptionalTensor& h0, const OptionalTensor& c0, const OptionalTensor& mask,
                             const RnnOptions& o) {
  RnnForward a{};
  rnn_sizes(layout, a, x, kernel, recurrent, mask);
  const Device device = x.device();
  const Shape state{a.batch, a.units}, saved{a.batch, a.steps + 1, a.units};
  a.bias = rnn_optional(layout, "bias", bias, rnn_bias_shape(layout, a.units), device);
  a.h0 = rnn_optional(layout, "initial_state", h0, state, device);
  a.c0 = rnn_optional(layout, "initial_state", c0, state, device);
  a.go_backwards = o.go_backwards, a.zero_output = o.zero_output, a.variant = o.variant;
  RnnResult r;
  const auto make = [&](OptionalTensor& t, const Shape& shape) {
    t = Tensor(shape, DType::float32, device);
    return t->f32();
  };
  a.h_last = make(r.h, state);
  if (o.return_sequences) a.y = make(r.y, Shape{a.batch, a.steps, a.units});
  if (layout.has_cell) a.c_last = make(r.c, state);
  if (o.keep) {
    if (layout.saved_gates > 1) a.gates = make(r.gates, Shape{a.batch, a.steps, checked_mul(layout.saved_gates, a.units)});
    a.hs = make(r.hs, saved);
    if (layout.has_cell) a.cs = make(r.cs, saved);
  }
  if (a.batch) launch(device, kernel_fn, a);
  return r;
}

// gx (none unless `need_gx`), gkernel, grecurrent, gbias (none without bias), gh0, gc0 (lstm)
inline std::vector<OptionalTensor> rnn_backward(const RnnLayout& layout, void (*Kernels::*kernel_fn)(RnnBackward),
                                                const Tensor& x, const Tensor& kernel, const Tensor& recurrent,
                                                const OptionalTensor& mask, const OptionalTensor& gates, const Tensor& hs,
                                                const OptionalTensor& cs, const OptionalTensor& gy,
                                                const OptionalTensor& gh_last, const OptionalTensor& gc_last,
                                                const RnnOptions& o) {
  RnnBackward a{};
  rnn_sizes(layout, a, x, kernel, recurrent, mask);
  const Device device = x.device();
  const Shape state{a.batch, a.units}, saved{a.batch, a.steps + 1, a.units};
  const int64_t columns = checked_mul(layout.saved_gates, a.units);
  check((layout.saved_gates == 1 || gates) && (!layout.has_cell || cs), "[", layout.op,
        "] the workspace of forward must be given. Received: None");
  a.gates = rnn_optional(layout, "gates", gates, Shape{a.batch, a.steps, columns}, device);
  a.hs = rnn_optional(layout, "hs", hs, saved, device);
  a.cs = rnn_optional(layout, "cs", cs, saved, device);
  a.gy = rnn_optional(layout, "gy", gy, Shape{a.batch, a.steps, a.units}, device);
  a.gh_last = rnn_optional(layout, "gh", gh_last, state, device);
  a.gc_last = rnn_optional(layout, "gc", gc_last, state, device);
  a.go_backwards = o.go_backwards, a.zero_output = o.zero_output, a.variant = o.variant;
  std::vector<OptionalTensor> g(6);
  const auto make = [&](OptionalTensor& t, const Shape& shape) {
    t = Tensor(shape, DType::float32, device);
    return t->f32();
  };
  Tensor gz(Shape{a.batch, a.steps, columns}, DType::float32, device);
  a.gz = gz.f32();
  if (o.need_gx) a.gx = make(g[0], x.shape());
  if (!x.numel()) a.gx = nullptr;
  a.gkernel = make(g[1], kernel.shape());
  a.grecurrent = make(g[2], recurrent.shape());
  if (o.use_bias) a.gbias = make(g[3], rnn_bias_shape(layout, a.units));
  a.gh0 = make(g[4], state);
  if (layout.has_cell) a.gc0 = make(g[5], state);
  launch(device, kernel_fn, a);
  return g;
}

}  // namespace fastnn
