// The matrix product of convolutions: c += a @ b where a is read through offsets, element (i, p) at
// data[row[i] + col[p]], and row i of c stands at place[i]. Tiles get equal work, and what the next
// tiles need is asked for ahead of time.
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
// the vector registers; pointers to 12 rows are as many as the others hold.
constexpr int kPanelVecs = Vec::width == 16 ? 4 : 2;
constexpr int64_t kPanel = kPanelVecs * Vec::width;
constexpr int most_rows(int nv) { return Vec::width == 16 ? (nv == 4 ? 6 : nv == 3 ? 8 : 12) : (nv == 2 ? 6 : 10); }
constexpr int kMostRows = Vec::width == 16 ? 12 : 10;
// A panel (depth, kPanel) takes two thirds of the first-level cache with AVX-512, else less.
constexpr int64_t kDepth = Vec::width == 16 ? 128 : 256, kMostDepth = 256;

// The columns of a panel of a matrix of n columns: panels of one matrix are equally wide, but the last.
inline int64_t panel_width(int64_t n) {
  const int64_t vecs = ceil_div(n, Vec::width);
  return ceil_div(vecs, ceil_div(vecs, kPanelVecs)) * Vec::width;
}

// b (k, n): in panels of `panel` columns, each (k, columns padded to vectors), or in rows of length ld.
struct KernelMatrix {
  const float* data;
  int64_t k, ld, panel;
  bool packed;
  KernelMatrix from_column(int64_t j) const { return {data + (packed ? j * k : j), k, ld, panel, packed}; }
};

// Where a product goes, and what happens to it once its last terms are added.
struct Target {
  float* c;
  const int64_t* place;  // (rows)
  bool add;
  const float* bias;  // (columns) or null
  int64_t activation;
  bool around = false;  // whole vectors are stored around the caches (Stores)
};

// Whether a tile of so many vectors asks for memory beside its sums: AVX2 has too few registers for pointers, and a step of one
// vector is too short.
constexpr bool asks_beside(int64_t nv) { return Vec::width == 16 && nv > 1; }

struct TileArgs {
  int64_t k;
  const float* const* a;  // (rows)
  const int64_t* col;     // (k)
  const float* b;         // (k, nv vectors), rows of length ldb
  int64_t ldb;
  float* c;
  const int64_t* place;  // (rows)
  int64_t last;          // columns of the last vector
  bool add, relu, around;
  const float* bias;  // padded to vectors, or null
  const float* ahead;  // asked for beside the sums: a line at each step, ahead_step floats further on
  int64_t ahead_step;
};

// With RUN > 1, k is a multiple of RUN and col ascends by one in runs of RUN: a row's pointer is then
// fetched once for several products.
template <int ROWS, int NV, int RUN>
[[gnu::noinline]] void conv_tile(const TileArgs& t) {
  const float* row[ROWS];
  Vec acc[ROWS][NV];
  FASTNN_UNROLL for (int i = 0; i < ROWS; ++i) {
    row[i] = t.a[i];
    const float* to = t.c + t.place[i];
    FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = Vec::zero();
    if (!t.around)
      FASTNN_UNROLL for (int j = 0; j < NV * Vec::width; j += 16) __builtin_prefetch(to + j, 1);  // it arrives while the sums are made
  }
  const float *b = t.b, *ahead = t.ahead;
  const int64_t* col = t.col;
  const int64_t ldb = t.ldb, ahead_step = t.ahead_step;
  for (const int64_t* end = col + t.k; col < end; col += RUN) {
    const int64_t at = *col;
    if constexpr (asks_beside(NV)) {
      __builtin_prefetch(ahead, 0, 2);
      ahead += ahead_step;
    }
    if constexpr (Vec::width == 16) {
      Vec bp[RUN][NV];
      FASTNN_UNROLL for (int q = 0; q < RUN; ++q, b += ldb)
        FASTNN_UNROLL for (int j = 0; j < NV; ++j) bp[q][j] = Vec::load(b + j * Vec::width);
      FASTNN_UNROLL for (int i = 0; i < ROWS; ++i) {
        const float* ai = row[i] + at;
        FASTNN_UNROLL for (int q = 0; q < RUN; ++q) {
          const Vec v = Vec::set(ai[q]);
          FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = fma(v, bp[q][j], acc[i][j]);
        }
      }
    } else {  // 16 registers hold one row of the panel at a time
      FASTNN_UNROLL for (int q = 0; q < RUN; ++q, b += ldb) {
        Vec bp[NV];
        FASTNN_UNROLL for (int j = 0; j < NV; ++j) bp[j] = Vec::load(b + j * Vec::width);
        FASTNN_UNROLL for (int i = 0; i < ROWS; ++i) {
          const Vec v = Vec::set(row[i][at + q]);
          FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = fma(v, bp[j], acc[i][j]);
        }
      }
    }
  }
  const bool add = t.add, is_relu = t.relu;
  const float* bias = t.bias;
  const int64_t last = t.last, *place = t.place;
  float* const c = t.c;
  if (last < Vec::width) {  // the last vector is stored in part
    FASTNN_UNROLL for (int i = 0; i < ROWS; ++i) {
      float* to = c + place[i];
      FASTNN_UNROLL for (int j = 0; j < NV; ++j) {
        const int64_t n = j < NV - 1 ? Vec::width : last;
        Vec v = acc[i][j];
        if (add) v = v + Vec::load(to + j * Vec::width, n);
        if (bias) v = v + Vec::load(bias + j * Vec::width);
        (is_relu ? relu(v) : v).store(to + j * Vec::width, n);
      }
    }
    return;
  }
  if (add)
    FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
      FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = acc[i][j] + Vec::load(c + place[i] + j * Vec::width);
  if (bias)
    FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
      FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = acc[i][j] + Vec::load(bias + j * Vec::width);
  if (is_relu)
    FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
      FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = relu(acc[i][j]);
  if (t.around) {
    FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
      FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j].stream(c + place[i] + j * Vec::width);
    return;
  }
  FASTNN_UNROLL for (int i = 0; i < ROWS; ++i)
    FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j].store(c + place[i] + j * Vec::width);
}

