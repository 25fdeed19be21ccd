// CUDA on the host: what kernels use, for g++. Threads of a block are fibers; barriers and warp
// collectives are real; blocks run one after another. See README.md for what this proves.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// Grids run one at a time, whoever launches them, so these need not belong to a thread of the host.
extern __attribute__((visibility("hidden"))) dim3 threadIdx, blockIdx, blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace fastnn::emulation {

// What a kernel did that a GPU would not forgive, or would answer with other bits each time.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// In which order warps, lanes and blocks run, and when cp.async copies happen.
enum class Order { forward, reverse, shuffled };
struct Options {
  Order order = Order::forward;
  bool copies_late = true;  // at the wait, else when they are issued
  uint32_t seed = 1;
  double seconds = 0;  // a kernel that runs longer is stopped; 0: none is
  int64_t grid = 0x7fffffff;  // the most blocks of a grid in x
};
Options& options();  // first read from FASTNN_EMU_ORDER, _COPIES, _SEED, _SECONDS and _GRID

constexpr int kWarp = 32;
constexpr int64_t kStaticShared = 48 * 1024, kDynamicShared = 99 * 1024;  // what sm_86 has, the least of the architectures

void run_grid(dim3 grid, dim3 block, size_t shared_bytes, void (*body)(const void*), const void* arguments);
void* shared_memory(const void* tag, size_t bytes);
void* dynamic_shared_memory();
void barrier(const char* file, int line);
// Each lane in mask puts up to kLaneBytes down and gets those of all of them, kLaneBytes apart, to read until
// leave_exchange().
constexpr size_t kLaneBytes = 64;
const unsigned char* enter_exchange(unsigned mask, const void* value, size_t bytes, const char* what);
void leave_exchange();
int lane();
void copy_async(void* shared, const void* global, int bytes, int filled);
void commit_copies();
void wait_copies(int groups_left);
void fence();
[[noreturn]] void fail(const std::string& why);

// What the lanes of a warp gave, while this is in scope.
template <class T>
class Lanes {
 public:
  Lanes(unsigned mask, const T& value, const char* what) : values_(enter_exchange(mask, &value, sizeof value, what)), mask_(mask) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= kLaneBytes);
  }
  ~Lanes() { leave_exchange(); }
  Lanes(const Lanes&) = delete;
  const T& operator[](int lane) const { return *reinterpret_cast<const T*>(values_ + lane * kLaneBytes); }
  T get(int lane) const {
    if (!(mask_ >> lane & 1)) fail("a shuffle reads a lane that is not in its mask");
    return (*this)[lane];
  }

 private:
  const unsigned char* values_;
  unsigned mask_;
};

}  // namespace fastnn::emulation

// The file and line of a barrier tell divergent ones apart.
inline void __syncthreads(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  fastnn::emulation::barrier(file, line);
}
inline void __syncwarp(unsigned mask = 0xffffffffu) { fastnn::emulation::Lanes(mask, 0, "__syncwarp"); }

// The lane whose value a lane gets: its own when the source is outside of its part of the warp.
template <class T>
T __shfl_sync(unsigned mask, T v, int source, int width = 32) {
  const fastnn::emulation::Lanes all(mask, v, "__shfl_sync");
  const int l = fastnn::emulation::lane(), from = (l & ~(width - 1)) | (source & (width - 1));
  return all.get(from);
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32) {
  const fastnn::emulation::Lanes all(mask, v, "__shfl_down_sync");
  const int l = fastnn::emulation::lane();
  return (l & (width - 1)) + int(delta) < width ? all.get(l + int(delta)) : v;
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32) {
  const fastnn::emulation::Lanes all(mask, v, "__shfl_up_sync");
  const int l = fastnn::emulation::lane();
  return (l & (width - 1)) >= int(delta) ? all.get(l - int(delta)) : v;
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32) {
  const fastnn::emulation::Lanes all(mask, v, "__shfl_xor_sync");
  const int l = fastnn::emulation::lane(), from = l ^ bits;
  return (from & ~(width - 1)) <= (l & ~(width - 1)) ? all.get(from) : v;
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const fastnn::emulation::Lanes all(mask, int(predicate != 0), "__ballot_sync");
  unsigned bits = 0;
  for (int l = 0; l < 32; ++l)
    if (mask >> l & 1) bits |= unsigned(all[l]) << l;
  return bits;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == mask; }

// Integers only: float atomics would make bits depend on the order.
#define FASTNN_EMULATED_ATOMIC(T)                                                                       \
  inline T atomicAdd(T* p, T v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }                  \
  inline T atomicExch(T* p, T v) { return __atomic_exchange_n(p, v, __ATOMIC_RELAXED); }                \
  inline T atomicCAS(T* p, T expected, T v) {                                                           \
    __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);            \
    return expected;                                                                                    \
  }                                                                                                     \
  inline T atomicMin(T* p, T v) {                                                                       \
    T old = __atomic_load_n(p, __ATOMIC_RELAXED);                                                       \
    while (v < old && !__atomic_compare_exchange_n(p, &old, v, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {} \
    return old;                                                                                         \
  }                                                                                                     \
  inline T atomicMax(T* p, T v) {                                                                       \
    T old = __atomic_load_n(p, __ATOMIC_RELAXED);                                                       \
    while (v > old && !__atomic_compare_exchange_n(p, &old, v, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {} \
    return old;                                                                                         \
  }
FASTNN_EMULATED_ATOMIC(int)
FASTNN_EMULATED_ATOMIC(unsigned)
FASTNN_EMULATED_ATOMIC(unsigned long long)
#undef FASTNN_EMULATED_ATOMIC
inline void __threadfence() { fastnn::emulation::fence(); }

inline float __uint_as_float(unsigned u) { float f; std::memcpy(&f, &u, 4); return f; }
inline unsigned __float_as_uint(float f) { unsigned u; std::memcpy(&u, &f, 4); return u; }
inline int __float_as_int(float f) { int u; std::memcpy(&u, &f, 4); return u; }
inline float __int_as_float(int u) { float f; std::memcpy(&f, &u, 4); return f; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
template <class T>
T __ldg(const T* p) { return *p; }
template <class T>
T min(T a, T b) { return b < a ? b : a; }
template <class T>
T max(T a, T b) { return a < b ? b : a; }

#define FASTNN_SHARED(T, name, dims)                       \
  static const char name##_tag = 0;                        \
  using name##_array = T dims;                             \
  name##_array& name = *static_cast<name##_array*>(fastnn::emulation::shared_memory(&name##_tag, sizeof(name##_array)))
#define FASTNN_DYNAMIC_SHARED(T, name) T* name = static_cast<T*>(fastnn::emulation::dynamic_shared_memory())
