// What products are computed in, and the rounding of their operands to bfloat16.
#include <atomic>

#include "gemm_mma.h"
#include "library.h"

namespace fastnn::cuda {
namespace {

std::atomic<Precision> precision{Precision::float32};

// One thread per pair of results and step.
__global__ void pad_bf16_kernel(const float* __restrict__ x, uint32_t* __restrict__ y, int64_t rows, int64_t rows_padded, int64_t groups,
                                int64_t cols, int64_t pairs, int64_t count) {
  for (int64_t e = first_index(); e < count; e += index_step()) {
    const int64_t col = e % pairs * 2, line = e / pairs, group = line % groups, row = line / groups % rows_padded;
    const float* from = x + (((line / groups / rows_padded) * rows + row) * groups + group) * cols + col;
    const bool inside = row < rows;
    y[e] = pack_bf16(inside && col < cols ? from[0] : 0.0f, inside && col + 1 < cols ? from[1] : 0.0f);
  }
}

}  // namespace

Precision matmul_precision() { return precision.load(std::memory_order_relaxed); }
void set_matmul_precision(int64_t value) { precision = Precision(value); }

void pad_bf16(const float* x, Bf16* y, int64_t outer, int64_t rows, int64_t rows_padded, int64_t groups, int64_t cols,
              int64_t cols_padded) {
  const int64_t pairs = cols_padded / 2, count = outer * rows_padded * groups * pairs;
  launch(pad_bf16_kernel, blocks_for(count), kThreads, 0, x, reinterpret_cast<uint32_t*>(y), rows, rows_padded, groups, cols, pairs, count);
}

}  // namespace fastnn::cuda
