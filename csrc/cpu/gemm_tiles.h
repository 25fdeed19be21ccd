// Products on the tile unit that gemm chooses by itself.
#pragma once
#include "cpu/gemm.h"

namespace fastnn {
namespace FASTNN_TARGET {

// gemm_tiles_columns for operands stored either way.
bool gemm_tiles_deep(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
                     int64_t ldb, float* c, int64_t ldc, const Epilogue& e);

}  // namespace FASTNN_TARGET
}  // namespace fastnn
