// Products whose operands are read where they lie, or b packed beforehand. A tile of c lives in
// registers; it multiplies rows of a, by broadcasts, with a panel of NR columns of b.
#include "cpu/gemm_narrow.h"
#include "cpu/gemm_tiles.h"
#include "samples.h"

namespace fastnn::FASTNN_TARGET {
namespace {

// A tile is rows x NV vectors: accumulators, NV vectors of b and one of a fill the registers.
// Fewer loads than multiply-adds per step keep both FMA ports busy: 6 x 4 or 8 x 3, else 6 x 2.
constexpr int kMaxNV = Vec::width == 16 ? 4 : 2;
constexpr int kMaxRows = 8;
constexpr int tile_rows(int nv) { return nv == kMaxNV ? 6 : kMaxRows; }
constexpr int64_t NR = kMaxNV * Vec::width;
// A panel of b (KC, NR) and a block of a (MC, KC) stay in the second-level cache, which feeds 256
// bytes of b in the 12 cycles of a step; shorter slices would load and store c more often.
constexpr int64_t KC = 256, MC = Vec::width == 16 ? 480 : 120;

// Fetched while a tile is computed: `rows` times NR floats, `ld` apart.
struct Ahead {
  const float* at;
  int64_t rows, ld;
};

// Floats of an operand that does not stay in the second-level cache beside the others.
constexpr int64_t kFar = 100000;

// Where a tile goes: c (rows, cols) with rows of length ldc. The last vector of b and of the tile
// starts at column `last`; it may overlap the one before, whose lanes then have the same values. Columns of less
// than a vector are loaded alone: `narrow`.
struct Tile {
  float* c;
  int64_t ldc, cols, last;
  bool add;
  float alpha;
  Ahead ahead[2];
};

// A pointer for three rows of a: the others are an index away.
constexpr int bases(int rows, bool trans) { return trans ? 1 : (rows + 2) / 3; }

// What the steps of a tile read: rows of a from their bases, vectors of b from b, the last one from `end`.
template <int BASES>
struct Operands {
  const float* base[BASES];
  const float *b, *end;
  int64_t lda, lda3, ldb, ldb3;  // three times: no multiple that an address can hold
  void advance(int64_t to_a, int64_t to_b) {
    FASTNN_UNROLL for (int g = 0; g < BASES; ++g) {
      base[g] += to_a;
      asm("" : "+r"(base[g]));  // or the compiler keeps a pointer for every row, and spills them
    }
    b += to_b, end += to_b;
    asm("" : "+r"(b), "+r"(end));
  }
};

// acc += a[i, p] * b[p, j] for UNROLL values of p, past which the operands are moved.
template <int UNROLL, int ROWS, int NV, bool TRANS, bool NARROW, int BASES = bases(ROWS, TRANS)>
[[gnu::always_inline]] inline void multiply(Vec (&acc)[ROWS][NV], Operands<BASES>& o, int64_t tail) {
  FASTNN_UNROLL for (int u = 0; u < UNROLL; ++u) {
    const int64_t row = u < 3 ? u * o.ldb : o.ldb3;
    const float* a = o.base[0] + (!TRANS ? u : u < 3 ? u * o.lda : o.lda3);
    if (TRANS) asm("" : "+r"(a));  // or an index is kept for every row
    Vec bp[NV];
    FASTNN_UNROLL for (int j = 0; j < NV - 1; ++j) bp[j] = Vec::load(o.b + row + j * Vec::width);
    bp[NV - 1] = NARROW ? Vec::load(o.end + row, tail) : Vec::load(o.end + row);
    FASTNN_UNROLL for (int i = 0; i < ROWS; ++i) {
      const Vec ai = Vec::set(TRANS ? a[i] : o.base[i / 3][i % 3 * o.lda + u]);
      FASTNN_UNROLL for (int j = 0; j < NV; ++j) add_product(acc[i][j], ai, bp[j]);
    }
    if (Vec::width < 16) asm volatile("" ::: "memory");  // loads of the next step take registers of the sums
  }
  o.advance(TRANS ? UNROLL * o.lda : UNROLL, UNROLL * o.ldb);
}

// c (ROWS, cols) (+)= alpha * sum over p < k of a[i, p] * b[p * ldb + j]. a[i, p] is a[i * lda + p],
// or a[p * lda + i] when TRANS.
// AROUND the caches: whole vectors of c, aligned, not added.
template <int ROWS, int NV, bool TRANS, bool NARROW, bool AROUND = false>
[[gnu::noinline]] void micro_kernel(int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, const Tile& t) {
  Vec acc[ROWS][NV];
  FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
    FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = Vec::zero();
  const int64_t last = t.last, tail = t.cols - last;
  Operands<bases(ROWS, TRANS)> o{{}, b, b + last, lda, 3 * lda, ldb, 3 * ldb};
  for (int g = 0; g < bases(ROWS, TRANS); ++g) o.base[g] = a + 3 * g * lda;
  asm("" : "+r"(o.lda3), "+r"(o.ldb3));
  int64_t p = 0;
  for (; p < k % 4; ++p) multiply<1, ROWS, NV, TRANS, NARROW>(acc, o, tail);
  Ahead ahead = t.ahead[0], then = t.ahead[1];
  for (; p < k; p += 4) {
    if (ahead.rows) {
      FASTNN_UNROLL for (int64_t j = 0; j < NR; j += 16) __builtin_prefetch(ahead.at + j, 0, 2);
      ahead.at += ahead.ld;
      if (!--ahead.rows) ahead = then, then.rows = 0;
    }
    multiply<4, ROWS, NV, TRANS, NARROW>(acc, o, tail);
  }
  if (t.alpha != 1) {
    const Vec alpha = Vec::set(t.alpha);
    FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
      FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = acc[i][j] * alpha;
  }
  if constexpr (AROUND) {
    FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
      FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j].stream(t.c + i * t.ldc + j * Vec::width);
  } else if (!NARROW && tail == Vec::width) {
    FASTNN_UNROLL for (int i = 0; i < ROWS; ++i) {
      float* to = t.c + i * t.ldc;
      if (t.add) {  // all loads before the stores: the last two may overlap
        FASTNN_UNROLL for (int j = 0; j < NV - 1; ++j) acc[i][j] = Vec::load(to + j * Vec::width) + acc[i][j];
        acc[i][NV - 1] = Vec::load(to + last) + acc[i][NV - 1];
      }
      FASTNN_UNROLL for (int j = 0; j < NV - 1; ++j) acc[i][j].store(to + j * Vec::width);
      acc[i][NV - 1].store(to + last);
    }
  } else {
    FASTNN_UNROLL for (int i = 0; i < ROWS; ++i) {
      float* to = t.c + i * t.ldc;
      FASTNN_UNROLL for (int j = 0; j < NV - 1; ++j) {
        float* at = to + j * Vec::width;
        (t.add ? Vec::load(at) + acc[i][j] : acc[i][j]).store(at);
      }
      (t.add ? Vec::load(to + last, tail) + acc[i][NV - 1] : acc[i][NV - 1]).store(to + last, tail);
    }
  }
}

using MicroKernel = void (*)(int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, const Tile& t);
// The kernels by transposed a, vectors (0: less than one) and rows: choosing by comparisons takes as long as a small tile.
struct KernelTable {
  MicroKernel of[2][kMaxNV + 1][kMaxRows + 1] = {};
  template <bool TRANS, int NV, int ROWS = tile_rows(NV)>
  constexpr void fill_rows() {
    of[TRANS][NV][ROWS] = micro_kernel<ROWS, NV ? NV : 1, TRANS, NV == 0>;
    if constexpr (ROWS > 1) fill_rows<TRANS, NV, ROWS - 1>();
  }
  template <bool TRANS, int NV = kMaxNV>
  constexpr void fill() {
    fill_rows<TRANS, NV>();
    if constexpr (NV > 0) fill<TRANS, NV - 1>();
  }
  constexpr KernelTable() { fill<false>(), fill<true>(); }
};
constexpr KernelTable kKernels;

// a (m, k): in place, or stored transposed (k, m).
struct MatrixA {
  const float* data;
  int64_t ld;
  bool transposed;
};

// b (k, n): packed by pack_b, or in place with rows of length ld.
struct MatrixB {
  const float* data;
  int64_t k, ld;
  bool packed;
};

// Columns [j0, j0 + NR) of b (k, n), or of b^T stored (n, k) when `transposed`, to out (k, columns
// padded with zeros to whole vectors). The panel's place in the packed matrix is packed + j0 * k.
inline void pack_panel(bool transposed, int64_t k, int64_t n, const float* b, int64_t ldb, int64_t j0, float* out) {
  const int64_t cols = min(NR, n - j0), ld = round_up(cols, Vec::width);
  if (!transposed) {
    for (int64_t p = 0; p < k; ++p)
      for_each_vec(cols, [&](int64_t j, int64_t w) { Vec::load(b + p * ldb + j0 + j, w).store(out + p * ld + j); });
    return;
  }
  for (int64_t j = 0; j < cols; j += Vec::width) {
    const int64_t w = min(Vec::width, cols - j);
    const float* from = b + (j0 + j) * ldb;
    int64_t p = 0;
    if (w == Vec::width)
      for (; p + Vec::width <= k; p += Vec::width)
        transpose_square((const char*)(from + p), ldb * 4, (char*)(out + p * ld + j), ld * 4);
    for (; p < k; p += Vec::width) transpose_edge(from + p, ldb, w, min(Vec::width, k - p), out + p * ld + j, ld);
  }
}

// Rows [i0, i0 + rows) and columns [p0, p0 + kc) of a to buffer (MC * kCopiedRow floats).
constexpr int64_t kCopiedRow = KC + 16;  // no multiple of a page, whose lines would share a set
MatrixA copy_a(const MatrixA& a, int64_t i0, int64_t rows, int64_t p0, int64_t kc, float* buffer) {
  const bool transposed = a.transposed;
  const int64_t ld = transposed ? rows : kCopiedRow, lines = transposed ? kc : rows, length = transposed ? rows : kc;
  const float* from = a.data + (transposed ? p0 * a.ld + i0 : i0 * a.ld + p0);
  for (int64_t r = 0; r < lines; ++r)
    for_each_vec(length, [&](int64_t j, int64_t w) { Vec::load(from + r * a.ld + j, w).store(buffer + r * ld + j, w); });
  return {buffer, ld, transposed};
}

// Rows of b a page apart cost a look-up each for every tile, rows that begin within a vector a second
// line for every load: a panel that is used by several tiles is copied.
bool copies_panels(const MatrixB& b, int64_t m) {
  return !b.packed && ((b.ld >= 1024 && m >= 32) || (b.ld % Vec::width != 0 && m >= 128));
}
// Rows of a whose distances are multiples of a page share sets of the caches; columns may lie on pages of their own.
bool copies_rows(const MatrixA& a, int64_t n) { return a.transposed ? a.ld >= 2048 : a.ld % 1024 == 0 && n > NR; }

// Columns of the panel where n are left. The last two in place are of like width: a panel of one
// vector would keep the ports half busy, and one of less cannot be loaded.
int64_t panel_cols(const MatrixB& b, int64_t n) {
  if (!b.packed && n > NR && n < 2 * NR) return ceil_div(n, Vec::width) / 2 * Vec::width;
  return min(NR, n);
}
int64_t panel_ld(const MatrixB& b, int64_t cols) { return b.packed ? round_up(cols, Vec::width) : b.ld; }
const float* panel_of(const MatrixB& b, int64_t j, int64_t p0, int64_t ld) {
  return b.data + (b.packed ? j * b.k : j) + p0 * ld;
}

// c (m, n) of rows [i0, i0 + m) of a and the k range [k0, k1), on the calling thread. m <= MC;
// b and c point at their first column.
void gemm_block(int64_t i0, int64_t m, int64_t n, int64_t k0, int64_t k1, const MatrixA& a, const MatrixB& b, float* c,
                int64_t ldc, bool accumulate, const Epilogue& e) {
  const int64_t depth = k1 - k0, kb = max(4, round_up(depth <= KC ? depth : ceil_div(depth, ceil_div(depth, KC)), 4));
  const bool finishes = e.bias || e.activation != kActivationLinear, copies = copies_panels(b, m), copies_a = copies_rows(a, n);
  Scratch<float> rows_copy(copies_a ? MC * kCopiedRow : 0), panel_copy(copies ? KC * NR : 0);
  // What the nearest caches do not hold is asked for a panel ahead, rows of a a slice ahead.
  const bool far_a = !a.transposed && m * depth >= kFar, far_b = n * depth >= kFar;
  // Rows of a in one piece are asked for a tile ahead: the prefetcher loses its way between 8 of them. Short ones follow one another.
  const bool streams_a = !a.transposed && a.ld == depth && depth >= 32 && depth <= KC;
  for (int64_t p0 = k0; p0 == k0 || p0 < k1; p0 += kb) {
    const int64_t kc = min(kb, k1 - p0), next_kc = min(kb, k1 - p0 - kc);
    MatrixA block = a;
    if (copies_a) block = copy_a(a, i0, m, p0, kc, rows_copy);
    else block.data = a.data + (a.transposed ? p0 * a.ld + i0 : i0 * a.ld + p0);
    for (int64_t j = 0, cols; j < n; j += cols) {
      cols = panel_cols(b, n - j);
      const int64_t nv = ceil_div(cols, Vec::width);
      int64_t ldb = panel_ld(b, cols);
      const float* panel = panel_of(b, j, p0, ldb);
      Ahead next{};
      if (far_b && (j + cols < n || next_kc > 0)) {
        const bool here = j + cols < n;
        const int64_t j1 = here ? j + cols : 0, ld1 = panel_ld(b, panel_cols(b, n - j1));
        next = {panel_of(b, j1, here ? p0 : p0 + kc, ld1), here ? kc : next_kc, ld1};
      }
      if (copies) {
        pack_panel(false, kc, cols, panel, ldb, 0, panel_copy);
        panel = panel_copy, ldb = nv * Vec::width;
      }
      // Beyond its columns b in place has no zeros: its last vector begins where it ends within them.
      const bool narrow = cols < Vec::width;
      const int64_t last = b.packed || copies || narrow ? (nv - 1) * Vec::width : cols - Vec::width;
      // Divisions take as long as the tile of a small product.
      const int64_t tiles = nv == kMaxNV ? ceil_div(m, tile_rows(kMaxNV)) : ceil_div(m, kMaxRows);
      const int64_t height = tiles == 1 ? m : m / tiles, higher = m - tiles * height;
      const MicroKernel* of = kKernels.of[block.transposed][narrow ? 0 : nv];
      const MicroKernel kernels[2] = {of[height], of[height + (higher > 0)]};
      Tile t{c + j, ldc, cols, last, accumulate || p0 > k0, e.alpha, {}};
      for (int64_t tile = 0, i = 0, rows; tile < tiles; ++tile, i += rows, t.c += rows * ldc) {
        rows = height + (tile < higher);
        if (next.rows) {
          const int64_t r0 = tile * next.rows / tiles, r1 = (tile + 1) * next.rows / tiles;
          t.ahead[0] = {next.at + r0 * next.ld, r1 - r0, next.ld};
        }
        // Columns of the next slice of this tile's rows.
        if (far_a && j < next_kc) {
          t.ahead[next.rows > 0 && t.ahead[0].rows > 0] = {a.data + (i0 + i) * a.ld + p0 + kc + j, rows, a.ld};
        }
        if (streams_a && j == 0 && i + rows < m)
          t.ahead[next.rows > 0 && t.ahead[0].rows > 0] = {block.data + (i + rows) * a.ld, ceil_div(rows * a.ld, NR), NR};
        kernels[tile < higher](kc, block.data + (block.transposed ? i : i * block.ld), block.ld, panel, ldb, t);
        if (finishes && p0 + kc >= k1) apply_epilogue(t.c, ldc, rows, cols, e.bias ? e.bias + j : nullptr, e.activation);
      }
    }
  }
}

// ---- one thread ----

void gemm_rows(int64_t m, int64_t n, int64_t k, const MatrixA& a, const MatrixB& b, float* c, int64_t ldc,
               bool accumulate, const Epilogue& e) {
  const int64_t blocks = ceil_div(m, MC), mb = blocks > 1 ? ceil_div(m, blocks) : m;
  for (int64_t i0 = 0; i0 < m; i0 += mb)
    gemm_block(i0, min(mb, m - i0), n, 0, k, a, b, c + i0 * ldc, ldc, accumulate, e);
}

// ROWS rows of dots. The order of each sum does not depend on ROWS.
template <int ROWS>
void dots_of_rows(int64_t k, const float* a, int64_t lda, const float* x, float* y, int64_t step, bool accumulate,
                  const Epilogue& e, int64_t bias_step) {
  constexpr int kSums = Vec::width == 16 ? 4 : 2;
  Vec sums[ROWS][kSums];
  FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
    FASTNN_UNROLL for (int j = 0; j < kSums; ++j) sums[i][j] = Vec::zero();
  int64_t p = 0;
  for (; p + kSums * Vec::width <= k; p += kSums * Vec::width)
    FASTNN_UNROLL for (int j = 0; j < kSums; ++j) {
      const Vec v = Vec::load(x + p + j * Vec::width);
      FASTNN_UNROLL for (int i = 0; i < ROWS; ++i) sums[i][j] = fma(Vec::load(a + i * lda + p + j * Vec::width), v, sums[i][j]);
    }
  for (; p < k; p += Vec::width) {
    const int64_t w = min(Vec::width, k - p);
    const Vec v = Vec::load(x + p, w);
    FASTNN_UNROLL for (int i = 0; i < ROWS; ++i) sums[i][0] = fma(Vec::load(a + i * lda + p, w), v, sums[i][0]);
  }
  FASTNN_UNROLL for (int i = 0; i < ROWS; ++i) {
    float* to = y + i * step;
    const float total = e.alpha * sum(kSums == 4 ? (sums[i][0] + sums[i][1]) + (sums[i][2 % kSums] + sums[i][3 % kSums]) : sums[i][0] + sums[i][1]);
    *to = accumulate ? *to + total : total;
    apply_epilogue(to, 1, 1, 1, e.bias ? e.bias + i * bias_step : nullptr, e.activation);
  }
}

// y[i * step] = activation(alpha * <a[i], x> + bias) for rows i of a (rows, k); bias advances by bias_step.
void dots(int64_t rows, int64_t k, const float* a, int64_t lda, const float* x, float* y, int64_t step, bool accumulate,
          const Epilogue& e, int64_t bias_step) {
  // Rows side by side: the prefetcher follows one page of each.
  constexpr int kTogether = 4;
  int64_t i = 0;
  const auto from = [&](int64_t row) { return Epilogue{e.alpha, e.bias ? e.bias + row * bias_step : nullptr, e.activation}; };
  for (; i + kTogether <= rows; i += kTogether)
    dots_of_rows<kTogether>(k, a + i * lda, lda, x, y + i * step, step, accumulate, from(i), bias_step);
  for (; i < rows; ++i) dots_of_rows<1>(k, a + i * lda, lda, x, y + i * step, step, accumulate, from(i), bias_step);
}

// Products that are dot products of stored rows: c has one row or one column.
inline bool is_dots(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb) {
  const bool a_is_row = !trans_a || lda == 1, b_is_column = trans_b || ldb == 1;
  return k > 0 && ((n == 1 && !trans_a && b_is_column) || (m == 1 && trans_b && a_is_row));
}
inline void run_dots(int64_t begin, int64_t end, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
                     int64_t ldb, float* c, int64_t ldc, bool accumulate, const Epilogue& e) {
  if (n == 1) return dots(end - begin, k, a + begin * lda, lda, b, c + begin * ldc, ldc, accumulate, e, 0);
  const Epilogue columns{e.alpha, e.bias ? e.bias + begin : nullptr, e.activation};
  dots(end - begin, k, b + begin * ldb, ldb, a, c + begin, 1, accumulate, columns, 1);
}

// ---- all threads ----

// How c is cut: tiles (mb, nb), and `parts` of k where there are too few tiles to share out.
// Everything depends on the problem alone, so that results do not depend on the threads.
struct Cut {
  int64_t mb, nb, row_blocks, col_blocks, parts, part_k;
};
Cut cut_problem(int64_t m, int64_t n, int64_t k) {
  int64_t mb = min(round_up(m, 24), MC), nb = min(round_up(n, NR), 8 * NR);
  // Deep sums are cut along k: each cut of c would read the whole of an operand once more.
  const bool deep = k >= 8 * KC && k >= 8 * max(m, n);
  while (!deep && ceil_div(m, mb) * ceil_div(n, nb) < 8 && mb * min(nb, n) * k > 2 * kWork) {
    if (nb > NR && (nb >= mb || mb == 24)) nb = round_up(nb / 2, NR);
    else if (mb > 24) mb = round_up(mb / 2, 24);
    else break;
  }
  mb = ceil_div(m, ceil_div(m, mb));  // blocks of like height
  // A last block of less than a vector is left to the one before.
  const int64_t col_blocks = max(1, (n + nb - Vec::width) / nb), tiles = ceil_div(m, mb) * col_blocks;
  int64_t parts = min(ceil_div(16, tiles), min(k / (2 * KC), mb * min(nb, n) * k / kWork));
  if (tiles >= 8 || parts < 2) parts = 1;
  const int64_t part_k = parts == 1 ? k : round_up(ceil_div(k, parts), KC);
  return {mb, nb, ceil_div(m, mb), col_blocks, parts == 1 ? 1 : ceil_div(k, part_k), part_k};
}

void gemm_shared(int64_t m, int64_t n, int64_t k, const MatrixA& a, const MatrixB& b, float* c, int64_t ldc,
                bool accumulate, const Epilogue& e) {
  const Cut cut = cut_problem(m, n, k);
  const int64_t tiles = cut.row_blocks * cut.col_blocks;
  // (parts, m, n)
  Scratch<float> partial(cut.parts > 1 ? cut.parts * m * n : 0);
  const int64_t grain = max(1, 200000 / (cut.mb * cut.nb * cut.part_k + 1));
  parallel_for(tiles * cut.parts, grain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t part = t / tiles, i0 = t % cut.row_blocks * cut.mb, j0 = t % tiles / cut.row_blocks * cut.nb;
      const int64_t rows = min(cut.mb, m - i0), cols = t % tiles / cut.row_blocks + 1 < cut.col_blocks ? cut.nb : n - j0;
      const int64_t k0 = part * cut.part_k, k1 = min(k, k0 + cut.part_k);
      const MatrixB columns{b.data + (b.packed ? j0 * k : j0), b.k, b.ld, b.packed};
      if (cut.parts > 1) {
        float* out = partial.get() + part * m * n + i0 * n + j0;
        gemm_block(i0, rows, cols, k0, k1, a, columns, out, n, false, {e.alpha});
      } else {
        gemm_block(i0, rows, cols, k0, k1, a, columns, c + i0 * ldc + j0, ldc, accumulate,
                   {e.alpha, e.bias ? e.bias + j0 : nullptr, e.activation});
      }
    }
  });
  if (cut.parts == 1) return;
  parallel_for(m, max(1, 16384 / (n * cut.parts + 1)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* from = partial.get() + i * n;
      for_each_vec(n, [&](int64_t j, int64_t w) {
        Vec sum = accumulate ? Vec::load(c + i * ldc + j, w) : Vec::zero();
        for (int64_t part = 0; part < cut.parts; ++part) sum = sum + Vec::load(from + part * m * n + j, w);
        sum.store(c + i * ldc + j, w);
      });
    }
    apply_epilogue(c + begin * ldc, ldc, end - begin, n, e.bias, e.activation);
  });
}

