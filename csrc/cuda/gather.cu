// Rows and elements taken by index, and the sums that are their gradients. Indices have been checked by csrc/ops.
//
// Sums run over positions in rising order. Where few sums have many terms, positions are sorted by index and cut
// into blocks of kRun: a group of threads walks one, and sums that several blocks share are joined afterwards in
// the order of the blocks. Elsewhere a thread owns a column and walks it. Bound by memory, and the sort's passes.
#include "rows.h"
#include "sort.h"

namespace fastnn::cuda {
namespace {

struct alignas(16) Bytes16 {
  uint64_t low, high;
};

// A group of threads per row of `items`.
template <class T>
__global__ void gather_rows_kernel(const T* __restrict__ x, const int64_t* __restrict__ index, T* __restrict__ y,
                                   int64_t outer, int64_t rows, int64_t n, int64_t items, int width) {
  const Group g(width);
  for (int64_t r = g.first_row(); r < outer * n; r += g.row_step()) {
    const int64_t o = outer == 1 ? 0 : r / n;
    const T* from = x + (o * rows + index[r - o * n]) * items;
    for (int64_t k = g.rank; k < items; k += width) y[r * items + k] = from[k];
  }
}

template <class T>
__global__ void gather_elements_kernel(const T* __restrict__ x, const int64_t* __restrict__ index, T* __restrict__ y,
                                       int64_t rows, int64_t n, int64_t inner, int64_t total) {
  for (int64_t i = first_index(); i < total; i += index_step())
    y[i] = x[(i / (n * inner) * rows + index[i]) * inner + i % inner];
}

// Calls run(T()) with the widest type that divides `bits`.
template <class Run>
void with_item(uint64_t bits, Run run) {
  if (bits % 16 == 0) run(Bytes16());
  else if (bits % 8 == 0) run(uint64_t());
  else if (bits % 4 == 0) run(uint32_t());
  else if (bits % 2 == 0) run(uint16_t());
  else run(uint8_t());
}

// gx (outer, rows, inner), zero before: thread (o, k) adds gy[o, :, k] to its column. Index (n), or with
// by_element (outer, n, inner).
template <bool by_element>
__global__ void add_columns_kernel(const float* __restrict__ gy, const int64_t* __restrict__ index, float* gx,
                                   int64_t outer, int64_t rows, int64_t n, int64_t inner) {
  for (int64_t c = first_index(); c < outer * inner; c += index_step()) {
    const int64_t o = c / inner, k = c - o * inner;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = (o * n + i) * inner + k;
      gx[(o * rows + index[by_element ? at : i]) * inner + k] += gy[at];
    }
  }
}

// Where an element of scatter_add_elements goes, or a row of scatter_add_rows (inner = 1, one outer).
__global__ void keys_kernel(const int64_t* __restrict__ index, uint32_t* __restrict__ keys, uint32_t* __restrict__ values,
                            int64_t rows, int64_t n, int64_t inner, int64_t total) {
  for (int64_t i = first_index(); i < total; i += index_step()) {
    keys[i] = uint32_t((i / (n * inner) * rows + index[i]) * inner + i % inner);
    values[i] = uint32_t(i);
  }
}

constexpr int64_t kRun = 64;  // positions that one group of threads adds up: a chain of reads, one row each

// Position p of the order adds row position[p] of gy to row target[p], which does not fall, of sums.
struct Segments {
  const uint32_t *target, *position;
  int64_t n, cols, outer, rows;  // gy (outer, n, cols), sums (outer, rows, cols)
  int64_t runs;
  __device__ __forceinline__ bool continues(int64_t p) const { return p > 0 && target[p - 1] == target[p]; }
};

// Group: `width` packs of columns of one run of one outer index. A sum that began in an earlier run waits in
// partial (outer, runs, cols).
template <int V>
__global__ void sum_runs_kernel(Segments s, const float* __restrict__ gy, float* __restrict__ sums, float* __restrict__ partial,
                                int64_t tiles, int width) {
  const Group g(width);
  for (int64_t item = g.first_row(); item < s.outer * s.runs * tiles; item += g.row_step()) {
    const int64_t at = item / tiles, o = at / s.runs, run = at - o * s.runs;
    const int64_t column = ((item - at * tiles) * width + g.rank) * V;
    if (column >= s.cols) continue;
    const int64_t begin = run * kRun, end = begin + kRun < s.n ? begin + kRun : s.n;
    const float* from = gy + o * s.n * s.cols + column;
    float* const mine = partial + at * s.cols + column;
    float* to = s.continues(begin) ? mine : sums + (o * s.rows + s.target[begin]) * s.cols + column;
    Pack<V> sum = load<V>(from + s.position[begin] * s.cols);
    for (int64_t p = begin + 1; p < end; ++p) {
      const Pack<V> a = load<V>(from + s.position[p] * s.cols);
      if (s.target[p] != s.target[p - 1]) {
        store<V>(to, sum);
        to = sums + (o * s.rows + s.target[p]) * s.cols + column;
        sum = a;
      } else {
        FASTNN_UNROLL for (int k = 0; k < V; ++k) sum.v[k] += a.v[k];
      }
    }
    store<V>(to, sum);
  }
}

// The same groups: the first run that continues a sum adds its part and those of the runs behind it.
template <int V>
__global__ void join_runs_kernel(Segments s, float* __restrict__ sums, const float* __restrict__ partial, int64_t tiles, int width) {
  const Group g(width);
  for (int64_t item = g.first_row(); item < s.outer * s.runs * tiles; item += g.row_step()) {
    const int64_t at = item / tiles, o = at / s.runs, run = at - o * s.runs;
    const int64_t column = ((item - at * tiles) * width + g.rank) * V;
    const uint32_t target = s.target[run * kRun];
    if (column >= s.cols || !s.continues(run * kRun)) continue;
    if (s.target[(run - 1) * kRun] == target && s.continues((run - 1) * kRun)) continue;
    float* to = sums + (o * s.rows + target) * s.cols + column;
    Pack<V> sum = load<V>(to);
    for (int64_t r = run; r < s.runs && s.target[r * kRun] == target; ++r) {
      const Pack<V> a = load<V>(partial + (o * s.runs + r) * s.cols + column);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) sum.v[k] += a.v[k];
    }
    store<V>(to, sum);
  }
}

