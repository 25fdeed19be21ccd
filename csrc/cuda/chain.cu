// Elementwise calls in a row: one launch that walks over the calls for each element, which stays in a register
// between them. All threads take the same branches. Bound by memory: 4 bytes for each operand and the result, where
// the calls one by one would pass 8 more for every step between them.
#include "binary.h"
#include "rows.h"
#include "unary.h"

namespace fastnn::cuda {
namespace {

// v[i] = f(a[i]) and f(a[i], b[i])
template <int V, class F>
__device__ __forceinline__ void each(F f, const Pack<V>& a, Pack<V>& v) {
  FASTNN_UNROLL for (int i = 0; i < V; ++i) v.v[i] = f(a.v[i]);
}
template <int V, class F>
__device__ __forceinline__ void each(F f, const Pack<V>& a, const Pack<V>& b, Pack<V>& v) {
  FASTNN_UNROLL for (int i = 0; i < V; ++i) v.v[i] = f(a.v[i], b.v[i]);
}
template <int V, class F>
__device__ __forceinline__ void each_scalar(F f, const ChainLink& l, const Pack<V>& a, Pack<V>& v) {
  if (l.reversed) each(WithScalar<F, true>{f, l.p}, a, v);
  else each(WithScalar<F, false>{f, l.p}, a, v);
}

// The functions and their special cases are those of unary, unary_backward, binary_scalar and binary: the same bits.
template <int V>
__device__ __forceinline__ void run_link(const ChainLink& l, const Pack<V>& a, const Pack<V>& b, Pack<V>& v) {
  if (l.kind == kChainUnary) {
    switch (l.op) {
#define CASE(name) case unary_op::name: return each(Unary<unary_op::name>{l.p, l.q}, a, v);
      FASTNN_UNARY_OPS(CASE)
#undef CASE
    }
  } else if (l.kind == kChainUnaryBackward) {
    switch (l.op) {
#define CASE(name) case unary_op::name: return each(UnaryGradient<unary_op::name>{l.p, l.q}, a, b, v);
      FASTNN_UNARY_OPS(CASE)
#undef CASE
    }
  } else if (l.kind == kChainBinaryScalar) {
    switch (l.op) {
      case binary_op::add: return each_scalar(Add(), l, a, v);
      case binary_op::subtract: return each_scalar(Subtract(), l, a, v);
      case binary_op::multiply: return each_scalar(Multiply(), l, a, v);
      case binary_op::divide: return each_scalar(Divide(), l, a, v);
      case binary_op::maximum: return each_scalar(Maximum(), l, a, v);
      case binary_op::minimum: return each_scalar(Minimum(), l, a, v);
      case binary_op::power:
        if (!l.reversed && l.p == 2) return each(Square(), a, v);
        if (!l.reversed && l.p == -1) return each(Reciprocal(), a, v);
        return each_scalar(Power(), l, a, v);
    }
  } else {
    switch (l.op) {
      case binary_op::add: return each(Add(), a, b, v);
      case binary_op::subtract: return each(Subtract(), a, b, v);
      case binary_op::multiply: return each(Multiply(), a, b, v);
      case binary_op::divide: return each(Divide(), a, b, v);
      case binary_op::maximum: return each(Maximum(), a, b, v);
      case binary_op::minimum: return each(Minimum(), a, b, v);
      case binary_op::power: return each(Power(), a, b, v);
    }
  }
}

// y may be one of the operands: an element is read before it is written, by the same thread.
template <int V>
__global__ void chain_kernel(Chain c, float* y, int64_t n) {
  for (int64_t i = V * first_index(); i < n; i += V * index_step()) {
    Pack<V> last;
    FASTNN_UNROLL for (int k = 0; k < V; ++k) last.v[k] = 0;
    for (int64_t k = 0; k < c.count; ++k) {
      const ChainLink& l = c.link[k];
      const Pack<V> a = l.a ? load<V>(l.a + i) : last;
      const Pack<V> b = !l.b ? last : l.b == l.a ? a : load<V>(l.b + i);
      run_link(l, a, b, last);
    }
    store<V>(y + i, last);
  }
}

}  // namespace

void chain(Chain c, float* y, int64_t n) {
  bool whole = n % 4 == 0 && reinterpret_cast<uintptr_t>(y) % 16 == 0;
  for (int64_t k = 0; k < c.count; ++k)
    whole = whole && (reinterpret_cast<uintptr_t>(c.link[k].a) | reinterpret_cast<uintptr_t>(c.link[k].b)) % 16 == 0;
  if (whole) launch(chain_kernel<4>, blocks_for(n / 4), kThreads, 0, c, y, n);
  else launch(chain_kernel<1>, blocks_for(n), kThreads, 0, c, y, n);
}

}  // namespace fastnn::cuda