using ConvTile = void (*)(const TileArgs&);
template <int NV, int RUN, int ROWS = most_rows(NV)>
ConvTile tile_of_rows(int64_t rows) {
  if constexpr (ROWS > 1)
    if (rows < ROWS) return tile_of_rows<NV, RUN, ROWS - 1>(rows);
  return conv_tile<ROWS, NV, RUN>;
}
// `runs`: column offsets come in runs of 4 (or 3). Wide tiles of AVX-512 have few rows and gain nothing from it.
inline ConvTile choose_tile(int64_t rows, int64_t nv, int64_t runs) {
  if constexpr (kPanelVecs == 4) {
    if (nv == 4) return tile_of_rows<4, 1>(rows);
    if (nv == 3) return tile_of_rows<3, 1>(rows);
    if (nv == 2) return runs == 4 ? tile_of_rows<2, 2>(rows) : tile_of_rows<2, 1>(rows);
  } else {
    if (nv == 2) return runs == 4 ? tile_of_rows<2, 4>(rows) : runs == 3 ? tile_of_rows<2, 3>(rows) : tile_of_rows<2, 1>(rows);
  }
  return runs == 4 ? tile_of_rows<1, 4>(rows) : tile_of_rows<1, 1>(rows);
}

// Values of k in a step of the tile that choose_tile gives with AVX-512.
inline int64_t run_of_tile(int64_t nv, int64_t runs) { return nv > 2 || runs != 4 ? 1 : nv == 2 ? 2 : 4; }
// Lets a tile ask for the result of the next one, if its rows lie one after the other.
inline void ask_for(TileArgs& t, const int64_t* place, int64_t rows, int64_t nv, int64_t steps) {
  if (rows * nv <= steps && place[rows - 1] - place[0] == (rows - 1) * nv * Vec::width)
    t.ahead = t.c + place[0], t.ahead_step = ceil_div(rows * nv * 16, steps);
}

// Memory that is needed soon, rows of `width` floats, asked for in equal steps.
class Ahead {
 public:
  Ahead() = default;
  Ahead(const float* data, int64_t rows, int64_t width, int64_t stride)
      : data_(data), lines_(ceil_div(width, 16)), stride_(stride), left_(rows * lines_) {
    if (width == stride) lines_ = left_ = ceil_div(rows * width, 16);  // one long row
  }
  void plan(int64_t steps) { per_step_ = left_ ? ceil_div(left_, max(steps, 1)) : 0; }
  void step(int64_t done = 0) {
    int64_t n = min(per_step_ - done, left_);
    left_ -= n;
    for (; n > 0; --n) {
      __builtin_prefetch(data_ + at_ * 16, 0, 2);
      if (++at_ == lines_) at_ = 0, data_ += stride_;
    }
  }
  // The same by a tile, in the steps of its sums; returns how many lines it does not leave to step(). A core has few lines on their
  // way at a time, and waits for a burst of them.
  int64_t step_beside(TileArgs& t, int64_t steps) {
    const int64_t n = min(min(per_step_, left_), steps);
    if (n <= 0 || lines_ - at_ < left_) return 0;  // they do not lie together
    t.ahead = data_ + at_ * 16, t.ahead_step = ceil_div(n * 16, steps);
    at_ += n, left_ -= n;
    return n;
  }
  int64_t lines() const { return min(per_step_, left_); }

 private:
  const float* data_ = nullptr;
  int64_t lines_ = 0, stride_ = 0, left_ = 0, per_step_ = 0, at_ = 0;
};

// The runs in which columns come that are `length` neighbours each.
inline int64_t runs_of(int64_t length) { return length % 4 == 0 ? 4 : length % 3 == 0 ? 3 : 0; }

