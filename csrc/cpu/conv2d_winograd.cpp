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

// The transformed kernel: for each panel of filters, 16 matrices (channels, panel).
inline int64_t panel_size(int64_t channels) { return 16 * apart(channels * kPanel); }

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

// Tiles [first, first + count) of x -> v: 16 matrices (count, channels), `step` apart.
void transform_input(const Problem& p, int64_t first, int64_t count, float* v, int64_t step) {
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
    float* to = v + t * p.channels;
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

// Tiles [first, first + count) of filters [j0, j0 + cols) from m: 16 matrices (count, kPanel).
void store_output(const Problem& p, int64_t first, int64_t count, int64_t j0, int64_t cols, const float* m, int64_t step) {
  const bool is_relu = p.activation == kActivationRelu, more = p.activation > kActivationRelu;
  for (int64_t t = 0; t < count; ++t) {
    const int64_t tile = first + t, image = tile / (p.down() * p.across()), i0 = tile / p.across() % p.down() * 2,
                  j = tile % p.across() * 2;
    float* to = p.out + ((image * p.oh + i0) * p.ow + j) * p.out_pixel + j0;
    const bool below = i0 + 1 < p.oh, right = j + 1 < p.ow;
    for_each_vec(cols, [&](int64_t c, int64_t n) {
      Vec y[2][2];
      transform_output(m + t * kPanel + c, step, y);
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

// w (3, 3, ic, oc) -> u, panels of 16 matrices (ic, panel of oc).
void transform_weights(const float* w, int64_t ic, int64_t oc, int64_t ld, float* u) {
  const int64_t panels = ceil_div(oc, kPanel), block = 16, blocks = ceil_div(ic, block);
  parallel_for(panels * blocks, max(1, 16384 / (block * kPanel * 9)), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t j0 = t / blocks * kPanel, cols = min(kPanel, oc - j0), width = round_up(cols, Vec::width);
      for (int64_t c = t % blocks * block; c < min(ic, (t % blocks + 1) * block); ++c)
        for_each_vec(cols, [&](int64_t j, int64_t n) {
          Vec g[9];
          FASTNN_UNROLL for (int tap = 0; tap < 9; ++tap) g[tap] = Vec::load(w + (tap * ic + c) * ld + j0 + j, n);
          transform_kernel(g, u + t / blocks * panel_size(ic) + c * width + j, apart(ic * kPanel));
        });
    }
  });
}

// The same of the kernel turned around, for the gradient of the input: panels of (oc, panel of ic).
void transform_turned_weights(const float* w, int64_t ic, int64_t oc, int64_t ld, float* u) {
  const int64_t panels = ceil_div(ic, kPanel), block = 16, blocks = ceil_div(oc, block);
  parallel_for(panels * blocks, max(1, 16384 / (block * kPanel * 9)), [&](int64_t begin, int64_t end) {
    Scratch<float> turned(9 * block * kPanel);
    for (int64_t t = begin; t < end; ++t) {
      const int64_t j0 = t / blocks * kPanel, cols = min(kPanel, ic - j0), width = round_up(cols, Vec::width);
      const int64_t c0 = t % blocks * block, rows = min(block, oc - c0);
      if (cols < width) zero(turned, 9 * block * kPanel);
      for (int64_t tap = 0; tap < 9; ++tap)
        transpose_tile<float>((const char*)(w + ((8 - tap) * ic + j0) * ld + c0), ld * 4,
                              (char*)(turned.get() + tap * block * kPanel), kPanel * 4, cols, rows);
      for (int64_t c = 0; c < rows; ++c)
        for (int64_t j = 0; j < width; j += Vec::width) {
          Vec g[9];
          FASTNN_UNROLL for (int tap = 0; tap < 9; ++tap) g[tap] = Vec::load(turned.get() + (tap * block + c) * kPanel + j);
          transform_kernel(g, u + t / blocks * panel_size(oc) + (c0 + c) * width + j, apart(oc * kPanel));
        }
    }
  });
}

// Products and output of the tiles [first, first + count) for panels [panel0, panel1) of filters.
void multiply_tiles(const Problem& p, const float* u, const float* v, int64_t v_step, int64_t first, int64_t count,
                    int64_t panel0, int64_t panel1) {
  const int64_t m_step = apart(count * kPanel), u_step = apart(p.channels * kPanel);
  Scratch<float> m(16 * m_step);
  Scratch<int64_t> ints(2 * count + p.channels);
  int64_t *row = ints, *place = row + count, *col = place + count;
  for (int64_t i = 0; i < count; ++i) row[i] = i * p.channels, place[i] = i * kPanel;
  for (int64_t c = 0; c < p.channels; ++c) col[c] = c;
  for (int64_t panel = panel0; panel < panel1; ++panel) {
    const int64_t j0 = panel * kPanel, cols = min(kPanel, p.filters - j0), width = round_up(cols, Vec::width);
    const float* matrix = u + panel * panel_size(p.channels);
    for (int64_t i = 0; i < 16; ++i, matrix += u_step)
      multiply({v + i * v_step, row, count}, [&](int64_t p0, int64_t, int64_t*) { return col + p0; }, p.channels,
               {matrix, p.channels, 0, true}, width, {m.get() + i * m_step, place, false, nullptr, kActivationLinear},
               {matrix + u_step, 1, p.channels * width, 0});
    store_output(p, first, count, j0, cols, m, m_step);
  }
}

// How many tiles are worked on together: their transforms take half a second-level cache, and the
// kernel, which streams by where it is large, serves many of them.
int64_t tiles_at_once(const Problem& p) {
  return min(p.tiles(), min(96, max(24, (int64_t(1) << 14) / p.channels)));
}

void run(const Problem& p, const float* u) {
  const int64_t tiles = p.tiles(), panels = ceil_div(p.filters, kPanel);
  int64_t count = tiles_at_once(p), blocks = ceil_div(tiles, count);
  count = ceil_div(tiles, blocks), blocks = ceil_div(tiles, count);
  const int64_t v_step = apart(count * p.channels);
  if (blocks >= 8 || panels == 1) {
    parallel_for(blocks, 1, [&](int64_t begin, int64_t end) {
      Scratch<float> v(16 * v_step);
      for (int64_t b = begin; b < end; ++b) {
        const int64_t first = b * count, n = min(count, tiles - first);
        transform_input(p, first, n, v, v_step);
        multiply_tiles(p, u, v, v_step, first, n, 0, panels);
      }
    });
    return;
  }
  // Few tiles: threads share them out for the transform, and panels of filters for the products.
  Scratch<float> v(blocks * 16 * v_step);
  const int64_t part = max(1, 16384 / (16 * p.channels)), parts = ceil_div(count, part);
  parallel_for(blocks * parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t b = t / parts, t0 = t % parts * part, first = b * count + t0, last = min(tiles, min(first + part, (b + 1) * count));
      if (first < last) transform_input(p, first, last - first, v.get() + b * 16 * v_step + t0 * p.channels, v_step);
    }
  });
  parallel_for(blocks * panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t b = t / panels, panel = t % panels, first = b * count;
      multiply_tiles(p, u, v.get() + b * 16 * v_step, v_step, first, min(count, tiles - first), panel, panel + 1);
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

}  // namespace

bool winograd_forward(const float* x, const float* w, const float* bias, float* y, const Conv2dShape& s, int64_t activation) {
  const int64_t icg = s.ic / s.groups, ocg = s.oc / s.groups;
  Problem p{x, s.n, s.ih, s.iw, s.ic, icg, y, s.oh, s.ow, s.oc, ocg, s.ph, s.pw, bias, activation};
  if (!pays(s, p)) return false;
  Scratch<float> u(ceil_div(ocg, kPanel) * panel_size(icg));
  for (int64_t g = 0; g < s.groups; ++g) {
    p.x = x + g * icg, p.out = y + g * ocg, p.bias = bias ? bias + g * ocg : nullptr;
    transform_weights(w + g * ocg, icg, ocg, s.oc, u);
    run(p, u);
  }
  return true;
}

bool winograd_backward_input(const float* gy, const float* w, const float* bias, float* gx, const Conv2dShape& s,
                             int64_t activation) {
  const int64_t icg = s.ic / s.groups, ocg = s.oc / s.groups;
  Problem p{gy, s.n, s.oh, s.ow, s.oc, ocg, gx, s.ih, s.iw, s.ic, icg, 2 - s.ph, 2 - s.pw, bias, activation};
  if (!pays(s, p)) return false;
  Scratch<float> u(ceil_div(icg, kPanel) * panel_size(ocg));
  for (int64_t g = 0; g < s.groups; ++g) {
    p.x = gy + g * ocg, p.out = gx + g * icg, p.bias = bias ? bias + g * icg : nullptr;
    transform_turned_weights(w + g * ocg, icg, ocg, s.oc, u);
    run(p, u);
  }
  return true;
}

}  // namespace fastnn::FASTNN_TARGET
