// Convolution as a matrix product whose first operand, the patches, is made block by block:
// a patch is a row of k = taps * channels values, ordered as the kernel's rows are.
#include "cpu/gemm.h"
#include "kernels.h"

namespace fastnn::FASTNN_TARGET {
namespace {

// The taps of one axis, as offsets in pixels from a patch's position; ascending.
struct Taps {
  int64_t count = 0;
  const int64_t* offset = nullptr;
  // Neighbouring taps read neighbouring pixels.
  bool adjacent() const {
    for (int64_t i = 1; i < count; ++i)
      if (offset[i] != offset[i - 1] + 1) return false;
    return true;
  }
};

inline void zero(float* to, int64_t count) {
  for_each_vec(count, [&](int64_t i, int64_t n) { Vec::zero().store(to + i, n); });
}
inline void copy(const float* from, float* to, int64_t count) {
  for_each_vec(count, [&](int64_t i, int64_t n) { Vec::load(from + i, n).store(to + i, n); });
}

// The patches of images x (n, h, w, pixel): `channels` of each pixel's values are read, x points at
// the first. Patch (i, j) of an image, i < rows and j < cols, stands at (i * step_h, j * step_w).
struct PatchGrid {
  const float* x;
  int64_t h, w, pixel, channels;
  int64_t rows, cols, step_h, step_w;
  Taps down, across;

  int64_t k() const { return down.count * across.count * channels; }

  // Columns [f0, f0 + count) of patches [p0, p0 + patches) -> out (patches, count).
  void copy_block(int64_t p0, int64_t patches, int64_t f0, int64_t count, float* out) const {
    if (count == 0) return;  // a phase that no tap reaches
    // A run of taps that lies together in memory: all taps of a row, or one tap.
    const bool whole_row = channels == pixel && across.adjacent();
    const int64_t run = whole_row ? across.count * channels : channels;
    const int64_t runs_across = whole_row ? 1 : across.count;
    const int64_t first_run = f0 / run, first_begin = f0 % run;
    const int64_t first_u = first_run / runs_across, first_v = first_run % runs_across;
    int64_t image = p0 / (rows * cols), i = p0 / cols % rows, j = p0 % cols;
    for (int64_t p = 0; p < patches; ++p) {
      const int64_t top = i * step_h, left = j * step_w;
      int64_t u = first_u, v = first_v, begin = first_begin;
      for (int64_t left_over = count; left_over > 0; begin = 0) {
        const int64_t end = min(run, begin + left_over), row = top + down.offset[u], col = left + across.offset[v];
        // Values [from, to) of the run lie inside the image.
        int64_t from = end, to = end;
        if (row >= 0 && row < h) {
          from = min(max(-col * pixel, begin), end);
          to = max(min((w - col) * pixel, end), from);
        }
        if (from > begin) zero(out, from - begin);
        if (to > from) copy(x + (((image * h + row) * w + col) * pixel + from), out + from - begin, to - from);
        if (end > to) zero(out + to - begin, end - to);
        out += end - begin;
        left_over -= end - begin;
        if (++v == runs_across) v = 0, ++u;
      }
      if (++j == cols) j = 0, ++i;
      if (i == rows) i = 0, ++image;
    }
  }
};

struct PatchRows {
  PatchGrid grid;
  static constexpr bool buffered = true;
  MatrixA operator()(int64_t i0, int64_t rows, int64_t p0, int64_t kc, float* buffer) const {
    grid.copy_block(i0, rows, p0, kc, buffer);
    return {buffer, kc, 1};
  }
};
// The transposed matrix (k, patches), for the gradient of the kernel.
struct PatchColumns {
  PatchGrid grid;
  static constexpr bool buffered = true;
  MatrixA operator()(int64_t i0, int64_t rows, int64_t p0, int64_t kc, float* buffer) const {
    grid.copy_block(p0, kc, i0, rows, buffer);
    return {buffer, 1, rows};
  }
};

bool is_pointwise(const Conv2dShape& s) {
  return s.kh == 1 && s.kw == 1 && s.sh == 1 && s.sw == 1 && s.oh == s.ih && s.ow == s.iw && s.ph == 0 && s.pw == 0;
}

// The patches of a forward convolution; offsets (kh + kw) receives the taps.
PatchGrid forward_grid(const Conv2dShape& s, const float* x, int64_t* offsets) {
  for (int64_t u = 0; u < s.kh; ++u) offsets[u] = u * s.dh - s.ph;
  for (int64_t v = 0; v < s.kw; ++v) offsets[s.kh + v] = v * s.dw - s.pw;
  return {x, s.ih, s.iw, s.ic, s.ic / s.groups, s.oh, s.ow, s.sh, s.sw, {s.kh, offsets}, {s.kw, offsets + s.kh}};
}

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

// b of one phase: rows (tap, output channel), columns input channel.
void pack_taps(const Conv2dShape& s, const float* w, const Taps& down, const Taps& across, const int64_t* which_down,
               const int64_t* which_across, float* packed) {
  const int64_t icg = s.ic / s.groups, ocg = s.oc / s.groups, taps = down.count * across.count;
  parallel_for(taps * ceil_div(icg, NR), max(1, 16384 / (ocg * NR)), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t tap = t % taps, j0 = t / taps * NR, ld = round_up(min(NR, icg - j0), Vec::width);
      const int64_t u = which_down[tap / across.count], v = which_across[tap % across.count];
      pack_panel(true, ocg, icg, w + (u * s.kw + v) * icg * s.oc, s.oc, j0, packed + j0 * taps * ocg + tap * ocg * ld);
    }
  });
}

}  // namespace

