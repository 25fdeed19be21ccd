// Products with fewer columns than a vector has lanes: a tile of them would leave lanes idle, so sums over k fill the
// lanes, or rows of c where a is stored transposed.
#include "cpu/gemm_narrow.h"

namespace fastnn::FASTNN_TARGET {
namespace {

// ---- a (m, k): dot products of its rows with columns of b ----

// 20 accumulators, 4 vectors of a and one of b of 32 registers; 8 of 16.
constexpr int kRows = Vec::width == 16 ? 4 : 2, kCols = Vec::width == 16 ? 5 : 4;
// Floats of the columns that a tile meets, which stay in the first-level cache while rows of a pass.
constexpr int64_t kNear = 8192;

// sums (ROWS, COLS) += a (ROWS, k) bt (COLS, k)^T; rows of sums are `ld` apart.
template <int ROWS, int COLS>
[[gnu::noinline]] void dot_tile(int64_t k, const float* a, int64_t lda, const float* bt, int64_t ldb, float* sums, int64_t ld) {
  Vec acc[ROWS][COLS];
  FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
    FASTNN_UNROLL for (int j = 0; j < COLS; ++j) acc[i][j] = Vec::zero();
  for_each_vec(k, [&](int64_t p, int64_t w) __attribute__((always_inline)) {
    Vec ap[ROWS];
    FASTNN_UNROLL for (int i = 0; i < ROWS; ++i) ap[i] = Vec::load(a + i * lda + p, w);
    FASTNN_UNROLL for (int j = 0; j < COLS; ++j) {
      const Vec bj = Vec::load(bt + j * ldb + p, w);
      FASTNN_UNROLL for (int i = 0; i < ROWS; ++i) acc[i][j] = fma(ap[i], bj, acc[i][j]);
    }
  });
  FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
    FASTNN_UNROLL for (int j = 0; j < COLS; ++j) sums[i * ld + j] += sum(acc[i][j]);
}

using DotTile = void (*)(int64_t k, const float* a, int64_t lda, const float* bt, int64_t ldb, float* sums, int64_t ld);
template <int COLS, int ROWS = kRows>
DotTile dot_tile_of_rows(int64_t rows) {
  if constexpr (ROWS > 1) {
    if (rows < ROWS) return dot_tile_of_rows<COLS, ROWS - 1>(rows);
  }
  return dot_tile<ROWS, COLS>;
}
template <int COLS = kCols>
DotTile dot_tile_of(int64_t rows, int64_t cols) {
  if constexpr (COLS > 1) {
    if (cols < COLS) return dot_tile_of<COLS - 1>(rows, cols);
  }
  return dot_tile_of_rows<COLS>(rows);
}

// b (k, n) to bt (n, ld).
void transpose_b(int64_t k, int64_t n, const float* b, int64_t ldb, float* bt, int64_t ld) {
  for_each_vec(k, [&](int64_t p, int64_t w) { transpose_edge(b + p * ldb, ldb, w, n, bt + p, ld); });
}

// Adding up the lanes of a sum takes as long as some 200 multiply-adds; transposing b pays from a few rows on.
bool pays_to_dot(int64_t m, int64_t n, int64_t k) {
  return n > 1 && n < Vec::width && m >= 8 && k >= 64 && k <= 8 * kNear && k * (Vec::width - n) >= 256 * n;
}

void multiply_dots(bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb,
                   float* c, int64_t ldc, bool accumulate, const Epilogue& e) {
  const int64_t groups = ceil_div(n, kCols), slices = ceil_div(k * kCols, kNear), kb = round_up(ceil_div(k, slices), Vec::width);
  const int64_t mb = min(256, max(16, round_up(ceil_div(kWork, n * k), 4))), chunks = ceil_div(m, mb);
  const int64_t ld = trans_b ? ldb : round_up(k, Vec::width) + Vec::width;
  int64_t next = 0;
  // What one thread has written comes slowly to another: whoever takes rows has transposed b.
  parallel_for(min(chunks, 64), 1, [&](int64_t, int64_t) {
    int64_t chunk = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED);
    if (chunk >= chunks) return;
    Scratch<float> turned(trans_b ? 0 : n * ld), sums(mb * n);
    if (!trans_b) transpose_b(k, n, b, ldb, turned, ld);
    const float* bt = trans_b ? b : turned.get();
    for (; chunk < chunks; chunk = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) {
      const int64_t i0 = chunk * mb, rows = min(mb, m - i0);
      for (int64_t i = 0; i < rows * n; ++i) sums[i] = 0;
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t j = g * n / groups, cols = (g + 1) * n / groups - j;
        const DotTile whole = dot_tile_of(kRows, cols);
        for (int64_t p = 0; p < k; p += kb)
          for (int64_t i = 0; i < rows; i += kRows)
            (rows - i >= kRows ? whole : dot_tile_of(rows - i, cols))(min(kb, k - p), a + (i0 + i) * lda + p, lda, bt + j * ld + p, ld,
                                                                      sums + i * n + j, n);
      }
      for (int64_t i = 0; i < rows; ++i) {
        float* to = c + (i0 + i) * ldc;
        Vec v = Vec::load(sums + i * n, n) * Vec::set(e.alpha);
        if (accumulate) v = Vec::load(to, n) + v;
        v.store(to, n);
      }
      apply_epilogue(c + i0 * ldc, ldc, rows, n, e.bias, e.activation);
    }
  });
}

