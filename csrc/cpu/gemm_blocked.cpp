// Products large enough to copy a: a tile of its rows lies in the first-level cache and is multiplied
// with panels of b that come from the second: with a block of b (kDepth, columns of a unit) that is
// packed for many tiles, or with b as it lies for few. A tile of c is touched once per kDepth of k.
#include "cpu/gemm_narrow.h"

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
  // Fetched meanwhile: every 16 steps a line of ahead_rows rows, which then move on by ahead_step.
  const float* ahead;
  int64_t ahead_rows, ahead_ld, ahead_step;
};

// c (ROWS, cols) (+)= alpha * sum over p < k of a[i * ROW + p * step] * b[p * ldb + j]
template <int ROWS, int NV, int64_t ROW>
[[gnu::noinline]] void tile_kernel(int64_t k, const float* a, int64_t step, const float* b, int64_t ldb,
                                   const TileOut& t) {
  Vec acc[ROWS][NV];
  FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
    FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = Vec::zero();
  const float *c = t.c, *ahead = t.ahead;
  for (int64_t p = 0; p < k; ++p, a += step, b += ldb) {
    // The rows of c, and what the next tile needs, one by one: all at once would hold up b.
    if (p % 16 == 0) {
      FASTNN_UNROLL for (int j = 0; j < NV * Vec::width; j += 16) __builtin_prefetch(c + j, 1);
      c += t.ldc;
      for (int64_t r = 0; r < t.ahead_rows; ++r) __builtin_prefetch(ahead + r * t.ahead_ld, 0, 2);
      ahead += t.ahead_step;
    }
    Vec bp[NV];
    FASTNN_UNROLL for (int j = 0; j < NV; ++j) bp[j] = Vec::load(b + j * Vec::width);
    // Panels come from the second-level cache, at most 14 cycles a row.
    FASTNN_UNROLL for (int j = 0; j < kCols; j += 16) __builtin_prefetch(b + 8 * ldb + j);
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

using TileKernel = void (*)(int64_t k, const float* a, int64_t step, const float* b, int64_t ldb, const TileOut& t);
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
    for (; p < kc; p += Vec::width) transpose_edge(from + p, q.ldb, w, min(Vec::width, kc - p), to + p * kCols, kCols);
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

// Rows cut into tiles of equal height, give or take one, and the kernels for them.
struct Tiles {
  int64_t count, height, higher;  // the first `higher` tiles have a row more
  TileKernel kernels[2][2];       // by vectors of the panel, rows of the tile

  Tiles(bool trans_a, int64_t m) : count(ceil_div(m, kRows)), height(m / count), higher(m % count) {
    for (int64_t r = 0; r < 2; ++r) {
      const int64_t rows = min(height + r, kRows);
      kernels[0][r] = trans_a ? tile_kernel_of<1, 1>(rows) : tile_kernel_of<1, kStride>(rows);
      kernels[1][r] = trans_a ? tile_kernel_of<2, 1>(rows) : tile_kernel_of<2, kStride>(rows);
    }
  }
  int64_t rows(int64_t t) const { return height + (t < higher); }
  TileKernel kernel(int64_t t, int64_t cols) const { return kernels[cols > Vec::width][t < higher]; }
};

// Bias and activation of a tile whose sums reach up to k = p1.
inline void finish(const Product& q, int64_t p1, int64_t i, int64_t rows, int64_t j, int64_t cols) {
  if (p1 == q.k) apply_epilogue(q.c + i * q.ldc + j, q.ldc, rows, cols, q.e.bias ? q.e.bias + j : nullptr, q.e.activation);
}

// A unit: rows [i0, i0 + m) and columns [j0, j0 + n) of c, slice [p0, p0 + kc) of k. `block` holds
// that slice of b packed, `tile` is room for a tile of a.
void compute_unit(const Product& q, int64_t i0, int64_t m, int64_t j0, int64_t n, int64_t p0, int64_t kc,
                  const float* block, int64_t stride, float* tile) {
  const Tiles tiles(q.trans_a, m);
  const int64_t panels = ceil_div(n, kCols);
  for (int64_t t = 0, i = i0; t < tiles.count; ++t) {
    const int64_t rows = tiles.rows(t);
    copy_tile(q, i, rows, p0, kc, tile);
    // Each panel asks for its share of the next tile's rows.
    const int64_t next = !q.trans_a && t + 1 < tiles.count ? tiles.rows(t + 1) : 0;
    for (int64_t panel = 0; panel < panels; ++panel) {
      const int64_t j = panel * kCols, cols = min(kCols, n - j), r0 = panel * next / panels;
      const TileOut out{q.c + i * q.ldc + j0 + j, q.ldc, cols, q.accumulate || p0, q.e.alpha,
                        q.a + (i + rows + r0) * q.lda + p0, (panel + 1) * next / panels - r0, q.lda, 16};
      tiles.kernel(t, cols)(kc, tile, q.trans_a ? kStep : 1, block + panel * stride, kCols, out);
      finish(q, p0 + kc, i, rows, j0 + j, cols);
    }
    i += rows;
  }
}

// A unit of few rows: columns [j0, j0 + n) of all rows, with b read where it lies.
void compute_in_place(const Product& q, int64_t j0, int64_t n, int64_t p0, int64_t kc) {
  const Tiles tiles(q.trans_a, q.m);
  const int64_t size = q.trans_a ? kc * kStep : kRows * kStride, edge = n % Vec::width;
  Scratch<float> copies(tiles.count * size), last(edge ? kc * kCols : 0);
  for (int64_t t = 0, i = 0; t < tiles.count; i += tiles.rows(t), ++t)
    copy_tile(q, i, tiles.rows(t), p0, kc, copies + t * size);
  for (int64_t j = 0; j < n; j += kCols) {
    const int64_t cols = min(kCols, n - j);
    const float* panel = q.b + p0 * q.ldb + j0 + j;
    int64_t ldb = q.ldb;
    if (cols % Vec::width) {  // whole vectors would end outside of b
      pack_block(q, p0, kc, j0 + j, cols, last, 0);
      panel = last, ldb = kCols;
    }
    for (int64_t t = 0, i = 0; t < tiles.count; i += tiles.rows(t), ++t) {
      // The first two tiles ask for the next panel.
      const TileOut out{q.c + i * q.ldc + j0 + j, q.ldc, cols, q.accumulate || p0, q.e.alpha,
                        panel + kCols + t * 16, t * 16 < kCols && j + kCols < n ? 16 : 0, ldb, 16 * ldb};
      tiles.kernel(t, cols)(kc, copies + t * size, q.trans_a ? kStep : 1, panel, ldb, out);
      finish(q, p0 + kc, i, tiles.rows(t), j0 + j, cols);
    }
  }
}

// Copying pays when b exceeds half of the second-level cache and meets enough rows, must be transposed
// as well, or meets so few that it is only read. Deep products of few tiles are cut
// along k instead, by gemm_tiles.
bool pays_to_copy(bool trans_b, int64_t m, int64_t n, int64_t k) {
  if (n < Vec::width || k > 16 * max(m, n)) return false;
  if (m >= (trans_b ? 8 : 128)) return n * k >= 250000;
  return !trans_b && m > 4 && m <= 4 * kRows && n >= 64 && n * k >= 1500000;
}

// y (n) += alpha * x (k) @ b (k, n), 8 whole rows of b at a time: memory is read in long runs. x[p] is x[p * step].
void add_rows(int64_t n, int64_t k, const float* x, int64_t step, float alpha, const float* b, int64_t ldb, float* y) {
  constexpr int kAtOnce = 8;
  int64_t p = 0;
  for (; p + kAtOnce <= k; p += kAtOnce) {
    Vec factor[kAtOnce];
    FASTNN_UNROLL for (int r = 0; r < kAtOnce; ++r) factor[r] = Vec::set(alpha * x[(p + r) * step]);
    for_each_vec(n, [&](int64_t j, int64_t w) {
      Vec sum = Vec::load(y + j, w);
      FASTNN_UNROLL for (int r = 0; r < kAtOnce; ++r) sum = fma(factor[r], Vec::load(b + (p + r) * ldb + j, w), sum);
      sum.store(y + j, w);
    });
  }
  for (; p < k; ++p)
    for_each_vec(n, [&](int64_t j, int64_t w) { fma(Vec::set(alpha * x[p * step]), Vec::load(b + p * ldb + j, w), Vec::load(y + j, w)).store(y + j, w); });
}
void clear(float* y, int64_t n) {
  for_each_vec(n, [&](int64_t j, int64_t w) { Vec::zero().store(y + j, w); });
}

// y (n) = activation(alpha * x (k) @ b (k, n) + bias).
void multiply_row(int64_t n, int64_t k, const float* x, int64_t step, const float* b, int64_t ldb, float* y,
                  bool accumulate, const Epilogue& e) {
  // Of a b beyond the caches, each thread reads whole rows one after the other: one run of memory.
  constexpr int64_t kParts = 8, kFar = 4 << 20;
  if (n * k >= kFar && n <= 8192 && ldb == n) {
    const int64_t rows = round_up(ceil_div(k, kParts), 8), parts = ceil_div(k, rows);
    Scratch<float> partial(parts * n);
    parallel_for(parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        const int64_t p0 = part * rows;
        clear(partial + part * n, n);
        add_rows(n, min(rows, k - p0), x + p0 * step, step, e.alpha, b + p0 * ldb, ldb, partial + part * n);
      }
    });
    for_each_vec(n, [&](int64_t j, int64_t w) {
      Vec sum = accumulate ? Vec::load(y + j, w) : Vec::zero();
      for (int64_t part = 0; part < parts; ++part) sum = sum + Vec::load(partial + part * n + j, w);
      sum.store(y + j, w);
    });
    return apply_epilogue(y, n, 1, n, e.bias, e.activation);
  }
  const int64_t width = min(2048, max(256, round_up(ceil_div(n, 4), 64)));
  parallel_for(ceil_div(n, width), 1, [&](int64_t begin, int64_t end) {
    const int64_t j0 = begin * width, cols = min(n, end * width) - j0;
    if (!accumulate) clear(y + j0, cols);
    add_rows(cols, k, x, step, e.alpha, b + j0, ldb, y + j0);
    apply_epilogue(y + j0, cols, 1, cols, e.bias ? e.bias + j0 : nullptr, e.activation);
  });
}
// A row of at least so many columns, of a b that exceeds half of the second-level cache.
bool is_long_row(int64_t n, int64_t k) { return n >= 256 && n * k >= 300000; }

