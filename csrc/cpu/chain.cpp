// Elementwise calls in a row, block by block: what one leaves for the next stays in the first-level cache.
#include "cpu/parallel.h"
#include "kernels.h"

namespace fastnn::FASTNN_TARGET {
namespace {

constexpr int64_t kBlock = 2048, kBlocks = 8;  // 8 KB: two results and two operands fit; a chunk is 64 KB

void run_link(const ChainLink& l, const float* a, const float* b, float* y, int64_t n) {
  switch (l.kind) {
    case kChainUnary: return unary(l.op, a, y, n, l.p, l.q);
    case kChainUnaryBackward: return unary_backward(l.op, a, b, y, n, l.p, l.q);
    case kChainBinaryScalar: return binary_scalar(l.op, a, l.p, l.reversed, y, n);
    default: return binary(l.op, a, b, y, {1, {n}, {{1}, {1}, {0}}});
  }
}

}  // namespace

void chain(Chain c, float* y, int64_t n) {
  parallel_for(n, kBlock * kBlocks, [&](int64_t begin, int64_t end) {
    alignas(64) float results[2][kBlock];
    for (int64_t i = begin; i < end; i += kBlock) {
      const int64_t size = end - i < kBlock ? end - i : kBlock;
      const float* last = nullptr;
      for (int64_t k = 0; k < c.count; ++k) {
        const ChainLink& l = c.link[k];
        float* to = k + 1 < c.count ? results[k % 2] : y + i;
        run_link(l, l.a ? l.a + i : last, l.b ? l.b + i : last, to, size);
        last = to;
      }
    }
  });
}

}  // namespace fastnn::FASTNN_TARGET
