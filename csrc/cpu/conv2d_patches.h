// The patches of images that a convolution multiplies with its kernel, read where they lie: the patch
// of a pixel is a row of k = taps * channels values, found by adding the offset of the pixel and that
// of the tap. Where windows leave the image, a small padded copy is read instead.
#pragma once
#include "cpu/conv2d.h"
#include "cpu/conv2d_tile.h"

namespace fastnn {
namespace {

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
  // Patches are read side by side, not one after the other: their pixels must not share few sets of
  // the cache, as those do that lie a large power of two apart.
  bool spread = false;

  int64_t k() const { return down.count * across.count * channels; }
  int64_t count() const { return images * rows * cols; }
  bool inside() const {
    return down.first() >= 0 && down.first() + (rows - 1) * step_h + down.span() <= h && across.first() >= 0 &&
           across.first() + (cols - 1) * step_w + across.span() <= w;
  }
  bool in_place() const { return inside() && !(spread && step_w * pixel % 256 == 0); }
  // Floats between the pixels of a copy. Narrow panels are read beside more patches at once than wide ones.
  int64_t copy_pixel() const {
    return spread && copy_step_w() * channels % (Vec::width == 16 ? 128 : 64) == 0 ? channels + 16 : channels;
  }
  // A copy holds the pixels that are read: with one tap along an axis, those of the patches alone. Steps
  // of patches in the copy, and of its pixels in the image.
  int64_t copy_step_h() const { return down.count == 1 ? 1 : step_h; }
  int64_t copy_step_w() const { return across.count == 1 ? 1 : step_w; }
  int64_t skip_h() const { return step_h / copy_step_h(); }
  int64_t skip_w() const { return step_w / copy_step_w(); }
  int64_t copy_height(int64_t n) const { return (n - 1) * copy_step_h() + down.span(); }
  int64_t copy_width(int64_t n) const { return (n - 1) * copy_step_w() + across.span(); }
  // Every pixel is its own patch: all images are one row.
  bool plain() const {
    return down.count == 1 && across.count == 1 && down.offset[0] == 0 && across.offset[0] == 0 && step_h == 1 &&
           step_w == 1 && rows == h && cols == w;
  }
};

// How the patches are cut into chunks: whole images, whole rows of one image, or a part of a row,
// so that a chunk's patches are neighbours in the output.
struct Chunks {
  int64_t images, rows, cols;  // of one chunk
  int64_t image_blocks, row_blocks, col_blocks;
  int64_t count() const { return image_blocks * row_blocks * col_blocks; }
};
inline Chunks cut_patches(const Patches& p, int64_t target) {
  Chunks c{1, 1, p.cols, p.images, p.rows, 1};
  if (p.cols > 2 * target) {
    c.col_blocks = ceil_div(p.cols, target);
    c.cols = ceil_div(p.cols, c.col_blocks);
    c.col_blocks = ceil_div(p.cols, c.cols);
  } else if (p.rows * p.cols > target + target / 2) {
    // A dilated window spans many rows: enough of them to share the padded copy.
    c.rows = min(p.rows, max(max(1, target / p.cols), p.down.span() / (2 * p.step_h)));
    c.rows = ceil_div(p.rows, ceil_div(p.rows, c.rows));
    c.row_blocks = ceil_div(p.rows, c.rows);
  } else {
    c.rows = p.rows, c.row_blocks = 1;
    c.images = min(p.images, max(1, target / (p.rows * p.cols)));
    c.image_blocks = ceil_div(p.images, c.images);
  }
  return c;
}

// Strides of the places of patches in a result, in floats.
struct Grid {
  int64_t image, row, col;
};

// As Stores (simd.h): results of 64 MB and more are stored around the caches, if each place begins a line.
inline bool stores_around(const float* out, int64_t count, const Grid& grid) {
  return count >= int64_t(16) << 20 && reinterpret_cast<uintptr_t>(out) % 64 == 0 && (grid.image | grid.row | grid.col) % 16 == 0;
}

// The patches of one chunk, with the offsets of all of them.
struct Chunk {
  int64_t first, count;  // patches
  const float* data;     // what the offsets refer to
  int64_t tap_h, tap_w;  // floats between neighbouring taps
  int64_t* offset;       // (count)
  Ahead following;       // about what the next chunk reads

  static int64_t max_count(const Chunks& c) { return c.images * c.rows * c.cols; }
  static int64_t buffer_size(const Patches& p, const Chunks& c) {
    if (p.in_place()) return 0;
    return c.images * p.copy_height(c.rows) * p.copy_width(c.cols) * p.copy_pixel();
  }

