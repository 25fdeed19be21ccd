// The gradient of images of few channels: gy @ w^T gives each output pixel's share of all the values
// that its window reads, (kh, kw, ic) of them, which fill vectors; the shares are then added up.
#include "cpu/conv2d.h"
#include "cpu/conv2d_tile.h"
#include "cpu/transpose.h"

namespace fastnn::FASTNN_TARGET {
namespace {

// Adds the shares of one row of outputs through one row of taps to a row of gx: output j's `length`
// values, at share + j * ld, start at value j * step - pad of the row of `size` values.
void add_shares(const float* share, int64_t ld, int64_t ow, int64_t length, int64_t step, int64_t pad, float* to,
                int64_t size) {
  // Outputs [inner0, inner1) lie inside the row as a whole.
  const int64_t inner0 = min(ow, ceil_div(pad, step));
  const int64_t inner1 = max(inner0, min(ow, size + pad < length ? 0 : (size + pad - length) / step + 1));
  const auto clipped = [&](int64_t j) {
    const int64_t at = j * step - pad, begin = max(0, -at), end = min(length, size - at);
    for (int64_t i = begin; i < end; ++i) to[at + i] += share[j * ld + i];
  };
  for (int64_t j = 0; j < inner0; ++j) clipped(j);
  // Windows overlap: a load waits for a store to the same vector that is on its way. Every `passes`-th
  // window shares no vector with the one before.
  const int64_t passes = ceil_div(round_up(length, Vec::width), step), whole = length / Vec::width, rest = length % Vec::width;
  for (int64_t pass = 0; pass < passes; ++pass)
    for (int64_t j = inner0 + pass; j < inner1; j += passes) {
      const float* from = share + j * ld;
      float* at = to + j * step - pad;
      for (int64_t i = 0; i < whole; ++i, from += Vec::width, at += Vec::width) (Vec::load(at) + Vec::load(from)).store(at);
      if (rest) (Vec::load(at, rest) + Vec::load(from, rest)).store(at, rest);
    }
  for (int64_t j = inner1; j < ow; ++j) clipped(j);
}

}  // namespace

bool thin_backward_input(const float* gy, const float* w, const float* bias, float* gx, const Conv2dShape& s,
                         int64_t activation) {
  if (s.groups != 1 || s.dw != 1 || 2 * s.ic > Vec::width || s.kw == 1) return false;
  const int64_t n = s.kh * s.kw * s.ic, ld = round_up(n, Vec::width), k = s.oc;
  Scratch<float> packed(k * ld);  // w^T (oc, n) in panels
  const int64_t panel = panel_width(n);
  for (int64_t j = 0; j < n; j += panel) {
    const int64_t cols = min(panel, n - j), panel_ld = round_up(cols, Vec::width);
    if (cols < panel_ld) zero(packed.get() + j * k, k * panel_ld);
    transpose_tile<float>((const char*)(w + j * k), k * 4, (char*)(packed.get() + j * k), panel_ld * 4, cols, k);
  }
  // Tasks are bands of rows of gx. Neighbours both need the shares of the outputs between them: a band
  // has many times as many rows as a window.
  int64_t band = s.ih;
  while (s.n * ceil_div(s.ih, band) < 8 && band > 8 * s.kh * s.dh) band = ceil_div(band, 2);
  const int64_t bands = ceil_div(s.ih, band);
  const int64_t block = max(1, 256 / max(s.ow, 1));  // rows of outputs whose shares are made at once
  parallel_for(s.n * bands, max(1, 200000 / (band * s.iw * n * k / (s.sh * s.sw) + 1)), [&](int64_t begin, int64_t end) {
    Scratch<float> shares(block * s.ow * ld);
    Scratch<int64_t> ints(block * s.ow * 2 + k);
    int64_t *row = ints, *place = row + block * s.ow, *col = place + block * s.ow;
    for (int64_t i = 0; i < block * s.ow; ++i) row[i] = i * k, place[i] = i * ld;
    for (int64_t p = 0; p < k; ++p) col[p] = p;
    for (int64_t t = begin; t < end; ++t) {
      const int64_t image = t / bands, r0 = t % bands * band, r1 = min(s.ih, r0 + band);
      float* to = gx + image * s.ih * s.iw * s.ic;
      zero(to + r0 * s.iw * s.ic, (r1 - r0) * s.iw * s.ic);
      // Outputs whose windows, rows [i * sh - ph, i * sh - ph + (kh - 1) * dh], reach the band.
      const int64_t reach = (s.kh - 1) * s.dh;
      const int64_t i0 = max(0, ceil_div(max(0, r0 + s.ph - reach), s.sh)), i1 = min(s.oh, (r1 - 1 + s.ph) / s.sh + 1);
      for (int64_t i = i0; i < i1; i += block) {
        const int64_t rows = min(block, i1 - i), count = rows * s.ow;
        const float* from = gy + (image * s.oh + i) * s.ow * k;
        multiply({from, row, count, runs_of(k)}, [&](int64_t p0, int64_t, int64_t*) { return col + p0; }, k,
                 {packed, k, 0, panel, true}, n, {shares, place, false, nullptr, kActivationLinear},
                 {from + count * k, 1, count * k, 0});
        for (int64_t b = 0; b < rows; ++b)
          for (int64_t u = 0; u < s.kh; ++u) {
            const int64_t r = (i + b) * s.sh - s.ph + u * s.dh;
            if (r < r0 || r >= r1) continue;
            add_shares(shares.get() + b * s.ow * ld + u * s.kw * s.ic, ld, s.ow, s.kw * s.ic, s.sw * s.ic, s.pw * s.ic,
                       to + r * s.iw * s.ic, s.iw * s.ic);
          }
      }
      if (bias || activation != kActivationLinear)
        apply_epilogue(to + r0 * s.iw * s.ic, s.ic, (r1 - r0) * s.iw, s.ic, bias, activation);
    }
  });
  return true;
}

}  // namespace fastnn::FASTNN_TARGET
