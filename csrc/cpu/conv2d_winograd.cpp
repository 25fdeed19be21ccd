// Convolution with 3 x 3 taps by minimal filtering, F(2 x 2, 3 x 3): a tile of 2 x 2 outputs comes from
// 4 x 4 inputs with 16 products instead of 36 (Lavin & Gray 2016).
//
//   Y = A^T [(G w G^T) * (B^T d B)] A, summed over channels before the last step
//
// The 16 elementwise products, summed over channels, are 16 matrix products of (tiles, channels) and
// (channels, filters). All factors of the transforms are 1 and 1/2: small integers stay exact.
#include "cpu/conv2d.h"
#include "cpu/conv2d_tile.h"
#include "cpu/transpose.h"

namespace fastnn::FASTNN_TARGET {
namespace {

// out (n, oh, ow, out_pixel) = the convolution of x (n, h, w, pixel), padded by ph rows above and pw
// columns to the left; `channels` and `filters` of a pixel are used.
struct Problem {
  const float* x;
  int64_t n, h, w, pixel, channels;
  float* out;
  int64_t oh, ow, out_pixel, filters;
  int64_t ph, pw;
  const float* bias;
  int64_t activation;

  int64_t down() const { return (oh + 1) / 2; }
  int64_t across() const { return (ow + 1) / 2; }
  int64_t tiles() const { return n * down() * across(); }
};

// Matrices of the 16 places of a tile lie this far apart: one line more than their size, as
// multiples of a page would share one set of the cache.
inline int64_t apart(int64_t size) { return round_up(size, 16) + 16; }

// 4 x 4 values B^T d B of a 4 x 4 tile d.
inline void transform_tile(const Vec d[4][4], Vec v[4][4]) {
  Vec t[4][4];
  FASTNN_UNROLL for (int j = 0; j < 4; ++j) {
    t[0][j] = d[0][j] - d[2][j];
    t[1][j] = d[1][j] + d[2][j];
    t[2][j] = d[2][j] - d[1][j];
    t[3][j] = d[1][j] - d[3][j];
  }
  FASTNN_UNROLL for (int i = 0; i < 4; ++i) {
    v[i][0] = t[i][0] - t[i][2];
    v[i][1] = t[i][1] + t[i][2];
    v[i][2] = t[i][2] - t[i][1];
    v[i][3] = t[i][1] - t[i][3];
  }
}

// Tiles [first, first + count) of x -> v: 16 matrices (count, channels) with rows of length ld, `step` apart.
void transform_input(const Problem& p, int64_t first, int64_t count, float* v, int64_t ld, int64_t step) {
  Scratch<float> zeros(p.channels);
  zero(zeros, p.channels);
  for (int64_t t = 0; t < count; ++t) {
    const int64_t tile = first + t, image = tile / (p.down() * p.across()),
                  i0 = tile / p.across() % p.down() * 2 - p.ph, j0 = tile % p.across() * 2 - p.pw;
    const float* from[16];
    for (int64_t i = 0; i < 4; ++i)
      for (int64_t j = 0; j < 4; ++j) {
        const bool inside = i0 + i >= 0 && i0 + i < p.h && j0 + j >= 0 && j0 + j < p.w;
        from[i * 4 + j] = inside ? p.x + ((image * p.h + i0 + i) * p.w + j0 + j) * p.pixel : zeros.get();
      }
    float* to = v + t * ld;
    for_each_vec(p.channels, [&](int64_t c, int64_t n) {
      Vec d[4][4], r[4][4];
      FASTNN_UNROLL for (int i = 0; i < 16; ++i) d[i / 4][i % 4] = Vec::load(from[i] + c, n);
      transform_tile(d, r);
      FASTNN_UNROLL for (int i = 0; i < 16; ++i) r[i / 4][i % 4].store(to + i * step + c, n);
    });
  }
}

// One vector of filters of one tile: A^T m A of the 16 products m, `step` apart.
inline void transform_output(const float* m, int64_t step, Vec y[2][2]) {
  Vec t[2][4];
  FASTNN_UNROLL for (int j = 0; j < 4; ++j) {
    const Vec m0 = Vec::load(m + j * step), m1 = Vec::load(m + (4 + j) * step), m2 = Vec::load(m + (8 + j) * step),
              m3 = Vec::load(m + (12 + j) * step);
    t[0][j] = m0 + m1 + m2;
    t[1][j] = m1 - m2 - m3;
  }
  FASTNN_UNROLL for (int i = 0; i < 2; ++i) {
    y[i][0] = t[i][0] + t[i][1] + t[i][2];
    y[i][1] = t[i][1] - t[i][2] - t[i][3];
  }
}

// Tiles [first, first + count) of filters [j0, j0 + cols) from m: 16 matrices (count, ld).
void store_output(const Problem& p, int64_t first, int64_t count, int64_t j0, int64_t cols, const float* m, int64_t ld,
                  int64_t step) {
  const bool is_relu = p.activation == kActivationRelu, more = p.activation > kActivationRelu;
  for (int64_t t = 0; t < count; ++t) {
    const int64_t tile = first + t, image = tile / (p.down() * p.across()), i0 = tile / p.across() % p.down() * 2,
                  j = tile % p.across() * 2;
    float* to = p.out + ((image * p.oh + i0) * p.ow + j) * p.out_pixel + j0;
    const bool below = i0 + 1 < p.oh, right = j + 1 < p.ow;
    for_each_vec(cols, [&](int64_t c, int64_t n) {
      Vec y[2][2];
      transform_output(m + t * ld + c, step, y);
      const Vec bias = p.bias ? Vec::load(p.bias + j0 + c, n) : Vec::zero();
      FASTNN_UNROLL for (int i = 0; i < 4; ++i) {
        if (p.bias) y[i / 2][i % 2] = y[i / 2][i % 2] + bias;
        if (is_relu) y[i / 2][i % 2] = relu(y[i / 2][i % 2]);
      }
      y[0][0].store(to + c, n);
      if (right) y[0][1].store(to + p.out_pixel + c, n);
      if (below) y[1][0].store(to + p.ow * p.out_pixel + c, n);
      if (below && right) y[1][1].store(to + (p.ow + 1) * p.out_pixel + c, n);
    });
    if (more)
      for (int64_t i = 0; i <= below; ++i)
        apply_epilogue(to + i * p.ow * p.out_pixel, p.out_pixel, 1 + right, cols, nullptr, p.activation);
  }
}

// G g G^T of the 9 taps g -> 16 values, `step` apart.
inline void transform_kernel(const Vec g[9], float* to, int64_t step) {
  const Vec half = Vec::set(0.5f);
  Vec t[4][3];
  FASTNN_UNROLL for (int j = 0; j < 3; ++j) {
    const Vec sum = (g[j] + g[6 + j]) * half, middle = g[3 + j] * half;
    t[0][j] = g[j], t[1][j] = sum + middle, t[2][j] = sum - middle, t[3][j] = g[6 + j];
  }
  FASTNN_UNROLL for (int i = 0; i < 4; ++i) {
    const Vec sum = (t[i][0] + t[i][2]) * half, middle = t[i][1] * half;
    t[i][0].store(to + (4 * i) * step);
    (sum + middle).store(to + (4 * i + 1) * step);
    (sum - middle).store(to + (4 * i + 2) * step);
    t[i][2].store(to + (4 * i + 3) * step);
  }
}

// The transformed kernel in blocks of `depth` channels by `wide` filters, 16 matrices each.
struct Kernel {
  const float* w;  // (3, 3, ic, oc) with rows of length ld
  int64_t ic, ld;
  bool turned;  // the gradient of the input has filters for channels, and the taps backwards
  int64_t channels, filters, depth, wide;
  int64_t panel() const { return panel_width(filters); }
  int64_t depth_blocks() const { return ceil_div(channels, depth); }
  int64_t wide_blocks() const { return ceil_div(filters, wide); }
  int64_t step() const { return apart(depth * wide); }
  int64_t block_size() const { return 16 * step(); }

