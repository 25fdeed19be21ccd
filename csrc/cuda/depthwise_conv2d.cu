// Depthwise convolution: every channel has its own window, lanes run over channels.
//
// A block computes a tile of outputs for up to 32 channels. The cells that it reads come to shared memory once, by
// cp.async; a thread computes strips of 4 neighbouring outputs and loads a column once for all of them.
// Floor: x and y moved once, 2 kh kw operations for 8 bytes: bound by memory for windows up to about 7 x 7.
// Taps outside of the image are left out, not multiplied by zero. Backward of strided windows gathers per cell.
#include "ptx.h"
#include "window.h"

namespace fastnn::cuda {
namespace {

constexpr int kStrip = 4;

// Tiles of th x tw outputs and `lanes` channels (a power of two); rows x cols cells are read for each.
struct Tiles {
  int th, tw, lanes, rows, cols;
  int64_t down, across, chunks;
  int64_t floats(const WindowShape& s) const { return (int64_t(rows) * cols + s.kh * s.kw) * lanes; }
};

// One block per tile, chunk of channels and image. KW, SW: undilated width and stride where they are known, else 0.
// turned: the window turned by 180 degrees, for the gradient.
template <int KW, int SW, int V>
__global__ void __launch_bounds__(kThreads) depthwise_tile_kernel(const float* __restrict__ x, const float* __restrict__ w,
                                                                  float* __restrict__ y, WindowShape s, Tiles t, bool turned, int64_t first_block) {
  FASTNN_DYNAMIC_SHARED(float, cells);  // (rows, cols, lanes), then the window (kh * kw, lanes)
  float* window = cells + t.rows * t.cols * t.lanes;
  int64_t block = first_block + blockIdx.x;
  const int64_t c0 = block % t.chunks * t.lanes;
  block /= t.chunks;
  const int64_t j0 = block % t.across * t.tw;
  block /= t.across;
  const int64_t i0 = block % t.down * t.th, n = block / t.down;
  const int64_t top = i0 * s.sh - s.ph, left = j0 * s.sw - s.pw;
  const int taps = int(s.kh * s.kw), groups = t.lanes / V;
  for (int e = threadIdx.x; e < t.rows * t.cols * groups; e += kThreads) {
    const int pixel = e / groups;
    const int64_t k = c0 + e % groups * V, i = top + pixel / t.cols, j = left + pixel % t.cols;
    const bool inside = k < s.c && i >= 0 && i < s.ih && j >= 0 && j < s.iw;
    copy_async<4 * V>(cells + e * V, inside ? x + ((n * s.ih + i) * s.iw + j) * s.c + k : x, inside ? 4 * V : 0);
  }
  for (int e = threadIdx.x; e < taps * t.lanes; e += kThreads) {
    const int64_t k = c0 + e % t.lanes, tap = e / t.lanes;
    window[e] = k < s.c ? w[(turned ? taps - 1 - tap : tap) * s.c + k] : 0.0f;
  }
  commit_copies();
  wait_copies<0>();
  __syncthreads();

  const int lane = threadIdx.x % t.lanes, slots = kThreads / t.lanes, strips = t.tw / kStrip;
  const int64_t k = c0 + lane;
  for (int q = threadIdx.x / t.lanes; q < t.th * strips; q += slots) {
    const int row = q / strips, col = q % strips * kStrip;
    const int64_t i = i0 + row, j = j0 + col, first = j * s.sw - s.pw;
    if (i >= s.oh || j >= s.ow || k >= s.c) continue;
    const Range rows = valid_taps(i * s.sh - s.ph, s.kh, s.dh, s.ih);
    const bool inside = first >= 0 && first + (kStrip - 1) * s.sw + (s.kw - 1) * s.dw < s.iw;
    float sum[kStrip] = {0, 0, 0, 0};
    for (int u = int(rows.begin); u < int(rows.end); ++u) {
      const float* xp = cells + ((row * int(s.sh) + u * int(s.dh)) * t.cols + col * int(s.sw)) * t.lanes + lane;
      const float* wp = window + u * int(s.kw) * t.lanes + lane;
      if (KW > 0 && inside) {
        constexpr int width = KW > 0 ? KW : 1;
        float wv[width];
        FASTNN_UNROLL for (int v = 0; v < KW; ++v) wv[v] = wp[v * t.lanes];
        FASTNN_UNROLL for (int q = 0; q < (kStrip - 1) * SW + KW; ++q) {
          const float xq = xp[q * t.lanes];
          FASTNN_UNROLL for (int p = 0; p < kStrip; ++p)
            if (q - p * SW >= 0 && q - p * SW < KW) sum[p] = fmaf(xq, wv[q - p * SW], sum[p]);
        }
      } else {
        for (int v = 0; v < int(s.kw); ++v) {
          const float wv = wp[v * t.lanes];
          FASTNN_UNROLL for (int p = 0; p < kStrip; ++p) {
            const int64_t at = first + p * s.sw + v * s.dw;
            if (at >= 0 && at < s.iw) sum[p] = fmaf(xp[(p * int(s.sw) + v * int(s.dw)) * t.lanes], wv, sum[p]);
          }
        }
      }
    }
    FASTNN_UNROLL for (int p = 0; p < kStrip; ++p)
      if (j + p < s.ow) y[((n * s.oh + i) * s.ow + j + p) * s.c + k] = sum[p];
  }
}

// Windows whose cells do not fit: one thread per output and V channels. Without the second bound ptxas spills for
// sm_80, to fit four blocks.
template <int V>
__global__ void __launch_bounds__(kThreads, 2) depthwise_direct_kernel(const float* __restrict__ x, const float* __restrict__ w,
                                                                    float* __restrict__ y, WindowShape s, bool turned, int64_t count) {
  const int64_t taps = s.kh * s.kw;
  for (int64_t e = first_index(); e < count; e += index_step()) {
    const Cell at(e, s.oh, s.ow, s.c / V, V);
    const int64_t top = at.i * s.sh - s.ph, left = at.j * s.sw - s.pw;
    const Range rows = valid_taps(top, s.kh, s.dh, s.ih), cols = valid_taps(left, s.kw, s.dw, s.iw);
    float sum[V];
    FASTNN_UNROLL for (int q = 0; q < V; ++q) sum[q] = 0;
    for (int64_t u = rows.begin; u < rows.end; ++u)
      for (int64_t v = cols.begin; v < cols.end; ++v) {
        const int64_t tap = u * s.kw + v;
        float xv[V], wv[V];
        load_lanes<V>(x + ((at.n * s.ih + top + u * s.dh) * s.iw + left + v * s.dw) * s.c + at.k, xv);
        load_lanes<V>(w + (turned ? taps - 1 - tap : tap) * s.c + at.k, wv);
        FASTNN_UNROLL for (int q = 0; q < V; ++q) sum[q] = fmaf(xv[q], wv[q], sum[q]);
      }
    store_lanes<V>(y + e * V, sum);
  }
}

// The largest tile whose cells fit into 40 KB, or one without cells: several blocks then share an SM.
Tiles choose_tiles(const WindowShape& s) {
  constexpr int64_t kFloats = 10 * 1024;
  Tiles t{};
  t.lanes = 32;
  while (t.lanes > 4 && t.lanes / 2 >= s.c) t.lanes /= 2;
  for (int tw : {16, 8, 4})
    for (int th : {8, 4, 2, 1}) {
      if ((tw > 4 && tw / 2 >= s.ow) || (th > 1 && th / 2 >= s.oh)) continue;
      const int64_t rows = (th - 1) * s.sh + (s.kh - 1) * s.dh + 1, cols = (tw - 1) * s.sw + (s.kw - 1) * s.dw + 1;
      if (rows > kFloats || cols > kFloats || (rows * cols + s.kh * s.kw) * t.lanes > kFloats) continue;
      t.th = th, t.tw = tw, t.rows = int(rows), t.cols = int(cols);
      t.down = ceil_div(s.oh, th), t.across = ceil_div(s.ow, tw), t.chunks = ceil_div(s.c, t.lanes);
      return t;
    }
  return t;
}

template <int V>
void convolve(const float* x, const float* w, float* y, const WindowShape& s, bool turned) {
  const Tiles t = choose_tiles(s);
  if (!t.rows) {
    const int64_t count = s.n * s.oh * s.ow * (s.c / V);
    launch(depthwise_direct_kernel<V>, blocks_for(count), kThreads, 0, x, w, y, s, turned, count);
    return;
  }
  const auto run = [&](auto kernel) {
    launch_grids(kernel, s.n * t.down * t.across * t.chunks, kThreads, size_t(t.floats(s) * 4), x, w, y, s, t, turned);
  };
  if (s.dw == 1 && s.kw == 3 && s.sw == 1) run(depthwise_tile_kernel<3, 1, V>);
  else if (s.dw == 1 && s.kw == 3 && s.sw == 2) run(depthwise_tile_kernel<3, 2, V>);
  else if (s.dw == 1 && s.kw == 5 && s.sw == 1) run(depthwise_tile_kernel<5, 1, V>);
  else if (s.dw == 1 && s.kw == 5 && s.sw == 2) run(depthwise_tile_kernel<5, 2, V>);
  else run(depthwise_tile_kernel<0, 0, V>);
}

// One thread per cell of gx and V channels: it gathers the outputs that read it, in rising order.
template <int V>
__global__ void __launch_bounds__(kThreads, 2) depthwise_gather_kernel(const float* __restrict__ gy, const float* __restrict__ w,
                                                                    float* __restrict__ gx, WindowShape s, int64_t count) {
  for (int64_t e = first_index(); e < count; e += index_step()) {
    const Cell at(e, s.ih, s.iw, s.c / V, V);
    const Range down = covering(at.i, s.oh, s.kh, s.sh, s.ph, s.dh), across = covering(at.j, s.ow, s.kw, s.sw, s.pw, s.dw);
    float sum[V];
    FASTNN_UNROLL for (int q = 0; q < V; ++q) sum[q] = 0;
    for (int64_t oi = down.begin; oi < down.end; ++oi) {
      const int64_t u = at.i + s.ph - oi * s.sh;
      if (s.dh > 1 && u % s.dh) continue;
      for (int64_t oj = across.begin; oj < across.end; ++oj) {
        const int64_t v = at.j + s.pw - oj * s.sw;
        if (s.dw > 1 && v % s.dw) continue;
        float g[V], wv[V];
        load_lanes<V>(gy + ((at.n * s.oh + oi) * s.ow + oj) * s.c + at.k, g);
        load_lanes<V>(w + ((s.dh > 1 ? u / s.dh : u) * s.kw + (s.dw > 1 ? v / s.dw : v)) * s.c + at.k, wv);
        FASTNN_UNROLL for (int q = 0; q < V; ++q) sum[q] = fmaf(g[q], wv[q], sum[q]);
      }
    }
    store_lanes<V>(gx + e * V, sum);
  }
}

// ---- gradient of the window ----

// One block per 32 channels and group of output rows, one warp per row, lanes over channels. A thread keeps the K x K
// cells of its window and their sums in registers and moves along the row: each step loads only the new columns.
// The eight sums are added in order. partial: (groups, K * K, c).
template <int K, int S>
__global__ void __launch_bounds__(kThreads) depthwise_weights_kernel(const float* __restrict__ x, const float* __restrict__ gy,
                                                                     float* __restrict__ partial, WindowShape s, int64_t group,
                                                                     int64_t first_block) {
  FASTNN_SHARED(float, sums, [8][32]);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t chunks = (s.c + 31) / 32, block = first_block + blockIdx.x, k = block % chunks * 32 + lane, part = block / chunks;
  const int64_t end = min(s.n * s.oh, (part + 1) * group);
  float sum[K][K];
  FASTNN_UNROLL for (int u = 0; u < K; ++u)
    FASTNN_UNROLL for (int v = 0; v < K; ++v) sum[u][v] = 0;
  if (k < s.c)
    for (int64_t r = part * group + warp; r < end; r += 8) {
      const int64_t top = r % s.oh * s.sh - s.ph;
      const float* image = x + (r / s.oh * s.ih + top) * s.iw * s.c + k;
      const float* g = gy + r * s.ow * s.c + k;
      bool row_inside[K];
      FASTNN_UNROLL for (int u = 0; u < K; ++u) row_inside[u] = top + u >= 0 && top + u < s.ih;
      float cell[K][K];
      const auto load = [&](int u, int64_t j) {
        return row_inside[u] && j >= 0 && j < s.iw ? image[(u * s.iw + j) * s.c] : 0.0f;
      };
      FASTNN_UNROLL for (int u = 0; u < K; ++u)
        FASTNN_UNROLL for (int v = 0; v < K - S; ++v) cell[u][v + S] = load(u, v - s.pw);
      for (int64_t j = 0; j < s.ow; ++j) {
        const int64_t left = j * S - s.pw;
        FASTNN_UNROLL for (int u = 0; u < K; ++u) {
          FASTNN_UNROLL for (int v = 0; v < K - S; ++v) cell[u][v] = cell[u][v + S];
          FASTNN_UNROLL for (int v = K - S; v < K; ++v) cell[u][v] = load(u, left + v);
        }
        const float gv = g[j * s.c];
        const bool inside = left >= 0 && left + K <= s.iw;
        FASTNN_UNROLL for (int u = 0; u < K; ++u)
          FASTNN_UNROLL for (int v = 0; v < K; ++v)
            if (row_inside[u] && (inside || (left + v >= 0 && left + v < s.iw))) sum[u][v] = fmaf(cell[u][v], gv, sum[u][v]);
      }
    }
  FASTNN_UNROLL for (int u = 0; u < K; ++u)
    FASTNN_UNROLL for (int v = 0; v < K; ++v) {
      __syncthreads();  // the sums of the tap before have been read
      sums[warp][lane] = sum[u][v];
      __syncthreads();
      if (warp == 0 && k < s.c) {
        float total = sums[0][lane];
        FASTNN_UNROLL for (int i = 1; i < 8; ++i) total += sums[i][lane];
        partial[(part * K * K + u * K + v) * s.c + k] = total;
      }
    }
}

// Any window: one block per tap as well.
__global__ void __launch_bounds__(kThreads) depthwise_any_weights_kernel(const float* __restrict__ x, const float* __restrict__ gy,
                                                                         float* __restrict__ partial, WindowShape s, int64_t group,
                                                                     int64_t first_block) {
  FASTNN_SHARED(float, sums, [8][32]);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t chunks = (s.c + 31) / 32, taps = s.kh * s.kw, block = first_block + blockIdx.x;
  const int64_t k = block % chunks * 32 + lane, tap = block / chunks % taps, part = block / chunks / taps;
  const int64_t end = min(s.n * s.oh, (part + 1) * group), u = tap / s.kw, v = tap % s.kw;
  float sum = 0;
  if (k < s.c)
    for (int64_t r = part * group + warp; r < end; r += 8) {
      const int64_t i = r % s.oh * s.sh - s.ph + u * s.dh;
      if (i < 0 || i >= s.ih) continue;
      // The outputs whose tap lies inside the row.
      const int64_t first = v * s.dw - s.pw, begin = max(int64_t(0), ceil_divide(-first, s.sw));
      const int64_t last = min(s.ow, ceil_divide(s.iw - first, s.sw));
      const float* xp = x + ((r / s.oh * s.ih + i) * s.iw + first) * s.c + k;
      const float* g = gy + r * s.ow * s.c + k;
      for (int64_t j = begin; j < last; ++j) sum = fmaf(xp[j * s.sw * s.c], g[j * s.c], sum);
    }
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp == 0 && k < s.c) {
    FASTNN_UNROLL for (int i = 1; i < 8; ++i) sum += sums[i][lane];
    partial[(part * taps + tap) * s.c + k] = sum;
  }
}

__global__ void add_partial_windows_kernel(const float* __restrict__ partial, float* __restrict__ gw, int64_t parts, int64_t size) {
  for (int64_t e = first_index(); e < size; e += index_step()) {
    float sum = partial[e];
    for (int64_t part = 1; part < parts; ++part) sum += partial[part * size + e];
    gw[e] = sum;
  }
}

// ---- channels ----

// Four results per thread and step, then the rest one by one.
__global__ void repeat_channels_kernel(const float* __restrict__ x, float* __restrict__ y, int64_t m, int64_t n, int64_t quads) {
  for (int64_t q = first_index(); q < quads; q += index_step()) {
    int64_t at = 4 * q / m, rest = 4 * q % m;
    float v[4];
    FASTNN_UNROLL for (int i = 0; i < 4; ++i) {
      v[i] = x[at];
      if (++rest == m) rest = 0, ++at;
    }
    store_lanes<4>(y + 4 * q, v);
  }
  for (int64_t e = 4 * quads + first_index(); e < n; e += index_step()) y[e] = x[e / m];
}

// One thread per sum; a block's values come through shared memory, so that they are read in a row. An odd distance
// between groups keeps threads out of each other's banks.
__global__ void __launch_bounds__(kThreads) sum_groups_kernel(const float* __restrict__ y, float* __restrict__ x, int64_t count, int m) {
  FASTNN_DYNAMIC_SHARED(float, values);
  const int ld = m | 1;
  const int64_t first = int64_t(blockIdx.x) * kThreads, here = min(count - first, int64_t(kThreads));
  for (int e = threadIdx.x; e < int(here) * m; e += kThreads) values[e / m * ld + e % m] = y[first * m + e];
  __syncthreads();
  if (threadIdx.x < here) {
    float sum = 0;
    for (int i = 0; i < m; ++i) sum += values[threadIdx.x * ld + i];
    x[first + threadIdx.x] = sum;
  }
}
// One warp per sum.
__global__ void __launch_bounds__(kThreads) sum_long_groups_kernel(const float* __restrict__ y, float* __restrict__ x, int64_t count, int64_t m) {
  const int lane = threadIdx.x % 32;
  for (int64_t g = first_index() / 32; g < count; g += index_step() / 32) {
    float sum = 0;
    for (int64_t i = lane; i < m; i += 32) sum += y[g * m + i];
    sum = warp_reduce(sum, Sum());
    if (lane == 0) x[g] = sum;
  }
}

}  // namespace