// ---- a stored (k, m): rows of c in the lanes ----

// Of NV vectors of rows: accumulators, the rows of a and one of b fill 32 registers; 16.
constexpr int most_cols = (Vec::width == 16 ? 32 : 16) / 2 - 2;
constexpr int column_vecs(int cols) { return cols <= 3 ? 4 : cols <= most_cols ? 2 : 1; }

// c (rows, COLS) = sum over p of a[p * lda + i] b[p * ldb + j]; rows is NV * Vec::width, or less where NV is 1.
template <int COLS, int NV>
[[gnu::noinline]] void columns_tile(int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc,
                                    int64_t rows) {
  const int64_t w = NV == 1 ? rows : Vec::width;
  Vec acc[COLS][NV];
  FASTNN_UNROLL for (int j = 0; j < COLS; ++j)
    FASTNN_UNROLL for (int v = 0; v < NV; ++v) acc[j][v] = Vec::zero();
  for (int64_t p = 0; p < k; ++p, a += lda, b += ldb) {
    Vec ap[NV];
    FASTNN_UNROLL for (int v = 0; v < NV; ++v) ap[v] = NV == 1 ? Vec::load(a, w) : Vec::load(a + v * Vec::width);
    FASTNN_UNROLL for (int j = 0; j < COLS; ++j) {
      const Vec bj = Vec::set(b[j]);
      FASTNN_UNROLL for (int v = 0; v < NV; ++v) acc[j][v] = fma(ap[v], bj, acc[j][v]);
    }
  }
  FASTNN_UNROLL for (int v = 0; v < NV; ++v, c += Vec::width * ldc) {
    VecI x[VecI::width];
    FASTNN_UNROLL for (int j = 0; j < VecI::width; ++j) x[j] = j < COLS ? as_int(acc[j < COLS ? j : 0][v]) : VecI::set(0);
    transpose_lanes(x);
    FASTNN_UNROLL for (int i = 0; i < VecI::width; ++i)
      if (i < w) as_float(x[i]).store(c + i * ldc, COLS);
  }
}

template <int COLS>
void multiply_columns(int64_t m, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc) {
  constexpr int NV = column_vecs(COLS);
  constexpr int64_t size = NV * Vec::width;
  parallel_for(ceil_div(m, size), max(1, kWork / (size * COLS * k)), [=](int64_t begin, int64_t end) {
    int64_t i = begin * size;
    const int64_t stop = min(m, end * size);
    for (; NV > 1 && i + size <= stop; i += size) columns_tile<COLS, NV>(k, a + i, lda, b, ldb, c + i * ldc, ldc, size);
    for (; i < stop; i += Vec::width) columns_tile<COLS, 1>(k, a + i, lda, b, ldb, c + i * ldc, ldc, min(Vec::width, stop - i));
  });
}
template <int COLS = Vec::width - 1>
void multiply_columns_of(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc) {
  if constexpr (COLS > 2) {
    if (n < COLS) return multiply_columns_of<COLS - 1>(m, n, k, a, lda, b, ldb, c, ldc);
  }
  multiply_columns<COLS>(m, k, a, lda, b, ldb, c, ldc);
}

}  // namespace

bool gemm_narrow(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
                 int64_t ldb, float* c, int64_t ldc, bool accumulate, const Epilogue& e) {
  if (n >= Vec::width || n < 2) return false;
  if (!trans_a) {
    if (!pays_to_dot(m, n, k)) return false;
    multiply_dots(trans_b, m, n, k, a, lda, b, ldb, c, ldc, accumulate, e);
    return true;
  }
  // Longer sums are cut into slices elsewhere; c is stored through a transposition.
  const bool plain = !accumulate && e.alpha == 1 && !e.bias && e.activation == kActivationLinear;
  if (trans_b || !plain || m < 2 * Vec::width || k < 16 || k > 512) return false;
  multiply_columns_of(m, n, k, a, lda, b, ldb, c, ldc);
  return true;
}

}  // namespace fastnn::FASTNN_TARGET