  // place (count) receives where the patches stand in a result, if it is not null.
  Chunk(const Patches& p, const Chunks& c, int64_t index, float* buffer, int64_t* offsets, const Grid& grid = {},
        int64_t* place = nullptr)
      : offset(offsets) {
    const int64_t col0 = index % c.col_blocks * c.cols, row0 = index / c.col_blocks % c.row_blocks * c.rows,
                  image0 = index / (c.col_blocks * c.row_blocks) * c.images;
    const int64_t images = min(c.images, p.images - image0), rows = min(c.rows, p.rows - row0),
                  cols = min(c.cols, p.cols - col0);
    first = (image0 * p.rows + row0) * p.cols + col0;
    count = images * rows * cols;
    // Position of the first tap of the first patch.
    const int64_t top = row0 * p.step_h + p.down.first(), left = col0 * p.step_w + p.across.first();
    int64_t image_step, step_h = p.step_h, step_w = p.step_w;
    if (p.in_place()) {
      tap_w = p.pixel, tap_h = p.w * p.pixel, image_step = p.h * tap_h;
      data = p.x + image0 * image_step + top * tap_h + left * tap_w;
    } else {
      const int64_t height = p.copy_height(rows), width = p.copy_width(cols);
      step_h = p.copy_step_h(), step_w = p.copy_step_w();
      tap_w = p.copy_pixel(), tap_h = width * tap_w, image_step = height * tap_h;
      data = buffer;
      for (int64_t n = 0; n < images; ++n)
        for (int64_t i = 0; i < height; ++i)
          copy_row(p, image0 + n, top + i * p.skip_h(), left, width, buffer + n * image_step + i * tap_h);
    }
    const float* next = p.x + ((image0 * p.h + max(0, top)) * p.w + col0 * p.step_w) * p.pixel;
    if (c.col_blocks > 1) following = {next + cols * p.step_w * p.pixel, cols, p.channels, p.step_w * p.pixel};
    else if (c.row_blocks > 1) following = {next + rows * p.step_h * p.w * p.pixel, rows * p.step_h, p.w * p.pixel, p.w * p.pixel};
    else following = {next + images * p.h * p.w * p.pixel, images, p.h * p.w * p.pixel, p.h * p.w * p.pixel};
    for (int64_t n = 0; n < images; ++n)
      for (int64_t i = 0; i < rows; ++i) {
        const int64_t from = n * image_step + i * step_h * tap_h;
        for (int64_t j = 0; j < cols; ++j) *offsets++ = from + j * step_w * tap_w;
        if (!place) continue;
        const int64_t to = (image0 + n) * grid.image + (row0 + i) * grid.row + col0 * grid.col;
        for (int64_t j = 0; j < cols; ++j) *place++ = to + j * grid.col;
      }
  }

  // Pixels left, left + skip, ... of a row of an image, `width` of them, zeros outside of it.
  static void copy_row(const Patches& p, int64_t image, int64_t row, int64_t left, int64_t width, float* out) {
    const int64_t step = p.copy_pixel(), skip = p.skip_w();
    const int64_t begin = row >= 0 && row < p.h ? min(ceil_div(max(-left, 0), skip), width) : width;
    const int64_t end = max(begin, min(width, ceil_div(max(p.w - left, 0), skip)));
    zero(out, begin * step);
    const float* from = p.x + ((image * p.h + row) * p.w + left) * p.pixel;
    if (step == p.pixel && skip == 1) {
      if (end > begin) copy(from + begin * step, out + begin * step, (end - begin) * step);
    } else {
      for (int64_t j = begin; j < end; ++j) copy(from + j * skip * p.pixel, out + j * step, p.channels);
    }
    if (end < width) zero(out + end * step, (width - end) * step);
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

// The patches of a forward convolution; offsets (kh + kw) receives the taps.
inline Patches forward_patches(const Conv2dShape& s, const float* x, int64_t* offsets) {
  for (int64_t u = 0; u < s.kh; ++u) offsets[u] = u * s.dh - s.ph;
  for (int64_t v = 0; v < s.kw; ++v) offsets[s.kh + v] = v * s.dw - s.pw;
  Patches p{x,    s.n,  s.ih, s.iw,           s.ic,           s.ic / s.groups,
            s.oh, s.ow, s.sh, s.sw, {s.kh, offsets}, {s.kw, offsets + s.kh}};
  if (p.plain()) p.images = p.h = p.rows = 1, p.w = p.cols = s.n * s.ih * s.iw;
  return p;
}

// Whether windows of one pixel that leave out others are read as patches: gathered first, many pixels move through
// memory once more, which narrow vectors gain less from.
inline bool reads_strides(const Conv2dShape& s) {
  return Vec::width < 16 && !FASTNN_TARGET::takes_all_pixels(s) && s.n * s.oh * s.ow >= 2048 && s.ic * s.oc <= int64_t(3) << 16;
}

// The pixels of x (n, ih, iw, ic) that windows of one pixel reach -> taken (n, oh, ow, ic).
inline void take_pixels(const float* x, float* taken, const Conv2dShape& s) {
  parallel_for(s.n * s.oh, max(1, 16384 / (s.ow * s.ic)), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t j = 0; j < s.ow; ++j)
        copy(x + ((r / s.oh * s.ih + r % s.oh * s.sh) * s.iw + j * s.sw) * s.ic, taken + (r * s.ow + j) * s.ic, s.ic);
  });
}
// Its transpose: x is zero where no window reaches.
inline void put_pixels(const float* taken, float* x, const Conv2dShape& s) {
  parallel_for(s.n * s.ih, max(1, 16384 / (s.iw * s.ic)), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t i = r % s.ih / s.sh;
      const bool reached = r % s.ih % s.sh == 0 && i < s.oh;
      float* to = x + r * s.iw * s.ic;
      for (int64_t j = 0; j < s.iw; ++j, to += s.ic)
        if (reached && j % s.sw == 0 && j / s.sw < s.ow) copy(taken + ((r / s.ih * s.oh + i) * s.ow + j / s.sw) * s.ic, to, s.ic);
        else zero(to, s.ic);
    }
  });
}

}  // namespace
}  // namespace fastnn
