// Conversion between any two dtypes. Rounding is to nearest even; NaN becomes true; a float outside
// the range of an integer gives what the processor gives.
#if defined(__F16C__)
#include <immintrin.h>
#endif

#include "cpu/parallel.h"
#include "kernels.h"
#include "tensor.h"

namespace fastnn::FASTNN_TARGET {
namespace {

struct Bool { uint8_t v; };
struct Half { uint16_t v; };
struct BFloat { uint16_t v; };

inline uint32_t bits_of(float x) {
  uint32_t b;
  __builtin_memcpy(&b, &x, 4);
  return b;
}
inline float from_bits(uint32_t b) {
  float x;
  __builtin_memcpy(&x, &b, 4);
  return x;
}

inline Half to_half(float x) {
  const uint32_t b = bits_of(x), sign = b >> 16 & 0x8000, a = b & 0x7fffffff;
  // below 2^-14 adding 0.5 rounds to a multiple of 2^-24, the smallest half
  const uint32_t small = bits_of(from_bits(a) + 0.5f) - 0x3f000000;
  const uint32_t normal = (a + 0xfff + (a >> 13 & 1) - 0x38000000) >> 13;
  const uint32_t large = a > 0x7f800000 ? 0x7e00 : 0x7c00;
  return {uint16_t(sign | (a >= 0x47800000 ? large : a < 0x38800000 ? small : normal))};
}
inline float to_float(Half h) {
  const uint32_t sign = uint32_t(h.v & 0x8000) << 16, a = uint32_t(h.v & 0x7fff) << 13;
  const float finite = from_bits(a) * 0x1p112f;
  return from_bits(sign | (a >= 0x0f800000 ? a | 0x7f800000 : bits_of(finite)));
}
inline BFloat to_bfloat(float x) {
  const uint32_t b = bits_of(x);
  const uint32_t rounded = (b + 0x7fff + (b >> 16 & 1)) >> 16;
  return {uint16_t((b & 0x7fffffff) > 0x7f800000 ? b >> 16 | 0x40 : rounded)};
}
inline float to_float(BFloat h) { return from_bits(uint32_t(h.v) << 16); }

// Rounds so that a second rounding, to a shorter type, is right: an inexact result gets an odd last bit.
inline float round_to_odd(double x) {
  const float y = float(x);
  if (double(y) == x || y != y) return y;
  uint32_t b = bits_of(y);
  const double a = x < 0 ? -x : x, rounded = y < 0 ? -double(y) : double(y);
  if (rounded > a) b -= 1;  // now the magnitude is truncated
  return from_bits(b | 1);
}

// The value of an item as a number that C++ converts.
template <class T> inline T number(T x) { return x; }
inline uint8_t number(Bool x) { return x.v != 0; }
inline float number(Half x) { return to_float(x); }
inline float number(BFloat x) { return to_float(x); }

template <class To> struct Convert {
  template <class T> static To from(T x) { return To(x); }
  static To from(float x) { return integer(x); }
  static To from(double x) { return integer(x); }
  template <class T> static To integer(T x) {
    if constexpr (To(-1) > To(0) && sizeof(To) == 8)
      return x >= T(0x1p63) ? To(int64_t(x - T(0x1p63))) ^ (To(1) << 63) : To(int64_t(x));
    else if constexpr (sizeof(To) == 8 || (To(-1) > To(0) && sizeof(To) == 4))
      return To(int64_t(x));
    else
      return To(int32_t(x));
  }
};
template <> struct Convert<float> {
  template <class T> static float from(T x) { return float(x); }
};
template <> struct Convert<double> {
  template <class T> static double from(T x) { return double(x); }
};
template <> struct Convert<Bool> {
  template <class T> static Bool from(T x) { return {uint8_t(x != 0)}; }
};
template <> struct Convert<Half> {
  template <class T> static Half from(T x) { return to_half(round_to_odd(double(x))); }
  static Half from(float x) { return to_half(x); }
};
template <> struct Convert<BFloat> {
  template <class T> static BFloat from(T x) { return to_bfloat(round_to_odd(double(x))); }
  static BFloat from(float x) { return to_bfloat(x); }
};

template <class From, class To>
inline int64_t convert_vectors(const From*, To*, int64_t begin, int64_t) {
  return begin;
}
#if defined(__F16C__)
inline int64_t convert_vectors(const float* x, Half* y, int64_t begin, int64_t end) {
  for (; begin + 8 <= end; begin += 8)
    _mm_storeu_si128((__m128i*)(y + begin), _mm256_cvtps_ph(_mm256_loadu_ps(x + begin), _MM_FROUND_TO_NEAREST_INT));
  return begin;
}
inline int64_t convert_vectors(const Half* x, float* y, int64_t begin, int64_t end) {
  for (; begin + 8 <= end; begin += 8)
    _mm256_storeu_ps(y + begin, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(x + begin))));
  return begin;
}
#endif

template <class From, class To>
void convert(const void* x, void* y, int64_t n) {
  const From* from = static_cast<const From*>(x);
  To* to = static_cast<To*>(y);
  parallel_for(n, 32 * 1024, [=](int64_t begin, int64_t end) {
    begin = convert_vectors(from, to, begin, end);
    for (int64_t i = begin; i < end; ++i) to[i] = Convert<To>::from(number(from[i]));
  });
}

