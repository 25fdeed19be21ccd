// Convolution as a matrix product whose first operand is read from the images where they lie: the
// patch of a pixel is a row of k = taps * channels values, found by adding the offset of the pixel
// and that of the tap. Where windows leave the image, a small padded copy is read instead.
#include "cpu/gemm.h"
#include "kernels.h"

namespace fastnn::FASTNN_TARGET {
namespace {

inline void zero(float* to, int64_t count) {
  for_each_vec(count, [&](int64_t i, int64_t n) { Vec::zero().store(to + i, n); });
}
inline void copy(const float* from, float* to, int64_t count) {
  for_each_vec(count, [&](int64_t i, int64_t n) { Vec::load(from + i, n).store(to + i, n); });
}

// The taps of one axis, as offsets in pixels from a patch's position; ascending.
struct Taps {
  int64_t count;
  const int64_t* offset;
  int64_t first() const { return count ? offset[0] : 0; }
  int64_t span() const { return count ? offset[count - 1] - offset[0] + 1 : 1; }
};

// The patches of images x (images, h, w, pixel), of whose pixels `channels` values are read; x points
// at the first. Patch (i, j) of an image, i < rows and j < cols, stands at (i * step_h, j * step_w).
struct Patches {
  const float* x;
  int64_t images, h, w, pixel, channels;
  int64_t rows, cols, step_h, step_w;
  Taps down, across;

  int64_t k() const { return down.count * across.count * channels; }
  int64_t count() const { return images * rows * cols; }
  bool inside() const {
    return down.first() >= 0 && down.first() + (rows - 1) * step_h + down.span() <= h && across.first() >= 0 &&
           across.first() + (cols - 1) * step_w + across.span() <= w;
  }
};

// How the patches are cut into chunks: whole images, whole rows of one image, or a part of a row,
// so that a chunk's patches are neighbours in the output.
struct Chunks {
  int64_t images, rows, cols;              // of one chunk
  int64_t image_blocks, row_blocks, col_blocks;
  int64_t count() const { return image_blocks * row_blocks * col_blocks; }
};
Chunks cut_patches(const Patches& p, int64_t work_per_patch) {
  // About 16 chunks or more, of 0.2 to 1 MFLOP at least and 240 patches at most.
  int64_t target = min(max(p.count() / 16, 24), 240);
  target = max(target, min(100000 / work_per_patch, 4096));
  Chunks c{1, 1, p.cols, p.images, p.rows, 1};
  if (p.cols > 2 * target) {
    c.col_blocks = ceil_div(p.cols, target);
    c.cols = ceil_div(p.cols, c.col_blocks);
    c.col_blocks = ceil_div(p.cols, c.cols);
  } else if (p.rows * p.cols > target) {
    // A dilated window spans many rows: enough of them to share the padded copy.
    c.rows = min(p.rows, max(max(1, target / p.cols), p.down.span() / (2 * p.step_h)));
    c.row_blocks = ceil_div(p.rows, c.rows);
  } else {
    c.rows = p.rows, c.row_blocks = 1;
    c.images = min(p.images, max(1, target / (p.rows * p.cols)));
    c.image_blocks = ceil_div(p.images, c.images);
  }
  return c;
}

// The patches of one chunk, with the offsets of all of them.
struct Chunk {
  int64_t first, count;  // patches
  const float* data;     // what the offsets refer to
  int64_t tap_h, tap_w;  // floats between neighbouring taps
  int64_t* offset;       // (count)

  static int64_t max_count(const Chunks& c) { return c.images * c.rows * c.cols; }
  static int64_t buffer_size(const Patches& p, const Chunks& c) {
    if (p.inside()) return 0;
    return c.images * ((c.rows - 1) * p.step_h + p.down.span()) * ((c.cols - 1) * p.step_w + p.across.span()) * p.channels;
  }