// Few rows with b stored (n, k): the columns of c as rows of b a^T, turned when they are done. It is the smaller operand
// that is transposed, by every thread for itself, and the result. With 16 registers such products are a fifth slower.
bool pays_to_turn(int64_t m, int64_t n, int64_t k) {
  return Vec::width == 16 && m >= 16 && m <= 64 && k >= 2 * m && n >= 4 * m && n * k >= 16384;
}
void gemm_turned(bool trans_a, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb,
                 float* c, int64_t ldc, const Epilogue& e) {
  const int64_t ld = round_up(m, Vec::width), height = 8 * tile_rows(kMaxNV);  // rows of whole tiles and squares
  const int64_t nb = min(max(height, kWork / (m * k) / height * height), round_up(n, height)), chunks = ceil_div(n, nb);
  Scratch<int64_t> taken(chunks);
  for (int64_t t = 0; t < chunks; ++t) taken[t] = 0;
  // A thread begins where its part of the chunks does, in each call: what it wrote is in its cache.
  parallel_for(chunks, 1, [&](int64_t begin, int64_t) {
    if (__atomic_load_n(&taken[begin], __ATOMIC_RELAXED)) return;
    Scratch<float> turned(packed_size(k, m)), sums(nb * ld);
    pack_b(!trans_a, k, m, a, lda, turned);
    for (int64_t turn = 0; turn < chunks; ++turn) {
      const int64_t t = begin + turn < chunks ? begin + turn : begin + turn - chunks, j0 = t * nb, rows = min(nb, n - j0);
      if (__atomic_exchange_n(&taken[t], 1, __ATOMIC_RELAXED)) continue;
      gemm_rows(rows, m, k, {b + j0 * ldb, ldb, false}, {turned, k, 0, true}, sums, ld, false, {e.alpha});
      for (int64_t j = 0; j < rows; j += 16)  // lines of c one after the other, once each
        for (int64_t i = 0; i < m; i += 16)
          transpose_tile<float>((const char*)(sums + j * ld + i), ld * 4, (char*)(c + i * ldc + j0 + j), ldc * 4, min(16, rows - j), min(16, m - i));
      apply_epilogue(c + j0, ldc, m, rows, e.bias ? e.bias + j0 : nullptr, e.activation);
    }
  });
}

