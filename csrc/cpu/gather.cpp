// Rows and elements taken by index, and the sums that are their gradients. Indices have been checked
// by csrc/ops. Every sum runs over positions in rising order, whatever the number of threads.
#include "cpu/parallel.h"
#include "cpu/simd.h"
#include "kernels.h"

namespace fastnn::FASTNN_TARGET {
namespace {

constexpr int64_t kChunkBytes = 64 * 1024, kChunk = kChunkBytes / 4;

inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }

inline void add_row(const float* x, float* y, int64_t n) {
  for_each_vec(n, [&](int64_t i, int64_t m) { (Vec::load(y + i, m) + Vec::load(x + i, m)).store(y + i, m); });
}
inline void copy_row(const float* x, float* y, int64_t n) {
  for_each_vec(n, [&](int64_t i, int64_t m) { Vec::load(x + i, m).store(y + i, m); });
}
inline void zero_row(float* y, int64_t n) {
  for_each_vec(n, [&](int64_t i, int64_t m) { Vec::zero().store(y + i, m); });
}

// Rows taken by index are in no order that a hardware prefetcher follows: the row that is needed kAhead rows later is asked for.
// It does follow a row of half a page.
constexpr int64_t kAhead = 8;
inline void ask_for(const void* row, int64_t bytes) {
  if (bytes > 2048) return;
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(static_cast<const char*>(row) + i);
}

// y[o, i, k] = x[o, index[o, i, k], k]
template <class T>
void gather_items(const T* x, const int64_t* index, T* y, int64_t outer, int64_t rows, int64_t n, int64_t inner) {
  parallel_for(outer * n, kChunk / inner, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* from = x + i / n * rows * inner;
      for (int64_t k = 0; k < inner; ++k) y[i * inner + k] = from[index[i * inner + k] * inner + k];
    }
  });
}

}  // namespace

void gather_rows(const void* x, const int64_t* index, void* y, int64_t outer, int64_t rows, int64_t n,
                 int64_t row_bytes) {
  const char* from = static_cast<const char*>(x);
  char* to = static_cast<char*>(y);
  parallel_for(outer * n, kChunkBytes / row_bytes, [=](int64_t begin, int64_t end) {
    int64_t o = begin / n, i = begin % n;
    for (int64_t r = begin; r < end; ++r) {
      const char* row = from + (o * rows + index[i]) * row_bytes;
      if (i + kAhead < n) ask_for(from + (o * rows + index[i + kAhead]) * row_bytes, row_bytes);
      if (row_bytes % 4 == 0) copy_row((const float*)row, (float*)(to + r * row_bytes), row_bytes / 4);
      else __builtin_memcpy(to + r * row_bytes, row, row_bytes);
      if (++i == n) i = 0, ++o;
    }
  });
}

void gather_elements(const void* x, const int64_t* index, void* y, int64_t itemsize, int64_t outer, int64_t rows,
                     int64_t n, int64_t inner) {
  switch (itemsize) {
    case 1: return gather_items((const uint8_t*)x, index, (uint8_t*)y, outer, rows, n, inner);
    case 2: return gather_items((const uint16_t*)x, index, (uint16_t*)y, outer, rows, n, inner);
    case 4: return gather_items((const uint32_t*)x, index, (uint32_t*)y, outer, rows, n, inner);
    default: return gather_items((const uint64_t*)x, index, (uint64_t*)y, outer, rows, n, inner);
  }
}

void scatter_add_rows(const float* gy, const int64_t* index, float* gx, int64_t outer, int64_t rows, int64_t n,
                      int64_t inner) {
  const Stores stores(gx, outer * rows * inner);
  parallel_for(outer * rows * inner, kChunk, [=](int64_t begin, int64_t end) {
    for_each_vec(end - begin, [=](int64_t i, int64_t m) { stores.put(Vec::zero(), gx + begin + i, m); });
    stores.fence();
  });
  // Threads own columns. Fewer than 64 for each: twice as slow, as rows are then visited several times.
  constexpr int64_t width = 64;
  const int64_t blocks = (inner + width - 1) / width;
  parallel_for(outer * blocks, kChunk / (n * width + 1), [=](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t o = b / blocks, c = b % blocks * width, count = min(width, inner - c);
      float* to = gx + o * rows * inner + c;
      const float* from = gy + o * n * inner + c;
      for (int64_t i = 0; i < n; ++i) {
        if (i + kAhead < n) ask_for(to + index[i + kAhead] * inner, count * 4);
        add_row(from + i * inner, to + index[i] * inner, count);
      }
    }
  });
}