  Chunk(const Patches& p, const Chunks& c, int64_t index, float* buffer, int64_t* offsets) : offset(offsets) {
    const int64_t col0 = index % c.col_blocks * c.cols, row0 = index / c.col_blocks % c.row_blocks * c.rows,
                  image0 = index / (c.col_blocks * c.row_blocks) * c.images;
    const int64_t images = min(c.images, p.images - image0), rows = min(c.rows, p.rows - row0),
                  cols = min(c.cols, p.cols - col0);
    first = (image0 * p.rows + row0) * p.cols + col0;
    count = images * rows * cols;
    // Position of the first tap of the first patch.
    const int64_t top = row0 * p.step_h + p.down.first(), left = col0 * p.step_w + p.across.first();
    int64_t image_step;
    if (p.inside()) {
      tap_w = p.pixel, tap_h = p.w * p.pixel, image_step = p.h * tap_h;
      data = p.x + image0 * image_step + top * tap_h + left * tap_w;
    } else {
      const int64_t height = (rows - 1) * p.step_h + p.down.span(), width = (cols - 1) * p.step_w + p.across.span();
      tap_w = p.channels, tap_h = width * tap_w, image_step = height * tap_h;
      data = buffer;
      for (int64_t n = 0; n < images; ++n)
        for (int64_t i = 0; i < height; ++i)
          copy_row(p, image0 + n, top + i, left, width, buffer + n * image_step + i * tap_h);
    }
    for (int64_t n = 0; n < images; ++n)
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < cols; ++j)
          *offsets++ = n * image_step + i * p.step_h * tap_h + j * p.step_w * tap_w;
  }

  // Pixels [left, left + width) of a row of an image, zeros outside of it.
  static void copy_row(const Patches& p, int64_t image, int64_t row, int64_t left, int64_t width, float* out) {
    const int64_t begin = row >= 0 && row < p.h ? min(max(-left, 0), width) : width;
    const int64_t end = max(begin, min(width, p.w - left));
    zero(out, begin * p.channels);
    const float* from = p.x + ((image * p.h + row) * p.w + left) * p.pixel;
    if (p.channels == p.pixel) {
      if (end > begin) copy(from + begin * p.pixel, out + begin * p.pixel, (end - begin) * p.pixel);
    } else {
      for (int64_t j = begin; j < end; ++j) copy(from + j * p.pixel, out + j * p.channels, p.channels);
    }
    if (end < width) zero(out + end * p.channels, (width - end) * p.channels);
  }