  // Block (d, f) -> u: in panels of filters, each (channels of the block, filters padded to vectors).
  void transform(int64_t d, int64_t f, float* u) const {
    const int64_t c0 = d * depth, rows = min(depth, channels - c0), j0 = f * wide, end = min(filters, j0 + wide);
    for (int64_t j = j0; j < end; j += panel()) {
      const int64_t cols = min(panel(), end - j), width = round_up(cols, Vec::width);
      if (turned) transform_panel_turned(c0, rows, j, cols, width, u + (j - j0) * rows);
      else transform_panel(c0, rows, j, cols, width, u + (j - j0) * rows);
    }
  }

 private:
  void transform_panel(int64_t c0, int64_t rows, int64_t j0, int64_t cols, int64_t width, float* u) const {
    for (int64_t c = 0; c < rows; ++c)
      for_each_vec(cols, [&](int64_t j, int64_t n) {
        Vec g[9];
        FASTNN_UNROLL for (int tap = 0; tap < 9; ++tap) g[tap] = Vec::load(w + (tap * ic + c0 + c) * ld + j0 + j, n);
        transform_kernel(g, u + c * width + j, step());
      });
  }
  void transform_panel_turned(int64_t c0, int64_t rows, int64_t j0, int64_t cols, int64_t width, float* u) const {
    constexpr int64_t kBlock = 16;
    Scratch<float> turned_taps(9 * kBlock * kPanel);
    if (cols < width) zero(turned_taps, 9 * kBlock * kPanel);
    for (int64_t c = 0; c < rows; c += kBlock) {
      const int64_t block = min(kBlock, rows - c);
      for (int64_t tap = 0; tap < 9; ++tap)
        transpose_tile<float>((const char*)(w + ((8 - tap) * ic + j0) * ld + c0 + c), ld * 4,
                              (char*)(turned_taps.get() + tap * kBlock * kPanel), kPanel * 4, cols, block);
      for (int64_t i = 0; i < block; ++i)
        for (int64_t j = 0; j < width; j += Vec::width) {
          Vec g[9];
          FASTNN_UNROLL for (int tap = 0; tap < 9; ++tap) g[tap] = Vec::load(turned_taps.get() + (tap * kBlock + i) * kPanel + j);
          transform_kernel(g, u + (c + i) * width + j, step());
        }
    }
  }
};

// Products and output of the tiles [first, first + count), transformed in v, for block f of filters.
// u: the transformed kernel, or null to transform what is needed here.
void multiply_tiles(const Problem& p, const Kernel& kernel, const float* u, const float* v, int64_t v_step,
                    int64_t first, int64_t count, int64_t f) {
  const int64_t m_step = apart(count * kernel.wide), j0 = f * kernel.wide, cols = min(kernel.wide, p.filters - j0);
  Scratch<float> m(16 * m_step), own(u ? 0 : kernel.block_size());
  Scratch<int64_t> ints(2 * count + kernel.depth);
  int64_t *row = ints, *place = row + count, *col = place + count;
  for (int64_t i = 0; i < count; ++i) row[i] = i * p.channels, place[i] = i * kernel.wide;
  for (int64_t c = 0; c < kernel.depth; ++c) col[c] = c;
  for (int64_t d = 0; d < kernel.depth_blocks(); ++d) {
    const int64_t c0 = d * kernel.depth, depth = min(kernel.depth, p.channels - c0);
    if (!u) kernel.transform(d, f, own);
    const float* matrix = u ? u + (f * kernel.depth_blocks() + d) * kernel.block_size() : own.get();
    for (int64_t i = 0; i < 16; ++i, matrix += kernel.step()) {
      const float* from = v + i * v_step + c0;
      multiply({from, row, count, depth % 4 == 0}, [&](int64_t p0, int64_t, int64_t*) { return col + p0; }, depth,
               {matrix, depth, 0, kernel.panel(), true}, round_up(cols, Vec::width),
               {m.get() + i * m_step, place, d > 0, nullptr, kActivationLinear},
               Ahead(matrix + kernel.step(), u ? 1 : 0, depth * kernel.wide, 0),
               Ahead(from + v_step, i < 15 ? count : 0, depth, p.channels));
    }
  }
  store_output(p, first, count, j0, cols, m, kernel.wide, m_step);
}

void run(const Problem& p, const float* w, const Conv2dShape& s, bool turned) {
  const int64_t tiles = p.tiles();
  // Tiles that are worked on together: their transforms take half a second-level cache, and the kernel,
  // which streams by where it is large, serves many of them.
  int64_t count = min(tiles, min(96, max(24, (int64_t(1) << 14) / p.channels)));
  const bool few = tiles < 16 * count && p.filters > kPanel;
  if (few) count = min(tiles, 128);
  int64_t blocks = ceil_div(tiles, count);
  count = ceil_div(tiles, blocks), blocks = ceil_div(tiles, count);

  Kernel kernel{w, s.ic / s.groups, s.oc, turned, p.channels, p.filters, 0, 0};
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
      Scratch<float> v(16 * v_step);
      for (int64_t b = begin; b < end; ++b) {
        const int64_t first = b * count, n = min(count, tiles - first);
        transform_input(p, first, n, v, p.channels, v_step);
        for (int64_t f = 0; f < wides; ++f) multiply_tiles(p, kernel, u, v, v_step, first, n, f);
      }
    });
    return;
  }
  // Few tiles: threads share them out for the transform, and blocks of filters for the products.
  Scratch<float> v(blocks * 16 * v_step);
  const int64_t part = max(1, 16384 / (16 * p.channels)), parts = ceil_div(count, part);
  parallel_for(blocks * parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t b = t / parts, t0 = t % parts * part, first = b * count + t0, last = min(tiles, min(first + part, (b + 1) * count));
      if (first < last) transform_input(p, first, last - first, v.get() + b * 16 * v_step + t0 * p.channels, p.channels, v_step);
    }
  });
  parallel_for(blocks * wides, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t b = t % blocks, first = b * count;
      multiply_tiles(p, kernel, on_the_way ? nullptr : u.get(), v.get() + b * 16 * v_step, v_step, first,
                     min(count, tiles - first), t / blocks);
    }
  });
}

