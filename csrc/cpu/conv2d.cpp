// Convolution and the gradient of its input as products of patches and kernels.
#include "cpu/conv2d.h"
#include "cpu/conv2d_rows.h"
#include "cpu/conv2d_tiles.h"
#include "cpu/conv2d_tiles_small.h"
#include "cpu/transpose.h"
#include "kernels.h"

namespace fastnn::FASTNN_TARGET {
namespace {

// Tasks are chunks of patches by blocks of nb columns of the kernel matrix.
struct Tasks {
  Chunks cut;
  int64_t nb, col_blocks;
};
Tasks cut_tasks(const Patches& p, int64_t n) {
  constexpr int64_t kCache = int64_t(1) << 18;  // floats: half of a second-level cache
  const int64_t k = max(p.k(), 1), count = p.count();
  Tasks t;
  int64_t target;
  if (k * n <= kCache) {
    // The kernel stays in the cache, patches stream by: about 16 chunks, of 0.2 MFLOP at least. A narrow panel
    // comes from the second-level cache for fewer products each: 72 rows or more hide that, blocks of columns share them out.
    target = Vec::width == 16 ? min(max(count / 16, 24), 240) : min(max(count / 8, 72), 240);
    target = max(target, min(100000 / (k * n), 4096));
  } else {
    // The kernel streams by: many patches share each panel of it.
    target = min(count, max(120, min(480, kCache / (p.channels * p.step_h * p.step_w))));
  }
  t.cut = cut_patches(p, target);
  t.nb = n;
  const int64_t patches = Chunk::max_count(t.cut);
  while (t.cut.count() * ceil_div(n, t.nb) < 12 && t.nb > panel_width(n) && patches * t.nb * k > 200000)
    t.nb = round_up(t.nb / 2, panel_width(n));
  t.col_blocks = ceil_div(n, t.nb);
  return t;
}

// b (k, n) -> packed: its panels.
void pack_panels(const KernelMatrix& b, int64_t n, float* packed) {
  const int64_t piece = max(1, 16384 / b.panel), pieces = ceil_div(b.k, piece);
  parallel_for(pieces * ceil_div(n, b.panel), max(1, 16384 / max(1, min(b.k, piece) * b.panel)), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t j = t / pieces * b.panel, p0 = t % pieces * piece, cols = min(b.panel, n - j);
      pack_rows(b.data + p0 * b.ld + j, b.ld, min(piece, b.k - p0), cols, packed + j * b.k + p0 * round_up(cols, Vec::width));
    }
  });
}

// out = activation(patches @ matrix + bias), patch (image, i, j) at out + image * grid.image + i * grid.row + j * grid.col.
void convolve(const Patches& p, const KernelMatrix& matrix, int64_t n, float* out, const Grid& grid, const float* bias,
              int64_t activation) {
#if FASTNN_TILES
  if (convolve_tiles(p, matrix, n, out, grid, bias, activation)) return;
#endif
  if (convolve_rows(p, matrix, n, out, grid, bias, activation)) return;
  const Tasks tasks = cut_tasks(p, n);
  const Chunks& cut = tasks.cut;
  const bool around = stores_around(out, p.count() * n, grid) && activation <= kActivationRelu;
  // Where a panel is narrow, chunks that copy it take long beside its products: it is copied once for all of them.
  const int64_t k = p.k();
  const bool packs = Vec::width < 16 && !matrix.packed && cut.count() > 1;
  Scratch<float> packed(packs ? k * round_up(n, Vec::width) : 0);
  if (packs) pack_panels(matrix, n, packed);
  const KernelMatrix b = packs ? KernelMatrix{packed, k, 0, matrix.panel, true} : matrix;
  parallel_for(cut.count() * tasks.col_blocks, 1, [&](int64_t begin, int64_t end) {
    Scratch<float> buffer(Chunk::buffer_size(p, cut));
    Scratch<int64_t> offsets(2 * Chunk::max_count(cut));
    int64_t* place = offsets + Chunk::max_count(cut);
    for (int64_t t = begin; t < end; ++t) {
      const int64_t index = t / tasks.col_blocks, j0 = t % tasks.col_blocks * tasks.nb;
      const Chunk chunk(p, cut, index, buffer, offsets, grid, place);
      // Tasks of the same chunk share it: the last one asks for the next.
      multiply({chunk.data, chunk.offset, chunk.count, runs_of(p.channels)},
               [&](int64_t p0, int64_t kc, int64_t* to) {
                 if (kc) chunk.taps(p, p0, kc, to);
                 return static_cast<const int64_t*>(to);
               },
               k, b.from_column(j0), min(tasks.nb, n - j0),
               {out + j0, place, false, bias ? bias + j0 : nullptr, activation, around},
               j0 + tasks.nb < n ? Ahead() : chunk.following);
    }
#if defined(__SSE2__)
    if (around) __builtin_ia32_sfence();
#endif
  });
}

