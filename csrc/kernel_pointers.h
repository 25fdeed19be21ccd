// Where the structs of kernel_args.h hold pointers. A recorded call is run again with other
// addresses, so a struct that is missing here must not compile as an argument of launch.
#pragma once
#include <concepts>

#include "kernel_args.h"

namespace fastnn {

#define FASTNN_NO_POINTERS(type) \
  template <class F>             \
  void for_each_pointer(type&, F) {}
FASTNN_NO_POINTERS(BroadcastShape)
FASTNN_NO_POINTERS(CopyShape)
FASTNN_NO_POINTERS(WindowShape)
FASTNN_NO_POINTERS(MatmulShape)
FASTNN_NO_POINTERS(Conv2dShape)

template <class F>
void for_each_pointer(Terms& t, F f) {
  for (int64_t i = 0; i < t.count; ++i) f(t.x[i]);
}

template <class F>
void for_each_pointer(Chain& c, F f) {
  for (int64_t i = 0; i < c.count; ++i) f(c.link[i].a), f(c.link[i].b);
}

template <class F>
void for_each_pointer(RnnForward& a, F f) {
  f(a.x), f(a.kernel), f(a.recurrent), f(a.bias), f(a.h0), f(a.c0), f(a.mask);
  f(a.y), f(a.h_last), f(a.c_last), f(a.gates), f(a.hs), f(a.cs);
}

template <class F>
void for_each_pointer(RnnBackward& a, F f) {
  f(a.x), f(a.kernel), f(a.recurrent), f(a.mask), f(a.gates), f(a.hs), f(a.cs);
  f(a.gy), f(a.gh_last), f(a.gc_last);
  f(a.gz), f(a.gx), f(a.gkernel), f(a.grecurrent), f(a.gbias), f(a.gh0), f(a.gc0);
}

template <class F>
void for_each_pointer(UpdateBatch& b, F f) {
  for (int64_t k = 0; k < b.count; ++k) {
    UpdateSlot& s = b.slot[k];
    f(s.w), f(s.g), f(s.row_slot), f(s.m), f(s.v), f(s.u), f(s.scale);
  }
}

template <class T>
concept KnowsPointers = requires(T& value) { for_each_pointer(value, [](auto&&) {}); };

// Zeroes array entries behind `count`, so that equal calls have equal bytes.
template <class T>
void clear_unused(T&) {}
inline void clear_unused(UpdateBatch& b) {
  for (int64_t k = b.count; k < kUpdateSlots; ++k) b.slot[k] = UpdateSlot{};
}
inline void clear_unused(Chain& c) {
  for (int64_t i = c.count; i < kChainLinks; ++i) c.link[i] = ChainLink{};
}
inline void clear_unused(Terms& t) {
  for (int64_t i = t.count; i < kMaxTerms; ++i) t.x[i] = nullptr;
}

}  // namespace fastnn
