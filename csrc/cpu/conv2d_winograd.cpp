// Convolution by minimal filtering: a tile of outputs comes from fewer products than it has taps times
// outputs (Winograd 1980, Lavin & Gray 2016).
//
//   Y = output(kernel(w) * input(d)), summed over channels before the last step
//
// The elementwise products, summed over channels, are matrix products of (tiles, channels) and
// (channels, filters), one for each place of a transformed tile. What is multiplied is said by a scheme S.
#include "cpu/conv2d.h"
#include "cpu/conv2d_tile.h"
#include "cpu/conv2d_winograd.h"
#include "cpu/transpose.h"

namespace fastnn::FASTNN_TARGET {
namespace {

// Sums along rows that lie next to each other.
struct Consecutive {
  const int64_t* col;
  const int64_t* operator()(int64_t p0, int64_t, int64_t*) const { return col + p0; }
};

// Matrices of the places of a tile lie this far apart: one line more than their size, as multiples of
// a page would share one set of the cache.
inline int64_t apart(int64_t size) { return round_up(size, 16) + 16; }

// Tiles [first, first + count) of x -> v: matrices (count, channels) with rows of length ld, `step` apart.
template <class S>
void transform_input(const Problem& p, int64_t first, int64_t count, float* v, int64_t ld, int64_t step) {
  constexpr int kIn = S::kInH * S::kInW;
  Scratch<float> zeros(p.channels);
  zero(zeros, p.channels);
  const Tiling<S> tiling(p);
  for (int64_t t = 0; t < count; ++t) {
    const auto at = tiling.place(first + t);
    const int64_t i0 = at.i - p.ph, j0 = at.j - p.pw;
    const float* from[kIn];
    for (int64_t i = 0; i < S::kInH; ++i)
      for (int64_t j = 0; j < S::kInW; ++j) {
        const bool inside = i0 + i >= 0 && i0 + i < p.h && j0 + j >= 0 && j0 + j < p.w;
        from[i * S::kInW + j] = inside ? p.x + ((at.image * p.h + i0 + i) * p.w + j0 + j) * p.pixel : zeros.get();
      }
    float* to = v + t * ld;
    for_each_vec(p.channels, [&](int64_t c, int64_t n) {
      Vec d[kIn], r[S::kProducts];
      FASTNN_UNROLL for (int i = 0; i < kIn; ++i) d[i] = Vec::load(from[i] + c, n);
      S::input(d, r);
      FASTNN_UNROLL for (int i = 0; i < S::kProducts; ++i) r[i].store(to + i * step + c, n);
    });
  }
}

// Tiles [first, first + count) of filters [j0, j0 + cols) from the products m: matrices (count, ld), `step` apart.
template <class S>
void store_output(const Problem& p, int64_t first, int64_t count, int64_t j0, int64_t cols, const float* m, int64_t ld,
                  int64_t step) {
  const bool is_relu = p.activation == kActivationRelu, more = p.activation > kActivationRelu;
  const Tiling<S> tiling(p);
  for (int64_t t = 0; t < count; ++t) {
    const auto at = tiling.place(first + t);
    float* to = p.out + ((at.image * p.oh + at.i) * p.ow + at.j) * p.out_pixel + j0;
    const int64_t rows = min(S::kOutH, p.oh - at.i), columns = min(S::kOutW, p.ow - at.j);
    for_each_vec(cols, [&](int64_t c, int64_t n) {
      Vec products[S::kProducts], y[S::kOutH * S::kOutW];
      FASTNN_UNROLL for (int i = 0; i < S::kProducts; ++i) products[i] = Vec::load(m + t * ld + i * step + c);
      S::output(products, y);
      const Vec bias = p.bias ? Vec::load(p.bias + j0 + c, n) : Vec::zero();
      FASTNN_UNROLL for (int i = 0; i < S::kOutH * S::kOutW; ++i) {
        if (p.bias) y[i] = y[i] + bias;
        if (is_relu) y[i] = relu(y[i]);
      }
      FASTNN_UNROLL for (int i = 0; i < S::kOutH; ++i)
        FASTNN_UNROLL for (int j = 0; j < S::kOutW; ++j)
          if (i < rows && j < columns) y[i * S::kOutW + j].store(to + (i * p.ow + j) * p.out_pixel + c, n);
    });
    if (more)
      for (int64_t i = 0; i < rows; ++i)
        apply_epilogue(to + i * p.ow * p.out_pixel, p.out_pixel, columns, cols, nullptr, p.activation);
  }
}

// The transformed kernel in blocks of `depth` channels by `wide` filters, a matrix for each product.
template <class S>
struct Kernel {
  static constexpr int kTaps = S::kTapsH * S::kTapsW;
  Weights from;
  int64_t channels, filters, depth, wide;
  int64_t panel() const { return panel_width(filters); }
  int64_t depth_blocks() const { return ceil_div(channels, depth); }
  int64_t wide_blocks() const { return ceil_div(filters, wide); }
  int64_t step() const { return apart(depth * wide); }
  int64_t block_size() const { return S::kProducts * step(); }

