// Depthwise convolution: every channel has its own window, so vectors run over channels.
//
// Outputs that lie next to each other in a row share most of their columns. A tile computes P of
// them at once: each column is loaded once per row of the window and used by every output it meets.
// Sums run over rows, then columns, in every path: tiles do not change the bits of a result.
#include "cpu/lanes.h"
#include "cpu/parallel.h"
#include "cpu/window.h"
#include "kernels.h"
#include "samples.h"

namespace fastnn {
namespace {

// P outputs with the same `rows` x `cols` taps, for any stride and dilation.
// x: first tap of the first output; x_row, x_tap, x_out: floats from a row, a tap, an output to the
// next. w (rows, kw, c) with w_row = kw * c; y (P, c).
// Rows from `fresh` on have not been read for the outputs above: they come from memory.
struct Taps {
  int64_t rows, cols, x_row, x_tap, x_out, w_row, c, fresh;
};

// Asks for the columns that the next tile reads and this one does not: the hardware does not see
// through the order in which a tile touches its cells. Worth a factor of 1.5 to 2 from the L3 on.
template <int KW, int SW, int P>
inline void prefetch_columns(const float* x, int64_t c) {
  FASTNN_UNROLL for (int q = (P - 1) * SW + KW; q < (2 * P - 1) * SW + KW; ++q) __builtin_prefetch(x + q * c);
}

template <int P>
inline void any_tile(const float* x, const float* w, float* y, const Taps& t) {
  for_each_lanes(t.c, [&](int64_t k, auto lanes) {
    Vec acc[P];
    FASTNN_UNROLL for (int p = 0; p < P; ++p) acc[p] = Vec::zero();
    for (int64_t u = 0; u < t.rows; ++u) {
      const float* xp = x + u * t.x_row + k;
      const float* wp = w + u * t.w_row + k;
      for (int64_t v = 0; v < t.cols; ++v, xp += t.x_tap, wp += t.c) {
        const Vec wv = lanes.load(wp);
        FASTNN_UNROLL for (int p = 0; p < P; ++p) acc[p] = fma(lanes.load(xp + p * t.x_out), wv, acc[p]);
      }
    }
    FASTNN_UNROLL for (int p = 0; p < P; ++p) lanes.store(acc[p], y + p * t.c + k);
  });
}

// Columns of a tile that exist, and outputs that are wanted.
struct TileBounds {
  Range columns;
  int64_t outputs;
};

// Up to two output rows that lie one below the other. Tap rows i in [first, end) of the upper one and of the lower one, which
// begins sh rows further down, exist; i counts from the upper one's first tap. x, w, y as in Taps.
struct RowTaps {
  int64_t first, end, kh, sh, x_row, w_row, y_row, c;
};

// Asks for memory in rising order, a few lines for each row of a tile: more at a time wait for the few buffers of a core. The order in
// which tiles touch cells hides from the hardware that they walk through memory.
struct Ahead {
  const float* next;
  int64_t lines;  // for each row of a tile
  void step() {
    for (int64_t l = 0; l < lines; ++l) __builtin_prefetch(next + 16 * l, 0, 2);
    next += 16 * lines;
  }
};

// acc (P) += a row of columns times its row of weights; not `whole`: of the columns that exist.
template <int KW, int SW, int P, bool whole, class Lanes>
inline void add_row(Vec (&acc)[P], const float* x, const float* w, int64_t c, Range columns, Lanes lanes) {
  Vec wv[KW];
  FASTNN_UNROLL for (int v = 0; v < KW; ++v) wv[v] = lanes.load(w + v * c);
  FASTNN_UNROLL for (int q = 0; q < (P - 1) * SW + KW; ++q) {
    if (!whole && (q < columns.begin || q >= columns.end)) continue;
    const Vec xq = lanes.load(x + q * c);
    FASTNN_UNROLL for (int p = 0; p < P; ++p)
      if (q - p * SW >= 0 && q - p * SW < KW) acc[p] = fma(xq, wv[q - p * SW], acc[p]);
  }
}
// The same for two rows of outputs, which meet the columns with different rows of weights.
template <int KW, int SW, int P, bool whole, class Lanes>
inline void add_row(Vec (&upper)[P], Vec (&lower)[P], const float* x, const float* w_upper, const float* w_lower, int64_t c,
                    Range columns, Lanes lanes) {
  Vec wu[KW], wl[KW];
  FASTNN_UNROLL for (int v = 0; v < KW; ++v) wu[v] = lanes.load(w_upper + v * c), wl[v] = lanes.load(w_lower + v * c);
  FASTNN_UNROLL for (int q = 0; q < (P - 1) * SW + KW; ++q) {
    if (!whole && (q < columns.begin || q >= columns.end)) continue;
    const Vec xq = lanes.load(x + q * c);
    FASTNN_UNROLL for (int p = 0; p < P; ++p)
      if (q - p * SW >= 0 && q - p * SW < KW) {
        upper[p] = fma(xq, wu[q - p * SW], upper[p]);
        lower[p] = fma(xq, wl[q - p * SW], lower[p]);
      }
  }
}

// R rows of P outputs with KW undilated taps and stride SW: a column is loaded once per row of the input.
template <int KW, int SW, int P, int R, bool whole>
inline void tile(const float* x, const float* w, float* y, const RowTaps& t, const TileBounds& bounds, Ahead& ahead) {
  for_each_lanes(t.c, [&](int64_t k, auto lanes) {
    Vec upper[P], lower[P];
    FASTNN_UNROLL for (int p = 0; p < P; ++p) upper[p] = lower[p] = Vec::zero();
    for (int64_t i = t.first; i < t.end; ++i) {
      const float *xp = x + i * t.x_row + k, *wp = w + i * t.w_row + k;
      ahead.step();
      if (R == 2 && i >= t.sh && i < t.kh)
        add_row<KW, SW, P, whole>(upper, lower, xp, wp, wp - t.sh * t.w_row, t.c, bounds.columns, lanes);
      else if (i < t.kh) add_row<KW, SW, P, whole>(upper, xp, wp, t.c, bounds.columns, lanes);
      else if (R == 2 && i >= t.sh) add_row<KW, SW, P, whole>(lower, xp, wp - t.sh * t.w_row, t.c, bounds.columns, lanes);
    }
    FASTNN_UNROLL for (int p = 0; p < P; ++p)
      if (whole || p < bounds.outputs) {
        lanes.store(upper[p], y + p * t.c + k);
        if (R == 2) lanes.store(lower[p], y + t.y_row + p * t.c + k);
      }
  });
}

// Calls f.run<P>(j) for the outputs of `inside` in tiles of 8, 4, 2 and 1.
template <class F>
inline void for_each_tile(Range inside, F f) {
  int64_t j = inside.begin;
  for (; j + 8 <= inside.end; j += 8) f.template run<8>(j);
  if (j + 4 <= inside.end) f.template run<4>(j), j += 4;
  if (j + 2 <= inside.end) f.template run<2>(j), j += 2;
  if (j < inside.end) f.template run<1>(j);
}

struct AnyRow {
  const float* x;
  const float* w;
  float* y;
  const Taps& t;
  int64_t start;  // floats from x to the first tap of output 0
  template <int P>
  void run(int64_t j) const { any_tile<P>(x + start + j * t.x_out, w, y + j * t.c, t); }
};

// Rows of undilated taps. Their tiles go over the border, where they leave columns out, and over the end: an output of its own
// costs the latency of each of its taps, and all weights once more.
template <int KW, int SW>
struct FixedRows {
  const float* x;  // first tap of the upper row, in column 0
  const float* w;
  float* y;
  const RowTaps& t;
  int64_t pw, iw, ow;
  Ahead& ahead;

