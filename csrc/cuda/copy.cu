// A copy between two strided arrays of one shape: transpose, slicing, flip, broadcast, concatenation, padding.
#include "cuda.h"

namespace fastnn::cuda {
namespace {

struct alignas(16) Bytes16 {
  uint64_t low, high;
};

template <int bytes>
struct Unaligned {
  uint8_t byte[bytes];
};

// One item per thread and step; items of T at aligned addresses.
template <class T>
__global__ void copy_kernel(const char* __restrict__ x, char* __restrict__ y, CopyShape s, int64_t n) {
  for (int64_t i = first_index(); i < n; i += index_step()) {
    int64_t rest = i, from = 0, to = 0;
    for (int64_t a = s.rank - 1; a >= 0; --a) {
      const int64_t at = rest % s.size[a];
      rest /= s.size[a];
      from += at * s.src_stride[a];
      to += at * s.dst_stride[a];
    }
    *reinterpret_cast<T*>(y + to) = *reinterpret_cast<const T*>(x + from);
  }
}

// Whether addresses and strides allow items of `bytes`.
bool aligned(const void* x, const void* y, const CopyShape& s, int64_t bytes) {
  uint64_t bits = reinterpret_cast<uintptr_t>(x) | reinterpret_cast<uintptr_t>(y);
  for (int64_t a = 0; a < s.rank; ++a) bits |= uint64_t(s.src_stride[a]) | uint64_t(s.dst_stride[a]);
  return bits % uint64_t(bytes) == 0;
}

template <class T>
void run(const void* x, void* y, const CopyShape& s) {
  int64_t n = 1;
  for (int64_t a = 0; a < s.rank; ++a) n *= s.size[a];
  launch(copy_kernel<T>, blocks_for(n), kThreads, 0, static_cast<const char*>(x), static_cast<char*>(y), s, n);
}

}  // namespace

void copy(const void* x, void* y, CopyShape s) {
  // Neighbouring items that both sides hold side by side travel together, up to 16 bytes.
  const int64_t last = s.rank - 1;
  while (s.itemsize < 16 && s.src_stride[last] == s.itemsize && s.dst_stride[last] == s.itemsize && s.size[last] % 2 == 0) {
    CopyShape wide = s;
    wide.itemsize *= 2;
    wide.size[last] /= 2;
    wide.src_stride[last] = wide.dst_stride[last] = wide.itemsize;
    if (!aligned(x, y, wide, wide.itemsize)) break;
    s = wide;
  }
  switch (aligned(x, y, s, s.itemsize) ? s.itemsize : -s.itemsize) {
    case 1: return run<uint8_t>(x, y, s);
    case 2: return run<uint16_t>(x, y, s);
    case 4: return run<uint32_t>(x, y, s);
    case 8: return run<uint64_t>(x, y, s);
    case 16: return run<Bytes16>(x, y, s);
    case -2: return run<Unaligned<2>>(x, y, s);
    case -4: return run<Unaligned<4>>(x, y, s);
    case -8: return run<Unaligned<8>>(x, y, s);
    case -16: return run<Unaligned<16>>(x, y, s);
  }
}

}  // namespace fastnn::cuda