  // Block (d, f) -> u: in panels of filters, each (channels of the block, filters padded to vectors).
  void transform(int64_t d, int64_t f, float* u) const {
    const int64_t c0 = d * depth, rows = min(depth, channels - c0), j0 = f * wide, end = min(filters, j0 + wide);
    for (int64_t j = j0; j < end; j += panel()) {
      const int64_t cols = min(panel(), end - j), width = round_up(cols, Vec::width);
      if (from.turned) transform_panel_turned(c0, rows, j, cols, width, u + (j - j0) * rows);
      else transform_panel(c0, rows, j, cols, width, u + (j - j0) * rows);
    }
  }

 private:
  void transform_panel(int64_t c0, int64_t rows, int64_t j0, int64_t cols, int64_t width, float* u) const {
    for (int64_t c = 0; c < rows; ++c)
      for_each_vec(cols, [&](int64_t j, int64_t n) {
        Vec g[kTaps];
        FASTNN_UNROLL for (int tap = 0; tap < kTaps; ++tap) g[tap] = Vec::load(from.w + (tap * from.ic + c0 + c) * from.ld + j0 + j, n);
        store(g, u + c * width + j);
      });
  }
  void transform_panel_turned(int64_t c0, int64_t rows, int64_t j0, int64_t cols, int64_t width, float* u) const {
    constexpr int64_t kBlock = 16;
    Scratch<float> turned_taps(kTaps * kBlock * kPanel);
    if (cols < width) zero(turned_taps, kTaps * kBlock * kPanel);
    for (int64_t c = 0; c < rows; c += kBlock) {
      const int64_t block = min(kBlock, rows - c);
      for (int64_t tap = 0; tap < kTaps; ++tap)
        transpose_tile<float>((const char*)(from.w + ((kTaps - 1 - tap) * from.ic + j0) * from.ld + c0 + c), from.ld * 4,
                              (char*)(turned_taps.get() + tap * kBlock * kPanel), kPanel * 4, cols, block);
      for (int64_t i = 0; i < block; ++i)
        for (int64_t j = 0; j < width; j += Vec::width) {
          Vec g[kTaps];
          FASTNN_UNROLL for (int tap = 0; tap < kTaps; ++tap) g[tap] = Vec::load(turned_taps.get() + (tap * kBlock + i) * kPanel + j);
          store(g, u + (c + i) * width + j);
        }
    }
  }
  void store(const Vec* g, float* to) const {
    Vec u[S::kProducts];
    S::kernel(g, u);
    const int64_t step = this->step();
    FASTNN_UNROLL for (int i = 0; i < S::kProducts; ++i) u[i].store(to + i * step);
  }
};

// Products and output of the tiles [first, first + count), transformed in v, for block f of filters.
// u: the transformed kernel, or null to transform what is needed here.
template <class S>
void multiply_tiles(const Problem& p, const Kernel<S>& kernel, const float* u, const float* v, int64_t v_step,
                    int64_t first, int64_t count, int64_t f) {
  const int64_t m_step = apart(count * kernel.wide), j0 = f * kernel.wide, cols = min(kernel.wide, p.filters - j0);
  Scratch<float> m(S::kProducts * m_step), own(u ? 0 : kernel.block_size());
  Scratch<int64_t> ints(2 * count + kernel.depth);
  int64_t *row = ints, *place = row + count, *col = place + count;
  for (int64_t i = 0; i < count; ++i) row[i] = i * p.channels, place[i] = i * kernel.wide;
  for (int64_t c = 0; c < kernel.depth; ++c) col[c] = c;
  for (int64_t d = 0; d < kernel.depth_blocks(); ++d) {
    const int64_t c0 = d * kernel.depth, depth = min(kernel.depth, p.channels - c0);
    if (!u) kernel.transform(d, f, own);
    const float* matrix = u ? u + (f * kernel.depth_blocks() + d) * kernel.block_size() : own.get();
    for (int64_t i = 0; i < S::kProducts; ++i, matrix += kernel.step()) {
      const float* from = v + i * v_step + c0;
      multiply({from, row, count, runs_of(depth)}, Consecutive{col}, depth,
               {matrix, depth, 0, kernel.panel(), true}, round_up(cols, Vec::width),
               {m.get() + i * m_step, place, d > 0, nullptr, kActivationLinear},
               Ahead(matrix + kernel.step(), u ? 1 : 0, depth * kernel.wide, 0));
    }
  }
  store_output<S>(p, first, count, j0, cols, m, kernel.wide, m_step);
}

template <class S>
void run(const Problem& p, const Weights& w) {
  const int64_t tiles = Tiling<S>(p).tiles;
  // Tiles that are worked on together: their transforms take 3/8 of a second-level cache of 2 MB, and the
  // kernel, which streams by where it is large, serves many of them.
  int64_t count = min(tiles, min(96, max(24, (int64_t(3) << 16) / (S::kProducts * p.channels))));
  const bool few = tiles < 16 * count && p.filters > kPanel;
  if (few) count = min(tiles, 128);
  int64_t blocks = ceil_div(tiles, count);
  count = ceil_div(tiles, blocks), blocks = ceil_div(tiles, count);

  Kernel<S> kernel{w, p.channels, p.filters, 0, 0};
  kernel.depth = ceil_div(p.channels, ceil_div(p.channels, 128));
  kernel.wide = kernel.panel() * (few && blocks * ceil_div(p.filters, kernel.panel()) >= 16 ? 2 : 1);
  const int64_t wides = kernel.wide_blocks(), depths = kernel.depth_blocks(), v_step = apart(count * p.channels);
  const bool on_the_way = few && blocks == 1;
  Scratch<float> u(on_the_way ? 0 : wides * depths * kernel.block_size());
  if (!on_the_way)
    parallel_for(wides * depths, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) kernel.transform(t % depths, t / depths, u.get() + t * kernel.block_size());
    });
  if (!few) {
    parallel_for(blocks, 1, [&](int64_t begin, int64_t end) {
      Scratch<float> v(S::kProducts * v_step);
      for (int64_t b = begin; b < end; ++b) {
        const int64_t first = b * count, n = min(count, tiles - first);
        transform_input<S>(p, first, n, v, p.channels, v_step);
        for (int64_t f = 0; f < wides; ++f) multiply_tiles(p, kernel, u, v, v_step, first, n, f);
      }
    });
    return;
  }
  // Few tiles: threads share them out for the transform, and blocks of filters for the products.
  Scratch<float> v(blocks * S::kProducts * v_step);
  const int64_t part = max(1, 16384 / (S::kProducts * p.channels)), parts = ceil_div(count, part);
  parallel_for(blocks * parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t b = t / parts, t0 = t % parts * part, first = b * count + t0, last = min(tiles, min(first + part, (b + 1) * count));
      if (first < last) transform_input<S>(p, first, last - first, v.get() + b * S::kProducts * v_step + t0 * p.channels, p.channels, v_step);
    }
  });
  parallel_for(blocks * wides, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t b = t % blocks, first = b * count;
      multiply_tiles(p, kernel, on_the_way ? nullptr : u.get(), v.get() + b * S::kProducts * v_step, v_step, first,
                     min(count, tiles - first), t / blocks);
    }
  });
}

