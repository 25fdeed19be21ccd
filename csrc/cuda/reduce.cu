// Reductions over one group of neighbouring axes: x (outer, n, inner) -> y (outer, inner).
//
// Rows (inner = 1): a group of threads per row. Columns: a block per tile of columns, threads side by side along
// them, and a tree over the rows of the block. What is longer than a part is reduced part by part, then the parts:
// sums are trees whose shape follows from the sizes alone. One read of x, so bound by memory: 4 bytes per element.
#include "rows.h"

namespace fastnn::cuda {
namespace {

struct Product {
  __device__ __forceinline__ float operator()(float a, float b) const { return a * b; }
  static constexpr float neutral = 1.0f;
};

constexpr int64_t kRowPart = 16384;  // 64 elements per thread of a block

// x (outer, n), cut into parts of `part` elements: y (outer, parts) = f over a part, divided.
template <int V, class F>
__global__ void reduce_rows_kernel(F f, const float* __restrict__ x, float* __restrict__ y, int64_t outer, int64_t n,
                                   int64_t parts, int64_t part, float divisor, int width) {
  const Group g(width);
  for (int64_t row = g.first_row(); g.more(row, outer * parts); row += g.row_step()) {
    const bool valid = row < outer * parts;
    const int64_t o = parts == 1 ? row : row / parts, begin = (row - o * parts) * part;
    const int64_t count = !valid ? 0 : n - begin < part ? n - begin : part;
    const float* p = x + o * n + begin;
    float acc[4] = {F::neutral, F::neutral, F::neutral, F::neutral};
    for (int64_t i = g.rank * V; i < count; i += width * V) {
      const Pack<V> a = load<V>(p + i);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) acc[k] = f(acc[k], a.v[k]);
    }
    const float total = g.reduce(V == 1 ? acc[0] : f(f(acc[0], acc[1]), f(acc[2], acc[3])), f);
    if (valid && g.rank == 0) y[row] = total / divisor;
  }
}

// A block covers `lanes` packs of columns and kThreads / lanes rows at a time, of one part of one outer index.
// y (outer, parts, inner) = f over a part, divided.
template <int V, class F>
__global__ void reduce_columns_kernel(F f, const float* __restrict__ x, float* __restrict__ y, int64_t n, int64_t inner,
                                      int64_t parts, int64_t part, int64_t tiles, float divisor, int lanes, int64_t first) {
  FASTNN_SHARED(float, tile, [kThreads * V]);
  const int lane = threadIdx.x % lanes, line = threadIdx.x / lanes, lines = kThreads / lanes;
  const int64_t block = first + blockIdx.x, at = block / tiles, o = at / parts, begin = (at - o * parts) * part;
  const int64_t column = (block - at * tiles) * lanes * V + lane * V;
  const int64_t end = n - begin < part ? n : begin + part;
  float acc[2][V];
  FASTNN_UNROLL for (int k = 0; k < V; ++k) acc[0][k] = acc[1][k] = F::neutral;
  if (column < inner) {
    const float* p = x + o * n * inner + column;
    int64_t r = begin + line;
    for (; r + lines < end; r += 2 * lines) {
      const Pack<V> a = load<V>(p + r * inner), b = load<V>(p + (r + lines) * inner);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) acc[0][k] = f(acc[0][k], a.v[k]), acc[1][k] = f(acc[1][k], b.v[k]);
    }
    if (r < end) {
      const Pack<V> a = load<V>(p + r * inner);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) acc[0][k] = f(acc[0][k], a.v[k]);
    }
  }
  // tile (V, lines, lanes): neighbouring threads, neighbouring banks
  FASTNN_UNROLL for (int k = 0; k < V; ++k) tile[k * kThreads + threadIdx.x] = f(acc[0][k], acc[1][k]);
  for (int half = lines / 2; half > 0; half /= 2) {
    __syncthreads();
    if (line < half)
      FASTNN_UNROLL for (int k = 0; k < V; ++k) {
        float& to = tile[k * kThreads + threadIdx.x];
        to = f(to, tile[k * kThreads + threadIdx.x + half * lanes]);
      }
  }
  if (line == 0 && column < inner) {
    Pack<V> total;
    FASTNN_UNROLL for (int k = 0; k < V; ++k) total.v[k] = tile[k * kThreads + lane] / divisor;
    store<V>(y + at * inner + column, total);
  }
}

