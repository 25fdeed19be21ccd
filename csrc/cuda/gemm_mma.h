// Tensor cores for the tiles of gemm.h: mma.sync on TF32 or bfloat16, sums in float32. Only used where
// fastnn.config.set_matmul_precision asks for them.
//
// A warp computes (WM, WN) of the tile by mma of 16 x 8 x 32 bytes. Fragments come by ldmatrix, transposed for
// bfloat16 that is contiguous along x; TF32 has no transposing ldmatrix and is read word by word. Lines of shared
// memory are padded so that the eight rows of a matrix, or the words of a fragment, lie in different banks.
// TF32: operands stay float32 and are rounded on their way to the tensor cores. bfloat16: they are rounded and
// padded to multiples of 8 beforehand (6 bytes per value, once), which halves what tiles read.
#pragma once
#include <type_traits>

#include "gemm.h"

namespace fastnn::cuda {

enum class Precision : int64_t { float32, tf32, bf16 };
// Of products: csrc/device.h sets it.
Precision matmul_precision();

using Bf16 = uint16_t;

// y (outer, rows_padded, groups, cols_padded) = x (outer, rows, groups, cols) rounded to bfloat16, zero where padded.
void pad_bf16(const float* x, Bf16* y, int64_t outer, int64_t rows, int64_t rows_padded, int64_t groups, int64_t cols,
              int64_t cols_padded);
constexpr int64_t padded(int64_t n) { return ceil_div(n, 8) * 8; }

template <class Element, int BM_, int BN_, int WM, int WN, int stages>
struct MmaCore {
  using T = Element;
  static constexpr bool tf32 = std::is_same_v<T, float>;
  static constexpr int BM = BM_, BN = BN_, BK = 32, kStages = stages;
  static constexpr int K = 32 / int(sizeof(T));        // of one mma
  static constexpr int half = 16 / int(sizeof(T));     // elements of a row of a matrix of ldmatrix
  static constexpr int across = BN / WN, threads = 32 * across * (BM / WM);
  static constexpr int MT = WM / 16, NT = WN / 8;
  static_assert(NT % 2 == 0);
  template <bool along_k, int BX>
  static constexpr int ld = along_k ? BK + half : BX + 8;

  float sum[MT][NT][4];
  int m0, n0, lane;

  __device__ __forceinline__ MmaCore() {
    const int warp = int(threadIdx.x) / 32;
    lane = int(threadIdx.x) % 32;
    m0 = warp / across * WM, n0 = warp % across * WN;
    FASTNN_UNROLL for (int i = 0; i < MT; ++i)
      FASTNN_UNROLL for (int j = 0; j < NT; ++j)
        FASTNN_UNROLL for (int q = 0; q < 4; ++q) sum[i][j][q] = 0;
  }

  // Rows m .. m + 15 of a, depths k .. k + K - 1. Register i: x group i % 2, k group i / 2.
  template <bool along_k>
  __device__ __forceinline__ void load_a(const T* s, int m, int k, uint32_t (&r)[4]) const {
    constexpr int line = ld<along_k, BM>;
    const int i = lane / 8, row = lane % 8;
    if constexpr (along_k) {
      ldmatrix_x4(r, s + (m + 8 * (i % 2) + row) * line + k + half * (i / 2));
    } else if constexpr (!tf32) {
      ldmatrix_x4_transposed(r, s + (k + 8 * (i / 2) + row) * line + m + 8 * (i % 2));
    } else {
      FASTNN_UNROLL for (int q = 0; q < 4; ++q)
        r[q] = __float_as_uint(s[(k + lane % 4 + 4 * (q / 2)) * line + m + lane / 4 + 8 * (q % 2)]);
    }
    round(r);
  }
  // Columns n .. n + 15 of b: registers 0, 1 for the first eight, 2, 3 for the others. Register i: k group i % 2.
  template <bool along_k>
  __device__ __forceinline__ void load_b(const T* s, int n, int k, uint32_t (&r)[4]) const {
    constexpr int line = ld<along_k, BN>;
    const int i = lane / 8, row = lane % 8;
    if constexpr (along_k) {
      ldmatrix_x4(r, s + (n + 8 * (i / 2) + row) * line + k + half * (i % 2));
    } else if constexpr (!tf32) {
      ldmatrix_x4_transposed(r, s + (k + 8 * (i % 2) + row) * line + n + 8 * (i / 2));
    } else {
      FASTNN_UNROLL for (int q = 0; q < 4; ++q)
        r[q] = __float_as_uint(s[(k + lane % 4 + 4 * (q % 2)) * line + n + lane / 4 + 8 * (q / 2)]);
    }
    round(r);
  }
  static __device__ __forceinline__ void round(uint32_t (&r)[4]) {
    if constexpr (tf32)
      FASTNN_UNROLL for (int q = 0; q < 4; ++q) r[q] = to_tf32(__uint_as_float(r[q]));
  }

  template <bool a_along_k, bool b_along_k>
  __device__ __forceinline__ void multiply(const T* as, const T* bs) {
    FASTNN_UNROLL for (int k = 0; k < BK; k += K) {
      uint32_t a[MT][4], b[NT / 2][4];
      FASTNN_UNROLL for (int i = 0; i < MT; ++i) load_a<a_along_k>(as, m0 + 16 * i, k, a[i]);
      FASTNN_UNROLL for (int j = 0; j < NT / 2; ++j) load_b<b_along_k>(bs, n0 + 16 * j, k, b[j]);
      FASTNN_UNROLL for (int i = 0; i < MT; ++i)
        FASTNN_UNROLL for (int j = 0; j < NT; ++j) {
          const uint32_t column[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
          if constexpr (tf32) mma_tf32(sum[i][j], a[i], column);
          else mma_bf16(sum[i][j], a[i], column);
        }
    }
  }

  template <bool, bool, class F>
  __device__ __forceinline__ void for_each(F f) const {
    FASTNN_UNROLL for (int i = 0; i < MT; ++i)
      FASTNN_UNROLL for (int q = 0; q < 4; q += 2)
        FASTNN_UNROLL for (int j = 0; j < NT; ++j) {
          const float v[2] = {sum[i][j][q], sum[i][j][q + 1]};
          f(m0 + 16 * i + 8 * (q / 2) + lane / 4, n0 + 8 * j + 2 * (lane % 4), v);
        }
  }
};

// V: 4 floats, or 8 of bfloat16. k: the largest of the products.
template <class Problem>
void run_mma(const Problem& problem, int64_t k) {
  using T = typename std::remove_reference_t<decltype(problem.a(0))>::T;
  constexpr int V = 16 / int(sizeof(T));
  // Three stages of float32 would need 108 KiB of shared memory, and a block on sm_86 may have 99.
  if (ceil_div(problem.m, 128) * ceil_div(problem.n, 128) * problem.products >= 96)
    return run_gemm<MmaCore<T, 128, 128, 64, 32, sizeof(T) == 4 ? 2 : 3>, V>(problem, k, false);
  run_gemm<MmaCore<T, 64, 64, 32, 32, 4>, V>(problem, k, true);
}
constexpr int64_t kMmaDepth = 32;  // BK of the cores

}  // namespace fastnn::cuda