// Whether the products saved outweigh the transforms, in vector operations: what a direct product of
// the same shape takes against the products, the transforms of tiles, and that of the kernel.
template <class S>
bool pays(const Conv2dShape& s, const Problem& p) {
  if (s.ph >= S::kTapsH || s.pw >= S::kTapsW || p.channels < 16 || p.filters < Vec::width) return false;
  constexpr int kIn = S::kInH * S::kInW, kOut = S::kOutH * S::kOutW, kTaps = S::kTapsH * S::kTapsW;
  // Loads, stores and additions of a transformed vector are about 6 for each product.
  const double products = double(round_up(p.filters, Vec::width)) * double(p.channels) / (2 * Vec::width);
  const double direct = double(p.n * p.oh * p.ow) * kTaps * products;
  const double tiles = double(Tiling<S>(p).tiles) *
                       (S::kProducts * products + double((kIn + kOut) / 2 * 6 * (p.channels + p.filters)) / Vec::width);
  const double kernel = double(p.channels) * double(p.filters) * 8 * S::kProducts / Vec::width;
  return tiles + kernel < 0.9 * direct;
}

// ---- the gradient of the kernel ----

// The gradients of tiles [first, first + count) and filters [0, filters) of out -> z: packed matrices
// (count, filters) for multiply, `step` apart. p.out is only read.
template <class S>
void transform_gradient(const Problem& p, int64_t first, int64_t count, int64_t panel, float* z, int64_t step) {
  const Tiling<S> tiling(p);
  for (int64_t t = 0; t < count; ++t) {
    const auto at = tiling.place(first + t);
    const float* from = p.out + ((at.image * p.oh + at.i) * p.ow + at.j) * p.out_pixel;
    const int64_t rows = min(S::kOutH, p.oh - at.i), columns = min(S::kOutW, p.ow - at.j);
    for (int64_t j = 0; j < p.filters; j += panel) {
      const int64_t cols = min(panel, p.filters - j), width = round_up(cols, Vec::width);
      float* to = z + j * count + t * width;
      for_each_vec(cols, [&](int64_t c, int64_t n) {
        Vec g[S::kOutH * S::kOutW], r[S::kProducts];
        FASTNN_UNROLL for (int k = 0; k < S::kOutH; ++k)
          FASTNN_UNROLL for (int l = 0; l < S::kOutW; ++l)
            g[k * S::kOutW + l] =
                k < rows && l < columns ? Vec::load(from + (k * p.ow + l) * p.out_pixel + j + c, n) : Vec::zero();
        S::gradient(g, r);
        FASTNN_UNROLL for (int i = 0; i < S::kProducts; ++i) r[i].store(to + i * step + c);
      });
    }
  }
}