  template <int P, int R>
  void run(int64_t j) const {
    constexpr int columns = (P - 1) * SW + KW;
    const int64_t left = j * SW - pw;
    const float* from = x + left * t.c;
    const TileBounds bounds{{-left, iw - left}, ow - j};
    if (left >= 0 && left + columns <= iw && j + P <= ow) tile<KW, SW, P, R, true>(from, w, y + j * t.c, t, bounds, ahead);
    else tile<KW, SW, P, R, false>(from, w, y + j * t.c, t, bounds, ahead);
  }
  // Two rows of 8 outputs need 23 registers.
  static constexpr int most(int rows) { return rows == 2 && Vec::width < 16 ? 4 : 8; }
  template <int R>
  void run() const {
    int64_t j = 0;
    for (; j + (most(R) > 4 ? 4 : 0) < ow; j += most(R)) run<most(R), R>(j);
    if (j < ow) run<4, R>(j);
  }
};

// Images by groups of `height` output rows, 1 or 2.
struct RowGroups {
  const WindowShape& s;
  int64_t height;
  int64_t each() const { return ceil_div(s.oh, height); }
  int64_t count() const { return s.n * each(); }
  // Rows of all images that have been read when group g is through; images follow each other in memory.
  int64_t read(int64_t g) const {
    if (g >= count()) return s.n * s.ih;
    const int64_t row = clamp((g % each() + 1) * height, 0, s.oh) - 1;
    return g / each() * s.ih + clamp(row * s.sh - s.ph + (s.kh - 1) * s.dh + 1, 0, s.ih);
  }
};

template <int KW, int SW>
void convolve_fixed(const float* x, const float* w, float* y, const WindowShape& s) {
  using Rows = FixedRows<KW, SW>;
  const int64_t x_row = s.iw * s.c, y_row = s.ow * s.c;
  // Two rows at a time read half as much from the second-level cache; a few rows are shared out better one by one. With 16
  // registers two rows of five weights do not pay: 1.5 times slower at stride 1, where the columns are loaded twice as often.
  constexpr bool pays = Vec::width == 16 || KW == 3 || SW == 2;
  const RowGroups groups{s, pays && s.dh == 1 && s.n * s.oh >= 32 ? 2 : 1};
  const int64_t floats = groups.height * y_row, vectors = ceil_div(s.ow, Rows::most(int(groups.height))) * ceil_div(s.c, Vec::width);
  const int64_t count = groups.count();
  parallel_for(count, count * floats <= 32768 ? count : row_grain(floats, 8192), [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      const int64_t image = g / groups.each(), oi = g % groups.each() * groups.height, top = oi * s.sh - s.ph;
      const bool two = groups.height == 2 && oi + 1 < s.oh;
      const Range rows = valid_taps(top, s.kh + (two ? s.sh : 0), s.dh, s.ih);
      const RowTaps t{rows.begin, rows.end, s.kh, s.sh, s.dh * x_row, s.kw * s.c, y_row, s.c};
      const int64_t next = groups.read(g), lines = ceil_div((groups.read(g + 1) - next) * x_row, 16);
      Ahead ahead{x + next * x_row, rows.size() ? ceil_div(lines, vectors * rows.size()) : 0};
      const Rows fixed{x + (image * s.ih + top) * x_row, w, y + (image * s.oh + oi) * y_row, t, s.pw, s.iw, s.ow, ahead};
      if (two) fixed.template run<2>();
      else fixed.template run<1>();
    }
  });
}

// One output row. x: (ih, iw, c) image; w: (kh, kw, c); y: (ow, c).
inline void convolve_row(const float* x, const float* w, float* y, int64_t oi, const WindowShape& s) {
  const int64_t top = oi * s.sh - s.ph, c = s.c;
  const Range rows = valid_taps(top, s.kh, s.dh, s.ih);
  if (rows.size() > 0) x += (top + rows.begin * s.dh) * s.iw * c;
  w += rows.begin * s.kw * c;
  const Taps t{rows.size(), s.kw, s.dh * s.iw * c, s.dw * c, s.sw * c, s.kw * c, c, rows.size() - s.sh};

  const Range inside = interior(s.ow, s.kw, s.sw, s.pw, s.dw, s.iw);
  auto edge = [&](int64_t j) {
    const int64_t left = j * s.sw - s.pw;
    const Range cols = valid_taps(left, s.kw, s.dw, s.iw);
    Taps e = t;
    e.cols = cols.size();
    const int64_t first = e.cols > 0 ? (left + cols.begin * s.dw) * c : 0;
    any_tile<1>(x + first, w + cols.begin * c, y + j * c, e);
  };
  for (int64_t j = 0; j < inside.begin; ++j) edge(j);
  for_each_tile(inside, AnyRow{x, w, y, t, -s.pw * c});
  for (int64_t j = inside.end; j < s.ow; ++j) edge(j);
}

// y[n,i,j,k] = sum_{u,v} x[n, i*sh-ph+u*dh, j*sw-pw+v*dw, k] * w[u,v,k]
void convolve(const float* x, const float* w, float* y, const WindowShape& s) {
  if (s.dw == 1 && s.kw == 3 && s.sw == 1) return convolve_fixed<3, 1>(x, w, y, s);
  if (s.dw == 1 && s.kw == 3 && s.sw == 2) return convolve_fixed<3, 2>(x, w, y, s);
  if (s.dw == 1 && s.kw == 5 && s.sw == 1) return convolve_fixed<5, 1>(x, w, y, s);
  if (s.dw == 1 && s.kw == 5 && s.sw == 2) return convolve_fixed<5, 2>(x, w, y, s);
  // Rows are shared out evenly, also those of one small image, but where one thread is soon done.
  const int64_t rows = s.n * s.oh, floats = s.ow * s.c;
  parallel_for(rows, rows * floats <= 32768 ? rows : row_grain(floats, 8192), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      convolve_row(x + r / s.oh * s.ih * s.iw * s.c, w, y + r * s.ow * s.c, r % s.oh, s);
  });
}

