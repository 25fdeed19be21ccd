// Convolutions whose windows are few values that lie together, row by row of taps, as those of first layers: the patches of a row
// of an image stand at equal steps, and so do their results, so that a tile needs no table of offsets and four pointers.
#pragma once
#include "cpu/conv2d_patches.h"

namespace fastnn {
namespace {

struct RowTiles {
  const float* x;       // the first tap of the first patch
  int64_t step;         // floats between patches
  const int64_t* down;  // (taps) floats from x to each row of taps
  int64_t taps, across;  // rows of taps, floats of each
  const float* b;        // (taps * across, nv vectors)
  float* c;
  int64_t pitch;      // floats between the results of patches
  int64_t last;       // columns of the last vector
  const float* bias;  // padded to vectors, or null
  bool relu, around;  // around: stored around the caches
  int64_t ahead, ahead_step;  // floats from c to the results asked for beside the sums, and further at each step; 0: none
};

// `tiles` tiles of ROWS patches each, side by side.
template <int ROWS, int NV>
[[gnu::noinline]] void row_tiles(const RowTiles& t, int64_t tiles) {
  constexpr int kBases = (ROWS + 2) / 3;
  const int64_t step = t.step, pitch = t.pitch, across = t.across, last = t.last;
  const float *x = t.x, *bias = t.bias;
  float* c = t.c;
  for (; tiles > 0; --tiles, x += ROWS * step, c += ROWS * pitch) {
    Vec acc[ROWS][NV];
    FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
      FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = Vec::zero();
    const float *b = t.b, *ahead = t.ahead_step ? c + t.ahead : b;
    const int64_t ahead_step = t.ahead_step;
    for (const int64_t *down = t.down, *end = down + t.taps; down < end; ++down) {
      const float* row[kBases];  // of every third patch: an address adds up to two steps
      FASTNN_UNROLL for (int q = 0; q < kBases; ++q) row[q] = x + *down + 3 * q * step;
      for (int64_t left = across; left > 0; --left, b += NV * Vec::width) {
        __builtin_prefetch(ahead, 0, 2);
        ahead += ahead_step;
        Vec bp[NV];
        FASTNN_UNROLL for (int j = 0; j < NV; ++j) bp[j] = Vec::load(b + j * Vec::width);
        FASTNN_UNROLL for (int i = 0; i < ROWS; ++i) {
          const Vec v = Vec::set(row[i / 3][i % 3 * step]);
          FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = fma(v, bp[j], acc[i][j]);
        }
        FASTNN_UNROLL for (int q = 0; q < kBases; ++q) ++row[q];
      }
    }
    if (bias)
      FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
        FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = acc[i][j] + Vec::load(bias + j * Vec::width);
    if (t.relu)
      FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
        FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = relu(acc[i][j]);
    if (last < Vec::width) {
      FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
        FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j].store(c + i * pitch + j * Vec::width, j < NV - 1 ? Vec::width : last);
    } else if (t.around) {
      FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
        FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j].stream(c + i * pitch + j * Vec::width);
    } else {
      FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
        FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j].store(c + i * pitch + j * Vec::width);
    }
  }
}

using RowTile = void (*)(const RowTiles&, int64_t);
template <int NV, int ROWS = most_rows(NV)>
RowTile row_tiles_of(int64_t rows) {
  if constexpr (ROWS > 1)
    if (rows < ROWS) return row_tiles_of<NV, ROWS - 1>(rows);
  return row_tiles<ROWS, NV>;
}
inline RowTile choose_row_tiles(int64_t rows, int64_t nv) {
  if constexpr (kPanelVecs == 4) {
    if (nv == 4) return row_tiles_of<4>(rows);
    if (nv == 3) return row_tiles_of<3>(rows);
  }
  return nv == 2 ? row_tiles_of<2>(rows) : row_tiles_of<1>(rows);
}