// The sums over tiles are cut into parts, and the matrices (channels, filters) into blocks.
struct WeightTasks {
  int64_t tiles, channels, filters, channel_blocks, filter_blocks, parts, per_part, at_once;
  int64_t step() const { return apart(channels * filters); }
};
template <class S>
WeightTasks cut_weights(const Problem& p) {
  WeightTasks t;
  t.tiles = Tiling<S>(p).tiles;
  // Blocks of 128 x 128 sums, 1 MB for 16 places, stay in the second-level cache.
  t.channel_blocks = ceil_div(p.channels, 128), t.channels = ceil_div(p.channels, t.channel_blocks);
  const int64_t panel = panel_width(p.filters), wide = max(1, 128 / panel) * panel;
  t.filters = min(round_up(p.filters, Vec::width), wide), t.filter_blocks = ceil_div(p.filters, wide);
  t.at_once = min(96, max(48, 8192 / max(t.channels, t.filters)));
  const int64_t chunks = ceil_div(t.tiles, t.at_once), blocks = t.channel_blocks * t.filter_blocks;
  // All parts together take 16 MB at most.
  const int64_t parts = max(1, min(min(16, chunks), (int64_t(1) << 22) / (S::kProducts * p.channels * p.filters)));
  t.per_part = ceil_div(chunks, blocks >= 12 ? 1 : min(parts, ceil_div(16, blocks)));
  t.parts = ceil_div(chunks, t.per_part);
  return t;
}