// gw (rows, KW, c) += the products of P outputs with the columns they read.
template <int KW, int SW, int P>
inline void weights_tile(const float* x, const float* gy, float* gw, const Taps& t, int64_t count) {
  for_each_lanes(count, [&](int64_t k, auto lanes) {
    Vec g[P];
    FASTNN_UNROLL for (int p = 0; p < P; ++p) g[p] = lanes.load(gy + p * t.c + k);
    if (P > 1) prefetch_columns<1, 1, P>(gy + k, t.c);
    for (int64_t u = 0; u < t.rows; ++u) {
      const float* xp = x + u * t.x_row + k;
      float* wp = gw + u * t.w_row + k;
      if (P > 1 && u >= t.fresh) prefetch_columns<KW, SW, P>(xp, t.c);
      Vec acc[KW];
      FASTNN_UNROLL for (int v = 0; v < KW; ++v) acc[v] = lanes.load(wp + v * t.c);
      FASTNN_UNROLL for (int q = 0; q < (P - 1) * SW + KW; ++q) {
        const Vec xq = lanes.load(xp + q * t.c);
        FASTNN_UNROLL for (int p = 0; p < P; ++p)
          if (q - p * SW >= 0 && q - p * SW < KW) acc[q - p * SW] = fma(xq, g[p], acc[q - p * SW]);
      }
      FASTNN_UNROLL for (int v = 0; v < KW; ++v) lanes.store(acc[v], wp + v * t.c);
    }
  });
}

