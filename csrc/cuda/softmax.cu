// Softmax and its logarithm over the last axis, and the cross entropies fused with them.
//
// A group of threads per row (rows.h). The maximum of a row and its sum of exponentials come from one walk: a
// thread rescales its sum when its maximum grows (Milakov & Gimelshein 2018), and pairs are merged in a tree. The
// second walk finds the row in a cache, so memory gives each input once: bound by memory.
#include "elementwise.h"
#include "functions.h"
#include "rows.h"

namespace fastnn::cuda {
namespace {

// Keras's epsilon and the bounds it clips probabilities to.
constexpr float kEpsilon = 1e-7f, kOneMinusEpsilon = 1.f - 1e-7f;

// epsilon <= p <= 1 - epsilon; NaN stays NaN.
__device__ __forceinline__ float clip(float p) { return clamp(p, kEpsilon, kOneMinusEpsilon); }
// Whether clip(p) = p: elsewhere the derivative is 0. NaN passes.
__device__ __forceinline__ bool inside(float p) { return !(p < kEpsilon || p > kOneMinusEpsilon); }

// f(i, pack) over the packs of a row.
template <int V, class F>
__device__ __forceinline__ void for_row(const Group& g, int64_t cols, F f) {
  for (int64_t i = g.rank * V; i < cols; i += g.width * V) f(i);
}
// f(row, valid) for the rows of this group.
template <class F>
__device__ __forceinline__ void for_rows(const Group& g, int64_t rows, F f) {
  for (int64_t row = g.first_row(); g.more(row, rows); row += g.row_step()) f(row, row < rows);
}

// NaN may be dropped: its exponential is NaN wherever the maximum came from.
struct RawMax {
  __device__ __forceinline__ float operator()(float a, float b) const { return a > b ? a : b; }
  static constexpr float neutral = Max::neutral;
};

struct Stats {
  float max, total;
};
// exp(x - max) for x <= max; -inf adds nothing to a sum, also while the maximum is -inf.
__device__ __forceinline__ float term(float x, float max) { return x == Max::neutral ? 0.0f : expf(x - max); }

// The maximum of a row and its sum(exp(x - max)), which is NaN where x holds NaN or +inf.
template <int V>
__device__ __forceinline__ Stats row_stats(const Group& g, const float* x, int64_t cols) {
  Stats s{Max::neutral, 0};
  for_row<V>(g, cols, [&](int64_t i) {
    const Pack<V> a = load<V>(x + i);
    float m = s.max;
    FASTNN_UNROLL for (int k = 0; k < V; ++k) m = RawMax()(a.v[k], m);
    float sum = s.total * term(s.max, m);
    FASTNN_UNROLL for (int k = 0; k < V; ++k) sum += term(a.v[k], m);
    s = {m, sum};
  });
  const float m = g.reduce(s.max, RawMax());
  return {m, g.reduce(s.total * term(s.max, m), Sum())};
}

template <int V>
__global__ void softmax_forward_kernel(const float* __restrict__ x, float* __restrict__ y, int64_t rows, int64_t cols, int width) {
  const Group g(width);
  for_rows(g, rows, [&](int64_t row, bool valid) {
    const int64_t n = valid ? cols : 0;
    const float* xr = x + row * cols;
    const Stats s = row_stats<V>(g, xr, n);
    const float scale = 1 / s.total;
    for_row<V>(g, n, [&](int64_t i) {
      Pack<V> a = load<V>(xr + i);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) a.v[k] = expf(a.v[k] - s.max) * scale;
      store<V>(y + row * cols + i, a);
    });
  });
}

template <int V>
__global__ void softmax_backward_kernel(const float* __restrict__ y, const float* __restrict__ gy, float* __restrict__ gx,
                                        int64_t rows, int64_t cols, int width) {
  const Group g(width);
  for_rows(g, rows, [&](int64_t row, bool valid) {
    const int64_t n = valid ? cols : 0, at = row * cols;
    float dot = 0;
    for_row<V>(g, n, [&](int64_t i) {
      const Pack<V> a = load<V>(y + at + i), b = load<V>(gy + at + i);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) dot = fmaf(a.v[k], b.v[k], dot);
    });
    dot = g.reduce(dot, Sum());
    for_row<V>(g, n, [&](int64_t i) {
      Pack<V> a = load<V>(y + at + i);
      const Pack<V> b = load<V>(gy + at + i);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) a.v[k] = a.v[k] * (b.v[k] - dot);
      store<V>(gx + at + i, a);
    });
  });
}