template <class S>
bool weights_pay(const Problem& p, const WeightTasks& t) {
  constexpr int kIn = S::kInH * S::kInW, kOut = S::kOutH * S::kOutW, kTaps = S::kTapsH * S::kTapsW;
  const double products = double(round_up(p.filters, Vec::width)) * double(p.channels) / (2 * Vec::width);
  const double direct = double(p.n * p.oh * p.ow) * kTaps * products;
  const double transforms =
      double(t.filter_blocks * p.channels + t.channel_blocks * p.filters) * ((kIn + kOut) / 2 * 6) / Vec::width;
  const double sums = double(p.channels * p.filters) * double(4 * t.parts + 4) * S::kProducts / Vec::width;
  return double(t.tiles) * (S::kProducts * 1.06 * products + transforms) + sums < 0.85 * direct;
}

// gw (kh, kw, ic, oc) with rows of length ld, of `channels` and `filters`, from the parts' sums.
template <class S>
void store_weights(const WeightTasks& t, const Problem& p, const float* sums, float* gw, int64_t ic, int64_t ld) {
  const int64_t block_size = S::kProducts * t.step(), blocks = t.channel_blocks * t.filter_blocks;
  parallel_for(p.channels, max(1, 4096 / p.filters), [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c)
      for (int64_t f = 0; f < t.filter_blocks; ++f) {
        const int64_t j0 = f * t.filters, block = c / t.channels * t.filter_blocks + f;
        const float* from = sums + block * block_size + c % t.channels * t.filters;
        for_each_vec(min(t.filters, p.filters - j0), [&](int64_t j, int64_t n) {
          constexpr int kTaps = S::kTapsH * S::kTapsW;
          Vec m[S::kProducts], g[kTaps];
          FASTNN_UNROLL for (int i = 0; i < S::kProducts; ++i) {
            m[i] = Vec::load(from + i * t.step() + j);
            for (int64_t part = 1; part < t.parts; ++part)
              m[i] = m[i] + Vec::load(from + part * blocks * block_size + i * t.step() + j);
          }
          S::kernel_gradient(m, g);
          FASTNN_UNROLL for (int tap = 0; tap < kTaps; ++tap) g[tap].store(gw + (tap * ic + c) * ld + j0 + j, n);
        });
      }
  });
}

template <class S>
void convolve(const Problem& p, const Weights& w) {
  if constexpr (S::kTapsH == 3 && S::kTapsW == 3)
    if (winograd_tiles(p, w)) return;
  run<S>(p, w);
}

template <class S>
bool forward(const float* x, const float* w, const float* bias, float* y, const Conv2dShape& s, int64_t activation) {
  const int64_t icg = s.ic / s.groups, ocg = s.oc / s.groups;
  Problem p{x, s.n, s.ih, s.iw, s.ic, icg, y, s.oh, s.ow, s.oc, ocg, s.ph, s.pw, bias, activation};
  if (!pays<S>(s, p)) return false;
  for (int64_t g = 0; g < s.groups; ++g) {
    p.x = x + g * icg, p.out = y + g * ocg, p.bias = bias ? bias + g * ocg : nullptr;
    convolve<S>(p, {w + g * ocg, icg, s.oc, false});
  }
  return true;
}

// A convolution of gy with the taps backwards.
template <class S>
bool backward_input(const float* gy, const float* w, const float* bias, float* gx, const Conv2dShape& s,
                    int64_t activation) {
  const int64_t icg = s.ic / s.groups, ocg = s.oc / s.groups;
  Problem p{gy, s.n, s.oh, s.ow, s.oc, ocg, gx, s.ih, s.iw, s.ic, icg, S::kTapsH - 1 - s.ph, S::kTapsW - 1 - s.pw,
            bias, activation};
  if (!pays<S>(s, p)) return false;
  for (int64_t g = 0; g < s.groups; ++g) {
    p.x = gy + g * ocg, p.out = gx + g * icg, p.bias = bias ? bias + g * icg : nullptr;
    convolve<S>(p, {w + g * ocg, icg, s.oc, true});
  }
  return true;
}