// Whether the products saved outweigh the transforms, in vector operations: what a direct product of
// the same shape takes against the products, the transforms of tiles, and that of the kernel.
bool pays(const Conv2dShape& s, const Problem& p) {
  if (s.kh != 3 || s.kw != 3 || s.sh != 1 || s.sw != 1 || s.dh != 1 || s.dw != 1 || s.ph > 2 || s.pw > 2) return false;
  if (p.channels < 16 || p.filters < Vec::width) return false;
  const double products = double(round_up(p.filters, Vec::width)) * double(p.channels) / (2 * Vec::width);
  const double direct = double(p.n * p.oh * p.ow) * 9 * products;
  const double tiles = double(p.tiles()) * (16 * products + double(6 * p.channels + 6 * p.filters) * 16 / Vec::width);
  const double kernel = double(p.channels) * double(p.filters) * 8 * 16 / Vec::width;
  return tiles + kernel < 0.9 * direct;
}

// ---- the gradient of the kernel: F(3 x 3, 2 x 2), 9 taps from 2 x 2 gradients and 4 x 4 inputs ----

// The 2 x 2 gradients of tiles [first, first + count) and filters [0, filters) of out -> z: 16 packed
// matrices (count, filters) for multiply, `step` apart. p.out is only read.
void transform_gradient(const Problem& p, int64_t first, int64_t count, int64_t panel, float* z, int64_t step) {
  const Vec half = Vec::set(0.5f);
  for (int64_t t = 0; t < count; ++t) {
    const int64_t tile = first + t, image = tile / (p.down() * p.across()), i0 = tile / p.across() % p.down() * 2,
                  j0 = tile % p.across() * 2;
    const float* from = p.out + ((image * p.oh + i0) * p.ow + j0) * p.out_pixel;
    const bool below = i0 + 1 < p.oh, right = j0 + 1 < p.ow;
    for (int64_t j = 0; j < p.filters; j += panel) {
      const int64_t cols = min(panel, p.filters - j), width = round_up(cols, Vec::width);
      float* to = z + j * count + t * width;
      for_each_vec(cols, [&](int64_t c, int64_t n) {
        const float* at = from + j + c;
        const Vec g[2][2] = {{Vec::load(at, n), right ? Vec::load(at + p.out_pixel, n) : Vec::zero()},
                             {below ? Vec::load(at + p.ow * p.out_pixel, n) : Vec::zero(),
                              below && right ? Vec::load(at + (p.ow + 1) * p.out_pixel, n) : Vec::zero()}};
        Vec r[4][2];
        FASTNN_UNROLL for (int k = 0; k < 2; ++k) {
          const Vec a = g[0][k] * half, b = g[1][k] * half;
          r[0][k] = g[0][k], r[1][k] = a + b, r[2][k] = a - b, r[3][k] = g[1][k];
        }
        FASTNN_UNROLL for (int i = 0; i < 4; ++i) {
          const Vec a = r[i][0] * half, b = r[i][1] * half;
          float* place = to + 4 * i * step + c;
          r[i][0].store(place), (a + b).store(place + step), (a - b).store(place + 2 * step), r[i][1].store(place + 3 * step);
        }
      });
    }
  }
}