template <int P>
inline void any_weights_tile(const float* x, const float* gy, float* gw, const Taps& t, int64_t count) {
  for_each_lanes(count, [&](int64_t k, auto lanes) {
    Vec g[P];
    FASTNN_UNROLL for (int p = 0; p < P; ++p) g[p] = lanes.load(gy + p * t.c + k);
    for (int64_t u = 0; u < t.rows; ++u) {
      const float* xp = x + u * t.x_row + k;
      float* wp = gw + u * t.w_row + k;
      for (int64_t v = 0; v < t.cols; ++v, xp += t.x_tap, wp += t.c) {
        Vec acc = lanes.load(wp);
        FASTNN_UNROLL for (int p = 0; p < P; ++p) acc = fma(lanes.load(xp + p * t.x_out), g[p], acc);
        lanes.store(acc, wp);
      }
    }
  });
}

struct AnyWeightsRow {
  const float* x;
  const float* gy;
  float* gw;
  const Taps& t;
  int64_t start, count;
  template <int P>
  void run(int64_t j) const { any_weights_tile<P>(x + start + j * t.x_out, gy + j * t.c, gw, t, count); }
};

template <int KW, int SW>
struct FixedWeightsRow : AnyWeightsRow {
  template <int P>
  void run(int64_t j) const { weights_tile<KW, SW, P>(x + start + j * t.x_out, gy + j * t.c, gw, t, count); }
};