template <int V>
__global__ void log_softmax_forward_kernel(const float* __restrict__ x, float* __restrict__ y, int64_t rows, int64_t cols, int width) {
  const Group g(width);
  for_rows(g, rows, [&](int64_t row, bool valid) {
    const int64_t n = valid ? cols : 0;
    const float* xr = x + row * cols;
    const Stats s = row_stats<V>(g, xr, n);
    const float log_total = logf(s.total);
    for_row<V>(g, n, [&](int64_t i) {
      Pack<V> a = load<V>(xr + i);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) a.v[k] = a.v[k] - s.max - log_total;
      store<V>(y + row * cols + i, a);
    });
  });
}

template <int V>
__global__ void log_softmax_backward_kernel(const float* __restrict__ y, const float* __restrict__ gy, float* __restrict__ gx,
                                            int64_t rows, int64_t cols, int width) {
  const Group g(width);
  for_rows(g, rows, [&](int64_t row, bool valid) {
    const int64_t n = valid ? cols : 0, at = row * cols;
    float total = 0;
    for_row<V>(g, n, [&](int64_t i) {
      const Pack<V> a = load<V>(gy + at + i);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) total += a.v[k];
    });
    total = g.reduce(total, Sum());
    for_row<V>(g, n, [&](int64_t i) {
      Pack<V> a = load<V>(y + at + i);
      const Pack<V> b = load<V>(gy + at + i);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) a.v[k] = b.v[k] - expf(a.v[k]) * total;
      store<V>(gx + at + i, a);
    });
  });
}

// t is null for labels.
template <int V>
__global__ void softmax_cross_entropy_forward_kernel(const float* __restrict__ t, const int64_t* __restrict__ label,
                                                     const float* __restrict__ x, float* __restrict__ y,
                                                     float* __restrict__ stats, int64_t rows, int64_t cols, int width) {
  const Group g(width);
  for_rows(g, rows, [&](int64_t row, bool valid) {
    const int64_t n = valid ? cols : 0;
    const float* xr = x + row * cols;
    const Stats s = row_stats<V>(g, xr, n);
    const float log_total = logf(s.total);
    float loss = 0;
    if (t) {
      for_row<V>(g, n, [&](int64_t i) {
        const Pack<V> a = load<V>(xr + i), b = load<V>(t + row * cols + i);
        FASTNN_UNROLL for (int k = 0; k < V; ++k) loss = fmaf(b.v[k], log_total - (a.v[k] - s.max), loss);
      });
      loss = g.reduce(loss, Sum());
    } else if (valid && g.rank == 0) {
      loss = log_total - (xr[label[row]] - s.max);
    }
    if (valid && g.rank == 0) {
      y[row] = loss;
      stats[2 * row] = s.max;
      stats[2 * row + 1] = s.total;
    }
  });
}

template <int V>
__global__ void softmax_cross_entropy_backward_kernel(const float* __restrict__ t, const int64_t* __restrict__ label,
                                                      const float* __restrict__ x, const float* __restrict__ stats,
                                                      const float* __restrict__ gy, float* __restrict__ gx, int64_t rows,
                                                      int64_t cols, int width) {
  const Group g(width);
  for_rows(g, rows, [&](int64_t row, bool valid) {
    const int64_t n = valid ? cols : 0, at = row * cols;
    float total = 1;
    if (t) {
      total = 0;
      for_row<V>(g, n, [&](int64_t i) {
        const Pack<V> a = load<V>(t + at + i);
        FASTNN_UNROLL for (int k = 0; k < V; ++k) total += a.v[k];
      });
      total = g.reduce(total, Sum());
    }
    if (!valid) return;
    const float m = stats[2 * row], scale = total / stats[2 * row + 1], gr = gy[row];
    const int64_t hot = t ? -1 : label[row];
    for_row<V>(g, n, [&](int64_t i) {
      Pack<V> a = load<V>(x + at + i), b;
      if (t) b = load<V>(t + at + i);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) {
        const float p = expf(a.v[k] - m) * scale;
        a.v[k] = t ? gr * (p - b.v[k]) : i + k == hot ? gr * p - gr : gr * p;
      }
      store<V>(gx + at + i, a);
    });
  });
}

template <int V>
__device__ __forceinline__ float row_sum(const Group& g, const float* x, int64_t cols) {
  float s = 0;
  for_row<V>(g, cols, [&](int64_t i) {
    const Pack<V> a = load<V>(x + i);
    FASTNN_UNROLL for (int k = 0; k < V; ++k) s += a.v[k];
  });
  return g.reduce(s, Sum());
}

template <int V>
__global__ void cross_entropy_forward_kernel(const float* __restrict__ t, const int64_t* __restrict__ label,
                                             const float* __restrict__ p, float* __restrict__ y, int64_t rows, int64_t cols, int width) {
  const Group g(width);
  for_rows(g, rows, [&](int64_t row, bool valid) {
    const int64_t n = valid ? cols : 0, at = row * cols;
    const float total = row_sum<V>(g, p + at, n);
    float s = 0;
    if (t) {
      for_row<V>(g, n, [&](int64_t i) {
        const Pack<V> a = load<V>(p + at + i), b = load<V>(t + at + i);
        FASTNN_UNROLL for (int k = 0; k < V; ++k) s = fmaf(b.v[k], logf(clip(a.v[k] / total)), s);
      });
      s = g.reduce(s, Sum());
    } else if (valid && g.rank == 0) {
      s = logf(clip(p[at + label[row]] / total));
    }
    if (valid && g.rank == 0) y[row] = -s;
  });
}