#if FASTNN_TILES
// The same on the tile unit, for small images. `saved`: the part of the products that other ways need.
bool convolve_small(const Patches& p, const TapWeights& w, int64_t n, float* out, const Grid& grid, const float* bias, int64_t activation,
                  double saved) {
  if (!has_tiles()) return false;
  const SmallImages small(p, w, n);
  return small.pays(saved) && small.run(out, grid, bias, activation);
}

// The part of the products that minimal filtering needs.
double filtering(const Conv2dShape& s) {
  if (s.sh != 1 || s.sw != 1 || s.dh != 1 || s.dw != 1) return 1;
  return s.kh == 3 && s.kw == 3 ? 0.6 : s.kh * s.kw == 3 || s.kh * s.kw == 5 ? 0.8 : 1;
}

// Whether tiles of minimal filtering (conv2d_winograd_tiles.cpp) would be too few, or cannot be.
bool images_small(const Conv2dShape& s, int64_t pixels) { return filtering(s) == 1 || s.n * pixels < 256; }
#endif

// The taps that reach inputs of one phase: i = t * stride + phase gets output t + offset through
// tap u where (phase + pad - u * dilation) = offset * stride.
Taps phase_taps(int64_t taps, int64_t stride, int64_t dilation, int64_t pad, int64_t phase, int64_t* offsets,
                int64_t* which) {
  Taps t{0, offsets};
  for (int64_t u = taps - 1; u >= 0; --u) {  // backwards: the offsets ascend
    const int64_t at = phase + pad - u * dilation;
    if (at % stride) continue;
    offsets[t.count] = at / stride;
    which[t.count++] = u;
  }
  return t;
}

// b of one phase: rows (tap, output channel), columns input channel, in panels.
void pack_taps(const Conv2dShape& s, const float* w, const Taps& down, const Taps& across, const int64_t* which_down,
               const int64_t* which_across, float* packed) {
  const int64_t icg = s.ic / s.groups, ocg = s.oc / s.groups, taps = down.count * across.count;
  const int64_t panel = panel_width(icg);
  parallel_for(taps * ceil_div(icg, panel), max(1, 16384 / (ocg * panel)), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t tap = t % taps, j0 = t / taps * panel, cols = min(panel, icg - j0), ld = round_up(cols, Vec::width);
      const int64_t u = which_down[tap / across.count], v = which_across[tap % across.count];
      float* to = packed + j0 * taps * ocg + tap * ocg * ld;
      if (cols < ld) zero(to, ocg * ld);
      transpose_tile<float>((const char*)(w + ((u * s.kw + v) * icg + j0) * s.oc), s.oc * 4, (char*)to, ld * 4, cols, ocg);
    }
  });
}

}  // namespace

void conv2d_forward(const float* x, const float* w, const float* bias, float* y, Conv2dShape s, int64_t activation) {
#if FASTNN_TILES
  // Pixels with strides are split where they lie, if the kernel is not so large that it should be read but once.
  if (is_pointwise(s) && !takes_all_pixels(s) && s.ic * s.oc <= int64_t(3) << 16) {
    int64_t offsets[2];
    if (convolve_tiles(forward_patches(s, x, offsets), {w, s.ic, s.oc, panel_width(s.oc), false}, s.oc, y,
                       {s.oh * s.ow * s.oc, s.ow * s.oc, s.oc}, bias, activation))
      return;
  }
#endif
  if (is_pointwise(s) && !reads_strides(s)) {
    const int64_t pixels = s.n * s.oh * s.ow;
    const bool all = takes_all_pixels(s);
    Scratch<float> taken(all ? 0 : pixels * s.ic);
    if (!all) take_pixels(x, taken, s);
    return gemm(false, false, pixels, s.oc, s.ic, all ? x : taken.get(), s.ic, w, s.oc, y, s.oc, false, {1, bias, activation});
  }
  if (few_forward(x, w, bias, y, s, activation)) return;
#if FASTNN_TILES
  if (s.groups == 1 && images_small(s, s.oh * s.ow)) {
    Scratch<int64_t> offsets(s.kh + s.kw);
    if (convolve_small(forward_patches(s, x, offsets), {w, s.kw, s.ic * s.oc, s.oc, false}, s.oc, y, {s.oh * s.ow * s.oc, s.ow * s.oc, s.oc},
                     bias, activation, filtering(s)))
      return;
  }
#endif
  if (winograd_forward(x, w, bias, y, s, activation)) return;
  const int64_t icg = s.ic / s.groups, ocg = s.oc / s.groups;
  Scratch<int64_t> offsets(s.kh + s.kw);
  for (int64_t g = 0; g < s.groups; ++g) {
    const Patches patches = forward_patches(s, x + g * icg, offsets);
    const int64_t o = g * ocg;
    convolve(patches, {w + o, patches.k(), s.oc, panel_width(ocg), false}, ocg, y + o, {s.oh * s.ow * s.oc, s.ow * s.oc, s.oc},
             bias ? bias + o : nullptr, activation);
  }
}