// gw (kh, kw, c) += what output row oi contributes, for `count` channels from the pointers.
inline void weights_row(const float* x, const float* gy, float* gw, int64_t oi, int64_t count,
                        const WindowShape& s) {
  const int64_t top = oi * s.sh - s.ph, c = s.c;
  const Range rows = valid_taps(top, s.kh, s.dh, s.ih);
  if (rows.size() == 0) return;
  x += (top + rows.begin * s.dh) * s.iw * c;
  gw += rows.begin * s.kw * c;
  const Taps t{rows.size(), s.kw, s.dh * s.iw * c, s.dw * c, s.sw * c, s.kw * c, c, rows.size() - s.sh};

  const Range inside = interior(s.ow, s.kw, s.sw, s.pw, s.dw, s.iw);
  auto edge = [&](int64_t j) {
    const int64_t left = j * s.sw - s.pw;
    const Range cols = valid_taps(left, s.kw, s.dw, s.iw);
    if (cols.size() == 0) return;
    Taps e = t;
    e.cols = cols.size();
    any_weights_tile<1>(x + (left + cols.begin * s.dw) * c, gy + j * c, gw + cols.begin * c, e, count);
  };
  for (int64_t j = 0; j < inside.begin; ++j) edge(j);
  const AnyWeightsRow any{x, gy, gw, t, -s.pw * c, count};
  if (s.dw == 1 && s.kw == 3 && s.sw == 1) for_each_tile(inside, FixedWeightsRow<3, 1>{any});
  else if (s.dw == 1 && s.kw == 3 && s.sw == 2) for_each_tile(inside, FixedWeightsRow<3, 2>{any});
  else if (s.dw == 1 && s.kw == 5 && s.sw == 1) for_each_tile(inside, FixedWeightsRow<5, 1>{any});
  else if (s.dw == 1 && s.kw == 5 && s.sw == 2) for_each_tile(inside, FixedWeightsRow<5, 2>{any});
  else for_each_tile(inside, any);
  for (int64_t j = inside.end; j < s.ow; ++j) edge(j);
}

// One row of gx for strides above 1: each cell gathers the outputs that read it, in rising order.
struct GatherRow {
  const float* gy;     // (oh, ow, c) image
  const float* w;      // (kh, kw, c)
  float* gx;           // (iw, c)
  const Range* cover;  // (iw): outputs whose window spans the column
  const WindowShape& s;
  int64_t i;   // the row
  Range rows;  // outputs whose window spans the row

  bool skips(int64_t oi) const { return s.dh > 1 && (i + s.ph - oi * s.sh) % s.dh; }
  const float* w_row(int64_t oi) const { return w + (i + s.ph - oi * s.sh) / s.dh * s.kw * s.c; }