  // Offsets of columns [f0, f0 + n) of the patches.
  void taps(const Patches& p, int64_t f0, int64_t n, int64_t* out) const {
    int64_t c = f0 % p.channels, v = f0 / p.channels % p.across.count, u = f0 / p.channels / p.across.count;
    for (int64_t done = 0; done < n;) {
      const int64_t base = (p.down.offset[u] - p.down.first()) * tap_h + (p.across.offset[v] - p.across.first()) * tap_w;
      for (; c < p.channels && done < n; ++c) out[done++] = base + c;
      c = 0;
      if (++v == p.across.count) v = 0, ++u;
    }
  }
};

// Sources for gemm_block: the patches of a chunk as rows (count, k), and transposed (k, count).
struct PatchRows {
  const Patches& patches;
  const Chunk& chunk;
  static constexpr bool buffered = false;
  void operator()(int64_t i0, int64_t rows, int64_t p0, int64_t kc, float*, BlockA& block) const {
    block.data = chunk.data;
    for (int64_t i = 0; i < rows; ++i) block.row[i] = chunk.offset[i0 + i];
    if (kc) chunk.taps(patches, p0, kc, block.col);
  }
};
struct PatchColumns {
  const Patches& patches;
  const Chunk& chunk;
  static constexpr bool buffered = false;
  void operator()(int64_t i0, int64_t rows, int64_t p0, int64_t kc, float*, BlockA& block) const {
    block.data = chunk.data;
    chunk.taps(patches, i0, rows, block.row);
    for (int64_t p = 0; p < kc; ++p) block.col[p] = chunk.offset[p0 + p];
  }
};

// store(first patch, patches, first column, columns, source, b, i0): gemm_block of up to MC patches
// and its place in the result; b has n columns.
template <class Store>
void for_each_block(const Patches& p, int64_t n, const MatrixB& b, Store store) {
  const Chunks cut = cut_patches(p, max(p.k(), 1) * n);
  int64_t nb = n;
  while (cut.count() * ceil_div(n, nb) < 8 && nb > NR) nb = round_up(nb / 2, NR);
  const int64_t col_blocks = ceil_div(n, nb);
  parallel_for(cut.count() * col_blocks, 1, [&](int64_t begin, int64_t end) {
    Scratch<float> buffer(Chunk::buffer_size(p, cut));
    Scratch<int64_t> offsets(Chunk::max_count(cut));
    for (int64_t t = begin; t < end; ++t) {
      const Chunk chunk(p, cut, t / col_blocks, buffer, offsets);
      const int64_t j0 = t % col_blocks * nb;
      const MatrixB columns{b.data + (b.packed ? j0 * b.k : j0), b.k, b.ld, b.packed};
      for (int64_t i0 = 0; i0 < chunk.count; i0 += MC)
        store(chunk, i0, min(MC, chunk.count - i0), j0, min(nb, n - j0), columns);
    }
  });
}

// The patches of a forward convolution; offsets (kh + kw) receives the taps.
Patches forward_patches(const Conv2dShape& s, const float* x, int64_t* offsets) {
  for (int64_t u = 0; u < s.kh; ++u) offsets[u] = u * s.dh - s.ph;
  for (int64_t v = 0; v < s.kw; ++v) offsets[s.kh + v] = v * s.dw - s.pw;
  return {x,    s.n,  s.ih, s.iw,           s.ic,           s.ic / s.groups,
          s.oh, s.ow, s.sh, s.sw, {s.kh, offsets}, {s.kw, offsets + s.kh}};
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
  const int64_t icg = s.ic / s.groups, ocg = s.oc / s.groups, k = s.kh * s.kw * icg;
  Scratch<int64_t> offsets(s.kh + s.kw);
  const bool in_place = reads_in_place(false, s.n * s.oh * s.ow, ocg, s.oc);
  Scratch<float> packed(in_place ? 0 : packed_size(k, ocg));
  for (int64_t g = 0; g < s.groups; ++g) {
    MatrixB b{w + g * ocg, k, s.oc, false};
    if (!in_place) {
      pack_b_parallel(false, k, ocg, w + g * ocg, s.oc, packed);
      b = {packed, k, 0, true};
    }
    const Patches patches = forward_patches(s, x + g * icg, offsets);
    for_each_block(patches, ocg, b, [&](const Chunk& chunk, int64_t i0, int64_t m, int64_t j0, int64_t n, const MatrixB& columns) {
      const int64_t channel = g * ocg + j0;
      gemm_block(i0, m, n, 0, k, PatchRows{patches, chunk}, columns, y + (chunk.first + i0) * s.oc + channel, s.oc, false,
                 {1, bias ? bias + channel : nullptr, activation});
    });
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
  for (int64_t g = 0; g < s.groups; ++g)
    for (int64_t phase_h = 0; phase_h < min(s.sh, s.ih); ++phase_h) {
      const Taps down = phase_taps(s.kh, s.sh, s.dh, s.ph, phase_h, offsets_down, which_down);
      const int64_t rows = ceil_div(s.ih - phase_h, s.sh);
      for (int64_t phase_w = 0; phase_w < min(s.sw, s.iw); ++phase_w) {
        const Taps across = phase_taps(s.kw, s.sw, s.dw, s.pw, phase_w, offsets_across, which_across);
        const int64_t cols = ceil_div(s.iw - phase_w, s.sw);
        const Patches patches{gy + g * ocg, s.n, s.oh, s.ow, s.oc, ocg, rows, cols, 1, 1, down, across};
        const int64_t k = patches.k();
        pack_taps(s, w + g * ocg, down, across, which_down, which_across, packed);
        for_each_block(patches, icg, {packed, k, 0, true}, [&](const Chunk& chunk, int64_t i0, int64_t m, int64_t j0, int64_t n, const MatrixB& columns) {
          const int64_t channel = g * icg + j0;
          const Epilogue e{1, bias ? bias + channel : nullptr, activation};
          if (s.sh == 1 && s.sw == 1) {
            gemm_block(i0, m, n, 0, k, PatchRows{patches, chunk}, columns, gx + (chunk.first + i0) * s.ic + channel, s.ic, false, e);
            return;
          }
          Scratch<float> tile(MC * n);
          gemm_block(i0, m, n, 0, k, PatchRows{patches, chunk}, columns, tile, n, false, e);
          for (int64_t t = 0; t < m; ++t) {
            const int64_t p = chunk.first + i0 + t, image = p / (rows * cols), i = p / cols % rows * s.sh + phase_h,
                          j = p % cols * s.sw + phase_w;
            copy(tile.get() + t * n, gx + ((image * s.ih + i) * s.iw + j) * s.ic + channel, n);
          }
        });
      }
    }
}

// The sum over patches is cut into a fixed number of parts, which are added in order.
void conv2d_backward_weights(const float* x, const float* gy, float* gw, Conv2dShape s) {
  const int64_t icg = s.ic / s.groups, ocg = s.oc / s.groups, k = s.kh * s.kw * icg;
  Scratch<int64_t> offsets(s.kh + s.kw);
  const bool in_place = reads_in_place(false, k, ocg, s.oc);
  for (int64_t g = 0; g < s.groups; ++g) {
    const Patches patches = forward_patches(s, x + g * icg, offsets);
    float* out = gw + g * ocg;
    if (patches.count() == 0) {
      for (int64_t i = 0; i < k; ++i) zero(out + i * s.oc, ocg);
      continue;
    }
    const Chunks cut = cut_patches(patches, k * ocg);
    const int64_t chunks = cut.count();
    const int64_t per_part = ceil_div(chunks, min(16, max(1, (int64_t(6) << 20) / (k * ocg))));
    const int64_t parts = ceil_div(chunks, per_part);
    const int64_t kb = parts >= 8 ? k : max(MC, round_up(ceil_div(k * parts, 8), MC)), k_blocks = ceil_div(k, kb);
    // (parts, k, ocg)
    Scratch<float> partial(parts > 1 ? parts * k * ocg : 0);
    const int64_t ld = parts > 1 ? ocg : s.oc;
    parallel_for(parts * k_blocks, 1, [&](int64_t begin, int64_t end) {
      Scratch<float> buffer(Chunk::buffer_size(patches, cut));
      Scratch<int64_t> places(Chunk::max_count(cut));
      Scratch<float> packed(in_place ? 0 : packed_size(Chunk::max_count(cut), ocg));
      for (int64_t t = begin; t < end; ++t) {
        const int64_t part = t / k_blocks, f0 = t % k_blocks * kb, f1 = min(k, f0 + kb);
        float* sum = parts > 1 ? partial.get() + part * k * ocg : out;
        const int64_t first = part * per_part, last = min(chunks, first + per_part);
        for (int64_t index = first; index < last; ++index) {
          const Chunk chunk(patches, cut, index, buffer, places);
          MatrixB b{gy + chunk.first * s.oc + g * ocg, chunk.count, s.oc, false};
          if (!in_place) {
            pack_b(false, chunk.count, ocg, b.data, s.oc, packed);
            b = {packed, chunk.count, 0, true};
          }
          for (int64_t f = f0; f < f1; f += MC)
            gemm_block(f, min(MC, f1 - f), ocg, 0, chunk.count, PatchColumns{patches, chunk}, b, sum + f * ld, ld,
                       index > first, {});
        }
      }
    });
    if (parts == 1) continue;
    parallel_for(k, max(1, 16384 / (ocg * parts)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        for_each_vec(ocg, [&](int64_t j, int64_t n) {
          Vec sum = Vec::load(partial.get() + i * ocg + j, n);
          for (int64_t part = 1; part < parts; ++part) sum = sum + Vec::load(partial.get() + (part * k + i) * ocg + j, n);
          sum.store(out + i * s.oc + j, n);
        });
    });
  }
}

}  // namespace fastnn::FASTNN_TARGET
