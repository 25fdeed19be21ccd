// Max and average pooling. Vectors run over channels; threads own rows of the result.
//
// Training keeps, for each maximum, the number u * kw + v of its tap: one byte where the window has
// at most 256 taps. Backward gathers: each cell of gx sums the outputs that chose it, in order.
#include "cpu/lanes.h"
#include "cpu/parallel.h"
#include "cpu/window.h"
#include "kernels.h"

namespace fastnn {
namespace {

// n tap numbers, of one or four bytes each.
inline VecI load_taps(const uint8_t* p, int64_t n) { return load_u8(p, n); }
inline void store_taps(VecI v, uint8_t* p, int64_t n) { store_u8(v, p, n); }
inline VecI load_taps(const int32_t* p, int64_t n) {
  if (n == Vec::width) return VecI::load(p);
  VecI r = VecI::set(-1);
  for (int64_t i = 0; i < n; ++i) r.v[i] = p[i];
  return r;
}
inline void store_taps(VecI v, int32_t* p, int64_t n) {
  if (n == Vec::width) return v.store(p);
  for (int64_t i = 0; i < n; ++i) p[i] = v.v[i];
}

// What one output reads: rows x cols taps from x on, the first of them is number `tap`.
struct Window {
  const float* x;
  int64_t x_row, c, rows, cols, tap, kw;
};

// KH, KW: the size of a window that lies inside x, where it is known, else 0.
template <int KH, int KW, class F>
inline void for_each_tap(const Window& t, F f) {
  if constexpr (KH > 0) {
    FASTNN_UNROLL for (int u = 0; u < KH; ++u)
      FASTNN_UNROLL for (int v = 0; v < KW; ++v) f(u * t.x_row + v * t.c, u * KW + v);
  } else {
    for (int64_t u = 0; u < t.rows; ++u)
      for (int64_t v = 0; v < t.cols; ++v) f(u * t.x_row + v * t.c, t.tap + u * t.kw + v);
  }
}

struct Max {
  float* y;
  template <int KH, int KW>
  void window(const Window& t, int64_t out) const {
    for_each_lanes(t.c, [&](int64_t k, auto lanes) {
      const float* x = t.x + k;
      Vec best = lanes.load(x);  // not -infinity: fill lanes and windows of -infinity need no care
      for_each_tap<KH, KW>(t, [&](int64_t offset, int64_t) { best = max(best, lanes.load(x + offset)); });
      lanes.store(best, y + out + k);
    });
  }
};

template <class Tap>
struct MaxWithTaps {
  float* y;
  Tap* taps;
  template <int KH, int KW>
  void window(const Window& t, int64_t out) const {
    for_each_lanes(t.c, [&](int64_t k, auto lanes) {
      const float* x = t.x + k;
      Vec best = lanes.load(x);
      VecI chosen = VecI::set(int32_t(t.tap));
      for_each_tap<KH, KW>(t, [&](int64_t offset, int64_t tap) {
        const Vec cell = lanes.load(x + offset);
        // A larger value or the first NaN; ties stay with the first.
        const Mask better = !(cell <= best) & (best == best);
        best = select(better, cell, best);
        chosen = select(better, VecI::set(int32_t(tap)), chosen);
      });
      lanes.store(best, y + out + k);
      store_taps(chosen, taps + out + k, lanes.count);
    });
  }
};

struct Average {
  float* y;
  template <int KH, int KW>
  void window(const Window& t, int64_t out) const {
    const Vec count = Vec::set(float(KH > 0 ? KH * KW : t.rows * t.cols));
    for_each_lanes(t.c, [&](int64_t k, auto lanes) {
      const float* x = t.x + k;
      Vec total = Vec::zero();
      for_each_tap<KH, KW>(t, [&](int64_t offset, int64_t) { total = total + lanes.load(x + offset); });
      lanes.store(total / count, y + out + k);
    });
  }
};

// The value of x at each chosen tap: the transpose of max pooling's gradient.
template <class Tap>
struct Take {
  float* y;
  const Tap* taps;
  template <int KH, int KW>
  void window(const Window& t, int64_t out) const {
    for_each_lanes(t.c, [&](int64_t k, auto lanes) {
      const float* x = t.x + k;
      const VecI chosen = load_taps(taps + out + k, lanes.count);
      Vec value = Vec::zero();
      for_each_tap<KH, KW>(t, [&](int64_t offset, int64_t tap) {
        value = select(chosen == VecI::set(int32_t(tap)), lanes.load(x + offset), value);
      });
      lanes.store(value, y + out + k);
    });
  }
};

template <class Pool>
void pool_forward(const float* x, const WindowShape& s, Pool pool) {
  const int64_t c = s.c;
  // The work of a row is in its inputs or in its outputs, whichever are more.
  const int64_t row = s.ow * c * (s.sh * s.sw > 4 ? s.sh * s.sw : 4);
  parallel_for(s.n * s.oh, row_grain(row, 65536), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t top = r % s.oh * s.sh - s.ph;
      const Range rows = valid_taps(top, s.kh, 1, s.ih);
      const float* image = x + (r / s.oh * s.ih + top + rows.begin) * s.iw * c;
      for (int64_t j = 0; j < s.ow; ++j) {
        const int64_t left = j * s.sw - s.pw;
        const Range cols = left >= 0 && left + s.kw <= s.iw ? Range{0, s.kw} : valid_taps(left, s.kw, 1, s.iw);
        const Window t{image + (left + cols.begin) * c, s.iw * c, c, rows.size(), cols.size(),
                       rows.begin * s.kw + cols.begin, s.kw};
        const int64_t out = (r * s.ow + j) * c;
        const bool whole = t.rows == s.kh && t.cols == s.kw;
        if (whole && s.kh == 3 && s.kw == 3) pool.template window<3, 3>(t, out);
        else if (whole && s.kh == 2 && s.kw == 2) pool.template window<2, 2>(t, out);
        else pool.template window<0, 0>(t, out);
      }
    }
  });
}

