// Elementwise functions of two and three arrays with broadcasting.
#include "binary.h"
#include "elementwise.h"

namespace fastnn::cuda {
namespace {

struct Equal { __device__ bool operator()(float a, float b) const { return a == b; } };
struct NotEqual { __device__ bool operator()(float a, float b) const { return a != b; } };
struct Less { __device__ bool operator()(float a, float b) const { return a < b; } };
struct LessEqual { __device__ bool operator()(float a, float b) const { return a <= b; } };
struct Greater { __device__ bool operator()(float a, float b) const { return a > b; } };
struct GreaterEqual { __device__ bool operator()(float a, float b) const { return a >= b; } };

template <class Run>
void with_binary(int64_t op, Run run) {
  switch (op) {
    case binary_op::add: return run(Add());
    case binary_op::subtract: return run(Subtract());
    case binary_op::multiply: return run(Multiply());
    case binary_op::divide: return run(Divide());
    case binary_op::maximum: return run(Maximum());
    case binary_op::minimum: return run(Minimum());
    case binary_op::power: return run(Power());
  }
}

template <class Run>
void with_compare(int64_t op, Run run) {
  switch (op) {
    case compare_op::equal: return run(Equal());
    case compare_op::not_equal: return run(NotEqual());
    case compare_op::less: return run(Less());
    case compare_op::less_equal: return run(LessEqual());
    case compare_op::greater: return run(Greater());
    case compare_op::greater_equal: return run(GreaterEqual());
  }
}

// One element per thread and step, each array under its strides.
template <class F, class Y>
__global__ void broadcast_kernel(F f, const float* __restrict__ a, const float* __restrict__ b, Y* __restrict__ y, BroadcastShape s, int64_t n) {
  for (int64_t i = first_index(); i < n; i += index_step()) {
    int64_t at[2];
    broadcast_offsets(s, i, at);
    y[i] = Y(f(a[at[0]], b[at[1]]));
  }
}

template <class F>
__global__ void compare_scalar_kernel(F f, const float* __restrict__ a, float value, uint8_t* __restrict__ y, int64_t n) {
  for (int64_t i = first_index(); i < n; i += index_step()) y[i] = uint8_t(f(a[i], value));
}

__global__ void where_kernel(const uint8_t* __restrict__ condition, const float* __restrict__ a, const float* __restrict__ b,
                             float* __restrict__ y, BroadcastShape s, int64_t n) {
  for (int64_t i = first_index(); i < n; i += index_step()) {
    int64_t at[3];
    broadcast_offsets(s, i, at);
    y[i] = condition[at[0]] ? a[at[1]] : b[at[2]];
  }
}

__global__ void add_n_kernel(Terms terms, float* y, int64_t n) {
  for (int64_t i = first_index(); i < n; i += index_step()) {
    float sum = terms.x[0][i];
    for (int64_t t = 1; t < terms.count; ++t) sum += terms.x[t][i];
    y[i] = sum;
  }
}

}  // namespace

void binary(int64_t op, const float* a, const float* b, float* y, BroadcastShape s) {
  const int64_t n = elements(s);
  with_binary(op, [&](auto f) {
    if (s.rank == 1 && s.stride[0][0] && s.stride[1][0]) return map<2>(f, {{a, b}}, y, n);
    launch(broadcast_kernel<decltype(f), float>, blocks_for(n), kThreads, 0, f, a, b, y, s, n);
  });
}

void binary_scalar(int64_t op, const float* a, float value, int64_t reversed, float* y, int64_t n) {
  // x^2 and 1 / x are rounded once, and far cheaper than a power.
  if (op == binary_op::power && !reversed && value == 2) return map<1>(Square(), {{a}}, y, n);
  if (op == binary_op::power && !reversed && value == -1) return map<1>(Reciprocal(), {{a}}, y, n);
  with_binary(op, [&](auto f) {
    if (reversed) map<1>(WithScalar<decltype(f), true>{f, value}, {{a}}, y, n);
    else map<1>(WithScalar<decltype(f), false>{f, value}, {{a}}, y, n);
  });
}

void compare(int64_t op, const float* a, const float* b, uint8_t* y, BroadcastShape s) {
  const int64_t n = elements(s);
  with_compare(op, [&](auto f) { launch(broadcast_kernel<decltype(f), uint8_t>, blocks_for(n), kThreads, 0, f, a, b, y, s, n); });
}

void compare_scalar(int64_t op, const float* a, float value, uint8_t* y, int64_t n) {
  with_compare(op, [&](auto f) { launch(compare_scalar_kernel<decltype(f)>, blocks_for(n), kThreads, 0, f, a, value, y, n); });
}

void where(const uint8_t* condition, const float* a, const float* b, float* y, BroadcastShape s) {
  const int64_t n = elements(s);
  launch(where_kernel, blocks_for(n), kThreads, 0, condition, a, b, y, s, n);
}

void add_n(Terms terms, float* y, int64_t n) { launch(add_n_kernel, blocks_for(n), kThreads, 0, terms, y, n); }

}  // namespace fastnn::cuda