// The packs of columns that a block covers side by side.
inline int column_lanes(int64_t packs) {
  int lanes = 1;
  while (lanes < 32 && lanes < packs) lanes *= 2;
  return lanes;
}

template <class F>
void reduce_rows(F f, const float* x, float* y, int64_t outer, int64_t n, float divisor) {
  const int64_t parts = n > kRowPart ? ceil_div(n, kRowPart) : 1, part = parts == 1 ? n : kRowPart;
  const auto run = [&](float* to, float d) {
    with_pack(n, [&](auto v) {
      constexpr int V = decltype(v)::value;
      const int width = group_width(ceil_div(part, V));
      launch(reduce_rows_kernel<V, F>, row_blocks(outer * parts, width), kThreads, 0, f, x, to, outer, n, parts, part, d, width);
    }, x);
  };
  if (parts == 1) return run(y, divisor);
  Scratch<float> partial(outer * parts);
  run(partial.get(), 1);
  reduce_rows(f, partial.get(), y, outer, parts, divisor);
}

template <class F>
void reduce_columns(F f, const float* x, float* y, int64_t outer, int64_t n, int64_t inner, float divisor) {
  with_pack(inner, [&](auto v) {
    constexpr int V = decltype(v)::value;
    const int lanes = column_lanes(ceil_div(inner, V));
    const int64_t tiles = ceil_div(inner, lanes * V), longest = int64_t(kThreads / lanes) * 32;
    const int64_t parts = n > longest ? ceil_div(n, longest) : 1;
    const auto run = [&](float* to, float d) {
      launch_grids(reduce_columns_kernel<V, F>, outer * parts * tiles, kThreads, 0, f, x, to, n, inner, parts, longest, tiles, d, lanes);
    };
    if (parts == 1) return run(y, divisor);
    Scratch<float> partial(outer * parts * inner);
    run(partial.get(), 1);
    reduce_columns(f, partial.get(), y, outer, parts, inner, divisor);
  }, x, y);
}

template <class F>
void reduce_any(F f, const float* x, float* y, int64_t outer, int64_t n, int64_t inner, float divisor) {
  if (inner == 1) reduce_rows(f, x, y, outer, n, divisor);
  else reduce_columns(f, x, y, outer, n, inner, divisor);
}

// ---- positions of extrema ----

struct Found {
  float value;
  int32_t at;  // -1: nothing
};
// The first of two: NaN before all numbers, then the extremum, then the smaller position.
template <bool minimum>
__device__ __forceinline__ Found first_of(Found a, Found b) {
  if (a.at < 0 || b.at < 0) return a.at < 0 ? b : a;
  const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
  if (a_nan != b_nan) return a_nan ? a : b;
  if (!a_nan && a.value != b.value) return (minimum ? a.value < b.value : a.value > b.value) ? a : b;
  return a.at < b.at ? a : b;
}

// What is compared: numbers, or what was found in parts of them.
struct Numbers {
  const float* x;
  __device__ __forceinline__ Found get(int64_t offset, int64_t j) const { return {x[offset], int32_t(j)}; }
};
struct FoundInParts {
  const Found* x;
  __device__ __forceinline__ Found get(int64_t offset, int64_t) const { return x[offset]; }
};