void sum_segments(const uint32_t* target, const uint32_t* position, const float* gy, float* sums, int64_t outer, int64_t rows,
                  int64_t n, int64_t cols) {
  if (!n || !cols || !outer) return;
  const Segments s{target, position, n, cols, outer, rows, ceil_div(n, kRun)};
  Scratch<float> partial(outer * s.runs * cols);
  with_pack(cols, [&](auto v) {
    constexpr int V = decltype(v)::value;
    const int64_t packs = cols / V;
    int width = 1;
    while (width < 32 && width < packs) width *= 2;
    const int64_t tiles = ceil_div(packs, width);
    const unsigned blocks = row_blocks(outer * s.runs * tiles, width);
    launch(sum_runs_kernel<V>, blocks, kThreads, 0, s, gy, sums, partial.get(), tiles, width);
    launch(join_runs_kernel<V>, blocks, kThreads, 0, s, sums, partial.get(), tiles, width);
  }, gy, sums, partial.get());
}

// Positions (outer, n, inner) sorted by where they go.
void sort_positions(SortBuffers& s, const int64_t* index, int64_t outer, int64_t rows, int64_t n, int64_t inner) {
  const int64_t total = outer * n * inner;
  if (total) launch(keys_kernel, blocks_for(total), kThreads, 0, index, s.keys(), s.values(), rows, n, inner, total);
  s.sort(outer * rows * inner);
}

// Columns enough to fill a GPU, or few terms: each column is walked by a thread.
bool by_columns(int64_t columns, int64_t n) { return n <= 16 || columns >= 32768; }
constexpr int64_t kSortable = int64_t(1) << 32;

__global__ void mark_heads_kernel(const uint32_t* __restrict__ keys, uint32_t* __restrict__ heads, int64_t n) {
  for (int64_t p = first_index(); p < n; p += index_step()) heads[p] = p == 0 || keys[p] != keys[p - 1];
}

// heads: before, the number of heads before each position; after, the position's slot.
__global__ void number_slots_kernel(const uint32_t* __restrict__ keys, uint32_t* __restrict__ heads, int32_t* __restrict__ row_slot,
                                    int64_t* __restrict__ slot_row, int64_t* __restrict__ count, int64_t n) {
  for (int64_t p = first_index(); p < n; p += index_step()) {
    const bool head = p == 0 || keys[p] != keys[p - 1];
    const uint32_t slot = heads[p] + head - 1;
    heads[p] = slot;
    if (head) {
      row_slot[keys[p]] = int32_t(slot);
      slot_row[slot] = keys[p];
    }
    if (p == n - 1) *count = int64_t(slot) + 1;
  }
}

