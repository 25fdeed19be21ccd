// The kernel interface. kernels.def lists every kernel once; a target (baseline, avx2, avx512)
// defines all of them in its own namespace and fills one table, so a missing kernel does not link.
//
// Arrays are contiguous, row-major and channels last. Kernels do not allocate results, check
// arguments or throw: csrc/ops/<op>.cpp does. Everything is passed as pointers, integers, floats
// and the plain structs below, so that a launch can be recorded and replayed.
#pragma once
#include <cstdint>

#include "kernel_args.h"

namespace fastnn {

struct Kernels {
#define K(name, args) void(*name) args;
#include "kernels.def"
#undef K
};

#define FASTNN_DECLARE_TARGET(target)   \
  namespace target {                    \
  extern const Kernels kernels;         \
  }
#pragma GCC visibility push(hidden)
FASTNN_DECLARE_TARGET(baseline)
FASTNN_DECLARE_TARGET(avx2)
FASTNN_DECLARE_TARGET(avx512)
#ifdef FASTNN_TARGET
namespace FASTNN_TARGET {
#define K(name, args) void name args;
#include "kernels.def"
#undef K
}  // namespace FASTNN_TARGET
#endif
#pragma GCC visibility pop

}  // namespace fastnn
