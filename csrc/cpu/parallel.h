// parallel_for and scratch memory for kernels.
//
// parallel_for(n, grain, f) calls f(begin, end) for the chunks [0, grain), [grain, 2 grain), ...
// Chunks depend on n and grain alone: a kernel whose chunks write disjoint outputs gives the same
// bits for every number of threads. One chunk runs on the calling thread without any pool.
#pragma once
#include <cstdint>

namespace fastnn {

#pragma GCC visibility push(hidden)
// Runs call(context, i) for i in [0, chunks), on the calling thread and the pool's. Calls from
// inside a running chunk are serial.
void parallel_run(int64_t chunks, void (*call)(void* context, int64_t chunk), void* context);
void* scratch_acquire(int64_t bytes);
void scratch_release(void* block, int64_t bytes);
#pragma GCC visibility pop

namespace {

template <class F>
struct ParallelContext {
  F* f;
  int64_t n, grain;
};

template <class F>
void parallel_chunk(void* context, int64_t chunk) {
  auto* c = static_cast<ParallelContext<F>*>(context);
  const int64_t begin = chunk * c->grain, end = begin + c->grain;
  (*c->f)(begin, end < c->n ? end : c->n);
}

template <class F>
void parallel_for(int64_t n, int64_t grain, F f) {
  if (grain < 1) grain = 1;
  if (n <= 0) return;
  if (n <= grain) return f(int64_t(0), n);
  ParallelContext<F> context{&f, n, grain};
  parallel_run((n + grain - 1) / grain, parallel_chunk<F>, &context);
}

// 64-byte aligned working memory of a kernel, kept for the next one.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t count)
      : bytes_(count * int64_t(sizeof(T))), p_(count ? static_cast<T*>(scratch_acquire(bytes_)) : nullptr) {}
  ~Scratch() {
    if (bytes_) scratch_release(p_, bytes_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  operator T*() const { return p_; }
  T* get() const { return p_; }

 private:
  int64_t bytes_;
  T* p_;
};

}  // namespace
}  // namespace fastnn