void scatter_add_elements(const float* gy, const int64_t* index, float* gx, int64_t outer, int64_t rows, int64_t n,
                          int64_t inner) {
  parallel_for(outer, kChunk / ((n + rows) * inner), [=](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      float* to = gx + o * rows * inner;
      zero_row(to, rows * inner);
      for (int64_t i = o * n; i < (o + 1) * n; ++i)
        for (int64_t k = 0; k < inner; ++k) to[index[i * inner + k] * inner + k] += gy[i * inner + k];
    }
  });
}

void coalesce_rows(const int64_t* index, const float* gy, int32_t* row_slot, int64_t* slot_row, int64_t* count,
                   float* sums, int64_t rows, int64_t n, int64_t cols) {
  parallel_for(rows, kChunk, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) row_slot[r] = -1;
  });
  // Slots are numbered by first appearance; then positions are ordered by slot, each slot's in rising order.
  Scratch<int64_t> slot(n), start(n + 2), order(n);
  int64_t slots = 0;
  for (int64_t i = 0; i < n; ++i) {
    int32_t s = row_slot[index[i]];
    if (s < 0) {
      s = row_slot[index[i]] = int32_t(slots);
      slot_row[slots] = index[i];
      start[slots++ + 2] = 0;
    }
    slot[i] = s;
    ++start[s + 2];
  }
  *count = slots;
  start[0] = start[1] = 0;
  for (int64_t s = 2; s < slots + 1; ++s) start[s] += start[s - 1];
  for (int64_t i = 0; i < n; ++i) order[start[slot[i] + 1]++] = i;  // start[s + 1] ends as the end of slot s

  // Blocks of positions are summed apart, because one id (padding) may hold half of them. What a block
  // adds to a slot that began in an earlier block waits in `partial`.
  const int64_t fit = cols > 0 ? kChunk / cols : kChunk, block = fit > 1 ? fit : 1, blocks = (n + block - 1) / block;
  Scratch<float> partial(blocks * cols);
  Scratch<int64_t> partial_slot(blocks);
  parallel_for(n, block, [&](int64_t begin, int64_t end) {
    const int64_t b = begin / block;
    partial_slot[b] = -1;
    const auto from = [&](int64_t p) {
      if (p + kAhead < end) ask_for(gy + order[p + kAhead] * cols, cols * 4);
      return gy + order[p] * cols;
    };
    for (int64_t p = begin; p < end;) {
      const int64_t s = slot[order[p]], stop = min(end, start[s + 1]);
      float* to = sums + s * cols;
      if (p != start[s]) {
        to = partial + b * cols;
        partial_slot[b] = s;
      }
      copy_row(from(p), to, cols);
      for (++p; p < stop; ++p) add_row(from(p), to, cols);
    }
  });
  for (int64_t b = 0; b < blocks; ++b)
    if (partial_slot[b] >= 0) add_row(partial + b * cols, sums + partial_slot[b] * cols, cols);
}

void densify_rows(const int32_t* row_slot, const float* sums, float* y, int64_t rows, int64_t cols) {
  const Stores stores(y, cols % Vec::width ? 0 : rows * cols);
  parallel_for(rows, kChunk / cols, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* from = row_slot[r] < 0 ? nullptr : sums + row_slot[r] * cols;
      for_each_vec(cols, [&](int64_t i, int64_t m) { stores.put(from ? Vec::load(from + i, m) : Vec::zero(), y + r * cols + i, m); });
    }
    stores.fence();
  });
}

}  // namespace fastnn::FASTNN_TARGET
