// Transposition of one tile of items, blocked, and reversal; 4-byte items go through vector registers.
#pragma once
#include "cpu/simd.h"

namespace fastnn {
namespace {

// dst[c][r] = src[r][c]. Strides in bytes.
template <class T>
inline void transpose_block(const char* src, int64_t src_stride, char* dst, int64_t dst_stride, int64_t rows,
                            int64_t cols) {
  for (int64_t c = 0; c < cols; ++c)
    for (int64_t r = 0; r < rows; ++r)
      __builtin_memcpy(dst + c * dst_stride + r * int64_t(sizeof(T)), src + r * src_stride + c * int64_t(sizeof(T)),
                       sizeof(T));
}

// The halves of a and b, item by item: low gives a0 b0 a1 b1 ..., high the same of the upper halves.
#if defined(__AVX512F__)
inline VecI interleave_low(VecI a, VecI b) {
  return {__builtin_shufflevector(a.v, b.v, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)};
}
inline VecI interleave_high(VecI a, VecI b) {
  return {__builtin_shufflevector(a.v, b.v, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)};
}
inline VecI reverse(VecI a) {
  return {__builtin_shufflevector(a.v, a.v, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)};
}
#elif defined(__AVX2__)
inline VecI interleave_low(VecI a, VecI b) {
  return {__builtin_shufflevector(a.v, b.v, 0, 8, 1, 9, 2, 10, 3, 11)};
}
inline VecI interleave_high(VecI a, VecI b) {
  return {__builtin_shufflevector(a.v, b.v, 4, 12, 5, 13, 6, 14, 7, 15)};
}
inline VecI reverse(VecI a) { return {__builtin_shufflevector(a.v, a.v, 7, 6, 5, 4, 3, 2, 1, 0)}; }
#else
inline VecI interleave_low(VecI a, VecI b) { return {__builtin_shufflevector(a.v, b.v, 0, 4, 1, 5)}; }
inline VecI interleave_high(VecI a, VecI b) { return {__builtin_shufflevector(a.v, b.v, 2, 6, 3, 7)}; }
inline VecI reverse(VecI a) { return {__builtin_shufflevector(a.v, a.v, 3, 2, 1, 0)}; }
#endif

// A square of VecI::width items: interleaving rows i and i + width / 2, log2(width) times, transposes.
inline void transpose_square(const char* src, int64_t src_stride, char* dst, int64_t dst_stride) {
  constexpr int n = VecI::width;
  VecI a[n], b[n];
  FASTNN_UNROLL for (int i = 0; i < n; ++i) a[i] = VecI::load((const int32_t*)(src + i * src_stride));
  FASTNN_UNROLL for (int step = 1; step < n; step *= 2) {
    FASTNN_UNROLL for (int i = 0; i < n / 2; ++i) {
      b[2 * i] = interleave_low(a[i], a[i + n / 2]);
      b[2 * i + 1] = interleave_high(a[i], a[i + n / 2]);
    }
    FASTNN_UNROLL for (int i = 0; i < n; ++i) a[i] = b[i];
  }
  FASTNN_UNROLL for (int i = 0; i < n; ++i) a[i].store((int32_t*)(dst + i * dst_stride));
}

template <class T>
inline void transpose_tile(const char* src, int64_t src_stride, char* dst, int64_t dst_stride, int64_t rows,
                           int64_t cols) {
  constexpr int64_t size = sizeof(T), block = size == 4 ? VecI::width : 16;
  for (int64_t r = 0; r < rows; r += block)
    for (int64_t c = 0; c < cols; c += block) {
      const char* from = src + r * src_stride + c * size;
      char* to = dst + c * dst_stride + r * size;
      const int64_t nr = rows - r < block ? rows - r : block, nc = cols - c < block ? cols - c : block;
      if (size == 4 && nr == block && nc == block) transpose_square(from, src_stride, to, dst_stride);
      else transpose_block<T>(from, src_stride, to, dst_stride, nr, nc);
    }
}

}  // namespace
}  // namespace fastnn