// With q = p / sum(p) and d = -t / q where q is not clipped: gx = gy (d - sum(d q)) / sum(p).
template <int V>
__global__ void cross_entropy_backward_kernel(const float* __restrict__ t, const int64_t* __restrict__ label,
                                              const float* __restrict__ p, const float* __restrict__ gy, float* __restrict__ gx,
                                              int64_t rows, int64_t cols, int width) {
  const Group g(width);
  const auto slope = [](float target, float q) { return inside(q) ? -target / clip(q) : -target / clip(q) * 0.0f; };
  for_rows(g, rows, [&](int64_t row, bool valid) {
    const int64_t n = valid ? cols : 0, at = row * cols;
    const float total = row_sum<V>(g, p + at, n);
    float dot = 0, hot_slope = 0;
    int64_t hot = -1;
    if (t) {
      for_row<V>(g, n, [&](int64_t i) {
        const Pack<V> a = load<V>(p + at + i), b = load<V>(t + at + i);
        FASTNN_UNROLL for (int k = 0; k < V; ++k) dot = fmaf(slope(b.v[k], a.v[k] / total), a.v[k] / total, dot);
      });
      dot = g.reduce(dot, Sum());
    } else if (valid) {
      hot = label[row];
      const float q = p[at + hot] / total;
      hot_slope = inside(q) ? -1 / q : 0;
      dot = hot_slope * q;
    }
    if (!valid) return;
    const float gr = gy[row] / total;
    for_row<V>(g, n, [&](int64_t i) {
      Pack<V> a = load<V>(p + at + i), b;
      if (t) b = load<V>(t + at + i);
      FASTNN_UNROLL for (int k = 0; k < V; ++k) {
        const float d = t ? slope(b.v[k], a.v[k] / total) : i + k == hot ? hot_slope : 0.0f;
        a.v[k] = gr * (d - dot);
      }
      store<V>(gx + at + i, a);
    });
  });
}

// Calls run(V, width, blocks) for rows of `cols` floats at all of the addresses.
template <class Run, class... P>
void over_rows(int64_t rows, int64_t cols, Run run, const P*... p) {
  with_pack(cols, [&](auto v) {
    const int width = group_width(ceil_div(cols, decltype(v)::value));
    run(v, width, row_blocks(rows, width));
  }, p...);
}

// ---- losses of single elements ----

// -t log(c) - (1 - t) log(1 - c)
struct BinaryCrossEntropy {
  __device__ __forceinline__ float operator()(float t, float p) const {
    const float c = clip(p);
    return -(t * logf(c) + (1 - t) * logf(1 - c));
  }
};
struct BinaryCrossEntropyGradient {
  __device__ __forceinline__ float operator()(float t, float p, float g) const {
    const float c = clip(p), d = (1 - t) / (1 - c) - t / c;
    return g * (inside(p) ? d : d * 0.0f);
  }
};
// -t log sigmoid(x) - (1 - t) log sigmoid(-x), with -log sigmoid(x) = max(-x, 0) + log(1 + exp(-|x|))
struct SigmoidCrossEntropy {
  __device__ __forceinline__ float operator()(float t, float x) const {
    const float soft = log1pf(expf(-fabsf(x)));
    return t * (relu(-x) + soft) + (1 - t) * (relu(x) + soft);
  }
};
struct SigmoidCrossEntropyGradient {
  __device__ __forceinline__ float operator()(float t, float x, float g) const { return g * (sigmoid(x) - t); }
};

void softmax_cross_entropy_forward_any(const float* t, const int64_t* label, const float* x, float* y, float* stats, int64_t rows, int64_t cols) {
  over_rows(rows, cols, [&](auto v, int width, unsigned blocks) {
    launch(softmax_cross_entropy_forward_kernel<decltype(v)::value>, blocks, kThreads, 0, t, label, x, y, stats, rows, cols, width);
  }, t, x);
}
void softmax_cross_entropy_backward_any(const float* t, const int64_t* label, const float* x, const float* stats, const float* gy,
                                        float* gx, int64_t rows, int64_t cols) {
  over_rows(rows, cols, [&](auto v, int width, unsigned blocks) {
    launch(softmax_cross_entropy_backward_kernel<decltype(v)::value>, blocks, kThreads, 0, t, label, x, stats, gy, gx, rows, cols, width);
  }, t, x, gx);
}
void cross_entropy_forward_any(const float* t, const int64_t* label, const float* p, float* y, int64_t rows, int64_t cols) {
  over_rows(rows, cols, [&](auto v, int width, unsigned blocks) {
    launch(cross_entropy_forward_kernel<decltype(v)::value>, blocks, kThreads, 0, t, label, p, y, rows, cols, width);
  }, t, p);
}
void cross_entropy_backward_any(const float* t, const int64_t* label, const float* p, const float* gy, float* gx, int64_t rows, int64_t cols) {
  over_rows(rows, cols, [&](auto v, int width, unsigned blocks) {
    launch(cross_entropy_backward_kernel<decltype(v)::value>, blocks, kThreads, 0, t, label, p, gy, gx, rows, cols, width);
  }, t, p, gx);
}

}  // namespace