// out = activation(patches @ matrix + bias), as convolve() of conv2d.cpp. False for other windows than these.
inline bool convolve_rows(const Patches& p, const KernelMatrix& matrix, int64_t n, float* out, const Grid& grid, const float* bias,
                          int64_t activation) {
  // The kernel, in 24 KB, stays in the first-level cache beside what is read and written. A task of 2.5 million products takes long
  // beside the rows that it copies and starts with, and most images still make 24 of them.
  constexpr int64_t kNear = 6144, kTask = 2500000, kLeastTask = 100000;
  const int64_t k = p.k(), across = p.across.count * p.channels, taps = p.down.count, panel = matrix.panel, padded = round_up(n, Vec::width);
  const int64_t products = p.cols * k * n;  // of a row
  if (matrix.packed || p.pixel != p.channels || p.across.span() != p.across.count || p.count() == 0 || k == 0 || k == p.channels || p.spread ||
      k * padded > kNear)
    return false;
  if (products > kTask || (p.rows < 8 && products > 4 * kLeastTask)) return false;  // rows are not cut: too few tasks
  const bool copies = panel != n || matrix.ld != n;
  Scratch<float> packed(copies ? k * padded : 0), biases(bias ? padded : 0);
  if (copies)
    for (int64_t j = 0; j < n; j += panel) pack_rows(matrix.data + j, matrix.ld, k, min(panel, n - j), packed + j * k);
  if (bias) zero(biases, padded), copy(bias, biases, n);
  const float* const b = copies ? packed.get() : matrix.data;

  const bool around = stores_around(out, p.count() * n, grid) && activation <= kActivationRelu, in_place = p.in_place();
  const int64_t step_h = in_place ? p.step_h : p.copy_step_h(), step = (in_place ? p.step_w : p.copy_step_w()) * p.channels;
  const int64_t width = in_place ? p.w : p.copy_width(p.cols), tap_h = width * p.channels;
  const int64_t rows = p.images * p.rows;
  const int64_t grain = max(min(ceil_div(rows, 24), kTask / products), ceil_div(kLeastTask, products));
  parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
    Scratch<float> buffer(in_place ? 0 : p.copy_height(min(end - begin, p.rows)) * tap_h);
    Scratch<int64_t> down(taps);
    for (int64_t u = 0; u < taps; ++u) down[u] = (p.down.offset[u] - p.down.first()) * tap_h;
    for (int64_t r = begin, count; r < end; r += count) {
      const int64_t image = r / p.rows, row0 = r % p.rows, top = row0 * p.step_h + p.down.first(), left = p.across.first();
      count = min(end - r, p.rows - row0);
      const float* x = buffer;
      if (in_place) x = p.x + (image * p.h + top) * tap_h + left * p.channels;
      else
        for (int64_t i = 0; i < p.copy_height(count); ++i) Chunk::copy_row(p, image, top + i * p.skip_h(), left, width, buffer + i * tap_h);
      float* const c = out + image * grid.image + row0 * grid.row;
      for (int64_t i = 0; i < count; ++i)
        for (int64_t j = 0; j < n; j += panel) {
          const int64_t cols = min(panel, n - j), nv = ceil_div(cols, Vec::width);
          // Tiles differ by one patch at most.
          const int64_t tiles = ceil_div(p.cols, most_rows(int(nv))), fewer = p.cols / tiles, more = p.cols % tiles;
          RowTiles t{x + i * step_h * tap_h, step, down, taps, across, b + j * k, c + i * grid.row + j, grid.col, cols - (nv - 1) * Vec::width,
                     bias ? biases + j : nullptr, activation == kActivationRelu, around && cols % Vec::width == 0, 0, 0};
          // The results of the next tile, where they lie together and are no more lines than there are sums.
          const int64_t results = (fewer + (more > 0)) * n;
          if (j == 0 && !t.around && grid.col == n && results <= 16 * k) t.ahead = results, t.ahead_step = ceil_div(results, k);
          if (more) choose_row_tiles(fewer + 1, nv)(t, more);
          t.x += more * (fewer + 1) * step, t.c += more * (fewer + 1) * grid.col;
          choose_row_tiles(fewer, nv)(t, tiles - more);
        }
      if (activation > kActivationRelu)
        for (int64_t i = 0; i < count; ++i)
          for (int64_t j = 0; j < p.cols; ++j) apply_epilogue(c + i * grid.row + j * grid.col, 0, 1, n, nullptr, activation);
    }
#if defined(__SSE2__)
    if (around) __builtin_ia32_sfence();
#endif
  });
  return true;
}

}  // namespace
}  // namespace fastnn
