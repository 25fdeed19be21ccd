// What minimal filtering computes, by vectors (conv2d_winograd.cpp) and on the tile unit (conv2d_winograd_tiles.cpp).
#pragma once
#include "cpu/conv2d_schemes.h"
#include "cpu/gemm.h"

namespace fastnn::FASTNN_TARGET {

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
};

// w (kh, kw, ic, oc) with rows of length ld. The gradient of the input has filters for channels, and the taps
// backwards: the kernel is turned.
struct Weights {
  const float* w;
  int64_t ic, ld;
  bool turned;
};

#pragma GCC visibility push(hidden)
// 3 x 3 taps on the tile unit: false where that does not pay or cannot be, and what was written is of no use.
bool winograd_tiles(const Problem& p, const Weights& w);
#pragma GCC visibility pop

namespace {

// How outputs are cut into tiles.
template <class S>
struct Tiling {
  int64_t down, across, tiles;
  explicit Tiling(const Problem& p)
      : down(ceil_div(p.oh, S::kOutH)), across(ceil_div(p.ow, S::kOutW)), tiles(p.n * down * across) {}
  struct Place {
    int64_t image, i, j;  // the first output
  };
  Place place(int64_t tile) const {
    return {tile / (down * across), tile / across % down * S::kOutH, tile % across * S::kOutW};
  }
};

}  // namespace
}  // namespace fastnn::FASTNN_TARGET