void softmax_forward(const float* x, float* y, int64_t rows, int64_t cols) {
  over_rows(rows, cols, [&](auto v, int width, unsigned blocks) {
    launch(softmax_forward_kernel<decltype(v)::value>, blocks, kThreads, 0, x, y, rows, cols, width);
  }, x, y);
}
void softmax_backward(const float* y, const float* gy, float* gx, int64_t rows, int64_t cols) {
  over_rows(rows, cols, [&](auto v, int width, unsigned blocks) {
    launch(softmax_backward_kernel<decltype(v)::value>, blocks, kThreads, 0, y, gy, gx, rows, cols, width);
  }, y, gy, gx);
}
void log_softmax_forward(const float* x, float* y, int64_t rows, int64_t cols) {
  over_rows(rows, cols, [&](auto v, int width, unsigned blocks) {
    launch(log_softmax_forward_kernel<decltype(v)::value>, blocks, kThreads, 0, x, y, rows, cols, width);
  }, x, y);
}
void log_softmax_backward(const float* y, const float* gy, float* gx, int64_t rows, int64_t cols) {
  over_rows(rows, cols, [&](auto v, int width, unsigned blocks) {
    launch(log_softmax_backward_kernel<decltype(v)::value>, blocks, kThreads, 0, y, gy, gx, rows, cols, width);
  }, y, gy, gx);
}

void softmax_cross_entropy_forward(const float* t, const float* x, float* y, float* stats, int64_t rows, int64_t cols) {
  softmax_cross_entropy_forward_any(t, nullptr, x, y, stats, rows, cols);
}
void softmax_cross_entropy_backward(const float* t, const float* x, const float* stats, const float* gy, float* gx, int64_t rows, int64_t cols) {
  softmax_cross_entropy_backward_any(t, nullptr, x, stats, gy, gx, rows, cols);
}
void sparse_softmax_cross_entropy_forward(const int64_t* label, const float* x, float* y, float* stats, int64_t rows, int64_t cols) {
  softmax_cross_entropy_forward_any(nullptr, label, x, y, stats, rows, cols);
}
void sparse_softmax_cross_entropy_backward(const int64_t* label, const float* x, const float* stats, const float* gy, float* gx,
                                           int64_t rows, int64_t cols) {
  softmax_cross_entropy_backward_any(nullptr, label, x, stats, gy, gx, rows, cols);
}
void cross_entropy_forward(const float* t, const float* p, float* y, int64_t rows, int64_t cols) {
  cross_entropy_forward_any(t, nullptr, p, y, rows, cols);
}
void cross_entropy_backward(const float* t, const float* p, const float* gy, float* gx, int64_t rows, int64_t cols) {
  cross_entropy_backward_any(t, nullptr, p, gy, gx, rows, cols);
}
void sparse_cross_entropy_forward(const int64_t* label, const float* p, float* y, int64_t rows, int64_t cols) {
  cross_entropy_forward_any(nullptr, label, p, y, rows, cols);
}
void sparse_cross_entropy_backward(const int64_t* label, const float* p, const float* gy, float* gx, int64_t rows, int64_t cols) {
  cross_entropy_backward_any(nullptr, label, p, gy, gx, rows, cols);
}

void binary_cross_entropy_forward(const float* t, const float* p, float* y, int64_t n) { map<2>(BinaryCrossEntropy(), {{t, p}}, y, n); }
void binary_cross_entropy_backward(const float* t, const float* p, const float* gy, float* gx, int64_t n) {
  map<3>(BinaryCrossEntropyGradient(), {{t, p, gy}}, gx, n);
}
void sigmoid_cross_entropy_forward(const float* t, const float* x, float* y, int64_t n) { map<2>(SigmoidCrossEntropy(), {{t, x}}, y, n); }
void sigmoid_cross_entropy_backward(const float* t, const float* x, const float* gy, float* gx, int64_t n) {
  map<3>(SigmoidCrossEntropyGradient(), {{t, x, gy}}, gx, n);
}

}  // namespace fastnn::cuda
