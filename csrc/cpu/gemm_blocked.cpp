// Products large enough to copy both operands, in slices of k after which a tile of c is touched: a tile of rows of a lies
// in the first-level cache and is multiplied with panels of b that come from the second: with a block of b (kDepth, columns
// of a unit) that is packed for many tiles, or with b as it lies for few.
#include "cpu/gemm_narrow.h"

namespace fastnn::FASTNN_TARGET {
namespace {

// 28 accumulators, 2 vectors of b and one of a of 32 registers; 12 of 16.
constexpr int kRows = Vec::width == 16 ? 14 : 6, kVecs = 2;
constexpr int64_t kCols = kVecs * Vec::width;
// kRows x kDepth of a is half of a 48 KB cache, kDepth x kWidth of b half of 2 MB.
constexpr int64_t kDepth = 512, kWidth = 512;
// With 16 registers a step has few multiply-adds beside its other instructions: it is unrolled and asks for nothing itself.
constexpr bool kLean = Vec::width == 8;
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

// acc += a[i * ROW + p * STEP] * b[p * LDB + j] for UNROLL values of p, past which a and b are moved.
template <int UNROLL, int ROWS, int NV, int64_t ROW, int64_t STEP, int64_t LDB>
[[gnu::always_inline]] inline void multiply(Vec (&acc)[ROWS][NV], const float*& a, const float*& b) {
  FASTNN_UNROLL for (int u = 0; u < UNROLL; ++u) {
    Vec bp[NV];
    FASTNN_UNROLL for (int j = 0; j < NV; ++j) bp[j] = Vec::load(b + u * LDB + j * Vec::width);
    FASTNN_UNROLL for (int i = 0; i < ROWS; ++i) {
      const Vec ai = Vec::set(a[i * ROW + u * STEP]);
      FASTNN_UNROLL for (int j = 0; j < NV; ++j) add_product(acc[i][j], ai, bp[j]);
    }
    asm volatile("" ::: "memory");  // loads of the next step would take registers of the sums
  }
  a += UNROLL * STEP, b += UNROLL * LDB;
  asm("" : "+r"(a), "+r"(b));
}

// c (ROWS, cols) (+)= alpha * sum over p < k of a[i * ROW + p * step] * b[p * ldb + j]
template <int ROWS, int NV, int64_t ROW>
[[gnu::noinline]] void tile_kernel(int64_t k, const float* a, int64_t step, const float* b, int64_t ldb,
                                   const TileOut& t) {
  Vec acc[ROWS][NV];
  FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
    FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = Vec::zero();
  const float *c = t.c, *ahead = t.ahead;
  int64_t p = 0;
  if (kLean && ldb == kCols) {
    for (; p + 16 <= k; p += 16) {
      FASTNN_UNROLL for (int j = 0; j < NV * Vec::width; j += 16) __builtin_prefetch(c + j, 1);
      c += t.ldc;
      for (int64_t r = 0; r < t.ahead_rows; ++r) __builtin_prefetch(ahead + r * t.ahead_ld, 0, 2);
      ahead += t.ahead_step;
      for (int quarter = 0; quarter < 4; ++quarter) multiply<4, ROWS, NV, ROW, ROW == 1 ? kStep : 1, kCols>(acc, a, b);
    }
    for (; p < k; ++p) multiply<1, ROWS, NV, ROW, ROW == 1 ? kStep : 1, kCols>(acc, a, b);
  }
  for (; p < k; ++p, a += step, b += ldb) {
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

// Columns [i0, i0 + m) of a transposed a, rows [p0, p0 + kc), to tiles `stride` apart.
void pack_columns(const Product& q, int64_t i0, int64_t m, int64_t p0, int64_t kc, float* out, int64_t stride) {
  const Tiles tiles(true, m);
  for (int64_t p = 0; p < kc; ++p) {  // whole rows in turn: the hardware prefetches them
    const float* from = q.a + (p0 + p) * q.lda + i0;
    float* to = out + p * kStep;
    int64_t i = 0, t = 0;
    for (; i + kStep <= m; i += tiles.rows(t), ++t, to += stride)
      FASTNN_UNROLL for (int v = 0; v < kStep; v += Vec::width) Vec::load(from + i + v).store(to + v);
    for (; i < m; i += tiles.rows(t), ++t, to += stride)
      for_each_vec(tiles.rows(t), [&](int64_t r, int64_t w) { Vec::load(from + i + r, w).store(to + r, w); });
  }
}

// Columns of a may lie pages apart, so that a transposed a is copied in whole rows: then it is the block that is packed
// for many units, in tiles, and meets panels of b in the first-level cache. That is not measured with 32 registers.
inline bool keeps_a(const Product& q) { return kLean && q.trans_a; }

// A unit: rows [i0, i0 + m) and columns [j0, j0 + n) of c, slice [p0, p0 + kc) of k. `block` holds that slice of b
// packed, or of a where that is kept, its panels or tiles `stride` apart; `near` is room for what multiplies it.
void compute_unit(const Product& q, int64_t i0, int64_t m, int64_t j0, int64_t n, int64_t p0, int64_t kc,
                  const float* block, int64_t stride, float* near) {
  const Tiles tiles(q.trans_a, m);
  const int64_t panels = ceil_div(n, kCols), step = q.trans_a ? kStep : 1;
  const bool add = q.accumulate || p0;
  if (keeps_a(q)) {
    pack_block(q, p0, kc, j0, n, near, kc * kCols);
    for (int64_t j = 0; j < n; j += kCols) {
      const int64_t cols = min(kCols, n - j);
      for (int64_t t = 0, i = i0; t < tiles.count; i += tiles.rows(t), ++t) {
        const TileOut out{q.c + i * q.ldc + j0 + j, q.ldc, cols, add, q.e.alpha, nullptr, 0, 0, 0};
        tiles.kernel(t, cols)(kc, block + t * stride, step, near + j * kc, kCols, out);
        finish(q, p0 + kc, i, tiles.rows(t), j0 + j, cols);
      }
    }
    return;
  }
  for (int64_t t = 0, i = i0; t < tiles.count; ++t) {
    const int64_t rows = tiles.rows(t);
    copy_tile(q, i, rows, p0, kc, near);
    // Each panel asks for its share of the next tile's rows.
    const int64_t next = !q.trans_a && t + 1 < tiles.count ? tiles.rows(t + 1) : 0;
    for (int64_t panel = 0; panel < panels; ++panel) {
      const int64_t j = panel * kCols, cols = min(kCols, n - j), r0 = panel * next / panels;
      const TileOut out{q.c + i * q.ldc + j0 + j, q.ldc, cols, add, q.e.alpha,
                        q.a + (i + rows + r0) * q.lda + p0, (panel + 1) * next / panels - r0, q.lda, 16};
      tiles.kernel(t, cols)(kc, near, step, block + panel * stride, kCols, out);
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
bool pays_to_copy(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k) {
  if (n < Vec::width || k > 16 * max(m, n)) return false;
  if (kLean && trans_a && m >= 128 && k >= 192 && n * k >= 60000) return true;  // a tile would read a line for 6 floats
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
// The same for NV vectors of columns, whose sums stay in registers.
template <int NV>
void add_columns(int64_t k, const float* x, int64_t step, float alpha, const float* b, int64_t ldb, float* y) {
  Vec sum[NV];
  FASTNN_UNROLL for (int j = 0; j < NV; ++j) sum[j] = Vec::load(y + j * Vec::width);
  for (int64_t p = 0; p < k; ++p, x += step, b += ldb) {
    const Vec factor = Vec::set(alpha * *x);
    FASTNN_UNROLL for (int j = 0; j < NV; ++j) sum[j] = fma(factor, Vec::load(b + j * Vec::width), sum[j]);
  }
  FASTNN_UNROLL for (int j = 0; j < NV; ++j) sum[j].store(y + j * Vec::width);
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
  const int64_t width = max(round_up(50000 / k, 64), min(2048, max(min(256, round_up(n / 2, 64)), round_up(ceil_div(n, 4), 64))));
  parallel_for(ceil_div(n, width), 1, [&](int64_t begin, int64_t end) {
    const int64_t j0 = begin * width, cols = min(n, end * width) - j0;
    if (!accumulate) clear(y + j0, cols);
    int64_t j = 0;
    if (n <= 256)  // of longer rows a few columns are short runs of memory
      for (; j + 8 * Vec::width <= cols; j += 8 * Vec::width) add_columns<8>(k, x, step, e.alpha, b + j0 + j, ldb, y + j0 + j);
    if (j < cols) add_rows(cols - j, k, x, step, e.alpha, b + j0 + j, ldb, y + j0 + j);
    apply_epilogue(y + j0, cols, 1, cols, e.bias ? e.bias + j0 : nullptr, e.activation);
  });
}
// A row of at least so many columns, of a b that exceeds half of the second-level cache.
bool is_long_row(int64_t n, int64_t k) { return n >= 2 * Vec::width && k >= 8 && n * k >= 4096; }

void compute_blocked(const Product& q) {
  const int64_t m = q.m, n = q.n, k = q.k;
  // A panel of b in the first-level cache leaves room for tiles.
  const int64_t slices = max(1, ceil_div(k, keeps_a(q) ? 384 : kDepth)), kb = max(1, ceil_div(k, slices));
  if (!q.trans_b && m <= 4 * kRows) {  // packing b would take longer than reading it a few times
    const int64_t units = min(max(1, m * n * k / (2 * kWork)), ceil_div(n, 2 * kCols));
    const int64_t nb = round_up(ceil_div(n, max(units, ceil_div(n, kWidth))), kCols);
    return parallel_for(ceil_div(n, nb), 1, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin * nb; j < end * nb; j += nb)
        for (int64_t p0 = 0; p0 == 0 || p0 < k; p0 += kb) compute_in_place(q, j, min(nb, n - j), p0, min(kb, k - p0));
    });
  }
  // Units of c: first it is cut across the block, which stays packed for all units along it.
  const bool of_a = keeps_a(q);
  const int64_t along = of_a ? n : m, across = of_a ? m : n, fine = of_a ? kCols : kRows, coarse = of_a ? kRows : kCols;
  int64_t units = 1, blocks = ceil_div(across, kWidth);
  // Each block of a copies all panels of b once more: two blocks, and short units, before more blocks.
  if (of_a && blocks == 1 && across >= 16 * coarse && m * n * kb > 8 * kWork) blocks = 2;
  while (units * blocks < 16 && m * n * kb > 4 * kWork * units * blocks) {
    if (along >= (of_a ? 4 : 8) * fine * units) units *= 2;
    else if (across >= 8 * coarse * blocks) blocks *= 2;
    else break;
  }
  while (along > (of_a ? 8 : 16) * fine * units) units *= 2;
  const int64_t length = of_a ? round_up(ceil_div(along, units), kCols) : ceil_div(along, units);
  const int64_t width = of_a ? ceil_div(across, blocks) : round_up(ceil_div(across, blocks), kCols);
  units = ceil_div(along, length), blocks = ceil_div(across, width);
  const int64_t tile_size = q.trans_a ? kb * kStep : kRows * kStride, part = of_a ? tile_size : kb * kCols + 16;
  // A worker keeps its block packed while it takes units along it; it starts with a block of its own and helps
  // with the others at the end.
  Scratch<int64_t> next(blocks + 1);
  for (int64_t p0 = 0; p0 == 0 || p0 < k; p0 += kb) {
    const int64_t kc = min(kb, k - p0), stride = of_a ? tile_size : kc * kCols + 16;
    for (int64_t j = 0; j <= blocks; ++j) next[j] = 0;
    parallel_for(min(units * blocks, 64), 1, [&](int64_t, int64_t) {
      Scratch<float> near(of_a ? kb * length : tile_size), block(ceil_div(width, coarse) * part);
      // 0, 1/2, 1/4, 3/4, 1/8 ... of the blocks
      uint64_t arrival = uint64_t(__atomic_fetch_add(&next[blocks], 1, __ATOMIC_RELAXED)), first = 0;
      for (int bit = 1; bit <= 8; ++bit, arrival >>= 1) first = first * 2 + (arrival & 1);
      for (int64_t turn = 0; turn < blocks; ++turn) {
        const int64_t b = (int64_t(first) * blocks / 256 + turn) % blocks, x = b * width, wide = min(width, across - x);
        bool packed = false;
        for (int64_t u; (u = __atomic_fetch_add(&next[b], 1, __ATOMIC_RELAXED)) < units; packed = true) {
          const int64_t y = u * length, size = min(length, along - y);
          if (!packed) of_a ? pack_columns(q, x, wide, p0, kc, block, stride) : pack_block(q, p0, kc, x, wide, block, stride);
          if (of_a) compute_unit(q, x, wide, y, size, p0, kc, block, stride, near);
          else compute_unit(q, y, size, x, wide, p0, kc, block, stride, near);
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
  if (!pays_to_copy(trans_a, trans_b, m, n, k)) return false;
  compute_blocked({trans_a, trans_b, m, n, k, a, lda, b, ldb, c, ldc, accumulate, e});
  return true;
}

}  // namespace fastnn::FASTNN_TARGET
