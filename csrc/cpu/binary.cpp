// Elementwise functions of two and three arrays with broadcasting.
#include "cpu/elementwise.h"
#include "cpu/pow.h"
#include "kernels.h"

namespace fastnn {
namespace {

// Calls run(f, grain) with the function of `op`.
template <class Run>
inline void with_binary(int64_t op, Run run) {
  switch (op) {
    case binary_op::add: return run([](Vec a, Vec b) { return a + b; }, kStreamGrain);
    case binary_op::subtract: return run([](Vec a, Vec b) { return a - b; }, kStreamGrain);
    case binary_op::multiply: return run([](Vec a, Vec b) { return a * b; }, kStreamGrain);
    case binary_op::divide: return run([](Vec a, Vec b) { return a / b; }, kStreamGrain);
    case binary_op::maximum: return run([](Vec a, Vec b) { return max(a, b); }, kStreamGrain);
    case binary_op::minimum: return run([](Vec a, Vec b) { return min(a, b); }, kStreamGrain);
    case binary_op::power: return run([](Vec a, Vec b) { return quick_pow(a, b); }, kMathGrain);
  }
}

template <class Run>
inline void with_compare(int64_t op, Run run) {
  switch (op) {
    case compare_op::equal: return run([](Vec a, Vec b) { return a == b; });
    case compare_op::not_equal: return run([](Vec a, Vec b) { return a != b; });
    case compare_op::less: return run([](Vec a, Vec b) { return a < b; });
    case compare_op::less_equal: return run([](Vec a, Vec b) { return a <= b; });
    case compare_op::greater: return run([](Vec a, Vec b) { return a > b; });
    case compare_op::greater_equal: return run([](Vec a, Vec b) { return a >= b; });
  }
}

}  // namespace

namespace FASTNN_TARGET {

void binary(int64_t op, const float* a, const float* b, float* y, BroadcastShape s) {
  with_binary(op, [&](auto f, int64_t grain) {
    if (s.rank == 1 && s.stride[0][0] && s.stride[1][0])
      return parallel_map(y, s.size[0], grain, [=](int64_t i, int64_t k) { return f(Vec::load(a + i, k), Vec::load(b + i, k)); });
    parallel_rows<2>(s, grain, [&](int64_t at, const int64_t* o, int64_t n) {
      binary_row(a + o[0], s.stride[0][0], b + o[1], s.stride[1][0], n, f,
                 [to = y + at](Vec v, int64_t i, int64_t k) { v.store(to + i, k); });
    });
  });
}

void binary_scalar(int64_t op, const float* a, float value, int64_t reversed, float* y, int64_t n) {
  const Vec v = Vec::set(value);
  // x^2 and 1 / x are rounded once, and far cheaper than a power.
  if (op == binary_op::power && !reversed && (value == 2 || value == -1)) {
    return parallel_map(y, n, kStreamGrain, [=](int64_t i, int64_t k) {
      const Vec x = Vec::load(a + i, k);
      return value == 2 ? x * x : Vec::set(1) / x;
    });
  }
  with_binary(op, [&](auto f, int64_t grain) {
    if (reversed) {
      parallel_map(y, n, grain, [=](int64_t i, int64_t k) { return f(v, Vec::load(a + i, k)); });
    } else {
      parallel_map(y, n, grain, [=](int64_t i, int64_t k) { return f(Vec::load(a + i, k), v); });
    }
  });
}

void compare(int64_t op, const float* a, const float* b, uint8_t* y, BroadcastShape s) {
  with_compare(op, [&](auto f) {
    parallel_rows<2>(s, kStreamGrain, [&](int64_t at, const int64_t* o, int64_t n) {
      binary_row(a + o[0], s.stride[0][0], b + o[1], s.stride[1][0], n, f,
                 [to = y + at](Mask m, int64_t i, int64_t k) { store_bytes(m, to + i, k); });
    });
  });
}

void compare_scalar(int64_t op, const float* a, float value, uint8_t* y, int64_t n) {
  const Vec v = Vec::set(value);
  with_compare(op, [&](auto f) {
    parallel_vectors(n, kStreamGrain, [=](int64_t i, int64_t k) { store_bytes(f(Vec::load(a + i, k), v), y + i, k); });
  });
}

void where(const uint8_t* condition, const float* a, const float* b, float* y, BroadcastShape s) {
  const int64_t sc = s.stride[0][0], sa = s.stride[1][0], sb = s.stride[2][0];
  parallel_rows<3>(s, kStreamGrain, [&](int64_t at, const int64_t* o, int64_t n) {
    const uint8_t* c = condition + o[0];
    const float *ra = a + o[1], *rb = b + o[2];
    for_each_vec(n, [=](int64_t i, int64_t k) {
      const Vec va = sa ? Vec::load(ra + i, k) : Vec::set(*ra), vb = sb ? Vec::load(rb + i, k) : Vec::set(*rb);
      const Mask m = sc ? load_bytes(c + i, k) : Vec::set(float(*c != 0)) != Vec::zero();
      select(m, va, vb).store(y + at + i, k);
    });
  });
}

void add_n(Terms terms, float* y, int64_t n) {
  parallel_map(y, n, kStreamGrain, [=](int64_t i, int64_t k) {
    Vec sum = Vec::load(terms.x[0] + i, k);
    for (int64_t t = 1; t < terms.count; ++t) sum = sum + Vec::load(terms.x[t] + i, k);
    return sum;
  });
}

}  // namespace FASTNN_TARGET
}  // namespace fastnn
