// parallel_for that begins where a pass over the same chunks has ended.
#pragma once
#include "cpu/parallel.h"

namespace fastnn {

#pragma GCC visibility push(hidden)
// parallel_run, but every thread walks through its part of the chunks from the last one to the first.
void parallel_run_back(int64_t chunks, void (*call)(void* context, int64_t chunk), void* context);
#pragma GCC visibility pop

namespace {

// Chunks as those of parallel_for.
template <class F>
void parallel_for_back(int64_t n, int64_t grain, F f) {
  if (n <= 0) return;
  if (n <= grain) return f(int64_t(0), n);
  ParallelContext<F> context{&f, n, grain};
  parallel_run_back((n + grain - 1) / grain, parallel_chunk<F>, &context);
}

}  // namespace
}  // namespace fastnn