// Short sums whose result is larger than the caches: regular stores would read each line before they write it (Stores in
// simd.h). Whole rows are written in turn, so that memory takes long runs.
constexpr int64_t kAroundUnit = NR < 16 ? NR : 16;  // columns: whole lines, as half of one would wait for the other
bool goes_around(int64_t m, int64_t n, int64_t k, const float* c, int64_t ldc) {
  return k <= 64 && m * n >= int64_t(16) << 20 && ldc == n && n % kAroundUnit == 0 && uintptr_t(c) % 64 == 0;
}
template <bool TRANS, int NV = kMaxNV, int ROWS = tile_rows(NV)>
MicroKernel around_kernel(int64_t nv, int64_t rows) {
  if constexpr (NV > 1 && ROWS == tile_rows(NV)) {
    if (nv < NV) return around_kernel<TRANS, NV - 1>(nv, rows);
  }
  if constexpr (ROWS > 1) {
    if (rows < ROWS) return around_kernel<TRANS, NV, ROWS - 1>(nv, rows);
  }
  return micro_kernel<ROWS, NV, TRANS, false, true>;
}
void gemm_around(int64_t m, int64_t n, int64_t k, const MatrixA& a, const float* b, int64_t ldb, float* c) {
  // Panels of like width.
  const int64_t units = n / kAroundUnit, panels = ceil_div(n, NR), height = tile_rows(int(ceil_div(units, panels) * kAroundUnit / Vec::width));
  const auto column = [=](int64_t panel) { return panel * units / panels * kAroundUnit; };
  Scratch<float> packed(k * n);
  parallel_for(panels, max(1, 32768 / (k * NR + 1)), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) pack_panel(false, k, column(p + 1) - column(p), b + column(p), ldb, 0, packed + column(p) * k);
  });
  parallel_for(ceil_div(m, height), max(1, 2 * kWork / (height * n * k)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * height, rows; i < min(m, end * height); i += rows) {
      rows = min(height, m - i);
      for (int64_t p = 0; p < panels; ++p) {
        const int64_t j = column(p), cols = column(p + 1) - j, nv = cols / Vec::width;
        const MicroKernel kernel = a.transposed ? around_kernel<true>(nv, rows) : around_kernel<false>(nv, rows);
        kernel(k, a.data + (a.transposed ? i : i * a.ld), a.ld, packed + j * k, cols, {c + i * n + j, n, cols, cols - Vec::width, false, 1, {}});
      }
    }
    Stores(c, m * n).fence();
  });
}

}  // namespace