constexpr int kMaxCovers = kPoolCovers;

// One window that covers a cell of gx: its output, the cell's number in it, the taps it has.
struct Cover {
  int64_t out;
  int32_t tap;
  float inverse_count;
};

template <class Tap>
struct MaxGradient {
  static constexpr bool counts = false;
  const float* gy;
  const Tap* taps;
  template <class Lanes>
  Vec add(Vec acc, const Cover& w, int64_t k, Lanes lanes) const {
    const Mask chosen = load_taps(taps + w.out + k, lanes.count) == VecI::set(w.tap);
    return acc + select(chosen, lanes.load(gy + w.out + k), Vec::zero());
  }
};

struct AverageGradient {
  static constexpr bool counts = true;
  const float* gy;
  template <class Lanes>
  Vec add(Vec acc, const Cover& w, int64_t k, Lanes lanes) const {
    return fma(lanes.load(gy + w.out + k), Vec::set(w.inverse_count), acc);
  }
};

// Where the windows that cover a cell are, and how many taps they have.
struct Covering {
  const WindowShape& s;
  Scratch<Range> across;
  Scratch<int64_t> widths;

  explicit Covering(const WindowShape& s) : s(s), across(s.iw), widths(s.ow) {
    for (int64_t j = 0; j < s.iw; ++j) across[j] = covering(j, s.ow, s.kw, s.sw, s.pw, 1);
    for (int64_t j = 0; j < s.ow; ++j) widths[j] = valid_taps(j * s.sw - s.pw, s.kw, 1, s.iw).size();
  }
  Range down(int64_t i) const { return covering(i, s.oh, s.kh, s.sh, s.ph, 1); }
  // f(cover) for the windows over cell (i, j) of an image whose first row of results is `image`. counts: with inverse_count.
  template <bool counts, class F>
  void for_each(int64_t image, int64_t i, int64_t j, Range down, F f) const {
    for (int64_t oi = down.begin; oi < down.end; ++oi) {
      const int64_t height = counts ? valid_taps(oi * s.sh - s.ph, s.kh, 1, s.ih).size() : 0;
      for (int64_t oj = across[j].begin; oj < across[j].end; ++oj) {
        const int64_t tap = (i + s.ph - oi * s.sh) * s.kw + j + s.pw - oj * s.sw;
        f(Cover{((image + oi) * s.ow + oj) * s.c, int32_t(tap), counts ? 1 / float(height * widths[oj]) : 0});
      }
    }
  }
};