// A group of threads per row.
template <int V>
__global__ void densify_rows_kernel(const int32_t* __restrict__ row_slot, const float* __restrict__ sums, float* __restrict__ y,
                                    int64_t rows, int64_t cols, int width) {
  const Group g(width);
  for (int64_t r = g.first_row(); r < rows; r += g.row_step()) {
    const int64_t slot = row_slot[r];
    for (int64_t i = g.rank * V; i < cols; i += width * V) {
      Pack<V> a = {};
      if (slot >= 0) a = load<V>(sums + slot * cols + i);
      store<V>(y + r * cols + i, a);
    }
  }
}

}  // namespace

void gather_rows(const void* x, const int64_t* index, void* y, int64_t outer, int64_t rows, int64_t n, int64_t row_bytes) {
  with_item(reinterpret_cast<uintptr_t>(x) | reinterpret_cast<uintptr_t>(y) | uint64_t(row_bytes), [&](auto item) {
    using T = decltype(item);
    const int64_t items = row_bytes / int64_t(sizeof(T));
    const int width = group_width(items);
    launch(gather_rows_kernel<T>, row_blocks(outer * n, width), kThreads, 0, static_cast<const T*>(x), index, static_cast<T*>(y), outer,
           rows, n, items, width);
  });
}

void gather_elements(const void* x, const int64_t* index, void* y, int64_t itemsize, int64_t outer, int64_t rows, int64_t n, int64_t inner) {
  with_item(uint64_t(itemsize), [&](auto item) {
    using T = decltype(item);
    const int64_t total = outer * n * inner;
    launch(gather_elements_kernel<T>, blocks_for(total), kThreads, 0, static_cast<const T*>(x), index, static_cast<T*>(y), rows, n, inner, total);
  });
}

void scatter_add_rows(const float* gy, const int64_t* index, float* gx, int64_t outer, int64_t rows, int64_t n, int64_t inner) {
  fill_bytes(gx, 0, outer * rows * inner * 4);
  if (by_columns(outer * inner, n) || rows > kSortable || n >= kSortable)
    return launch(add_columns_kernel<false>, blocks_for(outer * inner), kThreads, 0, gy, index, gx, outer, rows, n, inner);
  SortBuffers s(n);
  sort_positions(s, index, 1, rows, n, 1);
  sum_segments(s.keys(), s.values(), gy, gx, outer, rows, n, inner);
}

void scatter_add_elements(const float* gy, const int64_t* index, float* gx, int64_t outer, int64_t rows, int64_t n, int64_t inner) {
  fill_bytes(gx, 0, outer * rows * inner * 4);
  if (by_columns(outer * inner, n) || outer * rows * inner > kSortable || outer * n * inner >= kSortable)
    return launch(add_columns_kernel<true>, blocks_for(outer * inner), kThreads, 0, gy, index, gx, outer, rows, n, inner);
  SortBuffers s(outer * n * inner);
  sort_positions(s, index, outer, rows, n, inner);
  sum_segments(s.keys(), s.values(), gy, gx, 1, outer * rows * inner, outer * n * inner, 1);
}

void coalesce_rows(const int64_t* index, const float* gy, int32_t* row_slot, int64_t* slot_row, int64_t* count, float* sums,
                   int64_t rows, int64_t n, int64_t cols) {
  if (rows) fill_bytes(row_slot, 0xff, rows * 4);
  fill_bytes(count, 0, sizeof *count);
  if (!n) return;
  SortBuffers s(n);
  sort_positions(s, index, 1, rows, n, 1);
  Scratch<uint32_t> slots(n);
  launch(mark_heads_kernel, blocks_for(n), kThreads, 0, s.keys(), slots.get(), n);
  exclusive_scan(slots.get(), n);
  launch(number_slots_kernel, blocks_for(n), kThreads, 0, s.keys(), slots.get(), row_slot, slot_row, count, n);
  sum_segments(slots.get(), s.values(), gy, sums, 1, n, n, cols);
}

void densify_rows(const int32_t* row_slot, const float* sums, float* y, int64_t rows, int64_t cols) {
  with_pack(cols, [&](auto v) {
    constexpr int V = decltype(v)::value;
    const int width = group_width(cols / V);
    launch(densify_rows_kernel<V>, row_blocks(rows, width), kThreads, 0, row_slot, sums, y, rows, cols, width);
  }, sums, y);
}

}  // namespace fastnn::cuda