void pack_b(bool transposed, int64_t k, int64_t n, const float* b, int64_t ldb, float* packed) {
  for (int64_t j0 = 0; j0 < n; j0 += NR) pack_panel(transposed, k, n, b, ldb, j0, packed + j0 * k);
}
void pack_b_parallel(bool transposed, int64_t k, int64_t n, const float* b, int64_t ldb, float* packed) {
  const int64_t panels_per_chunk = max(1, 32768 / (k * NR + 1));
  parallel_for(ceil_div(n, NR), panels_per_chunk, [=](int64_t begin, int64_t end) {
    for (int64_t j0 = begin * NR; j0 < min(end * NR, n); j0 += NR)
      pack_panel(transposed, k, n, b, ldb, j0, packed + j0 * k);
  });
}

void gemm_packed_serial(bool trans_a, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
                        const float* packed, float* c, int64_t ldc, bool accumulate, const Epilogue& e) {
  gemm_rows(m, n, k, {a, lda, trans_a}, {packed, k, 0, true}, c, ldc, accumulate, e);
}
void gemm_packed(bool trans_a, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* packed,
                 float* c, int64_t ldc, bool accumulate, const Epilogue& e) {
  gemm_shared(m, n, k, {a, lda, trans_a}, {packed, k, 0, true}, c, ldc, accumulate, e);
}