// The sums over tiles are cut into parts, and each 16 matrices (channels, filters) into blocks.
struct WeightTasks {
  int64_t channels, filters, channel_blocks, filter_blocks, parts, per_part, at_once;
  int64_t step() const { return apart(channels * filters); }
};
WeightTasks cut_weights(const Problem& p) {
  WeightTasks t;
  // Blocks of 128 x 128 sums, 1 MB for the 16 places, stay in the second-level cache.
  t.channel_blocks = ceil_div(p.channels, 128), t.channels = ceil_div(p.channels, t.channel_blocks);
  const int64_t panel = panel_width(p.filters), wide = max(1, 128 / panel) * panel;
  t.filters = min(round_up(p.filters, Vec::width), wide), t.filter_blocks = ceil_div(p.filters, wide);
  t.at_once = min(96, max(48, 8192 / max(t.channels, t.filters)));
  const int64_t chunks = ceil_div(p.tiles(), t.at_once), blocks = t.channel_blocks * t.filter_blocks;
  // All parts together take 16 MB at most.
  const int64_t parts = max(1, min(min(16, chunks), (int64_t(1) << 22) / (16 * p.channels * p.filters)));
  t.per_part = ceil_div(chunks, blocks >= 12 ? 1 : min(parts, ceil_div(16, blocks)));
  t.parts = ceil_div(chunks, t.per_part);
  return t;
}