template <class Gradient>
void pool_backward(float* gx, const WindowShape& s, Gradient gradient) {
  const int64_t c = s.c;
  const Covering windows(s);
  parallel_for(s.n * s.ih, row_grain(s.iw * c), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t image = r / s.ih * s.oh, i = r % s.ih;
      const Range down = windows.down(i);
      for (int64_t j = 0; j < s.iw; ++j) {
        float* out = gx + (r * s.iw + j) * c;
        Cover covers[kMaxCovers];
        int n = 0;
        bool first = true;
        auto flush = [&] {
          for_each_lanes(c, [&](int64_t k, auto lanes) {
            __builtin_prefetch(out + k + 512, 1);  // 2 KB ahead: the hardware sees reading, not writing
            Vec acc = first ? Vec::zero() : lanes.load(out + k);
            for (int m = 0; m < n; ++m) acc = gradient.add(acc, covers[m], k, lanes);
            lanes.store(acc, out + k);
          });
          first = false;
          n = 0;
        };
        windows.for_each<Gradient::counts>(image, i, j, down, [&](const Cover& w) {
          if (n == kMaxCovers) flush();
          covers[n++] = w;
        });
        flush();
      }
    }
  });
}

// The gradient of max pooling, and through relu before it where there is y, for cells [begin, end). sum (c) or null
// is added to, cell by cell.
template <class Tap>
struct MaxCells {
  const float *gy, *y;
  const Tap* taps;
  float* gz;
  const Covering& windows;

  void run(int64_t begin, int64_t end, float* sum) const {
    const WindowShape& s = windows.s;
    const bool apart = s.kh <= s.sh && s.kw <= s.sw;  // a cell is in one window at most
    for (int64_t cell = begin; cell < end;) {
      const int64_t r = cell / s.iw, i = r % s.ih, image = r / s.ih * s.oh, first = cell - r * s.iw;
      const int64_t last = s.iw < end - r * s.iw ? s.iw : end - r * s.iw;
      const Range down = windows.down(i);
      if (apart) row_apart(r, image, i, down, first, last, sum);
      else row(r, image, i, down, first, last, sum);
      cell += last - first;
    }
  }
  Mask passes(int64_t at, auto lanes) const {
    return y ? lanes.load(y + at) > Vec::zero() : Vec::zero() == Vec::zero();
  }
  void row_apart(int64_t r, int64_t image, int64_t i, Range down, int64_t first, int64_t last, float* sum) const {
    const WindowShape& s = windows.s;
    for (int64_t j = first, next; j < last; j = next) {
      const Range across = windows.across[j];
      float* out = gz + (r * s.iw + j) * s.c;
      next = j + 1;
      if (down.begin >= down.end || across.begin >= across.end) {
        for_each_lanes(s.c, [&](int64_t k, auto lanes) { lanes.store(Vec::zero(), out + k); });
        continue;
      }
      const int64_t left = across.begin * s.sw - s.pw, at = ((image + down.begin) * s.ow + across.begin) * s.c;
      const int64_t tap = (i + s.ph - down.begin * s.sh) * s.kw + j - left;
      if (left + s.kw < last) next = left + s.kw;
      else next = last;
      for_each_lanes(s.c, [&](int64_t k, auto lanes) {
        const VecI chosen = load_taps(taps + at + k, lanes.count);
        const Vec g = select(passes(at + k, lanes), lanes.load(gy + at + k), Vec::zero());
        Vec total = sum ? lanes.load(sum + k) : Vec::zero();
        for (int64_t m = 0; m < next - j; ++m) {
          const Vec v = select(chosen == VecI::set(int32_t(tap + m)), g, Vec::zero());
          lanes.store(v, out + m * s.c + k);
          total = total + v;
        }
        if (sum) lanes.store(total, sum + k);
      });
    }
  }
  void row(int64_t r, int64_t image, int64_t i, Range down, int64_t first, int64_t last, float* sum) const {
    const int64_t c = windows.s.c;
    for (int64_t j = first; j < last; ++j) {
      Cover covers[kMaxCovers];
      int n = 0;
      windows.for_each<false>(image, i, j, down, [&](const Cover& w) { covers[n++] = w; });
      float* out = gz + (r * windows.s.iw + j) * c;
      for_each_lanes(c, [&](int64_t k, auto lanes) {
        Vec acc = Vec::zero();
        Mask open = acc > acc;
        for (int m = 0; m < n; ++m) {
          const int64_t at = covers[m].out + k;
          const Mask chosen = load_taps(taps + at, lanes.count) == VecI::set(covers[m].tap);
          acc = acc + select(chosen, lanes.load(gy + at), Vec::zero());
          open = open | (chosen & passes(at, lanes));
        }
        acc = select(open, acc, Vec::zero());
        lanes.store(acc, out + k);
        if (sum) lanes.store(lanes.load(sum + k) + acc, sum + k);
      });
    }
  }
};