// Of one panel and few rows, near operands: what gemm_block decides for larger ones takes as long as such a product.
bool is_small(bool trans_b, int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb) {
  return !trans_b && m <= 64 && n > 1 && n <= NR && k > 0 && k <= 64 && lda < 1024 && ldb < 1024;
}
void multiply_small(bool trans_a, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb,
                    float* c, int64_t ldc, bool accumulate, const Epilogue& e) {
  const bool narrow = n < Vec::width;
  const int64_t nv = ceil_div(n, Vec::width), tiles = nv == kMaxNV ? ceil_div(m, tile_rows(kMaxNV)) : ceil_div(m, kMaxRows);
  const int height = tiles == 1 ? int(m) : int(m) / int(tiles), higher = int(m) - int(tiles) * height;
  const MicroKernel* of = kKernels.of[trans_a][narrow ? 0 : nv];
  Tile t{c, ldc, n, narrow ? 0 : n - Vec::width, accumulate, e.alpha, {}};
  for (int tile = 0; tile < tiles; ++tile) {
    const int rows = height + (tile < higher);
    of[rows](k, a, lda, b, ldb, t);
    a += trans_a ? rows : rows * lda;
    t.c += rows * ldc;
  }
  if (e.bias || e.activation != kActivationLinear) apply_epilogue(c, ldc, m, n, e.bias, e.activation);
}