  void cell(int64_t j) const {
    constexpr int kMaxTaps = 32;
    const int64_t c = s.c;
    const float* gp[kMaxTaps];
    const float* wp[kMaxTaps];
    float* out = gx + j * c;
    int taps = 0;
    bool first = true;
    auto flush = [&] {
      for_each_lanes(c, [&](int64_t k, auto lanes) {
        Vec acc = first ? Vec::zero() : lanes.load(out + k);
        for (int t = 0; t < taps; ++t) acc = fma(lanes.load(gp[t] + k), lanes.load(wp[t] + k), acc);
        lanes.store(acc, out + k);
      });
      first = false;
      taps = 0;
    };
    for (int64_t oi = rows.begin; oi < rows.end; ++oi) {
      if (skips(oi)) continue;
      for (int64_t oj = cover[j].begin; oj < cover[j].end; ++oj) {
        const int64_t z = j + s.pw - oj * s.sw;
        if (s.dw > 1 && z % s.dw) continue;
        if (taps == kMaxTaps) flush();
        gp[taps] = gy + (oi * s.ow + oj) * c;
        wp[taps++] = w_row(oi) + z / s.dw * c;
      }
    }
    flush();
  }

  // The SW * P cells from column oj * SW - pw on, all of whose outputs exist.
  template <int KW, int SW, int P>
  void tile(int64_t oj) const {
    constexpr int before = (KW - 1) / SW;  // outputs left of oj that reach the cells
    const int64_t c = s.c;
    float* out = gx + (oj * SW - s.pw) * c;
    for_each_lanes(c, [&](int64_t k, auto lanes) {
      Vec acc[SW * P];
      FASTNN_UNROLL for (int p = 0; p < SW * P; ++p) acc[p] = Vec::zero();
      for (int64_t oi = rows.begin; oi < rows.end; ++oi) {
        if (skips(oi)) continue;
        const float *wp = w_row(oi) + k, *gp = gy + (oi * s.ow + oj - before) * c + k;
        Vec wv[KW];
        FASTNN_UNROLL for (int v = 0; v < KW; ++v) wv[v] = lanes.load(wp + v * c);
        FASTNN_UNROLL for (int q = 0; q < before + P; ++q) {
          const Vec g = lanes.load(gp + q * c);
          FASTNN_UNROLL for (int v = 0; v < KW; ++v) {
            const int p = (q - before) * SW + v;
            if (p >= 0 && p < SW * P) acc[p] = fma(g, wv[v], acc[p]);
          }
        }
        if (oi == rows.end - 1) prefetch_columns<before + 1, 1, P>(gp, c);
      }
      FASTNN_UNROLL for (int p = 0; p < SW * P; ++p) lanes.store(acc[p], out + p * c + k);
    });
  }

  template <int KW, int SW>
  void run() const {
    constexpr int P = 4;
    // a tile at oj reads the outputs [oj - before, oj + P) and writes the cells [oj * SW - pw, + SW * P)
    int64_t oj = (KW - 1) / SW;
    if (oj * SW < s.pw) oj = ceil_div(s.pw, SW);
    int64_t j = 0;
    for (; j < oj * SW - s.pw && j < s.iw; ++j) cell(j);
    for (; oj + P <= s.ow && j + SW * P <= s.iw; oj += P, j += SW * P) tile<KW, SW, P>(oj);
    for (; j < s.iw; ++j) cell(j);
  }
  void run_any() const {
    for (int64_t j = 0; j < s.iw; ++j) cell(j);
  }
};

inline void gather_row(const GatherRow& row) {
  const WindowShape& s = row.s;
  if (s.dw == 1 && s.kw == 3 && s.sw == 2) row.run<3, 2>();
  else if (s.dw == 1 && s.kw == 5 && s.sw == 2) row.run<5, 2>();
  else row.run_any();
}

}  // namespace