// Inputs of equal position modulo the stride use the same taps: each such phase is a convolution
// of gy with stride 1.
void conv2d_backward_input(const float* gy, const float* w, const float* bias, float* gx, Conv2dShape s,
                           int64_t activation) {
  if (is_pointwise(s) && (takes_all_pixels(s) || (!bias && activation == kActivationLinear))) {
    const int64_t pixels = s.n * s.oh * s.ow;
    const bool all = takes_all_pixels(s);
    Scratch<float> taken(all ? 0 : pixels * s.ic);
    gemm(false, true, pixels, s.ic, s.oc, gy, s.oc, w, s.oc, all ? gx : taken.get(), s.ic, false, {1, bias, activation});
    if (!all) put_pixels(taken, gx, s);
    return;
  }
#if FASTNN_TILES
  if (s.groups == 1 && s.sh == 1 && s.sw == 1 && images_small(s, s.ih * s.iw)) {
    Scratch<int64_t> ints(2 * (s.kh + s.kw));
    const Taps down = phase_taps(s.kh, 1, s.dh, s.ph, 0, ints, ints + s.kh + s.kw),
               across = phase_taps(s.kw, 1, s.dw, s.pw, 0, ints + s.kh, ints + 2 * s.kh + s.kw);
    if (convolve_small({gy, s.n, s.oh, s.ow, s.oc, s.oc, s.ih, s.iw, 1, 1, down, across},
                     {w, s.kw, s.ic * s.oc, s.oc, true, ints + s.kh + s.kw, ints + 2 * s.kh + s.kw}, s.ic, gx,
                     {s.ih * s.iw * s.ic, s.iw * s.ic, s.ic}, bias, activation, filtering(s)))
      return;
  }
#endif
  if (winograd_backward_input(gy, w, bias, gx, s, activation) || thin_backward_input(gy, w, bias, gx, s, activation)) return;
  const int64_t icg = s.ic / s.groups, ocg = s.oc / s.groups;
  Scratch<int64_t> ints(2 * (s.kh + s.kw));
  int64_t *offsets_down = ints, *offsets_across = ints + s.kh, *which_down = ints + s.kh + s.kw,
          *which_across = ints + 2 * s.kh + s.kw;
  Scratch<float> packed(s.kh * s.kw * ocg * round_up(icg, Vec::width));
  for (int64_t g = 0; g < s.groups; ++g)
    for (int64_t phase_h = 0; phase_h < min(s.sh, s.ih); ++phase_h) {
      const Taps down = phase_taps(s.kh, s.sh, s.dh, s.ph, phase_h, offsets_down, which_down);
      const int64_t rows = ceil_div(s.ih - phase_h, s.sh);
      for (int64_t phase_w = 0; phase_w < min(s.sw, s.iw); ++phase_w) {
        const Taps across = phase_taps(s.kw, s.sw, s.dw, s.pw, phase_w, offsets_across, which_across);
        const int64_t cols = ceil_div(s.iw - phase_w, s.sw), c = g * icg;
        Patches patches{gy + g * ocg, s.n, s.oh, s.ow, s.oc, ocg, rows, cols, 1, 1, down, across};
        Grid grid{s.ih * s.iw * s.ic, s.sh * s.iw * s.ic, s.sw * s.ic};
        if (patches.plain() && s.sh == 1 && s.sw == 1)
          patches.images = patches.h = patches.rows = 1, patches.w = patches.cols = s.n * s.ih * s.iw;
#if FASTNN_TILES
        if (convolve_small(patches, {w + g * ocg, s.kw, icg * s.oc, s.oc, true, which_down, which_across}, icg,
                         gx + (phase_h * s.iw + phase_w) * s.ic + c, grid, bias ? bias + c : nullptr, activation, 1))
          continue;
#endif
        pack_taps(s, w + g * ocg, down, across, which_down, which_across, packed);
        convolve(patches, {packed, patches.k(), 0, panel_width(icg), true}, icg, gx + (phase_h * s.iw + phase_w) * s.ic + c, grid,
                 bias ? bias + c : nullptr, activation);
      }
    }
}

}  // namespace fastnn::FASTNN_TARGET