struct RowsA {
  const float* data;
  const int64_t* offset;  // (count)
  int64_t count;
  int64_t runs;  // columns come in runs of 4 or 3, see conv_tile; 0: they do not
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

// c (a.count, n) = activation((add ? c : 0) + a (a.count, k) @ b (k, n) + bias), on the calling thread.
// columns(p0, kc, buffer) gives the offsets of columns [p0, p0 + kc); `soon` and `also` are
// fetched on the way.
template <class Columns>
void multiply(const RowsA& a, const Columns& columns, int64_t k, const KernelMatrix& b, int64_t n, const Target& to,
              Ahead soon = {}, Ahead also = {}) {
  const int64_t depth = b.panel <= kPanel / 2 ? kMostDepth : kDepth, blocks = max(1, ceil_div(k, depth)),
                kb = round_up(ceil_div(k, blocks), 4), panels = ceil_div(n, b.panel);
  // A panel is copied where its rows are not whole vectors, or lie so far apart that they share few
  // sets of the cache.
  const bool copies = !b.packed && (n % Vec::width || (b.ld > kPanel && a.count > 2 * kMostRows));
  Scratch<float> panel_copy(copies ? kb * b.panel : 0);
  int64_t buffer[kMostDepth];
  float bias[kPanel];
  const int64_t full = ceil_div(a.count, most_rows(int(b.panel / Vec::width)));
  const int64_t runs = a.runs == 3 && blocks > 1 ? 0 : a.runs;  // a block would end within a run
  soon.plan(blocks * panels * full), also.plan(blocks * panels * full);
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t p0 = block * kb, kc = max(0, min(kb, k - p0));
    const int64_t* col = columns(p0, kc, buffer);
    const bool final = block == blocks - 1;
    for (int64_t j = 0; j < n; j += b.panel) {
      const int64_t cols = min(b.panel, n - j), nv = ceil_div(cols, Vec::width);
      TileArgs t;
      t.k = kc, t.col = col, t.c = to.c + j, t.last = cols - (nv - 1) * Vec::width;
      t.around = to.around && blocks == 1 && cols % Vec::width == 0;  // or the sums are in a cache already
      t.add = to.add || block, t.bias = nullptr, t.relu = final && to.activation == kActivationRelu;
      if (final && to.bias) {
        zero(bias, kPanel);
        copy(to.bias + j, bias, cols);
        t.bias = bias;
      }
      const bool same = j + b.panel < n;  // the next panel is of the same block
      const int64_t j1 = same ? j + b.panel : 0, p1 = same ? p0 : p0 + kb, k1 = max(0, min(kb, k - p1)),
                    cols1 = min(b.panel, n - j1);
      Ahead next;
      if (b.packed) {
        t.ldb = nv * Vec::width, t.b = b.data + j * b.k + p0 * t.ldb;
        const int64_t ld1 = round_up(cols1, Vec::width);
        next = {b.data + j1 * b.k + p1 * ld1, k1, ld1, ld1};
      } else {
        t.ldb = b.ld, t.b = b.data + p0 * b.ld + j;
        if (copies) {
          pack_rows(t.b, b.ld, kc, cols, panel_copy);
          t.b = panel_copy, t.ldb = nv * Vec::width;
        }
        next = {b.data + p1 * b.ld + j1, k1, cols1, b.ld};
      }
      // Tiles differ by one row at most.
      const int64_t tiles = ceil_div(a.count, most_rows(int(nv))), fewer = a.count / tiles, more = a.count % tiles;
      const ConvTile kernel_fewer = choose_tile(fewer, nv, runs), kernel_more = choose_tile(fewer + (more > 0), nv, runs);
      const int64_t steps = asks_beside(nv) ? kc / run_of_tile(nv, runs) : 0;
      next.plan(tiles);
      for (int64_t tile = 0, i0 = 0, rows; tile < tiles; ++tile, i0 += rows) {
        rows = fewer + (tile < more);
        const float* row[kMostRows];
        for (int64_t r = 0; r < rows; ++r) row[r] = a.data + a.offset[i0 + r];
        t.ahead = t.b, t.ahead_step = 0;
        int64_t asked = 0;
        // A result that is written for the first time, if it is more than what `soon` is.
        if (final && !t.add && !t.around && tile + 1 < tiles && soon.lines() < rows * nv)
          ask_for(t, to.place + i0 + rows, fewer + (tile + 1 < more), nv, steps);
        else asked = soon.step_beside(t, steps);
        next.step(), soon.step(asked), also.step();
        t.a = row, t.place = to.place + i0;
        (tile < more ? kernel_more : kernel_fewer)(t);
        if (final && to.activation > kActivationRelu)
          for (int64_t r = 0; r < rows; ++r) apply_epilogue(t.c + t.place[r], 0, 1, cols, nullptr, to.activation);
      }
    }
  }
}

}  // namespace
}  // namespace fastnn