void conv2d_forward(const float* x, const float* w, const float* bias, float* y, Conv2dShape s, int64_t activation) {
  const int64_t icg = s.ic / s.groups, ocg = s.oc / s.groups, k = s.kh * s.kw * icg, m = s.n * s.oh * s.ow;
  Scratch<int64_t> offsets(s.kh + s.kw);
  const bool in_place = reads_in_place(false, m, ocg, s.oc);
  Scratch<float> packed(in_place ? 0 : packed_size(k, ocg));
  for (int64_t g = 0; g < s.groups; ++g) {
    MatrixB b{w + g * ocg, k, s.oc, false};
    if (!in_place) {
      pack_b_parallel(false, k, ocg, w + g * ocg, s.oc, packed);
      b = {packed, k, 0, true};
    }
    const Epilogue e{1, bias ? bias + g * ocg : nullptr, activation};
    if (is_pointwise(s)) gemm_tiles(m, ocg, k, RowsInPlace{x + g * icg, s.ic}, b, y + g * ocg, s.oc, false, e);
    else gemm_tiles(m, ocg, k, PatchRows{forward_grid(s, x + g * icg, offsets)}, b, y + g * ocg, s.oc, false, e);
  }
}

// Inputs of equal position modulo the stride use the same taps: each such phase is a convolution
// of gy with stride 1.
void conv2d_backward_input(const float* gy, const float* w, const float* bias, float* gx, Conv2dShape s,
                           int64_t activation) {
  const int64_t icg = s.ic / s.groups, ocg = s.oc / s.groups;
  Scratch<int64_t> ints(2 * (s.kh + s.kw));
  int64_t *offsets_down = ints, *offsets_across = ints + s.kh, *which_down = ints + s.kh + s.kw,
          *which_across = ints + 2 * s.kh + s.kw;
  Scratch<float> packed(packed_size(s.kh * s.kw * ocg, icg));
  for (int64_t g = 0; g < s.groups; ++g) {
    const Epilogue e{1, bias ? bias + g * icg : nullptr, activation};
    float* out = gx + g * icg;
    for (int64_t phase_h = 0; phase_h < min(s.sh, s.ih); ++phase_h) {
      const Taps down = phase_taps(s.kh, s.sh, s.dh, s.ph, phase_h, offsets_down, which_down);
      const int64_t rows = ceil_div(s.ih - phase_h, s.sh);
      for (int64_t phase_w = 0; phase_w < min(s.sw, s.iw); ++phase_w) {
        const Taps across = phase_taps(s.kw, s.sw, s.dw, s.pw, phase_w, offsets_across, which_across);
        const int64_t cols = ceil_div(s.iw - phase_w, s.sw), m = s.n * rows * cols;
        const PatchRows patches{{gy + g * ocg, s.oh, s.ow, s.oc, ocg, rows, cols, 1, 1, down, across}};
        const int64_t k = patches.grid.k();
        pack_taps(s, w + g * ocg, down, across, which_down, which_across, packed);
        const MatrixB b{packed, k, 0, true};
        if (is_pointwise(s)) {
          gemm_tiles(m, icg, k, RowsInPlace{gy + g * ocg, s.oc}, b, out, s.ic, false, e);
        } else if (s.sh == 1 && s.sw == 1) {
          gemm_tiles(m, icg, k, patches, b, out, s.ic, false, e);
        } else {
          parallel_for(ceil_div(m, MC), max(1, 200000 / (MC * icg * max(k, 1))), [&](int64_t begin, int64_t end) {
            Scratch<float> tile(MC * icg);
            for (int64_t i0 = begin * MC; i0 < min(end * MC, m); i0 += MC) {
              const int64_t count = min(MC, m - i0);
              gemm_block(i0, count, icg, 0, k, patches, b, tile, icg, false, e);
              for (int64_t p = i0; p < i0 + count; ++p) {
                const int64_t image = p / (rows * cols), i = p / cols % rows * s.sh + phase_h,
                              j = p % cols * s.sw + phase_w;
                copy(tile.get() + (p - i0) * icg, out + ((image * s.ih + i) * s.iw + j) * s.ic, icg);
              }
            }
          });
        }
      }
    }
  }
}

void conv2d_backward_weights(const float* x, const float* gy, float* gw, Conv2dShape s) {
  const int64_t icg = s.ic / s.groups, ocg = s.oc / s.groups, k = s.kh * s.kw * icg, m = s.n * s.oh * s.ow;
  Scratch<int64_t> offsets(s.kh + s.kw);
  const bool in_place = reads_in_place(false, k, ocg, s.oc);
  Scratch<float> packed(in_place ? 0 : packed_size(m, ocg));
  for (int64_t g = 0; g < s.groups; ++g) {
    MatrixB b{gy + g * ocg, m, s.oc, false};
    if (!in_place) {
      pack_b_parallel(false, m, ocg, gy + g * ocg, s.oc, packed);
      b = {packed, m, 0, true};
    }
    float* out = gw + g * ocg;
    if (is_pointwise(s)) gemm_tiles(k, ocg, m, RowsTransposed{x + g * icg, s.ic}, b, out, s.oc, false, {});
    else gemm_tiles(k, ocg, m, PatchColumns{forward_grid(s, x + g * icg, offsets)}, b, out, s.oc, false, {});
  }
}

}  // namespace fastnn::FASTNN_TARGET
