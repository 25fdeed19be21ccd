// Products with fewer columns than a vector has lanes, and what they share with the others.
#pragma once
#include "cpu/gemm.h"
#include "cpu/transpose.h"

namespace fastnn {
namespace FASTNN_TARGET {

// gemm where c has so few columns that other axes fill the lanes better: false where they do not, and nothing was done.
// Each row has the same bits however many there are.
bool gemm_narrow(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
                 int64_t ldb, float* c, int64_t ldc, bool accumulate, const Epilogue& e);

}  // namespace FASTNN_TARGET

namespace {

// sum += a * b. With 16 registers the compiler would move sums from one to another, and some to memory.
inline void add_product(Vec& sum, Vec a, Vec b) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  asm("vfmadd231ps %2, %1, %0" : "+x"(sum.v) : "x"(a.v), "x"(b.v));
#else
  sum = fma(a, b, sum);
#endif
}

// out[j][i] = x[i][j] of as many rows as a vector has lanes, in registers.
inline void transpose_lanes(VecI (&x)[VecI::width]) {
  constexpr int n = VecI::width;
  VecI y[n];
  FASTNN_UNROLL for (int step = 1; step < n; step *= 2) {
    FASTNN_UNROLL for (int i = 0; i < n / 2; ++i) {
      y[2 * i] = interleave_low(x[i], x[i + n / 2]);
      y[2 * i + 1] = interleave_high(x[i], x[i + n / 2]);
    }
    FASTNN_UNROLL for (int i = 0; i < n; ++i) x[i] = y[i];
  }
}

// from (rows, cols), rows ld apart and neither more than a vector has lanes, to out (cols, Vec::width), rows `step` apart;
// zeros for the rows that are not there.
[[gnu::noinline]] void transpose_edge(const float* from, int64_t ld, int64_t rows, int64_t cols, float* out, int64_t step) {
  VecI x[VecI::width];
  FASTNN_UNROLL for (int i = 0; i < VecI::width; ++i) x[i] = as_int(i < rows ? Vec::load(from + i * ld, cols) : Vec::zero());
  transpose_lanes(x);
  FASTNN_UNROLL for (int j = 0; j < VecI::width; ++j)
    if (j < cols) as_float(x[j]).store(out + j * step);
}

}  // namespace
}  // namespace fastnn