bool weights_fit(const Conv2dShape& s, const Problem& p) {
  return s.kh == 3 && s.kw == 3 && s.sh == 1 && s.sw == 1 && s.dh == 1 && s.dw == 1 && p.channels >= Vec::width &&
         p.filters >= Vec::width && p.tiles() >= 96;
}
bool weights_pay(const Problem& p, const WeightTasks& t) {
  const double products = double(round_up(p.filters, Vec::width)) * double(p.channels) / (2 * Vec::width);
  const double direct = double(p.n * p.oh * p.ow) * 9 * products;
  const double transforms = double(t.filter_blocks * p.channels + t.channel_blocks * p.filters) * 6 * 16 / Vec::width;
  const double sums = double(p.channels * p.filters) * double(4 * t.parts + 4) * 16 / Vec::width;
  return double(p.tiles()) * (17 * products + transforms) + sums < 0.85 * direct;
}

// gw (3, 3, ic, oc) with rows of length ld, of `channels` and `filters`, is A^T m A of the parts' sums m.
void store_weights(const WeightTasks& t, const Problem& p, const float* sums, float* gw, int64_t ic, int64_t ld) {
  const int64_t block_size = 16 * t.step(), blocks = t.channel_blocks * t.filter_blocks;
  parallel_for(p.channels, max(1, 4096 / p.filters), [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c)
      for (int64_t f = 0; f < t.filter_blocks; ++f) {
        const int64_t j0 = f * t.filters, block = c / t.channels * t.filter_blocks + f;
        const float* from = sums + block * block_size + c % t.channels * t.filters;
        for_each_vec(min(t.filters, p.filters - j0), [&](int64_t j, int64_t n) {
          Vec m[4][4], r[3][4];
          FASTNN_UNROLL for (int i = 0; i < 16; ++i) {
            m[i / 4][i % 4] = Vec::load(from + i * t.step() + j);
            for (int64_t part = 1; part < t.parts; ++part)
              m[i / 4][i % 4] = m[i / 4][i % 4] + Vec::load(from + part * blocks * block_size + i * t.step() + j);
          }
          FASTNN_UNROLL for (int k = 0; k < 4; ++k) {
            r[0][k] = m[0][k] + m[1][k] + m[2][k];
            r[1][k] = m[1][k] - m[2][k];
            r[2][k] = m[1][k] + m[2][k] - m[3][k];
          }
          FASTNN_UNROLL for (int i = 0; i < 3; ++i) {
            float* to = gw + (3 * i * ic + c) * ld + j0 + j;
            (r[i][0] + r[i][1] + r[i][2]).store(to, n);
            (r[i][1] - r[i][2]).store(to + ic * ld, n);
            (r[i][1] + r[i][2] - r[i][3]).store(to + 2 * ic * ld, n);
          }
        });
      }
  });
}

}  // namespace