void depthwise_conv2d_forward(const float* x, const float* w, float* y, WindowShape s) {
  in_quads(s.c, x, y, w) ? convolve<4>(x, w, y, s, false) : convolve<1>(x, w, y, s, false);
}

void depthwise_conv2d_backward_input(const float* gy, const float* w, float* gx, WindowShape s) {
  const bool quads = in_quads(s.c, gy, w, gx);
  if (s.sh == 1 && s.sw == 1 && s.oh > 0 && s.ow > 0) {
    // A convolution of gy with the turned window.
    const WindowShape back{s.n, s.oh, s.ow, s.c, s.ih, s.iw, s.kh, s.kw, 1, 1,
                           (s.kh - 1) * s.dh - s.ph, (s.kw - 1) * s.dw - s.pw, s.dh, s.dw};
    return quads ? convolve<4>(gy, w, gx, back, true) : convolve<1>(gy, w, gx, back, true);
  }
  const int64_t count = s.n * s.ih * s.iw * s.c;
  if (quads) launch(depthwise_gather_kernel<4>, blocks_for(count / 4), kThreads, 0, gy, w, gx, s, count / 4);
  else launch(depthwise_gather_kernel<1>, blocks_for(count), kThreads, 0, gy, w, gx, s, count);
}

void depthwise_conv2d_backward_weights(const float* x, const float* gy, float* gw, WindowShape s) {
  const int64_t rows = s.n * s.oh, taps = s.kh * s.kw, size = taps * s.c;
  if (rows * s.ow == 0) return fill_bytes(gw, 0, size * 4);
  const bool in_registers = s.dh == 1 && s.dw == 1 && s.kh == s.kw && (s.kh == 3 || s.kh == 5) && (s.sw == 1 || s.sw == 2);
  // About 1024 blocks of 8 rows or more fill a GPU.
  const int64_t chunks = ceil_div(s.c, 32) * (in_registers ? 1 : taps);
  const int64_t group = max(ceil_div(rows, max(int64_t(1), 1024 / chunks)), int64_t(8)), parts = ceil_div(rows, group);
  Scratch<float> partial(parts > 1 ? parts * size : 0);
  float* to = parts > 1 ? partial.get() : gw;
  const auto run = [&](auto kernel) { launch_grids(kernel, parts * chunks, kThreads, 0, x, gy, to, s, group); };
  if (!in_registers) run(depthwise_any_weights_kernel);
  else if (s.kw == 3) s.sw == 1 ? run(depthwise_weights_kernel<3, 1>) : run(depthwise_weights_kernel<3, 2>);
  else s.sw == 1 ? run(depthwise_weights_kernel<5, 1>) : run(depthwise_weights_kernel<5, 2>);
  if (parts > 1) launch(add_partial_windows_kernel, blocks_for(size), kThreads, 0, partial.get(), gw, parts, size);
}

void repeat_channels(const float* x, float* y, int64_t rows, int64_t c, int64_t m) {
  const int64_t n = rows * c * m, quads = in_quads(n, y) ? n / 4 : 0;
  launch(repeat_channels_kernel, blocks_for(quads ? quads : n), kThreads, 0, x, y, m, n, quads);
}

void sum_channel_groups(const float* y, float* x, int64_t rows, int64_t c, int64_t m) {
  const int64_t count = rows * c, blocks = ceil_div(count, kThreads);
  if (m <= 32 && blocks <= max_grid())
    launch(sum_groups_kernel, dim3(unsigned(blocks)), dim3(kThreads), size_t(kThreads * (m | 1) * 4), y, x, count, int(m));
  else launch(sum_long_groups_kernel, blocks_for(count * 32), kThreads, 0, y, x, count, m);
}

}  // namespace fastnn::cuda
