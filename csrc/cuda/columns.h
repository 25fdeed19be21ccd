// Kernels over the columns of a matrix (rows, c): a block covers a tile of columns, packs of four where they are
// aligned for it, and walks kThreads / lanes rows at a time. Sums over rows are taken chunk by chunk, and the
// chunks are added in double in a fixed order.
#pragma once
#include "rows.h"

namespace fastnn::cuda {

// How a matrix is cut: `lanes` packs of columns side by side, `lines` rows at a time, `chunk` rows per block.
struct Tiles {
  int64_t rows, c, tiles, chunks;
  int lanes, lines, chunk;
};
template <int V>
Tiles tiles_of(int64_t rows, int64_t c) {
  Tiles t{rows, c, 0, 0, 1, 0, 0};
  while (t.lanes < 32 && t.lanes * V < c) t.lanes *= 2;
  t.lines = kThreads / t.lanes;
  t.chunk = t.lines * 16;
  t.tiles = ceil_div(c, t.lanes * V);
  t.chunks = ceil_div(rows, t.chunk);
  return t;
}

// The place of a thread in its block's tile: its first column, c or more for a thread without one, its line, and
// the rows of its chunk.
template <int V>
struct Place {
  int lane, line;
  int64_t chunk, column, begin, end;
  // Blocks of the grid beyond the first walk on: block counts 0 ... tiles * chunks.
  __device__ __forceinline__ Place(const Tiles& t, int64_t block) : lane(threadIdx.x % t.lanes), line(threadIdx.x / t.lanes) {
    chunk = block / t.tiles;
    column = ((block - chunk * t.tiles) * t.lanes + lane) * V;
    begin = chunk * t.chunk;
    end = begin + t.chunk < t.rows ? begin + t.chunk : t.rows;
  }
};
inline unsigned tile_blocks(const Tiles& t) { return blocks_for(t.chunks * t.tiles, 1); }

// Sums v (K) of a block's threads over its lines, for all of them. tile: K * kThreads floats.
template <int K>
__device__ __forceinline__ void sum_over_lines(float (&v)[K], float* tile, const Tiles& t) {
  const int lane = threadIdx.x % t.lanes, line = threadIdx.x / t.lanes;
  __syncthreads();  // the last sums are still being read
  FASTNN_UNROLL for (int k = 0; k < K; ++k) tile[k * kThreads + threadIdx.x] = v[k];
  for (int half = t.lines / 2; half > 0; half /= 2) {
    __syncthreads();
    if (line < half)
      FASTNN_UNROLL for (int k = 0; k < K; ++k) tile[k * kThreads + threadIdx.x] += tile[k * kThreads + threadIdx.x + half * t.lanes];
  }
  __syncthreads();
  FASTNN_UNROLL for (int k = 0; k < K; ++k) v[k] = tile[k * kThreads + lane];
}

// to (V of a row of c) = v[first ... first + V)
template <int V, int K>
__device__ __forceinline__ void store_part(float* to, const float (&v)[K], int first) {
  Pack<V> a;
  FASTNN_UNROLL for (int k = 0; k < V; ++k) a.v[k] = v[first + k];
  store<V>(to, a);
}

// partial (chunks, 2, c): sums over the rows of a chunk of what f(row, column, sums) adds to sums (2, V).
template <int V, class F>
__global__ void column_sums_kernel(F f, Tiles t, float* __restrict__ partial) {
  FASTNN_SHARED(float, tile, [2 * V * kThreads]);
  for (int64_t block = blockIdx.x; block < t.chunks * t.tiles; block += gridDim.x) {
    const Place<V> at(t, block);
    float sums[2 * V] = {};  // of a, then of b
    if (at.column < t.c)
      for (int64_t r = at.begin + at.line; r < at.end; r += t.lines) f(r, at.column, sums);
    sum_over_lines(sums, tile, t);
    if (at.line == 0 && at.column < t.c) {
      store_part<V>(partial + 2 * at.chunk * t.c + at.column, sums, 0);
      store_part<V>(partial + (2 * at.chunk + 1) * t.c + at.column, sums, V);
    }
  }
}

// ---- chunks together: 32 columns per block, 8 threads for each ----

constexpr int kMergeLines = kThreads / 32;

// The sum over a column's threads for each of them; the threads of one column have its number modulo 32.
__device__ __forceinline__ double sum_lines(double mine) {
  FASTNN_SHARED(double, sums, [kThreads]);
  __syncthreads();
  sums[threadIdx.x] = mine;
  __syncthreads();
  double sum = 0;
  for (int line = 0; line < kMergeLines; ++line) sum += sums[line * 32 + threadIdx.x % 32];
  return sum;
}

// f(column, sum of a, sum of b) by one thread per column.
template <class F>
__global__ void merge_sums_kernel(F f, const float* __restrict__ partial, int64_t chunks, int64_t c) {
  const int64_t column = int64_t(blockIdx.x) * 32 + threadIdx.x % 32;
  const int line = threadIdx.x / 32;
  double a = 0, b = 0;
  if (column < c)
    for (int64_t i = line; i < chunks; i += kMergeLines) a += partial[2 * i * c + column], b += partial[(2 * i + 1) * c + column];
  a = sum_lines(a);
  b = sum_lines(b);
  if (line == 0 && column < c) f(column, a, b);
}

// Calls finish(column, sum a, sum b) with the sums over all rows of f(row, column, sums), V columns at a time.
template <int V, class F, class Finish>
void column_sums(F f, Finish finish, int64_t rows, int64_t c) {
  const Tiles t = tiles_of<V>(rows, c);
  Scratch<float> partial(2 * t.chunks * c);
  if (t.chunks) launch(column_sums_kernel<V, F>, tile_blocks(t), kThreads, 0, f, t, partial.get());
  launch(merge_sums_kernel<Finish>, unsigned(ceil_div(c, 32)), kThreads, 0, finish, partial.get(), t.chunks, c);
}

}  // namespace fastnn::cuda
