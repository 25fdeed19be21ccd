// Products large enough to copy both operands: a block of b (kDepth, columns of a unit) is packed into
// panels that stay in the second-level cache; a tile of rows of a is copied to the first-level cache
// and multiplied with every panel. A tile of c is touched once per kDepth of k.
#include "cpu/gemm.h"
#include "cpu/transpose.h"

namespace fastnn::FASTNN_TARGET {
namespace {

// 28 accumulators, 2 vectors of b and one of a of 32 registers; 12 of 16.
constexpr int kRows = Vec::width == 16 ? 14 : 6, kVecs = 2;
constexpr int64_t kCols = kVecs * Vec::width;
// kRows x kDepth of a is half of a 48 KB cache, kDepth x kWidth of b half of 2 MB.
constexpr int64_t kDepth = 512, kWidth = 512;
// Between the rows of a copied tile; no multiple of a page, whose lines would share a set.
constexpr int64_t kStride = kDepth + 16;
// Between the copied columns when a is transposed.
constexpr int64_t kStep = kRows <= 8 ? 8 : 16;

struct TileOut {
  float* c;
  int64_t ldc, cols;
  bool add;
  float alpha;
  const float* ahead;  // (ahead_rows, k): lines to fetch meanwhile
  int64_t ahead_rows, ahead_ld;
};

// c (ROWS, cols) (+)= alpha * sum over p < k of a[i * ROW + p * step] * b[p * kCols + j]
template <int ROWS, int NV, int64_t ROW>
[[gnu::noinline]] void tile_kernel(int64_t k, const float* a, int64_t step, const float* b, const TileOut& t) {
  Vec acc[ROWS][NV];
  FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
    FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = Vec::zero();
  const float *c = t.c, *ahead = t.ahead;
  for (int64_t p = 0; p < k; ++p, a += step, b += kCols) {
    // The rows of c, and what the next tile needs, one by one: all at once would hold up b.
    if (p % 16 == 0) {
      FASTNN_UNROLL for (int j = 0; j < NV * Vec::width; j += 16) __builtin_prefetch(c + j, 1);
      c += t.ldc;
      for (int64_t r = 0; r < t.ahead_rows; ++r) __builtin_prefetch(ahead + r * t.ahead_ld, 0, 2);
      ahead += 16;
    }
    Vec bp[NV];
    FASTNN_UNROLL for (int j = 0; j < NV; ++j) bp[j] = Vec::load(b + j * Vec::width);
    // Panels come from the second-level cache, at most 14 cycles a row.
    FASTNN_UNROLL for (int j = 0; j < kCols; j += 16) __builtin_prefetch(b + 8 * kCols + j);
    FASTNN_UNROLL for (int i = 0; i < ROWS; ++i) {
      const Vec ai = Vec::set(a[i * ROW]);
      FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = fma(ai, bp[j], acc[i][j]);
    }
  }
  if (t.alpha != 1) {
    const Vec alpha = Vec::set(t.alpha);
    FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
      FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = acc[i][j] * alpha;
  }
  constexpr int64_t last = (NV - 1) * Vec::width;
  if (t.cols == NV * Vec::width) {
    FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
      FASTNN_UNROLL for (int j = 0; j < NV; ++j) {
        float* to = t.c + i * t.ldc + j * Vec::width;
        (t.add ? Vec::load(to) + acc[i][j] : acc[i][j]).store(to);
      }
  } else {
    FASTNN_UNROLL for (int i = 0; i < ROWS; ++i) {
      float* to = t.c + i * t.ldc;
      FASTNN_UNROLL for (int j = 0; j < NV - 1; ++j) {
        float* at = to + j * Vec::width;
        (t.add ? Vec::load(at) + acc[i][j] : acc[i][j]).store(at);
      }
      const int64_t n = t.cols - last;
      (t.add ? Vec::load(to + last, n) + acc[i][NV - 1] : acc[i][NV - 1]).store(to + last, n);
    }
  }
}

using TileKernel = void (*)(int64_t k, const float* a, int64_t step, const float* b, const TileOut& t);
template <int NV, int64_t ROW, int ROWS = kRows>
TileKernel tile_kernel_of(int64_t rows) {
  if constexpr (ROWS > 1) {
    if (rows < ROWS) return tile_kernel_of<NV, ROW, ROWS - 1>(rows);
  }
  return tile_kernel<ROWS, NV, ROW>;
}

struct Product {
  bool trans_a, trans_b;
  int64_t m, n, k;
  const float* a;
  int64_t lda;
  const float* b;
  int64_t ldb;
  float* c;
  int64_t ldc;
  bool accumulate;
  Epilogue e;
};

// Rows [p0, p0 + kc) and columns [j0, j0 + cols) of b to panels of kCols columns, `stride` apart.
void pack_block(const Product& q, int64_t p0, int64_t kc, int64_t j0, int64_t cols, float* out, int64_t stride) {
  if (!q.trans_b) {  // whole rows in turn: the hardware prefetches them
    for (int64_t p = 0; p < kc; ++p) {
      const float* from = q.b + (p0 + p) * q.ldb + j0;
      float* to = out + p * kCols;
      int64_t j = 0;
      for (; j + kCols <= cols; j += kCols, to += stride)
        FASTNN_UNROLL for (int v = 0; v < kVecs; ++v) Vec::load(from + j + v * Vec::width).store(to + v * Vec::width);
      for (; j < cols; j += Vec::width, to += Vec::width) Vec::load(from + j, min(cols - j, Vec::width)).store(to);
    }
    return;
  }
  for (int64_t j = 0; j < cols; j += Vec::width) {
    float* to = out + j / kCols * stride + j % kCols;
    const float* from = q.b + (j0 + j) * q.ldb + p0;
    const int64_t w = min(cols - j, Vec::width);
    int64_t p = 0;
    if (w == Vec::width)
      for (; p + Vec::width <= kc; p += Vec::width)
        transpose_square((const char*)(from + p), q.ldb * 4, (char*)(to + p * kCols), kCols * 4);
    for (; p < kc; ++p)
      for (int64_t i = 0; i < Vec::width; ++i) to[p * kCols + i] = i < w ? from[i * q.ldb + p] : 0.0f;
  }
}

// Rows [i0, i0 + rows) of a, slice [p0, p0 + kc).
void copy_tile(const Product& q, int64_t i0, int64_t rows, int64_t p0, int64_t kc, float* out) {
  if (q.trans_a) {
    for (int64_t p = 0; p < kc; ++p)
      for_each_vec(rows, [&](int64_t i, int64_t w) {
        Vec::load(q.a + (p0 + p) * q.lda + i0 + i, w).store(out + p * kStep + i, w);
      });
  } else {
    for (int64_t i = 0; i < rows; ++i)
      for_each_vec(kc, [&](int64_t p, int64_t w) {
        Vec::load(q.a + (i0 + i) * q.lda + p0 + p, w).store(out + i * kStride + p, w);
      });
  }
}

// A unit: rows [i0, i0 + m) and columns [j0, j0 + n) of c, slice [p0, p0 + kc) of k. `block` holds
// that slice of b packed, `tile` is room for a tile of a.
void compute_unit(const Product& q, int64_t i0, int64_t m, int64_t j0, int64_t n, int64_t p0, int64_t kc,
                  const float* block, int64_t stride, float* tile) {
  const int64_t tiles = ceil_div(m, kRows), panels = ceil_div(n, kCols);
  const bool last = p0 + kc == q.k;
  // Tiles of equal height, give or take one row.
  const int64_t height = m / tiles, higher = m % tiles;
  TileKernel kernels[2][2];  // by vectors of the panel, rows of the tile
  for (int64_t r = 0; r < 2; ++r) {
    const int64_t rows = min(height + r, kRows);
    kernels[0][r] = q.trans_a ? tile_kernel_of<1, 1>(rows) : tile_kernel_of<1, kStride>(rows);
    kernels[1][r] = q.trans_a ? tile_kernel_of<2, 1>(rows) : tile_kernel_of<2, kStride>(rows);
  }
  for (int64_t t = 0, i = i0; t < tiles; ++t) {
    const int64_t rows = height + (t < higher);
    copy_tile(q, i, rows, p0, kc, tile);
    // Each panel asks for its share of the next tile's rows.
    const int64_t next = !q.trans_a && t + 1 < tiles ? height + (t + 1 < higher) : 0;
    for (int64_t panel = 0; panel < panels; ++panel) {
      const int64_t j = panel * kCols, cols = min(kCols, n - j), r0 = panel * next / panels;
      float* c = q.c + i * q.ldc + j0 + j;
      kernels[cols > Vec::width][t < higher](kc, tile, q.trans_a ? kStep : 1, block + panel * stride,
                                             {c, q.ldc, cols, q.accumulate || p0, q.e.alpha,
                                              q.a + (i + rows + r0) * q.lda + p0, (panel + 1) * next / panels - r0, q.lda});
      if (last) apply_epilogue(c, q.ldc, rows, cols, q.e.bias ? q.e.bias + j0 + j : nullptr, q.e.activation);
    }
    i += rows;
  }
}

}  // namespace

void gemm_blocked(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
                  const float* b, int64_t ldb, float* c, int64_t ldc, bool accumulate, float alpha, const float* bias,
                  int64_t activation) {
  const Product q{trans_a, trans_b, m, n, k, a, lda, b, ldb, c, ldc, accumulate, {alpha, bias, activation}};
  constexpr int64_t kWork = 400000;  // multiply-adds worth waking a thread for
  const int64_t slices = max(1, ceil_div(k, kDepth)), kb = max(1, ceil_div(k, slices));
  // Units of c: first rows are cut, since b stays packed for all units of its columns.
  int64_t row_units = 1, col_units = ceil_div(n, kWidth);
  while (row_units * col_units < 16 && m * n * kb > 2 * kWork * row_units * col_units) {
    if (m >= 8 * kRows * row_units) row_units *= 2;
    else if (n >= 8 * kCols * col_units) col_units *= 2;
    else break;
  }
  while (m > 16 * kRows * row_units) row_units *= 2;
  const int64_t mb = ceil_div(m, row_units), nb = round_up(ceil_div(n, col_units), kCols);
  row_units = ceil_div(m, mb), col_units = ceil_div(n, nb);
  // A worker keeps its block of b packed while it takes units of the same columns; it starts at
  // columns of its own and helps with the others at the end.
  Scratch<int64_t> next(col_units + 1);
  for (int64_t p0 = 0; p0 == 0 || p0 < k; p0 += kb) {
    const int64_t kc = min(kb, k - p0), stride = kc * kCols + 16;
    for (int64_t j = 0; j <= col_units; ++j) next[j] = 0;
    parallel_for(min(row_units * col_units, 64), 1, [&](int64_t, int64_t) {
      Scratch<float> tile(kRows * kStride + kDepth * kStep), block(ceil_div(nb, kCols) * (kb * kCols + 16));
      // 0, 1/2, 1/4, 3/4, 1/8 ... of the columns
      uint64_t arrival = uint64_t(__atomic_fetch_add(&next[col_units], 1, __ATOMIC_RELAXED)), first = 0;
      for (int bit = 1; bit <= 8; ++bit, arrival >>= 1) first = first * 2 + (arrival & 1);
      for (int64_t turn = 0; turn < col_units; ++turn) {
        const int64_t j = (int64_t(first) * col_units / 256 + turn) % col_units, j0 = j * nb, cols = min(nb, n - j0);
        bool packed = false;
        for (int64_t i; (i = __atomic_fetch_add(&next[j], 1, __ATOMIC_RELAXED)) < row_units; packed = true) {
          if (!packed) pack_block(q, p0, kc, j0, cols, block, stride);
          compute_unit(q, i * mb, min(mb, m - i * mb), j0, cols, p0, kc, block, stride, tile);
        }
      }
    });
  }
}

}  // namespace fastnn::FASTNN_TARGET
