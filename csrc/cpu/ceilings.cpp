// What the machine can do at most, for benchmarks to hold kernels against: arithmetic in registers
// and streams through memory.
#include "kernels.h"
#include "parallel.h"
#include "simd.h"

namespace fastnn::FASTNN_TARGET {
namespace {

#if defined(__AVX512F__)
constexpr int kAccumulators = 24;  // 2 FMA units * 4 cycles of latency need 8; 24 of 32 registers
#else
constexpr int kAccumulators = 12;  // of 16 registers
#endif
constexpr int kFmasOfStep = 384;   // the same work for every instruction set

template <class F>
void by_chunk(int64_t chunks, F f) {
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i);
  });
}

}  // namespace

void ceiling_fma(float* y, int64_t chunks, int64_t steps) {
  by_chunk(chunks, [=](int64_t chunk) {
    Vec acc[kAccumulators];
    FASTNN_UNROLL for (int j = 0; j < kAccumulators; ++j) acc[j] = Vec::set(float(j));
    const Vec a = Vec::set(0.5f), b = Vec::set(0.25f);
    for (int64_t step = 0; step < steps; ++step)
      FASTNN_UNROLL for (int r = 0; r < kFmasOfStep / (kAccumulators * Vec::width); ++r)
        FASTNN_UNROLL for (int j = 0; j < kAccumulators; ++j) acc[j] = fma(acc[j], a, b);
    Vec sum = Vec::zero();
    FASTNN_UNROLL for (int j = 0; j < kAccumulators; ++j) sum = sum + acc[j];
    float lanes[Vec::width];
    sum.store(lanes);
    y[chunk] = lanes[0];
  });
}

void ceiling_copy(const float* x, float* y, int64_t chunks, int64_t n, int64_t repeats) {
  by_chunk(chunks, [=](int64_t chunk) {
    const float* from = x + chunk * n;
    float* to = y + chunk * n;
    for (int64_t r = 0; r < repeats; ++r) {
      for (int64_t i = 0; i < n; i += Vec::width) Vec::load(from + i).store(to + i);
      asm volatile("" ::: "memory");  // every pass must happen
    }
  });
}

void ceiling_triad(const float* x, const float* z, float* y, int64_t chunks, int64_t n, int64_t repeats) {
  by_chunk(chunks, [=](int64_t chunk) {
    const float *a = x + chunk * n, *b = z + chunk * n;
    float* to = y + chunk * n;
    const Vec s = Vec::set(3);
    for (int64_t r = 0; r < repeats; ++r) {
      for (int64_t i = 0; i < n; i += Vec::width) fma(s, Vec::load(b + i), Vec::load(a + i)).store(to + i);
      asm volatile("" ::: "memory");
    }
  });
}

}  // namespace fastnn::FASTNN_TARGET
