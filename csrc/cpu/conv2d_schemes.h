// Schemes of minimal filtering: each computes a tile of kOutH x kOutW outputs of a convolution with
// kTapsH x kTapsW taps and stride 1, from kInH x kInW inputs, by kProducts multiplications
// (Winograd 1980, Lavin & Gray 2016):
//
//   y = output(kernel(g) * input(d)),   gradient of g = kernel_gradient(gradient(gy) * input(d))
//
// where * is elementwise; gradient and kernel_gradient are the transposes of output and kernel. All
// factors are 1, -1 and 1/2: small integers stay exact. One call transforms a vector of channels or filters.
#pragma once
#include "cpu/simd.h"

namespace fastnn {
namespace {

// F(2, 3), 4 products for 2 outputs of 3 taps; the arrays' elements are `step` apart.
template <int step = 1>
inline void input23(const Vec* d, Vec* v) {
  v[0] = d[0] - d[2 * step];
  v[1 * step] = d[1 * step] + d[2 * step];
  v[2 * step] = d[2 * step] - d[1 * step];
  v[3 * step] = d[1 * step] - d[3 * step];
}
template <int step = 1, int to = step>
inline void output23(const Vec* m, Vec* y) {
  y[0] = m[0] + m[step] + m[2 * step];
  y[to] = m[step] - m[2 * step] - m[3 * step];
}
template <int step = 1>
inline void kernel23(Vec g0, Vec g1, Vec g2, Vec* u) {
  const Vec half = Vec::set(0.5f), sum = (g0 + g2) * half, middle = g1 * half;
  u[0] = g0, u[step] = sum + middle, u[2 * step] = sum - middle, u[3 * step] = g2;
}
template <int step = 1>
inline void gradient23(Vec y0, Vec y1, Vec* z) {
  z[0] = y0, z[step] = y0 + y1, z[2 * step] = y0 - y1, z[3 * step] = Vec::zero() - y1;
}
template <int step = 1, int to = step>
inline void kernel_gradient23(const Vec* m, Vec* g) {
  const Vec half = Vec::set(0.5f), a = m[step] * half, b = m[2 * step] * half;
  g[0] = m[0] + a + b, g[to] = a - b, g[2 * to] = a + b + m[3 * step];
}

// 3 x 3 taps, F(2 x 2, 3 x 3): 16 products for 36.
struct Taps3x3 {
  static constexpr int kTapsH = 3, kTapsW = 3, kOutH = 2, kOutW = 2, kInH = 4, kInW = 4, kProducts = 16;
  static void input(const Vec* d, Vec* v) {
    Vec t[16];
    FASTNN_UNROLL for (int j = 0; j < 4; ++j) input23<4>(d + j, t + j);
    FASTNN_UNROLL for (int i = 0; i < 4; ++i) input23(t + 4 * i, v + 4 * i);
  }
  static void output(const Vec* m, Vec* y) {
    Vec t[8];
    FASTNN_UNROLL for (int j = 0; j < 4; ++j) output23<4>(m + j, t + j);
    FASTNN_UNROLL for (int i = 0; i < 2; ++i) output23(t + 4 * i, y + 2 * i);
  }
  static void kernel(const Vec* g, Vec* u) {
    Vec t[12];
    FASTNN_UNROLL for (int j = 0; j < 3; ++j) kernel23<3>(g[j], g[3 + j], g[6 + j], t + j);
    FASTNN_UNROLL for (int i = 0; i < 4; ++i) kernel23(t[3 * i], t[3 * i + 1], t[3 * i + 2], u + 4 * i);
  }
  static void gradient(const Vec* y, Vec* z) {
    Vec t[8];
    FASTNN_UNROLL for (int j = 0; j < 2; ++j) gradient23<2>(y[j], y[2 + j], t + j);
    FASTNN_UNROLL for (int i = 0; i < 4; ++i) gradient23(t[2 * i], t[2 * i + 1], z + 4 * i);
  }
  static void kernel_gradient(const Vec* m, Vec* g) {
    Vec t[12];
    FASTNN_UNROLL for (int j = 0; j < 4; ++j) kernel_gradient23<4>(m + j, t + j);
    FASTNN_UNROLL for (int i = 0; i < 3; ++i) kernel_gradient23(t + 4 * i, g + 3 * i);
  }
};

// 3 taps in a row, F(2, 3): 4 products for 6.
struct Taps3 {
  static constexpr int kTapsH = 1, kTapsW = 3, kOutH = 1, kOutW = 2, kInH = 1, kInW = 4, kProducts = 4;
  static void input(const Vec* d, Vec* v) { input23(d, v); }
  static void output(const Vec* m, Vec* y) { output23(m, y); }
  static void kernel(const Vec* g, Vec* u) { kernel23(g[0], g[1], g[2], u); }
  static void gradient(const Vec* y, Vec* z) { gradient23(y[0], y[1], z); }
  static void kernel_gradient(const Vec* m, Vec* g) { kernel_gradient23(m, g); }
};

// 5 taps in a row, 11 products for 20. Even and odd taps are two kernels, of 3 and 2 taps, that read
// every second input; F(2, 2) on such pairs makes three sums of them and of inputs:
//
//   y[2i]     = even * (x[2i] - x[2i+1])  +  (even + odd) * x[2i+1]
//   y[2i + 1] = (even + odd) * x[2i+1]    -  odd * (x[2i+1] - x[2i+2])
//
// where * now is a filter over i: F(2, 3) for the first two and F(2, 2) for the last.
struct Taps5 {
  static constexpr int kTapsH = 1, kTapsW = 5, kOutH = 1, kOutW = 4, kInH = 1, kInW = 8, kProducts = 11;
  static void input(const Vec* d, Vec* v) {
    const Vec even[4] = {d[0] - d[1], d[2] - d[3], d[4] - d[5], d[6] - d[7]}, both[4] = {d[1], d[3], d[5], d[7]},
              odd[3] = {d[1] - d[2], d[3] - d[4], d[5] - d[6]};
    input23(even, v), input23(both, v + 4);
    v[8] = odd[0] - odd[1], v[9] = odd[1], v[10] = odd[1] - odd[2];
  }
  static void output(const Vec* m, Vec* y) {
    Vec even[2], both[2];
    output23(m, even), output23(m + 4, both);
    y[0] = even[0] + both[0], y[1] = both[0] - (m[8] + m[9]);
    y[2] = even[1] + both[1], y[3] = both[1] - (m[9] - m[10]);
  }
  static void kernel(const Vec* g, Vec* u) {
    kernel23(g[0], g[2], g[4], u), kernel23(g[0] + g[1], g[2] + g[3], g[4], u + 4);
    u[8] = g[1], u[9] = g[1] + g[3], u[10] = g[3];
  }
  static void gradient(const Vec* y, Vec* z) {
    gradient23(y[0], y[2], z), gradient23(y[0] + y[1], y[2] + y[3], z + 4);
    z[8] = Vec::zero() - y[1], z[9] = z[8] - y[3], z[10] = y[3];
  }
  static void kernel_gradient(const Vec* m, Vec* g) {
    Vec even[3], both[3];
    kernel_gradient23(m, even), kernel_gradient23(m + 4, both);
    g[0] = even[0] + both[0], g[1] = both[0] + (m[8] + m[9]), g[2] = even[1] + both[1];
    g[3] = both[1] + (m[9] + m[10]), g[4] = even[2] + both[2];
  }
};

// The same taps in a column.
template <class Row>
struct Column : Row {
  static constexpr int kTapsH = Row::kTapsW, kTapsW = 1, kOutH = Row::kOutW, kOutW = 1, kInH = Row::kInW, kInW = 1;
};

}  // namespace
}  // namespace fastnn