template <class S>
bool backward_weights(const float* x, const float* gy, float* gw, const Conv2dShape& s) {
  const int64_t icg = s.ic / s.groups, ocg = s.oc / s.groups;
  Problem p{x, s.n, s.ih, s.iw, s.ic, icg, const_cast<float*>(gy), s.oh, s.ow, s.oc, ocg, s.ph, s.pw, nullptr, 0};
  // What is left of a vector of channels or filters costs as much as a whole one; few tiles do not pay for the sums.
  if (icg < Vec::width || ocg < Vec::width || Tiling<S>(p).tiles < 96) return false;
  const WeightTasks t = cut_weights<S>(p);
  if (!weights_pay<S>(p, t)) return false;
  const int64_t blocks = t.channel_blocks * t.filter_blocks, panel = panel_width(ocg), tiles = t.tiles;
  Scratch<float> sums(t.parts * blocks * S::kProducts * t.step());
  for (int64_t g = 0; g < s.groups; ++g) {
    parallel_for(t.parts * blocks, 1, [&](int64_t begin, int64_t end) {
      const int64_t v_ld = t.channels + 16, v_step = apart(t.at_once * v_ld), z_step = apart(t.at_once * t.filters);
      Scratch<float> v(S::kProducts * v_step), z(S::kProducts * z_step);
      Scratch<int64_t> ints(2 * t.channels + t.at_once);
      int64_t *row = ints, *place = row + t.channels, *col = place + t.channels;
      for (int64_t c = 0; c < t.channels; ++c) row[c] = c, place[c] = c * t.filters;
      for (int64_t i = 0; i < t.at_once; ++i) col[i] = i * v_ld;
      for (int64_t task = begin; task < end; ++task) {
        const int64_t part = task / blocks, block = task % blocks, c0 = block / t.filter_blocks * t.channels,
                      j0 = block % t.filter_blocks * t.filters;
        Problem q = p;
        q.x = x + g * icg + c0, q.channels = min(t.channels, icg - c0);
        q.out = p.out + g * ocg + j0, q.filters = min(t.filters, ocg - j0);
        float* m = sums.get() + task * S::kProducts * t.step();
        const int64_t start = part * t.per_part * t.at_once, stop = min(tiles, start + t.per_part * t.at_once);
        for (int64_t first = start; first < stop; first += t.at_once) {
          const int64_t count = min(t.at_once, stop - first);
          transform_input<S>(q, first, count, v, v_ld, v_step);
          transform_gradient<S>(q, first, count, panel, z, z_step);
          for (int64_t i = 0; i < S::kProducts; ++i)
            multiply({v.get() + i * v_step, row, q.channels, 0}, Consecutive{col}, count, {z.get() + i * z_step, count, 0, panel, true}, round_up(q.filters, Vec::width),
                     {m + i * t.step(), place, first > start, nullptr, kActivationLinear});
        }
      }
    });
    store_weights<S>(t, p, sums, gw + g * ocg, icg, s.oc);
  }
  return true;
}

// f(scheme) for the taps of s, if there is one.
template <class F>
bool with_scheme(const Conv2dShape& s, F f) {
  if (s.sh != 1 || s.sw != 1 || s.dh != 1 || s.dw != 1) return false;
  if (s.kh == 3 && s.kw == 3) return f(Taps3x3());
  if (s.kh == 1 && s.kw == 3) return f(Taps3());
  if (s.kh == 3 && s.kw == 1) return f(Column<Taps3>());
  if (s.kh == 1 && s.kw == 5) return f(Taps5());
  if (s.kh == 5 && s.kw == 1) return f(Column<Taps5>());
  return false;
}

}  // namespace

bool winograd_forward(const float* x, const float* w, const float* bias, float* y, const Conv2dShape& s, int64_t activation) {
  return with_scheme(s, [&](auto scheme) { return forward<decltype(scheme)>(x, w, bias, y, s, activation); });
}
bool winograd_backward_input(const float* gy, const float* w, const float* bias, float* gx, const Conv2dShape& s,
                             int64_t activation) {
  return with_scheme(s, [&](auto scheme) { return backward_input<decltype(scheme)>(gy, w, bias, gx, s, activation); });
}
bool winograd_backward_weights(const float* x, const float* gy, float* gw, const Conv2dShape& s) {
  return with_scheme(s, [&](auto scheme) { return backward_weights<decltype(scheme)>(x, gy, gw, s); });
}

}  // namespace fastnn::FASTNN_TARGET