void gemm_serial(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
                 const float* b, int64_t ldb, float* c, int64_t ldc, bool accumulate, const Epilogue& e) {
  if (is_dots(trans_a, trans_b, m, n, k, lda, ldb))
    return run_dots(0, max(m, n), n, k, a, lda, b, ldb, c, ldc, accumulate, e);
  if (is_small(trans_b, m, n, k, lda, ldb)) return multiply_small(trans_a, m, n, k, a, lda, b, ldb, c, ldc, accumulate, e);
  if (gemm_narrow(trans_a, trans_b, m, n, k, a, lda, b, ldb, c, ldc, accumulate, e)) return;
  if (gemm_blocked(trans_a, trans_b, m, n, k, a, lda, b, ldb, c, ldc, accumulate, e)) return;
  if (!trans_b)
    return gemm_rows(m, n, k, {a, lda, trans_a}, {b, k, ldb, false}, c, ldc, accumulate, e);
  if (!accumulate && pays_to_turn(m, n, k)) return gemm_turned(trans_a, m, n, k, a, lda, b, ldb, c, ldc, e);
  Scratch<float> packed(packed_size(k, n));
  pack_b(trans_b, k, n, b, ldb, packed);
  gemm_packed_serial(trans_a, m, n, k, a, lda, packed, c, ldc, accumulate, e);
}

