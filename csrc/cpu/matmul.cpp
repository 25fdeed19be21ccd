// Matrix products of batches, and the backward pass of their fused bias and activation.
#include "cpu/gemm.h"
#include "kernels.h"

namespace fastnn::FASTNN_TARGET {
namespace {

// Where matrix t of the batch starts, counted in matrices.
struct BatchIndex {
  int64_t a = 0, b = 0;
  BatchIndex(const BroadcastShape& s, int64_t t) {
    if (s.rank == 1) {  // a division takes as long as a small product
      a = t * s.stride[0][0], b = t * s.stride[1][0];
      return;
    }
    for (int64_t i = 0; i < s.rank; ++i) {
      const int64_t at = t % s.size[i];
      t /= s.size[i];
      a += at * s.stride[0][i];
      b += at * s.stride[1][i];
    }
  }
};

// g d activation / d z, from y = activation(z): what unary_backward computes.
template <int64_t kActivation>
Vec through(Vec g, Vec y) {
  const Vec one = Vec::set(1);
  if (kActivation == kActivationRelu) return select(y > Vec::zero(), g, Vec::zero());
  if (kActivation == kActivationSigmoid) return g * (y * (one - y));
  if (kActivation == kActivationTanh) return g * (one - y * y);
  return g;
}

// Rows [begin, end): gz = through(gy, y), and their sum over rows is added to gb.
template <int64_t kActivation>
void backward_rows(const float* y, const float* gy, float* gz, float* gb, int64_t begin, int64_t end, int64_t cols) {
  for (int64_t i = begin; i < end; ++i)
    for_each_vec(cols, [&](int64_t j, int64_t n) {
      Vec g = Vec::load(gy + i * cols + j, n);
      if (kActivation != kActivationLinear) {
        g = through<kActivation>(g, Vec::load(y + i * cols + j, n));
        g.store(gz + i * cols + j, n);
      }
      if (gb) (Vec::load(gb + j, n) + g).store(gb + j, n);
    });
}

}  // namespace

void matmul(const float* a, const float* b, const float* bias, float* c, MatmulShape s) {
  const int64_t lda = s.trans_a ? s.m : s.k, ldb = s.trans_b ? s.k : s.n;
  const Epilogue e{1, bias, s.activation};
  int64_t batch = 1;
  for (int64_t i = 0; i < s.batch.rank; ++i) batch *= s.batch.size[i];
  const int64_t work = s.m * s.n * max(s.k, 1);
  // Small matrices are shared out whole.
  if (batch > 1 && (batch >= 64 || work < 1000000)) {
    // The tile unit where splitting b as well leaves a gain: 128x64x128 1.25 times as fast, 128x128x64 0.95.
    const bool by_tiles = !s.trans_a && s.m >= 96 && s.n >= s.k && s.n <= 512 && s.n * s.k <= 65536;
    parallel_for(batch, max(1, 100000 / work), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const BatchIndex at(s.batch, t);
        const float *x = a + at.a * s.m * s.k, *w = b + at.b * s.k * s.n;
        float* y = c + t * s.m * s.n;
        if (by_tiles && gemm_tiles_rows(s.trans_b, s.m, s.n, s.k, x, lda, w, ldb, y, s.n, e)) continue;
        gemm_serial(s.trans_a, s.trans_b, s.m, s.n, s.k, x, lda, w, ldb, y, s.n, false, e);
      }
    });
    return;
  }
  for (int64_t t = 0; t < batch; ++t) {
    const BatchIndex at(s.batch, t);
    gemm(s.trans_a, s.trans_b, s.m, s.n, s.k, a + at.a * s.m * s.k, lda, b + at.b * s.k * s.n, ldb, c + t * s.m * s.n,
         s.n, false, e);
  }
}

void epilogue_backward(int64_t activation, const float* y, const float* gy, float* gz, float* gb, int64_t rows,
                       int64_t cols) {
  // A fixed number of partial sums, added in order.
  const int64_t grain = max(ceil_div(rows, 64), ceil_div(16384, cols)), parts = ceil_div(rows, grain);
  Scratch<float> partial(gb ? parts * cols : 0);
  parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
    float* sum = gb ? partial.get() + begin / grain * cols : nullptr;
    if (sum)
      for_each_vec(cols, [&](int64_t j, int64_t n) { Vec::zero().store(sum + j, n); });
    switch (activation) {
      case kActivationRelu: return backward_rows<kActivationRelu>(y, gy, gz, sum, begin, end, cols);
      case kActivationSigmoid: return backward_rows<kActivationSigmoid>(y, gy, gz, sum, begin, end, cols);
      case kActivationTanh: return backward_rows<kActivationTanh>(y, gy, gz, sum, begin, end, cols);
      default: return backward_rows<kActivationLinear>(y, gy, gz, sum, begin, end, cols);
    }
  });
  if (!gb) return;
  for_each_vec(cols, [&](int64_t j, int64_t n) {
    Vec sum = Vec::zero();
    for (int64_t part = 0; part < parts; ++part) sum = sum + Vec::load(partial.get() + part * cols + j, n);
    sum.store(gb + j, n);
  });
}

}  // namespace fastnn::FASTNN_TARGET
