// The gradient of images of few channels: gy @ w^T gives each output pixel's share of all the values
// that its window reads, (kh, kw, ic) of them, which fill vectors; the shares are then added up.
#include "cpu/conv2d.h"
#include "cpu/conv2d_tile.h"
#include "cpu/transpose.h"

namespace fastnn::FASTNN_TARGET {
namespace {

// One row of gx, of `size` values: sums of the shares of `rows` rows of outputs. In each of these, output j's `length` values, at
// share[.] + j * ld, belong to values j * step - pad ... of the row. Values are made `step` at a time, those between the
// beginnings of two windows: they take the same parts of the same number of windows, and each is stored once.
struct Shares {
  const float* const* share;
  int64_t rows, ld, ow, length, step, pad;
};

// Values [c, c + lanes) of steps [first, last): `whole` windows reach all of them, and the next one the first `rest`. Of the numbers of
// ROWS and WHOLE windows, or of any (0).
template <int ROWS, int WHOLE>
void sum_steps(const Shares& s, int64_t c, int64_t lanes, int64_t whole, int64_t rest, int64_t first, int64_t last, float* to) {
  const int64_t ld = s.ld, step = s.step, back = ld - step;  // to the share of the window before
  const auto sum_of = [&](Vec sum, const float* from, int64_t count) __attribute__((always_inline)) {
    FASTNN_UNROLL for (int64_t d = 0; d < count; ++d, from -= back) sum = sum + Vec::load(from);  // lanes beyond are not stored
    return rest > 0 ? sum + Vec::load(from, rest) : sum;
  };
  to += c - s.pad;
  if constexpr (ROWS > 0) {
    const float* from[ROWS];
    for (int r = 0; r < ROWS; ++r) from[r] = s.share[r] + c;
    for (int64_t j = first; j < last; ++j) {
      Vec sum = Vec::zero();
      FASTNN_UNROLL for (int r = 0; r < ROWS; ++r) sum = sum_of(sum, from[r] + j * ld, WHOLE);
      sum.store(to + j * step, lanes);
    }
  } else {
    for (int64_t j = first; j < last; ++j) {
      Vec sum = Vec::zero();
      for (int64_t r = 0; r < s.rows; ++r) sum = sum_of(sum, s.share[r] + c + j * ld, whole);
      sum.store(to + j * step, lanes);
    }
  }
}
using SumSteps = void (*)(const Shares&, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, float*);
template <int WHOLE>
SumSteps steps_of_rows(int64_t rows) {
  switch (rows) {
    case 1: return sum_steps<1, WHOLE>;
    case 2: return sum_steps<2, WHOLE>;
    case 3: return sum_steps<3, WHOLE>;
    case 4: return sum_steps<4, WHOLE>;
    default: return sum_steps<0, 0>;
  }
}

void sum_shares(const Shares& s, float* to, int64_t size) {
  const int64_t step = s.step, pad = s.pad, length = s.length, windows = ceil_div(length, step);
  // Steps [first, last) lie inside the row and in whole windows.
  const int64_t first = min(s.ow, max(windows - 1, ceil_div(pad, step))), last = max(first, min(s.ow, (size + pad) / step));
  for (int64_t c = 0; c < step; c += Vec::width) {
    const int64_t lanes = min(Vec::width, step - c);
    const int64_t whole = length >= c + lanes ? (length - c - lanes) / step + 1 : 0, rest = length - c - whole * step;
    const SumSteps sum = whole == 1 ? steps_of_rows<1>(s.rows) : whole == 3 ? steps_of_rows<3>(s.rows) : sum_steps<0, 0>;
    sum(s, c, lanes, whole, rest, first, last, to);
  }
  const auto at_border = [&](int64_t i) {
    const int64_t at = i + pad, j = at / step, c = at % step;
    float sum = 0;
    for (int64_t r = 0; r < s.rows; ++r)
      for (int64_t d = 0; d * step + c < length; ++d)
        if (j - d >= 0 && j - d < s.ow) sum += s.share[r][(j - d) * s.ld + d * step + c];
    to[i] = sum;
  };
  const int64_t inner0 = first < last ? first * step - pad : 0, inner1 = first < last ? last * step - pad : 0;
  for (int64_t i = 0; i < inner0; ++i) at_border(i);
  for (int64_t i = inner1; i < size; ++i) at_border(i);
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
  // Rows of outputs whose shares are made at once, and of those kept: all that reach a row of gx.
  const int64_t block = max(1, 256 / max(s.ow, 1)), reach = (s.kh - 1) * s.dh, kept = round_up(reach / s.sh + block, block);
  parallel_for(s.n * bands, max(1, 200000 / (band * s.iw * n * k / (s.sh * s.sw) + 1)), [&](int64_t begin, int64_t end) {
    Scratch<float> shares(kept * s.ow * ld + Vec::width);
    Scratch<int64_t> ints(block * s.ow * 2 + k);
    Scratch<const float*> share(s.kh);
    int64_t *row = ints, *place = row + block * s.ow, *col = place + block * s.ow;
    for (int64_t i = 0; i < block * s.ow; ++i) row[i] = i * k, place[i] = i * ld;
    for (int64_t p = 0; p < k; ++p) col[p] = p;
    for (int64_t t = begin; t < end; ++t) {
      const int64_t image = t / bands, r0 = t % bands * band, r1 = min(s.ih, r0 + band);
      float* to = gx + image * s.ih * s.iw * s.ic;
      // Outputs whose windows, rows [i * sh - ph, i * sh - ph + reach], meet the band.
      const int64_t i0 = max(0, ceil_div(max(0, r0 + s.ph - reach), s.sh)), i1 = min(s.oh, (r1 - 1 + s.ph) / s.sh + 1);
      int64_t made = i0;
      for (int64_t r = r0; r < r1; ++r) {
        for (; made < min(i1, (r + s.ph) / s.sh + 1); made += block) {
          const int64_t count = min(block, i1 - made) * s.ow;
          const float* from = gy + (image * s.oh + made) * s.ow * k;
          multiply({from, row, count, runs_of(k)}, [&](int64_t p0, int64_t, int64_t*) { return col + p0; }, k,
                   {packed, k, 0, panel, true}, n, {shares + (made - i0) % kept * s.ow * ld, place, false, nullptr, kActivationLinear},
                   {from + count * k, 1, count * k, 0});
        }
        int64_t rows = 0;
        for (int64_t u = 0; u < s.kh; ++u) {
          const int64_t at = r + s.ph - u * s.dh, i = at / s.sh;
          if (at >= 0 && at % s.sh == 0 && i < s.oh) share[rows++] = shares + (i - i0) % kept * s.ow * ld + u * s.kw * s.ic;
        }
        sum_shares({share, rows, ld, s.ow, s.kw * s.ic, s.sw * s.ic, s.pw * s.ic}, to + r * s.iw * s.ic, s.iw * s.ic);
      }
      if (bias || activation != kActivationLinear)
        apply_epilogue(to + r0 * s.iw * s.ic, s.ic, (r1 - r0) * s.iw, s.ic, bias, activation);
    }
  });
  return true;
}

}  // namespace fastnn::FASTNN_TARGET
