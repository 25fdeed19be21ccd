// What the random kernels of all targets share.
#pragma once
#include <cstdint>

namespace fastnn {
namespace {

// The largest value of low + u (high - low) with u < 1: the sum may round up to high, which is outside.
[[maybe_unused]] float largest_uniform(float low, float high) {
  if (!(high > low)) return high;
  float below;
  int32_t bits;
  __builtin_memcpy(&bits, &high, 4);
  bits = high == 0 ? int32_t(0x80000001u) : bits + (high > 0 ? -1 : 1);
  __builtin_memcpy(&below, &bits, 4);
  return below;
}

}  // namespace
}  // namespace fastnn