// A block covers `lanes` columns and kThreads / lanes rows at a time, of one part of one outer index; lanes = 1 for
// contiguous rows, whose threads stand side by side along n. y (outer, parts, inner), or `found` where that is not null.
template <bool minimum, class X>
__global__ void arg_reduce_kernel(X x, int32_t* __restrict__ y, Found* __restrict__ found, int64_t n, int64_t inner, int64_t parts,
                                  int64_t part, int64_t tiles, int lanes, int64_t first) {
  FASTNN_SHARED(Found, tile, [kThreads]);
  const int lane = threadIdx.x % lanes, line = threadIdx.x / lanes, lines = kThreads / lanes;
  const int64_t block = first + blockIdx.x, at = block / tiles, o = at / parts, begin = (at - o * parts) * part;
  const int64_t column = (block - at * tiles) * lanes + lane, end = n - begin < part ? n : begin + part;
  Found best{0, -1};
  if (column < inner)
    for (int64_t j = begin + line; j < end; j += lines) best = first_of<minimum>(best, x.get((o * n + j) * inner + column, j));
  tile[threadIdx.x] = best;
  for (int half = lines / 2; half > 0; half /= 2) {
    __syncthreads();
    if (line < half) tile[threadIdx.x] = best = first_of<minimum>(best, tile[threadIdx.x + half * lanes]);
  }
  if (line != 0 || column >= inner) return;
  if (found) found[at * inner + column] = best;
  else y[at * inner + column] = best.at;
}

// Short contiguous rows: a part of a warp each.
template <bool minimum>
__global__ void arg_short_rows_kernel(const float* __restrict__ x, int32_t* __restrict__ y, int64_t outer, int64_t n, int width) {
  const Group g(width);
  for (int64_t row = g.first_row(); g.more(row, outer); row += g.row_step()) {
    Found best{0, -1};
    if (row < outer)
      for (int64_t j = g.rank; j < n; j += width) best = first_of<minimum>(best, {x[row * n + j], int32_t(j)});
    for (int d = width / 2; d > 0; d /= 2)
      best = first_of<minimum>(best, {__shfl_xor_sync(kAllLanes, best.value, d), __shfl_xor_sync(kAllLanes, best.at, d)});
    if (row < outer && g.rank == 0) y[row] = best.at;
  }
}

template <bool minimum, class X>
void arg_parts(X x, int32_t* y, int64_t outer, int64_t n, int64_t inner) {
  const int lanes = column_lanes(inner);
  const int64_t tiles = ceil_div(inner, lanes), longest = int64_t(kThreads / lanes) * 64, parts = ceil_div(n, longest);
  const auto run = [&](int32_t* to, Found* found) {
    launch_grids(arg_reduce_kernel<minimum, X>, outer * parts * tiles, kThreads, 0, x, to, found, n, inner, parts, longest, tiles, lanes);
  };
  if (parts == 1) return run(y, nullptr);
  Scratch<Found> found(outer * parts * inner);
  run(nullptr, found.get());
  arg_parts<minimum>(FoundInParts{found.get()}, y, outer, parts, inner);
}

template <bool minimum>
void arg_any(const float* x, int32_t* y, int64_t outer, int64_t n, int64_t inner) {
  const int width = group_width(n);
  if (inner == 1 && width <= 32)
    return launch(arg_short_rows_kernel<minimum>, row_blocks(outer, width), kThreads, 0, x, y, outer, n, width);
  arg_parts<minimum>(Numbers{x}, y, outer, n, inner);
}

}  // namespace

void reduce(int64_t op, const float* x, float* y, int64_t outer, int64_t n, int64_t inner, int64_t count) {
  switch (op) {
    case reduce_op::sum: return reduce_any(Sum(), x, y, outer, n, inner, 1);
    case reduce_op::mean: return reduce_any(Sum(), x, y, outer, n, inner, float(count));
    case reduce_op::max: return reduce_any(Max(), x, y, outer, n, inner, 1);
    case reduce_op::min: return reduce_any(Min(), x, y, outer, n, inner, 1);
    case reduce_op::prod: return reduce_any(Product(), x, y, outer, n, inner, 1);
  }
}

void arg_reduce(int64_t minimum, const float* x, int32_t* y, int64_t outer, int64_t n, int64_t inner) {
  minimum ? arg_any<true>(x, y, outer, n, inner) : arg_any<false>(x, y, outer, n, inner);
}

}  // namespace fastnn::cuda
