// The matrix product of convolutions: c += a @ b where a is read through offsets, element (i, p) at
// data[row[i] + col[p]], and row i of c stands at place[i]. Few or many columns get tiles of equal
// work, and what the next tiles need is asked for ahead of time.
#pragma once
#include "cpu/gemm.h"

namespace fastnn {
namespace {

inline void zero(float* to, int64_t count) {
  for_each_vec(count, [&](int64_t i, int64_t n) { Vec::zero().store(to + i, n); });
}
inline void copy(const float* from, float* to, int64_t count) {
  for_each_vec(count, [&](int64_t i, int64_t n) { Vec::load(from + i, n).store(to + i, n); });
}

// A panel of b has up to kPanel columns. Accumulators, one row of the panel and one value of a fill
// the registers; the fewer vectors a row has, the more rows share its loads.
constexpr int kPanelVecs = Vec::width == 16 ? 4 : 2;
constexpr int64_t kPanel = kPanelVecs * Vec::width;
constexpr int most_rows(int nv) {
  return Vec::width == 16 ? (nv == 4 ? 6 : nv == 3 ? 8 : nv == 2 ? 12 : 16) : (nv == 2 ? 6 : 10);
}
constexpr int kMostRows = most_rows(1);
// A panel (depth, kPanel) takes two thirds of the first-level cache with AVX-512, else less.
constexpr int64_t kDepth = Vec::width == 16 ? 128 : 256, kMostDepth = 256;

// Where a product goes, and what happens to it once its last terms are added.
struct Target {
  float* c;
  const int64_t* place;  // (rows)
  bool add;
  const float* bias;  // (columns) or null
  int64_t activation;
};

struct TileArgs {
  int64_t k;
  const float* const* a;  // (rows)
  const int64_t* col;     // (k)
  const float* b;         // (k, nv vectors), rows of length ldb
  int64_t ldb;
  float* c;
  const int64_t* place;  // (rows)
  int64_t last;          // columns of the last vector
  bool add, relu;
  const float* bias;  // padded to vectors, or null
};

template <int ROWS, int NV>
[[gnu::noinline]] void conv_tile(const TileArgs& t) {
  const float* row[ROWS];
  Vec acc[ROWS][NV];
  FASTNN_UNROLL for (int i = 0; i < ROWS; ++i) {
    row[i] = t.a[i];
    const float* to = t.c + t.place[i];
    FASTNN_UNROLL for (int j = 0; j < NV; ++j) {
      acc[i][j] = Vec::zero();
      __builtin_prefetch(to + j * Vec::width, 1);  // it arrives while the sums are made
    }
  }
  const float* b = t.b;
  const int64_t* col = t.col;
  const int64_t ldb = t.ldb;
  for (const int64_t* end = col + t.k; col < end; ++col, b += ldb) {
    const int64_t at = *col;
    Vec bp[NV];
    FASTNN_UNROLL for (int j = 0; j < NV; ++j) bp[j] = Vec::load(b + j * Vec::width);
    FASTNN_UNROLL for (int i = 0; i < ROWS; ++i) {
      const Vec ai = Vec::set(row[i][at]);
      FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = fma(ai, bp[j], acc[i][j]);
    }
  }
  FASTNN_UNROLL for (int i = 0; i < ROWS; ++i) {
    float* to = t.c + t.place[i];
    FASTNN_UNROLL for (int j = 0; j < NV; ++j) {
      const int64_t n = j == NV - 1 ? t.last : Vec::width;
      Vec v = acc[i][j];
      if (t.add) v = v + (n == Vec::width ? Vec::load(to + j * Vec::width) : Vec::load(to + j * Vec::width, n));
      if (t.bias) v = v + Vec::load(t.bias + j * Vec::width);
      if (t.relu) v = relu(v);
      if (n == Vec::width) v.store(to + j * Vec::width);
      else v.store(to + j * Vec::width, n);
    }
  }
}

using ConvTile = void (*)(const TileArgs&);
template <int NV, int ROWS = most_rows(NV)>
ConvTile tile_of_rows(int64_t rows) {
  if constexpr (ROWS > 1)
    if (rows < ROWS) return tile_of_rows<NV, ROWS - 1>(rows);
  return conv_tile<ROWS, NV>;
}
inline ConvTile choose_tile(int64_t rows, int64_t nv) {
  if constexpr (kPanelVecs == 4) {
    if (nv == 4) return tile_of_rows<4>(rows);
    if (nv == 3) return tile_of_rows<3>(rows);
  }
  return nv == 2 ? tile_of_rows<2>(rows) : tile_of_rows<1>(rows);
}

// Memory that is needed soon: rows of `width` floats.
struct Ahead {
  const float* data = nullptr;
  int64_t rows = 0, width = 0, stride = 0;
  // Ask for the share of step i of n.
  void fetch(int64_t i, int64_t n) const {
    const int64_t lines = (width + 15) / 16, begin = rows * lines * i / n, end = rows * lines * (i + 1) / n;
    int64_t at = lines ? begin % lines : 0;
    const float* from = begin < end ? data + begin / lines * stride : nullptr;
    for (int64_t line = begin; line < end; ++line) {
      __builtin_prefetch(from + at * 16, 0, 2);
      if (++at == lines) at = 0, from += stride;
    }
  }
};

// Columns [0, cols) of b (kc, ldb) to out (kc, cols padded with zeros to whole vectors).
inline void pack_rows(const float* b, int64_t ldb, int64_t kc, int64_t cols, float* out) {
  const int64_t ld = round_up(cols, Vec::width);
  if (cols == kPanel) {
    for (int64_t p = 0; p < kc; ++p, b += ldb, out += ld)
      FASTNN_UNROLL for (int j = 0; j < kPanelVecs; ++j) Vec::load(b + j * Vec::width).store(out + j * Vec::width);
    return;
  }
  for (int64_t p = 0; p < kc; ++p, b += ldb, out += ld)
    for_each_vec(cols, [&](int64_t j, int64_t n) { Vec::load(b + j, n).store(out + j); });
}

struct RowsA {
  const float* data;
  const int64_t* offset;  // (count)
  int64_t count;
};

// c (a.count, n) = activation((add ? c : 0) + a (a.count, k) @ b (k, n) + bias), on the calling thread.
// columns(p0, kc, buffer) gives the offsets of columns [p0, p0 + kc); `soon` is fetched on the way.
template <class Columns>
void multiply(const RowsA& a, const Columns& columns, int64_t k, const MatrixB& b, int64_t n, const Target& to,
              const Ahead& soon = {}) {
  const int64_t depth = n <= kPanel / 2 ? kMostDepth : kDepth, blocks = max(1, ceil_div(k, depth)), kb = ceil_div(k, blocks);
  const int64_t panels = ceil_div(n, kPanel);
  // A panel is copied where its rows are not whole vectors, or lie so far apart that they share few
  // sets of the cache.
  const bool copies = !b.packed && (n % Vec::width || (b.ld > kPanel && a.count > 2 * kMostRows));
  Scratch<float> panel_copy(copies ? kb * kPanel : 0);
  int64_t buffer[kMostDepth];
  float bias[kPanel];
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t p0 = block * kb, kc = min(kb, k - p0);
    const int64_t* col = columns(p0, kc, buffer);
    for (int64_t panel = 0; panel < panels; ++panel) {
      const int64_t j = panel * kPanel, cols = min(kPanel, n - j), nv = ceil_div(cols, Vec::width);
      TileArgs t;
      t.k = kc, t.col = col, t.c = to.c + j, t.last = cols - (nv - 1) * Vec::width;
      t.add = to.add || block, t.bias = nullptr, t.relu = false;
      if (block == blocks - 1) {
        t.relu = to.activation == kActivationRelu;
        if (to.bias) {
          for_each_vec(nv * Vec::width, [&](int64_t i, int64_t) { Vec::zero().store(bias + i); });
          copy(to.bias + j, bias, cols);
          t.bias = bias;
        }
      }
      Ahead next;
      const int64_t j1 = panel + 1 < panels ? j + kPanel : 0, p1 = panel + 1 < panels ? p0 : p0 + kb;
      const int64_t k1 = min(kb, k - p1), cols1 = min(kPanel, n - j1);
      if (b.packed) {
        t.ldb = nv * Vec::width, t.b = b.data + j * b.k + p0 * t.ldb;
        const int64_t ld1 = round_up(cols1, Vec::width);
        if (k1 > 0) next = {b.data + j1 * b.k + p1 * ld1, 1, k1 * ld1, 0};
      } else {
        t.ldb = b.ld, t.b = b.data + p0 * b.ld + j;
        if (copies) {
          pack_rows(t.b, b.ld, kc, cols, panel_copy);
          t.b = panel_copy, t.ldb = nv * Vec::width;
        }
        if (k1 > 0) next = {b.data + p1 * b.ld + j1, k1, cols1, b.ld};
      }
      const int64_t tiles = ceil_div(a.count, most_rows(int(nv)));
      int64_t chosen = 0;
      ConvTile kernel = nullptr;
      for (int64_t tile = 0; tile < tiles; ++tile) {
        // Tiles differ by one row at most.
        const int64_t i0 = a.count * tile / tiles, rows = a.count * (tile + 1) / tiles - i0;
        const float* row[kMostRows];
        for (int64_t r = 0; r < rows; ++r) row[r] = a.data + a.offset[i0 + r];
        next.fetch(tile, tiles);
        soon.fetch((block * panels + panel) * tiles + tile, blocks * panels * tiles);
        if (rows != chosen) kernel = choose_tile(rows, nv), chosen = rows;
        t.a = row, t.place = to.place + i0;
        kernel(t);
        if (block == blocks - 1 && to.activation > kActivationRelu)
          for (int64_t r = 0; r < rows; ++r)
            apply_epilogue(t.c + t.place[r], 0, 1, cols, nullptr, to.activation);
      }
    }
  }
}

}  // namespace
}  // namespace fastnn