void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
          int64_t ldb, float* c, int64_t ldc, bool accumulate, const Epilogue& e) {
  if (m * n * k < (min(m, n) == 1 ? 100000 : kSerialProduct)) return gemm_serial(trans_a, trans_b, m, n, k, a, lda, b, ldb, c, ldc, accumulate, e);
  if (is_dots(trans_a, trans_b, m, n, k, lda, ldb)) {
    parallel_for(max(m, n), max(1, 32768 / k), [&](int64_t begin, int64_t end) {
      run_dots(begin, end, n, k, a, lda, b, ldb, c, ldc, accumulate, e);
    });
    return;
  }
  const bool plain = !accumulate && e.alpha == 1 && !e.bias && e.activation == kActivationLinear;
  const bool by_rows = !trans_a && !accumulate && m > 128 && n <= 512 && k <= 512 && n * k <= 65536;
  // Longer or wider ones of few rows: of many, whose groups follow one another, nothing was gained.
  const bool some_rows = !trans_a && !accumulate && m > 128 && m <= 1024 && n <= 1024 && k <= 1024 && n * k <= 65536;
  if ((by_rows || some_rows) && gemm_tiles_rows(trans_b, m, n, k, a, lda, b, ldb, c, ldc, e)) return;
  // Of many rows, such as pixels, each has the same bits however many there are: a step may take them in strips (samples.h).
  if (!by_rows || m < 256) {
    const bool deep = k >= 2048 && ((trans_a && !trans_b) || (m < 256 && k >= 8 * max(m, n)));
    if (deep && !accumulate && gemm_tiles_deep(trans_a, trans_b, m, n, k, a, lda, b, ldb, c, ldc, e)) return;
    if (!trans_a && !accumulate && gemm_tiles_few(trans_b, m, n, k, a, lda, b, ldb, c, ldc, e)) return;
    if (gemm_tiles(trans_a, trans_b, m, n, k, a, lda, b, ldb, c, ldc, accumulate, e)) return;
  }
  if (gemm_narrow(trans_a, trans_b, m, n, k, a, lda, b, ldb, c, ldc, accumulate, e)) return;
  if (gemm_blocked(trans_a, trans_b, m, n, k, a, lda, b, ldb, c, ldc, accumulate, e)) return;
  // One column of sums over stored rows: the product of the transposes reads a in place.
  if (n == 1 && trans_a && ldc == 1 && (ldb == 1 || trans_b) && !e.bias && m >= Vec::width)
    return gemm_shared(1, m, k, {b, k, false}, {a, k, lda, false}, c, m, accumulate, e);
  if (plain && !trans_b && goes_around(m, n, k, c, ldc)) return gemm_around(m, n, k, {a, lda, trans_a}, b, ldb, c);
  if (!trans_b)
    return gemm_shared(m, n, k, {a, lda, trans_a}, {b, k, ldb, false}, c, ldc, accumulate, e);
  if (!accumulate && pays_to_turn(m, n, k)) return gemm_turned(trans_a, m, n, k, a, lda, b, ldb, c, ldc, e);
  Scratch<float> packed(packed_size(k, n));
  pack_b_parallel(trans_b, k, n, b, ldb, packed);
  gemm_packed(trans_a, m, n, k, a, lda, packed, c, ldc, accumulate, e);
}

}  // namespace fastnn::FASTNN_TARGET
