// Gradients of weights are sums over all samples. Where a captured step may take them strip by strip (strips.cpp), they are
// partial sums of a few samples each, added up by `reduce`: one call for all samples has the bits of a call for each strip.
#pragma once
#include "kernel_args.h"

namespace fastnn {
namespace {

// Images as matrices (pixels, channels) whose products have the same bits for any number of samples: the tile unit takes 32
// pixels at a time, and computes with vectors where those are not finite; gemm.cpp promises the rest.
inline bool is_by_sample(const Conv2dShape& s) {
  if (s.kh * s.kw * s.sh * s.sw * s.groups != 1 || s.ph || s.pw || s.oh != s.ih || s.ow != s.iw) return false;
  return s.ic <= 512 && s.oc <= 512 && s.ic * s.oc <= 65536 && s.oh * s.ow % 32 == 0;
}

// The pixels from which on that holds: gemm.cpp takes products of fewer rows, and those too short for several threads, on other ways.
constexpr int64_t kSerialProduct = 400000;  // multiply-adds
inline int64_t rows_alike(const Conv2dShape& s) {
  const int64_t rows = (kSerialProduct + s.ic * s.oc - 1) / (s.ic * s.oc);
  return rows > 256 ? rows : 256;
}

// The samples of a partial sum of `size` floats, or 0: the sum is not made of such.
inline int64_t samples_of_sum(int64_t n, int64_t pixels, int64_t channels, int64_t size) {
  constexpr int64_t kPixels = 512, kSums = 16;  // a product's sum should be long; a sum for each thread
  if (pixels < 1) return 0;
  const int64_t samples = (kPixels + pixels - 1) / pixels;
  return n % samples == 0 && n / samples >= kSums && 8 * size <= samples * pixels * channels ? samples : 0;
}
inline int64_t samples_of_sum(const Conv2dShape& s) {
  return is_by_sample(s) ? samples_of_sum(s.n, s.oh * s.ow, s.ic + s.oc, s.ic * s.oc) : 0;
}
inline int64_t samples_of_sum(const WindowShape& s) { return samples_of_sum(s.n, s.oh * s.ow, 2 * s.c, s.kh * s.kw * s.c); }

// Batch normalization walks memory in lines of `width` floats, whole rows, and sums it in chunks of `chunk` floats, whole lines.
struct NormLines {
  int64_t width, chunk;
};
inline NormLines norm_lines(int64_t c) {
  constexpr int64_t kChunkFloats = 32768;  // 128 KB: stays in the second-level cache
  int64_t width = c;
  // 16 is the widest vector: the same lines, and sums, for every instruction set.
  if (c % 16 && c < 256)
    while (width % 16) width += c;
  if (width < 128) width *= 128 / width;
  const int64_t lines = kChunkFloats / width;
  return {width, width * (lines > 0 ? lines : 1)};
}

}  // namespace
}  // namespace fastnn
