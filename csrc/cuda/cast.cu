// Conversion between any two dtypes. Rounding is to nearest even; NaN becomes true; a float outside the range of
// an integer gives what the processor gives. Four items per thread and step where both arrays are aligned for it.
#include "cuda.h"
#include "tensor.h"

namespace fastnn::cuda {
namespace {

struct Bool { uint8_t v; };
struct Half { uint16_t v; };
struct BFloat { uint16_t v; };

__device__ __forceinline__ Half to_half(float x) {
  const uint32_t b = __float_as_uint(x), sign = b >> 16 & 0x8000, a = b & 0x7fffffff;
  // below 2^-14 adding 0.5 rounds to a multiple of 2^-24, the smallest half
  const uint32_t small = __float_as_uint(__uint_as_float(a) + 0.5f) - 0x3f000000;
  const uint32_t normal = (a + 0xfff + (a >> 13 & 1) - 0x38000000) >> 13;
  const uint32_t large = a > 0x7f800000 ? 0x7e00 : 0x7c00;
  return {uint16_t(sign | (a >= 0x47800000 ? large : a < 0x38800000 ? small : normal))};
}
__device__ __forceinline__ float to_float(Half h) {
  const uint32_t sign = uint32_t(h.v & 0x8000) << 16, a = uint32_t(h.v & 0x7fff) << 13;
  const float finite = __uint_as_float(a) * 0x1p112f;
  return __uint_as_float(sign | (a >= 0x0f800000 ? a | 0x7f800000 : __float_as_uint(finite)));
}
__device__ __forceinline__ BFloat to_bfloat(float x) {
  const uint32_t b = __float_as_uint(x);
  const uint32_t rounded = (b + 0x7fff + (b >> 16 & 1)) >> 16;
  return {uint16_t((b & 0x7fffffff) > 0x7f800000 ? b >> 16 | 0x40 : rounded)};
}
__device__ __forceinline__ float to_float(BFloat h) { return __uint_as_float(uint32_t(h.v) << 16); }

// Rounds so that a second rounding, to a shorter type, is right: an inexact result gets an odd last bit.
__device__ __forceinline__ float round_to_odd(double x) {
  const float y = float(x);
  if (double(y) == x || y != y) return y;
  uint32_t b = __float_as_uint(y);
  const double a = x < 0 ? -x : x, rounded = y < 0 ? -double(y) : double(y);
  if (rounded > a) b -= 1;  // now the magnitude is truncated
  return __uint_as_float(b | 1);
}

// The value of an item as a number that C++ converts.
template <class T> __device__ __forceinline__ T number(T x) { return x; }
__device__ __forceinline__ uint8_t number(Bool x) { return x.v != 0; }
__device__ __forceinline__ float number(Half x) { return to_float(x); }
__device__ __forceinline__ float number(BFloat x) { return to_float(x); }

template <class T> constexpr bool is_signed = T(-1) < T(0);

template <class To> struct Convert {
  template <class T> static __device__ __forceinline__ To from(T x) { return To(x); }
  static __device__ __forceinline__ To from(float x) { return integer(x); }
  static __device__ __forceinline__ To from(double x) { return integer(x); }
  template <class T> static __device__ __forceinline__ To integer(T x) {
    if constexpr (!is_signed<To> && sizeof(To) == 8)
      return x >= T(0x1p63) ? To(int64_t(x - T(0x1p63))) ^ (To(1) << 63) : To(int64_t(x));
    else if constexpr (sizeof(To) == 8 || (!is_signed<To> && sizeof(To) == 4))
      return To(int64_t(x));
    else
      return To(int32_t(x));
  }
};
template <> struct Convert<float> {
  template <class T> static __device__ __forceinline__ float from(T x) { return float(x); }
};
template <> struct Convert<double> {
  template <class T> static __device__ __forceinline__ double from(T x) { return double(x); }
};
template <> struct Convert<Bool> {
  template <class T> static __device__ __forceinline__ Bool from(T x) { return {uint8_t(x != 0)}; }
};
template <> struct Convert<Half> {
  template <class T> static __device__ __forceinline__ Half from(T x) { return to_half(round_to_odd(double(x))); }
  static __device__ __forceinline__ Half from(float x) { return to_half(x); }
};
template <> struct Convert<BFloat> {
  template <class T> static __device__ __forceinline__ BFloat from(T x) { return to_bfloat(round_to_odd(double(x))); }
  static __device__ __forceinline__ BFloat from(float x) { return to_bfloat(x); }
};

template <class T>
struct alignas(sizeof(T) * 4 < 16 ? sizeof(T) * 4 : 16) Quad {
  T item[4];
};

template <class From, class To>
__global__ void cast_kernel(const From* __restrict__ x, To* __restrict__ y, int64_t n, int64_t quads) {
  for (int64_t q = first_index(); q < quads; q += index_step()) {
    const Quad<From> from = reinterpret_cast<const Quad<From>*>(x)[q];
    Quad<To> to;
    FASTNN_UNROLL for (int i = 0; i < 4; ++i) to.item[i] = Convert<To>::from(number(from.item[i]));
    reinterpret_cast<Quad<To>*>(y)[q] = to;
  }
  for (int64_t i = 4 * quads + first_index(); i < n; i += index_step()) y[i] = Convert<To>::from(number(x[i]));
}

template <class From, class To>
void convert(const void* x, void* y, int64_t n) {
  const bool aligned = reinterpret_cast<uintptr_t>(x) % alignof(Quad<From>) == 0 && reinterpret_cast<uintptr_t>(y) % alignof(Quad<To>) == 0;
  const int64_t quads = aligned ? n / 4 : 0;
  launch(cast_kernel<From, To>, blocks_for(quads ? quads : n), kThreads, 0, static_cast<const From*>(x), static_cast<To*>(y), n, quads);
}

// Calls run(T()) with the type of the items.
template <class Run>
void with_type(int64_t dtype, Run run) {
  switch (DType(dtype)) {
    case DType::boolean: return run(Bool());
    case DType::int8: return run(int8_t());
    case DType::int16: return run(int16_t());
    case DType::int32: return run(int32_t());
    case DType::int64: return run(int64_t());
    case DType::uint8: return run(uint8_t());
    case DType::uint16: return run(uint16_t());
    case DType::uint32: return run(uint32_t());
    case DType::uint64: return run(uint64_t());
    case DType::float16: return run(Half());
    case DType::bfloat16: return run(BFloat());
    case DType::float32: return run(float());
    case DType::float64: return run(double());
  }
}

// Whole numbers in [low, limit) as int64; 0 is stored elsewhere. *bad, all ones before, becomes the first
// position that is not one: the least, in whatever order threads find them.
template <class T>
__global__ void read_indices_kernel(const T* __restrict__ x, int64_t* __restrict__ y, int64_t n, int64_t low, int64_t limit, int64_t* bad) {
  for (int64_t i = first_index(); i < n; i += index_step()) {
    const auto value = number(x[i]);
    using Value = decltype(number(T()));
    int64_t index;
    bool good;
    if constexpr (Value(0.5) != 0) {
      // written so that NaN fails; what passes the first two converts without surprise
      good = value >= Value(low) && value < Value(limit);
      index = good ? int64_t(value) : 0;
      good = good && Value(index) == value;
    } else {
      index = int64_t(value);
      // an unsigned value beyond int64 has become negative
      good = index >= low && index < limit && (index >= 0 || is_signed<Value>);
    }
    y[i] = good ? index < 0 ? index + limit : index : 0;
    if (!good) atomicMin(reinterpret_cast<unsigned long long*>(bad), (unsigned long long)(i));
  }
}

}  // namespace

void cast(int64_t from, int64_t to, const void* x, void* y, int64_t n) {
  with_type(from, [=](auto a) { with_type(to, [=](auto b) { convert<decltype(a), decltype(b)>(x, y, n); }); });
}

void read_indices(int64_t dtype, const void* x, int64_t* y, int64_t n, int64_t limit, int64_t wrap, int64_t* bad) {
  fill_bytes(bad, 0xff, sizeof *bad);
  with_type(dtype, [=](auto a) {
    using T = decltype(a);
    launch(read_indices_kernel<T>, blocks_for(n), kThreads, 0, static_cast<const T*>(x), y, n, wrap ? -limit : 0, limit, bad);
  });
}

}  // namespace fastnn::cuda