template <class Tap>
void max_pool_backward_relu(const float* gy, const float* y, const Tap* taps, float* gz, float* gb, const WindowShape& s) {
  const Covering windows(s);
  const MaxCells<Tap> work{gy, y, taps, gz, windows};
  const int64_t c = s.c, cells = s.n * s.ih * s.iw;
  // The partial sums of epilogue_backward, which runs when nothing is fused.
  const int64_t by_parts = (cells + 63) / 64, by_work = (16384 + c - 1) / c, grain = by_parts > by_work ? by_parts : by_work;
  const int64_t parts = (cells + grain - 1) / grain;
  Scratch<float> partial(gb ? parts * c : 0);
  parallel_for(cells, grain, [&](int64_t begin, int64_t end) {
    float* sum = gb ? partial + begin / grain * c : nullptr;
    if (sum) for_each_lanes(c, [&](int64_t k, auto lanes) { lanes.store(Vec::zero(), sum + k); });
    work.run(begin, end, sum);
  });
  if (!gb) return;
  for_each_lanes(c, [&](int64_t k, auto lanes) {
    Vec sum = Vec::zero();
    for (int64_t part = 0; part < parts; ++part) sum = sum + lanes.load(partial + part * c + k);
    lanes.store(sum, gb + k);
  });
}

template <class Tap>
void max_pool_backward(const float* gy, const Tap* taps, float* gx, const WindowShape& s) {
  if (s.kh > s.sh || s.kw > s.sw) return pool_backward(gx, s, MaxGradient<Tap>{gy, taps});
  const Covering windows(s);
  const MaxCells<Tap> work{gy, nullptr, taps, gx, windows};
  parallel_for(s.n * s.ih * s.iw, row_grain(s.c), [&](int64_t begin, int64_t end) { work.run(begin, end, nullptr); });
}

}  // namespace

namespace FASTNN_TARGET {

void max_pool2d_forward(const float* x, float* y, void* taps, int64_t tap_bytes, WindowShape s) {
  if (tap_bytes == 0) pool_forward(x, s, Max{y});
  else if (tap_bytes == 1) pool_forward(x, s, MaxWithTaps<uint8_t>{y, static_cast<uint8_t*>(taps)});
  else pool_forward(x, s, MaxWithTaps<int32_t>{y, static_cast<int32_t*>(taps)});
}

void max_pool2d_backward(const float* gy, const void* taps, int64_t tap_bytes, float* gx, WindowShape s) {
  if (tap_bytes == 1) max_pool_backward(gy, static_cast<const uint8_t*>(taps), gx, s);
  else max_pool_backward(gy, static_cast<const int32_t*>(taps), gx, s);
}

void max_pool2d_backward_relu(const float* gy, const float* y, const void* taps, int64_t tap_bytes, float* gz, float* gb,
                              WindowShape s) {
  if (tap_bytes == 1) max_pool_backward_relu(gy, y, static_cast<const uint8_t*>(taps), gz, gb, s);
  else max_pool_backward_relu(gy, y, static_cast<const int32_t*>(taps), gz, gb, s);
}

void max_pool2d_take(const float* x, const void* taps, int64_t tap_bytes, float* y, WindowShape s) {
  if (tap_bytes == 1) pool_forward(x, s, Take<uint8_t>{y, static_cast<const uint8_t*>(taps)});
  else pool_forward(x, s, Take<int32_t>{y, static_cast<const int32_t*>(taps)});
}

void average_pool2d_forward(const float* x, float* y, WindowShape s) { pool_forward(x, s, Average{y}); }

void average_pool2d_backward(const float* gy, float* gx, WindowShape s) {
  pool_backward(gx, s, AverageGradient{gy});
}

}  // namespace FASTNN_TARGET
}  // namespace fastnn
