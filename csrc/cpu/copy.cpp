// Data movement for every dtype: one strided copy serves transpose, slicing, flip, broadcast,
// concatenation and padding. Items are moved as unsigned integers of their size.
#include "cpu/parallel.h"
#include "cpu/transpose.h"
#include "kernels.h"

namespace fastnn::FASTNN_TARGET {
namespace {

constexpr int64_t kChunkBytes = 128 * 1024;

inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }

// Walks the outer axes of a copy in row-major order.
struct Cursor {
  const CopyShape& s;
  int rank;  // outer axes
  int64_t index[kMaxAxes];
  int64_t src = 0, dst = 0;

  Cursor(const CopyShape& s, int rank, int64_t at) : s(s), rank(rank) {
    for (int a = rank - 1; a >= 0; --a) {
      index[a] = at % s.size[a];
      at /= s.size[a];
      src += index[a] * s.src_stride[a];
      dst += index[a] * s.dst_stride[a];
    }
  }
  void next() {
    for (int a = rank - 1; a >= 0; --a) {
      src += s.src_stride[a];
      dst += s.dst_stride[a];
      if (++index[a] < s.size[a]) return;
      index[a] = 0;
      src -= s.size[a] * s.src_stride[a];
      dst -= s.size[a] * s.dst_stride[a];
    }
  }
};

template <class T>
inline void move(const char* src, char* dst) {
  T item;
  __builtin_memcpy(&item, src, sizeof item);
  __builtin_memcpy(dst, &item, sizeof item);
}
struct Bytes16 {
  uint64_t low, high;
};

// Short rows are common (the channels of a pixel), and a call to memcpy costs more than they do.
inline void copy_row(const char* src, char* dst, int64_t bytes) {
  if (bytes > 256) {
    __builtin_memcpy(dst, src, bytes);
  } else if (bytes >= 16) {
    for (int64_t i = 0; i < bytes - 16; i += 16) move<Bytes16>(src + i, dst + i);
    move<Bytes16>(src + bytes - 16, dst + bytes - 16);
  } else if (bytes >= 8) {
    move<uint64_t>(src, dst);
    move<uint64_t>(src + bytes - 8, dst + bytes - 8);
  } else if (bytes >= 4) {
    move<uint32_t>(src, dst);
    move<uint32_t>(src + bytes - 4, dst + bytes - 4);
  } else {
    for (int64_t i = 0; i < bytes; ++i) dst[i] = src[i];
  }
}

// The last axis is contiguous on both sides.
void copy_rows(const char* src, char* dst, const CopyShape& s) {
  const int outer = int(s.rank) - 1;
  int64_t rows = 1;
  for (int a = 0; a < outer; ++a) rows *= s.size[a];
  const int64_t bytes = s.size[outer] * s.itemsize;
  // long rows are cut, so that one row can keep all threads busy
  const int64_t part = bytes > kChunkBytes ? kChunkBytes : bytes, parts = (bytes + part - 1) / part;
  parallel_for(rows * parts, kChunkBytes / part, [&](int64_t begin, int64_t end) {
    Cursor at(s, outer, begin / parts);
    int64_t p = begin % parts;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t offset = p * part;
      copy_row(src + at.src + offset, dst + at.dst + offset, min(part, bytes - offset));
      if (++p == parts) p = 0, at.next();
    }
  });
}

// y[i] = x[-i] for 4-byte items, whole vectors turned around.
inline void copy_reversed(const char* x, char* y, int64_t n) {
  int64_t i = 0;
  for (; i + Vec::width <= n; i += Vec::width)
    reverse(VecI::load((const int32_t*)x - i - (Vec::width - 1))).store((int32_t*)y + i);
  for (; i < n; ++i) move<uint32_t>(x - 4 * i, y + 4 * i);
}