void compute_blocked(const Product& q) {
  const int64_t m = q.m, n = q.n, k = q.k;
  const int64_t slices = max(1, ceil_div(k, kDepth)), kb = max(1, ceil_div(k, slices));
  if (!q.trans_b && m <= 4 * kRows) {  // packing b would take longer than reading it a few times
    const int64_t units = min(max(1, m * n * k / (2 * kWork)), ceil_div(n, 2 * kCols));
    const int64_t nb = round_up(ceil_div(n, max(units, ceil_div(n, kWidth))), kCols);
    return parallel_for(ceil_div(n, nb), 1, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin * nb; j < end * nb; j += nb)
        for (int64_t p0 = 0; p0 == 0 || p0 < k; p0 += kb) compute_in_place(q, j, min(nb, n - j), p0, min(kb, k - p0));
    });
  }
  // Units of c: first rows are cut, since b stays packed for all units of its columns.
  int64_t row_units = 1, col_units = ceil_div(n, kWidth);
  while (row_units * col_units < 16 && m * n * kb > 4 * kWork * row_units * col_units) {
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

}  // namespace

bool gemm_blocked(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
                  const float* b, int64_t ldb, float* c, int64_t ldc, bool accumulate, const Epilogue& e) {
  if (m == 1 && !trans_b && is_long_row(n, k)) {
    multiply_row(n, k, a, trans_a ? lda : 1, b, ldb, c, accumulate, e);
    return true;
  }
  // One column of sums over the stored rows of a^T: its transpose is such a row.
  if (n == 1 && trans_a && ldc == 1 && !e.bias && is_long_row(m, k)) {
    multiply_row(m, k, b, trans_b ? 1 : ldb, a, lda, c, accumulate, e);
    return true;
  }
  if (!pays_to_copy(trans_b, m, n, k)) return false;
  compute_blocked({trans_a, trans_b, m, n, k, a, lda, b, ldb, c, ldc, accumulate, e});
  return true;
}

}  // namespace fastnn::FASTNN_TARGET