bool winograd_forward(const float* x, const float* w, const float* bias, float* y, const Conv2dShape& s, int64_t activation) {
  const int64_t icg = s.ic / s.groups, ocg = s.oc / s.groups;
  Problem p{x, s.n, s.ih, s.iw, s.ic, icg, y, s.oh, s.ow, s.oc, ocg, s.ph, s.pw, bias, activation};
  if (!pays(s, p)) return false;
  for (int64_t g = 0; g < s.groups; ++g) {
    p.x = x + g * icg, p.out = y + g * ocg, p.bias = bias ? bias + g * ocg : nullptr;
    run(p, w + g * ocg, s, false);
  }
  return true;
}

bool winograd_backward_input(const float* gy, const float* w, const float* bias, float* gx, const Conv2dShape& s,
                             int64_t activation) {
  const int64_t icg = s.ic / s.groups, ocg = s.oc / s.groups;
  Problem p{gy, s.n, s.oh, s.ow, s.oc, ocg, gx, s.ih, s.iw, s.ic, icg, 2 - s.ph, 2 - s.pw, bias, activation};
  if (!pays(s, p)) return false;
  for (int64_t g = 0; g < s.groups; ++g) {
    p.x = gy + g * ocg, p.out = gx + g * icg, p.bias = bias ? bias + g * icg : nullptr;
    run(p, w + g * ocg, s, true);
  }
  return true;
}

bool winograd_backward_weights(const float* x, const float* gy, float* gw, const Conv2dShape& s) {
  const int64_t icg = s.ic / s.groups, ocg = s.oc / s.groups;
  Problem p{x, s.n, s.ih, s.iw, s.ic, icg, const_cast<float*>(gy), s.oh, s.ow, s.oc, ocg, s.ph, s.pw, nullptr, 0};
  if (!weights_fit(s, p)) return false;
  const WeightTasks t = cut_weights(p);
  if (!weights_pay(p, t)) return false;
  const int64_t blocks = t.channel_blocks * t.filter_blocks, panel = panel_width(ocg), tiles = p.tiles();
  Scratch<float> sums(t.parts * blocks * 16 * t.step());
  for (int64_t g = 0; g < s.groups; ++g) {
    parallel_for(t.parts * blocks, 1, [&](int64_t begin, int64_t end) {
      const int64_t v_ld = t.channels + 16, v_step = apart(t.at_once * v_ld), z_step = apart(t.at_once * t.filters);
      Scratch<float> v(16 * v_step), z(16 * z_step);
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
        float* m = sums.get() + task * 16 * t.step();
        const int64_t start = part * t.per_part * t.at_once, stop = min(tiles, start + t.per_part * t.at_once);
        for (int64_t first = start; first < stop; first += t.at_once) {
          const int64_t count = min(t.at_once, stop - first);
          transform_input(q, first, count, v, v_ld, v_step);
          transform_gradient(q, first, count, panel, z, z_step);
          for (int64_t i = 0; i < 16; ++i)
            multiply({v.get() + i * v_step, row, q.channels, false}, [&](int64_t p0, int64_t, int64_t*) { return col + p0; },
                     count, {z.get() + i * z_step, count, 0, panel, true}, round_up(q.filters, Vec::width),
                     {m + i * t.step(), place, first > start, nullptr, kActivationLinear});
        }
      }
    });
    store_weights(t, p, sums, gw + g * ocg, icg, s.oc);
  }
  return true;
}

}  // namespace fastnn::FASTNN_TARGET