// Any strides along the last axis.
template <class T>
void copy_strided_rows(const char* src, char* dst, const CopyShape& s) {
  const int outer = int(s.rank) - 1;
  int64_t rows = 1;
  for (int a = 0; a < outer; ++a) rows *= s.size[a];
  const int64_t n = s.size[outer], ss = s.src_stride[outer], ds = s.dst_stride[outer];
  const int64_t limit = kChunkBytes / int64_t(sizeof(T));
  const int64_t part = n > limit ? limit : n, parts = (n + part - 1) / part;
  parallel_for(rows * parts, limit / part, [&](int64_t begin, int64_t end) {
    Cursor at(s, outer, begin / parts);
    int64_t p = begin % parts;
    for (int64_t i = begin; i < end; ++i) {
      const char* from = src + at.src + p * part * ss;
      char* to = dst + at.dst + p * part * ds;
      const int64_t count = min(part, n - p * part);
      if (ss == 0 && ds == int64_t(sizeof(T))) {
        T item;
        __builtin_memcpy(&item, from, sizeof item);
        for (int64_t j = 0; j < count; ++j) __builtin_memcpy(to + j * int64_t(sizeof(T)), &item, sizeof item);
      } else if (sizeof(T) == 4 && ss == -4 && ds == 4) {
        copy_reversed(from, to, count);
      } else if (ds == int64_t(sizeof(T))) {
        for (int64_t j = 0; j < count; ++j) move<T>(from + j * ss, to + j * int64_t(sizeof(T)));
      } else {
        for (int64_t j = 0; j < count; ++j) move<T>(from + j * ss, to + j * ds);
      }
      if (++p == parts) p = 0, at.next();
    }
  });
}

// The source is contiguous along axis j, the destination along the last axis: matrices to transpose.
template <class T>
void copy_transposed(const char* src, char* dst, const CopyShape& s, int j) {
  const int last = int(s.rank) - 1;
  CopyShape outer = s;
  outer.rank = 0;
  int64_t planes = 1;
  for (int a = 0; a < last; ++a) {
    if (a == j) continue;
    const int64_t o = outer.rank++;
    outer.size[o] = s.size[a];
    outer.src_stride[o] = s.src_stride[a];
    outer.dst_stride[o] = s.dst_stride[a];
    planes *= s.size[a];
  }
  // Tiles of 64 x 64 items keep the lines of both sides in the first-level cache.
  constexpr int64_t tile = 64;
  const int64_t rows = s.size[last], cols = s.size[j];
  const int64_t row_tiles = (rows + tile - 1) / tile, col_tiles = (cols + tile - 1) / tile;
  const int64_t tiles = row_tiles * col_tiles;
  const int64_t tile_bytes = min(rows, tile) * min(cols, tile) * int64_t(sizeof(T));
  parallel_for(planes * tiles, kChunkBytes / tile_bytes, [&](int64_t begin, int64_t end) {
    Cursor at(outer, int(outer.rank), begin / tiles);
    int64_t t = begin % tiles;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t r = t % row_tiles * tile, c = t / row_tiles * tile;
      transpose_tile<T>(src + at.src + r * s.src_stride[last] + c * int64_t(sizeof(T)), s.src_stride[last],
                        dst + at.dst + c * s.dst_stride[j] + r * int64_t(sizeof(T)), s.dst_stride[j],
                        min(tile, rows - r), min(tile, cols - c));
      if (++t == tiles) t = 0, at.next();
    }
  });
}

template <class T>
void copy_items(const char* src, char* dst, const CopyShape& s) {
  const int last = int(s.rank) - 1;
  if (s.dst_stride[last] == s.itemsize && s.src_stride[last] != 0 && s.size[last] >= 4)
    for (int j = 0; j < last; ++j)
      if (s.src_stride[j] == s.itemsize && s.size[j] >= 4) return copy_transposed<T>(src, dst, s, j);
  copy_strided_rows<T>(src, dst, s);
}

}  // namespace

void copy(const void* from, void* to, CopyShape s) {
  const char* src = static_cast<const char*>(from);
  char* dst = static_cast<char*>(to);
  const int last = int(s.rank) - 1;
  if (s.src_stride[last] == s.itemsize && s.dst_stride[last] == s.itemsize) return copy_rows(src, dst, s);
  switch (s.itemsize) {
    case 1: return copy_items<uint8_t>(src, dst, s);
    case 2: return copy_items<uint16_t>(src, dst, s);
    case 4: return copy_items<uint32_t>(src, dst, s);
    case 8: return copy_items<uint64_t>(src, dst, s);
    default: return copy_items<Bytes16>(src, dst, s);
  }
}

}  // namespace fastnn::FASTNN_TARGET