namespace FASTNN_TARGET {

void depthwise_conv2d_forward(const float* x, const float* w, float* y, WindowShape s) { convolve(x, w, y, s); }

void depthwise_conv2d_backward_input(const float* gy, const float* w, float* gx, WindowShape s) {
  const int64_t taps = s.kh * s.kw;
  if (s.sh == 1 && s.sw == 1) {
    // A convolution of gy with the window turned by 180 degrees.
    Scratch<float> turned(taps * s.c);
    for (int64_t t = 0; t < taps; ++t)
      for (int64_t k = 0; k < s.c; ++k) turned[t * s.c + k] = w[(taps - 1 - t) * s.c + k];
    const WindowShape back{s.n, s.oh, s.ow, s.c, s.ih, s.iw, s.kh, s.kw, 1, 1,
                           (s.kh - 1) * s.dh - s.ph, (s.kw - 1) * s.dw - s.pw, s.dh, s.dw};
    return convolve(gy, turned, gx, back);
  }
  Scratch<Range> cover(s.iw);
  for (int64_t j = 0; j < s.iw; ++j) cover[j] = covering(j, s.ow, s.kw, s.sw, s.pw, s.dw);
  parallel_for(s.n * s.ih, row_grain(s.iw * s.c), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      gather_row({gy + r / s.ih * s.oh * s.ow * s.c, w, gx + r * s.iw * s.c, cover, s, r % s.ih,
                  covering(r % s.ih, s.oh, s.kh, s.sh, s.ph, s.dh)});
  });
}

void depthwise_conv2d_backward_weights(const float* x, const float* gy, float* gw, WindowShape s) {
  if (const int64_t samples = samples_of_sum(s)) {
    const int64_t sums = s.n / samples, size = s.kh * s.kw * s.c;
    Scratch<float> partial(sums * size);
    WindowShape few = s;
    few.n = samples;
    parallel_for(sums, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        depthwise_conv2d_backward_weights(x + i * samples * s.ih * s.iw * s.c, gy + i * samples * s.oh * s.ow * s.c, partial + i * size, few);
    });
    return reduce(reduce_op::sum, partial, gw, 1, sums, size, 1);
  }
  // Partial sums over groups of rows, at most 64 of them, added in order of the groups.
  // A group has several times the floats of its partial sum; wide layers are also cut by channels.
  constexpr int64_t kBlock = 256;
  const int64_t rows = s.n * s.oh, taps = s.kh * s.kw, size = taps * s.c;
  if (rows * s.ow == 0) {
    for (int64_t i = 0; i < size; ++i) gw[i] = 0;
    return;
  }
  const int64_t blocks = ceil_div(s.c, kBlock);
  int64_t group = row_grain(s.ow, 8 * taps);
  const int64_t streaming = row_grain(s.ow * (s.c < kBlock ? s.c : kBlock));
  if (group < streaming) group = streaming;
  if (group < ceil_div(rows, 64)) group = ceil_div(rows, 64);
  const int64_t groups = ceil_div(rows, group);
  Scratch<float> partial(groups * size);
  parallel_for(groups * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t g = task / blocks, k = task % blocks * kBlock, count = clamp(s.c - k, 0, kBlock);
      float* out = partial + g * size;
      for (int64_t t = 0; t < taps; ++t)
        for (int64_t i = 0; i < count; ++i) out[t * s.c + k + i] = 0;
      for (int64_t r = g * group; r < clamp((g + 1) * group, 0, rows); ++r)
        weights_row(x + r / s.oh * s.ih * s.iw * s.c + k, gy + r * s.ow * s.c + k, out + k, r % s.oh, count, s);
    }
  });
  parallel_for(size, 16384, [&](int64_t begin, int64_t end) {
    for_each_lanes(end - begin, [&](int64_t k, auto lanes) {
      Vec acc = lanes.load(partial + begin + k);
      for (int64_t g = 1; g < groups; ++g) acc = acc + lanes.load(partial + g * size + begin + k);
      lanes.store(acc, gw + begin + k);
    });
  });
}

void repeat_channels(const float* x, float* y, int64_t rows, int64_t c, int64_t m) {
  parallel_for(rows, row_grain(c * m), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * c; i < end * c; ++i)
      for (int64_t q = 0; q < m; ++q) y[i * m + q] = x[i];
  });
}

void sum_channel_groups(const float* y, float* x, int64_t rows, int64_t c, int64_t m) {
  parallel_for(rows, row_grain(c * m), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * c; i < end * c; ++i) {
      float total = y[i * m];
      for (int64_t q = 1; q < m; ++q) total += y[i * m + q];
      x[i] = total;
    }
  });
}

}  // namespace FASTNN_TARGET
}  // namespace fastnn
