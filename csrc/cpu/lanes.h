// Lanes: how a loop over channels touches memory. A body written once as a generic lambda,
// f(k, lanes), is compiled for whole vectors and for the masked tail.
#pragma once
#include "cpu/simd.h"

namespace fastnn {
namespace {

struct FullLanes {
  static constexpr int64_t count = Vec::width;
  static Vec load(const float* p) { return Vec::load(p); }
  static void store(Vec v, float* p) { v.store(p); }
};

struct TailLanes {
  int64_t count;  // 0 < count < Vec::width
  Vec load(const float* p) const { return Vec::load(p, count); }
  void store(Vec v, float* p) const { v.store(p, count); }
};

template <class F>
inline void for_each_lanes(int64_t size, F f) {
  int64_t k = 0;
  for (; k + Vec::width <= size; k += Vec::width) f(k, FullLanes{});
  if (k < size) f(k, TailLanes{size - k});
}

}  // namespace
}  // namespace fastnn