template <class From>
void convert_from(int64_t to, const void* x, void* y, int64_t n) {
  switch (DType(to)) {
    case DType::boolean: return convert<From, Bool>(x, y, n);
    case DType::int8: return convert<From, int8_t>(x, y, n);
    case DType::int16: return convert<From, int16_t>(x, y, n);
    case DType::int32: return convert<From, int32_t>(x, y, n);
    case DType::int64: return convert<From, int64_t>(x, y, n);
    case DType::uint8: return convert<From, uint8_t>(x, y, n);
    case DType::uint16: return convert<From, uint16_t>(x, y, n);
    case DType::uint32: return convert<From, uint32_t>(x, y, n);
    case DType::uint64: return convert<From, uint64_t>(x, y, n);
    case DType::float16: return convert<From, Half>(x, y, n);
    case DType::bfloat16: return convert<From, BFloat>(x, y, n);
    case DType::float32: return convert<From, float>(x, y, n);
    case DType::float64: return convert<From, double>(x, y, n);
  }
}

// Whole numbers in [low, limit) as int64, low = 0, or -limit when negative ones count from the end.
// *bad becomes the first position that is not whole or out of range, and 0 is stored there. Chunks
// lower *bad in any order: the least position wins.
template <class T>
void indices_from(const void* x, int64_t* y, int64_t n, int64_t limit, int64_t wrap, int64_t* bad) {
  const T* from = static_cast<const T*>(x);
  const int64_t low = wrap ? -limit : 0;
  parallel_for(n, 32 * 1024, [=](int64_t begin, int64_t end) {
    int64_t first = -1;
    for (int64_t i = begin; i < end; ++i) {
      const auto value = number(from[i]);
      int64_t index;
      bool good;
      if constexpr (decltype(value)(0.5) != 0) {
        // written so that NaN fails; what passes the first two converts without surprise
        good = value >= decltype(value)(low) && value < decltype(value)(limit);
        index = good ? int64_t(value) : 0;
        good = good && decltype(value)(index) == value;
      } else {
        index = int64_t(value);
        // an unsigned value beyond int64 has become negative
        good = index >= low && index < limit && (index >= 0 || decltype(value)(-1) < decltype(value)(0));
      }
      y[i] = good ? index < 0 ? index + limit : index : 0;
      if (!good && first < 0) first = i;
    }
    if (first < 0) return;
    int64_t seen = __atomic_load_n(bad, __ATOMIC_RELAXED);
    while ((seen < 0 || first < seen) &&
           !__atomic_compare_exchange_n(bad, &seen, first, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
  });
}

}  // namespace

void cast(int64_t from, int64_t to, const void* x, void* y, int64_t n) {
  switch (DType(from)) {
    case DType::boolean: return convert_from<Bool>(to, x, y, n);
    case DType::int8: return convert_from<int8_t>(to, x, y, n);
    case DType::int16: return convert_from<int16_t>(to, x, y, n);
    case DType::int32: return convert_from<int32_t>(to, x, y, n);
    case DType::int64: return convert_from<int64_t>(to, x, y, n);
    case DType::uint8: return convert_from<uint8_t>(to, x, y, n);
    case DType::uint16: return convert_from<uint16_t>(to, x, y, n);
    case DType::uint32: return convert_from<uint32_t>(to, x, y, n);
    case DType::uint64: return convert_from<uint64_t>(to, x, y, n);
    case DType::float16: return convert_from<Half>(to, x, y, n);
    case DType::bfloat16: return convert_from<BFloat>(to, x, y, n);
    case DType::float32: return convert_from<float>(to, x, y, n);
    case DType::float64: return convert_from<double>(to, x, y, n);
  }
}

void read_indices(int64_t dtype, const void* x, int64_t* y, int64_t n, int64_t limit, int64_t wrap, int64_t* bad) {
  *bad = -1;
  switch (DType(dtype)) {
    case DType::boolean: return indices_from<Bool>(x, y, n, limit, wrap, bad);
    case DType::int8: return indices_from<int8_t>(x, y, n, limit, wrap, bad);
    case DType::int16: return indices_from<int16_t>(x, y, n, limit, wrap, bad);
    case DType::int32: return indices_from<int32_t>(x, y, n, limit, wrap, bad);
    case DType::int64: return indices_from<int64_t>(x, y, n, limit, wrap, bad);
    case DType::uint8: return indices_from<uint8_t>(x, y, n, limit, wrap, bad);
    case DType::uint16: return indices_from<uint16_t>(x, y, n, limit, wrap, bad);
    case DType::uint32: return indices_from<uint32_t>(x, y, n, limit, wrap, bad);
    case DType::uint64: return indices_from<uint64_t>(x, y, n, limit, wrap, bad);
    case DType::float16: return indices_from<Half>(x, y, n, limit, wrap, bad);
    case DType::bfloat16: return indices_from<BFloat>(x, y, n, limit, wrap, bad);
    case DType::float32: return indices_from<float>(x, y, n, limit, wrap, bad);
    case DType::float64: return indices_from<double>(x, y, n, limit, wrap, bad);
  }
}

}  // namespace fastnn::FASTNN_TARGET
