// Max and average pooling. One thread per output and 4 channels (1 where they do not come in fours); lanes run over
// channels, so that a warp reads and writes 512 bytes in a row.
//
// Floor: x and y moved once; cells that several windows read come from L1. Backward gathers: each cell of gx sums
// the outputs that chose it, in order, and is written once.
#include "window.h"

namespace fastnn::cuda {
namespace {

// V tap numbers of one or four bytes.
template <int V>
__device__ __forceinline__ void load_taps(const uint8_t* p, int (&v)[V]) {
  if constexpr (V == 4) {
    const uint32_t q = *reinterpret_cast<const uint32_t*>(p);
    FASTNN_UNROLL for (int i = 0; i < 4; ++i) v[i] = int(q >> 8 * i & 255);
  } else {
    v[0] = p[0];
  }
}
template <int V>
__device__ __forceinline__ void store_taps(uint8_t* p, const int (&v)[V]) {
  if constexpr (V == 4) *reinterpret_cast<uint32_t*>(p) = uint32_t(v[0]) | uint32_t(v[1]) << 8 | uint32_t(v[2]) << 16 | uint32_t(v[3]) << 24;
  else p[0] = uint8_t(v[0]);
}
template <int V>
__device__ __forceinline__ void load_taps(const int32_t* p, int (&v)[V]) {
  FASTNN_UNROLL for (int i = 0; i < V; ++i) v[i] = p[i];
}
template <int V>
__device__ __forceinline__ void store_taps(int32_t* p, const int (&v)[V]) {
  FASTNN_UNROLL for (int i = 0; i < V; ++i) p[i] = v[i];
}

// What one output reads: rows x cols taps from x on, the first of them is number `tap`.
struct Window {
  const float* x;
  int64_t x_row, c;
  int rows, cols, tap, kw;
};
template <class F>
__device__ __forceinline__ void for_each_tap(const Window& t, F f) {
  for (int u = 0; u < t.rows; ++u)
    for (int v = 0; v < t.cols; ++v) f(t.x + u * t.x_row + v * t.c, t.tap + u * t.kw + v);
}

struct PoolMax {
  float* y;
  template <int V>
  __device__ void window(const Window& t, int64_t out) const {
    float best[V];
    load_lanes<V>(t.x, best);
    for_each_tap(t, [&](const float* x, int) {
      float cell[V];
      load_lanes<V>(x, cell);
      FASTNN_UNROLL for (int i = 0; i < V; ++i) best[i] = Max()(best[i], cell[i]);
    });
    store_lanes<V>(y + out, best);
  }
};

template <class Tap>
struct PoolMaxWithTaps {
  float* y;
  Tap* taps;
  template <int V>
  __device__ void window(const Window& t, int64_t out) const {
    float best[V];
    int chosen[V];
    load_lanes<V>(t.x, best);
    FASTNN_UNROLL for (int i = 0; i < V; ++i) chosen[i] = t.tap;
    for_each_tap(t, [&](const float* x, int tap) {
      float cell[V];
      load_lanes<V>(x, cell);
      FASTNN_UNROLL for (int i = 0; i < V; ++i) {
        // A larger value or the first NaN; ties stay with the first.
        const bool better = !(cell[i] <= best[i]) && best[i] == best[i];
        best[i] = better ? cell[i] : best[i];
        chosen[i] = better ? tap : chosen[i];
      }
    });
    store_lanes<V>(y + out, best);
    store_taps<V>(taps + out, chosen);
  }
};

struct PoolAverage {
  float* y;
  template <int V>
  __device__ void window(const Window& t, int64_t out) const {
    float total[V];
    FASTNN_UNROLL for (int i = 0; i < V; ++i) total[i] = 0;
    for_each_tap(t, [&](const float* x, int) {
      float cell[V];
      load_lanes<V>(x, cell);
      FASTNN_UNROLL for (int i = 0; i < V; ++i) total[i] += cell[i];
    });
    const float count = float(int64_t(t.rows) * t.cols);
    FASTNN_UNROLL for (int i = 0; i < V; ++i) total[i] /= count;
    store_lanes<V>(y + out, total);
  }
};

// The value of x at each chosen tap: the transpose of max pooling's gradient.
template <class Tap>
struct PoolTake {
  float* y;
  const Tap* taps;
  template <int V>
  __device__ void window(const Window& t, int64_t out) const {
    int chosen[V];
    float value[V];
    load_taps<V>(taps + out, chosen);
    FASTNN_UNROLL for (int i = 0; i < V; ++i) value[i] = 0;
    for_each_tap(t, [&](const float* x, int tap) {
      float cell[V];
      load_lanes<V>(x, cell);
      FASTNN_UNROLL for (int i = 0; i < V; ++i) value[i] = chosen[i] == tap ? cell[i] : value[i];
    });
    store_lanes<V>(y + out, value);
  }
};

template <int V, class Pool>
__global__ void __launch_bounds__(kThreads, 4) pool_kernel(Pool pool, const float* __restrict__ x, WindowShape s, int64_t count) {
  for (int64_t e = first_index(); e < count; e += index_step()) {
    const Cell at(e, s.oh, s.ow, s.c / V, V);
    const int64_t top = at.i * s.sh - s.ph, left = at.j * s.sw - s.pw;
    const Range rows = valid_taps(top, s.kh, 1, s.ih), cols = valid_taps(left, s.kw, 1, s.iw);
    pool.template window<V>({x + ((at.n * s.ih + top + rows.begin) * s.iw + left + cols.begin) * s.c + at.k, s.iw * s.c, s.c,
                             int(rows.size()), int(cols.size()), int(rows.begin * s.kw + cols.begin), int(s.kw)},
                            e * V);
  }
}

template <class Pool>
void pool_forward(Pool pool, const float* x, const WindowShape& s, bool quads) {
  const int64_t count = s.n * s.oh * s.ow * s.c;
  if (quads) launch(pool_kernel<4, Pool>, blocks_for(count / 4), kThreads, 0, pool, x, s, count / 4);
  else launch(pool_kernel<1, Pool>, blocks_for(count), kThreads, 0, pool, x, s, count);
}

// sum += what output `out` gives to its tap, of `taps` inside the image; open[i]: whether any of it counts.
template <class Tap, bool relu>
struct MaxGradient {
  const float* gy;
  const Tap* taps;
  const float* y;  // with relu: the result of the pooling, which lets gradients through where it is positive
  static constexpr bool gated = relu;
  template <int V>
  __device__ __forceinline__ void add(float (&sum)[V], bool (&open)[V], int64_t out, int tap, int64_t) const {
    int chosen[V];
    float g[V];
    load_taps<V>(taps + out, chosen);
    load_lanes<V>(gy + out, g);
    FASTNN_UNROLL for (int i = 0; i < V; ++i) sum[i] += chosen[i] == tap ? g[i] : 0.0f;
    if constexpr (relu) {
      float value[V];
      load_lanes<V>(y + out, value);
      FASTNN_UNROLL for (int i = 0; i < V; ++i) open[i] = open[i] || (chosen[i] == tap && value[i] > 0);
    }
  }
};
struct AverageGradient {
  const float* gy;
  static constexpr bool gated = false;
  template <int V>
  __device__ __forceinline__ void add(float (&sum)[V], bool (&)[V], int64_t out, int, int64_t taps) const {
    float g[V];
    load_lanes<V>(gy + out, g);
    const float share = 1 / float(taps);
    FASTNN_UNROLL for (int i = 0; i < V; ++i) sum[i] = fmaf(g[i], share, sum[i]);
  }
};

// One thread per cell of gx and V channels.
template <int V, class Gradient>
__global__ void __launch_bounds__(kThreads, 3) pool_backward_kernel(Gradient gradient, float* __restrict__ gx, WindowShape s, int64_t count) {
  for (int64_t e = first_index(); e < count; e += index_step()) {
    const Cell at(e, s.ih, s.iw, s.c / V, V);
    const Range down = covering(at.i, s.oh, s.kh, s.sh, s.ph, 1), across = covering(at.j, s.ow, s.kw, s.sw, s.pw, 1);
    float sum[V];
    bool open[V];
    FASTNN_UNROLL for (int i = 0; i < V; ++i) sum[i] = 0, open[i] = !Gradient::gated;
    for (int64_t oi = down.begin; oi < down.end; ++oi) {
      const int64_t height = valid_taps(oi * s.sh - s.ph, s.kh, 1, s.ih).size();
      for (int64_t oj = across.begin; oj < across.end; ++oj) {
        const int64_t width = valid_taps(oj * s.sw - s.pw, s.kw, 1, s.iw).size();
        const int tap = int((at.i + s.ph - oi * s.sh) * s.kw + at.j + s.pw - oj * s.sw);
        gradient.template add<V>(sum, open, ((at.n * s.oh + oi) * s.ow + oj) * s.c + at.k, tap, height * width);
      }
    }
    FASTNN_UNROLL for (int i = 0; i < V; ++i) sum[i] = open[i] ? sum[i] : 0.0f;
    store_lanes<V>(gx + e * V, sum);
  }
}

template <class Gradient>
void pool_backward(Gradient gradient, float* gx, const WindowShape& s, bool quads) {
  const int64_t count = s.n * s.ih * s.iw * s.c;
  if (quads) launch(pool_backward_kernel<4, Gradient>, blocks_for(count / 4), kThreads, 0, gradient, gx, s, count / 4);
  else launch(pool_backward_kernel<1, Gradient>, blocks_for(count), kThreads, 0, gradient, gx, s, count);
}

}  // namespace

void max_pool2d_forward(const float* x, float* y, void* taps, int64_t tap_bytes, WindowShape s) {
  const bool quads = in_quads(s.c, x, y, taps);
  if (tap_bytes == 0) pool_forward(PoolMax{y}, x, s, quads);
  else if (tap_bytes == 1) pool_forward(PoolMaxWithTaps<uint8_t>{y, static_cast<uint8_t*>(taps)}, x, s, quads);
  else pool_forward(PoolMaxWithTaps<int32_t>{y, static_cast<int32_t*>(taps)}, x, s, quads);
}

void max_pool2d_backward(const float* gy, const void* taps, int64_t tap_bytes, float* gx, WindowShape s) {
  const bool quads = in_quads(s.c, gy, taps, gx);
  if (tap_bytes == 1) pool_backward(MaxGradient<uint8_t, false>{gy, static_cast<const uint8_t*>(taps), nullptr}, gx, s, quads);
  else pool_backward(MaxGradient<int32_t, false>{gy, static_cast<const int32_t*>(taps), nullptr}, gx, s, quads);
}

void max_pool2d_backward_relu(const float* gy, const float* y, const void* taps, int64_t tap_bytes, float* gz, float* gb,
                              WindowShape s) {
  const bool quads = in_quads(s.c, gy, y, taps, gz);
  if (tap_bytes == 1) pool_backward(MaxGradient<uint8_t, true>{gy, static_cast<const uint8_t*>(taps), y}, gz, s, quads);
  else pool_backward(MaxGradient<int32_t, true>{gy, static_cast<const int32_t*>(taps), y}, gz, s, quads);
  // The same sums as when nothing is fused.
  if (gb) epilogue_backward(kActivationLinear, nullptr, gz, nullptr, gb, s.n * s.ih * s.iw, s.c);
}

void max_pool2d_take(const float* x, const void* taps, int64_t tap_bytes, float* y, WindowShape s) {
  const bool quads = in_quads(s.c, x, taps, y);
  if (tap_bytes == 1) pool_forward(PoolTake<uint8_t>{y, static_cast<const uint8_t*>(taps)}, x, s, quads);
  else pool_forward(PoolTake<int32_t>{y, static_cast<const int32_t*>(taps)}, x, s, quads);
}

void average_pool2d_forward(const float* x, float* y, WindowShape s) { pool_forward(PoolAverage{y}, x, s, in_quads(s.c, x, y)); }

void average_pool2d_backward(const float* gy, float* gx, WindowShape s) {
  pool_backward(AverageGradient{gy}, gx, s, in_quads(s.c, gy, gx));
}

}  // namespace fastnn::cuda
