// Convolution and its gradients as products whose left operand is made of patches, read where they lie:
//
//   forward           (pixels of y) x (taps, ic) patches of x            times w                  -> y
//   backward_input    (pixels of gx of one phase) x (taps, oc) of gy     times w transposed       -> gx
//   backward_weights  (taps, ic) x (pixels of y), the patches transposed times gy, k in parts     -> gw
//
// Pixels of gx of equal position modulo the stride (a phase) are reached by the same taps: each phase is a
// convolution of gy with stride 1, every pixel is written once, and there is nothing to add atomically.
// Groups and phases are the products of one launch. A window of one pixel without padding is a matmul.
// Floor: 2 n oh ow oc kh kw ic / groups operations; x, w and y moved once if the tiles' rereading stays in L2.
#include <stdexcept>

#include "gemm_mma.h"

namespace fastnn::cuda {
namespace {

constexpr int kOutside = -(1 << 30);  // no tap brings it back into an image

// k as digits (outer, mid, inner), counted up in steps of BK without divisions.
struct Digits {
  int outer, mid, inner;
};
struct Radix {
  int mid, inner;  // sizes
  Digits step;     // BK
  __host__ __device__ __forceinline__ Digits of(int64_t k) const {
    const int64_t rest = k / inner;
    return {int(rest / mid), int(rest % mid), int(k % inner)};
  }
  __device__ __forceinline__ void advance(Digits& d) const {
    d.inner += step.inner;
    const int carry = d.inner >= inner;
    d.inner -= carry ? inner : 0;
    d.mid += step.mid + carry;
    const int carried = d.mid >= mid;
    d.mid -= carried ? mid : 0;
    d.outer += step.outer + carried;
  }
};
__host__ __device__ __forceinline__ Radix radix(int64_t mid, int64_t inner, int64_t step) {
  Radix r{int(max(mid, int64_t(1))), int(max(inner, int64_t(1))), {}};
  r.step = r.of(step);
  return r;
}

// Patches of images (images, h, w, stride): pixel (image, i, j) and tap (u, v, c) meet in
// p[image, top + i * step_h + u * tap_h, left + j * step_w + v * tap_w, c], or outside, which reads as zero.
// x is the pixel and k the tap; transposed the other way round.
template <class Element, bool transposed>
struct Patches {
  using T = Element;
  static constexpr bool along_k = !transposed;
  const T* p;
  int h, w;
  int64_t stride;
  int images, taps_down;
  Radix pixels, taps;
  int top, left, step_h, step_w, tap_h, tap_w;

  // A pixel's and a tap's share of the place.
  struct PixelAt { int64_t base; int y, x; };
  struct TapAt { int y, x, c; };
  __device__ __forceinline__ PixelAt pixel_at(const Digits& d) const {
    return {int64_t(d.outer) * h * w * stride, d.outer < images ? top + d.mid * step_h : kOutside, left + d.inner * step_w};
  }
  __device__ __forceinline__ TapAt tap_at(const Digits& d) const {
    return {d.outer < taps_down ? d.outer * tap_h : kOutside, d.mid * tap_w, d.inner};
  }
  __device__ __forceinline__ const T* meet(const PixelAt& a, const TapAt& b) const {
    const int y = a.y + b.y, x = a.x + b.x;
    return unsigned(y) < unsigned(h) && unsigned(x) < unsigned(w) ? p + a.base + (int64_t(y) * w + x) * stride + b.c : nullptr;
  }

  using Row = std::conditional_t<transposed, TapAt, PixelAt>;
  using Depth = Digits;
  __device__ __forceinline__ Row row(int64_t x) const {
    if constexpr (transposed) return tap_at(taps.of(x));
    else return pixel_at(pixels.of(x));
  }
  __device__ __forceinline__ Digits depth(int64_t k) const { return transposed ? pixels.of(k) : taps.of(k); }
  __device__ __forceinline__ void advance(Digits& d) const { (transposed ? pixels : taps).advance(d); }
  __device__ __forceinline__ const T* at(const Row& r, const Digits& d) const {
    if constexpr (transposed) return meet(pixel_at(d), r);
    else return meet(r, tap_at(d));
  }
};

// w (kh, kw, icg, oc) with x the input channel and k (u, v, o), for every tap_step-th tap from the first on.
template <class Element>
struct TransposedTaps {
  using T = Element;
  static constexpr bool along_k = true;
  const T* p;
  int64_t channels, oc, tap_down, tap_across;  // elements from one tap to the next
  int taps_down;
  Radix taps;
  struct Row { int64_t offset; };
  using Depth = Digits;
  __device__ __forceinline__ Row row(int64_t x) const { return {x < channels ? x * oc : -1}; }
  __device__ __forceinline__ Digits depth(int64_t k) const { return taps.of(k); }
  __device__ __forceinline__ void advance(Digits& d) const { taps.advance(d); }
  __device__ __forceinline__ const T* at(const Row& r, const Digits& d) const {
    return r.offset < 0 || d.outer >= taps_down ? nullptr : p + d.outer * tap_down + d.mid * tap_across + r.offset + d.inner;
  }
};

// What the three have in common: images of x and y, and what the tensors hold, as elements of T.
template <class T>
struct Convolution {
  Conv2dShape s;
  int64_t icg, ocg, step;
  const T* x;
  const T* w;
  const T* y;
  int64_t x_stride, w_stride, y_stride;  // elements per pixel of x and y, per row of w

  template <bool transposed>
  __host__ __device__ __forceinline__ Patches<T, transposed> patches(int64_t group) const {
    return {x + group * icg,  int(s.ih), int(s.iw), x_stride,     int(s.n),      int(s.kh), radix(s.oh, s.ow, step),
            radix(s.kw, icg, step), int(-s.ph), int(-s.pw), int(s.sh), int(s.sw), int(s.dh), int(s.dw)};
  }
};

template <class T>
struct ForwardProblem {
  int64_t m, n, products;
  bool aligned_out;
  Convolution<T> c;
  float* y;
  Epilogue epilogue;
  __host__ __device__ __forceinline__ int64_t k(int64_t) const { return c.s.kh * c.s.kw * c.icg; }
  __host__ __device__ __forceinline__ Patches<T, false> a(int64_t z) const { return c.template patches<false>(z); }
  __host__ __device__ __forceinline__ Matrix<T, false> b(int64_t z) const {
    return {c.w + z * c.ocg, c.w_stride, c.ocg, k(z), c.step};
  }
  __device__ __forceinline__ MatrixOut out(int64_t z) const {
    const float* bias = epilogue.bias ? epilogue.bias + z * n : nullptr;
    return {y + z * n, c.s.oc, m, {bias, epilogue.activation}};
  }
};

template <class T>
struct WeightsProblem {
  int64_t m, n, products;
  bool aligned_out;
  Convolution<T> c;
  float* gw;
  __host__ __device__ __forceinline__ int64_t k(int64_t) const { return c.s.n * c.s.oh * c.s.ow; }
  __host__ __device__ __forceinline__ Patches<T, true> a(int64_t z) const { return c.template patches<true>(z); }
  __host__ __device__ __forceinline__ Matrix<T, false> b(int64_t z) const {
    return {c.y + z * c.ocg, c.y_stride, c.ocg, k(z), c.step};
  }
  // Rows are taps by channels, of which padding has added some.
  struct Out {
    float* p;
    int64_t oc, channels, padded, rows;
    Epilogue epilogue;
    __device__ __forceinline__ float* row(int64_t i) const {
      if (channels != padded) {
        if (i % padded >= channels) return nullptr;
        return i < rows ? p + (i / padded * channels + i % padded) * oc : nullptr;
      }
      return i < rows ? p + i * oc : nullptr;
    }
  };
  __device__ __forceinline__ Out out(int64_t z) const {
    return {gw + z * n, c.s.oc, c.s.ic / c.s.groups, c.icg, m, {nullptr, kActivationLinear}};
  }
};

// The taps u = first + t * step, t < count, that reach inputs of one phase along one axis, and the output
// offset + t * offset_step of the phase's first input that reads it so: (phase + pad - u * dilation) / stride.
struct PhaseTaps {
  int64_t count, first, step, offset, offset_step;
  __host__ __device__ PhaseTaps(int64_t taps, int64_t stride, int64_t dilation, int64_t pad, int64_t phase)
      : count(0), first(0), step(stride), offset(0), offset_step(0) {
    int64_t a = stride, b = dilation;
    while (b) {
      const int64_t rest = a % b;
      a = b, b = rest;
    }
    step = stride / a;
    for (int64_t u = 0; u < taps && u < step; ++u) {
      const int64_t at = phase + pad - u * dilation;
      if (at % stride) continue;
      count = (taps - 1 - u) / step + 1, first = u, offset = at / stride, offset_step = -(dilation * step / stride);
      break;
    }
  }
};

template <class T>
struct InputProblem {
  int64_t m, n, products;
  bool aligned_out;
  Convolution<T> c;
  float* gx;
  Epilogue epilogue;
  int64_t phases_h, phases_w, rows, cols;  // of pixels in a phase

  struct Phase {
    int64_t group, h, w;
    PhaseTaps down, across;
    __host__ __device__ Phase(const InputProblem& p, int64_t z)
        : group(z % p.c.s.groups),
          h(z / p.c.s.groups / p.phases_w),
          w(z / p.c.s.groups % p.phases_w),
          down(p.c.s.kh, p.c.s.sh, p.c.s.dh, p.c.s.ph, h),
          across(p.c.s.kw, p.c.s.sw, p.c.s.dw, p.c.s.pw, w) {}
  };
  struct Out {
    float* p;
    int64_t rows, cols, stride_h, stride_w, left_h, left_w;  // left: what remains of an image from the phase's first pixel on
    int64_t sh, sw, images, image;
    Epilogue epilogue;
    __device__ __forceinline__ float* row(int64_t i) const {
      const int64_t n = i / (rows * cols), y = i / cols % rows, x = i % cols;
      return n < images && y * sh < left_h && x * sw < left_w ? p + n * image + y * stride_h + x * stride_w : nullptr;
    }
  };
  __host__ __device__ __forceinline__ int64_t k(int64_t z) const {
    const Phase f(*this, z);
    return f.down.count * f.across.count * c.ocg;
  }
  __host__ __device__ __forceinline__ Patches<T, false> a(int64_t z) const {
    const Phase f(*this, z);
    return {c.y + f.group * c.ocg, int(c.s.oh), int(c.s.ow), c.y_stride, int(c.s.n), int(f.across.count ? f.down.count : 0),
            radix(rows, cols, c.step), radix(f.across.count, c.ocg, c.step), int(f.down.offset), int(f.across.offset), 1, 1,
            int(f.down.offset_step), int(f.across.offset_step)};
  }
  __host__ __device__ __forceinline__ TransposedTaps<T> b(int64_t z) const {
    const Phase f(*this, z);
    return {c.w + (f.down.first * c.s.kw + f.across.first) * c.icg * c.w_stride + f.group * c.ocg, c.icg, c.w_stride,
            f.down.step * c.s.kw * c.icg * c.w_stride, f.across.step * c.icg * c.w_stride,
            int(f.across.count ? f.down.count : 0), radix(f.across.count, c.ocg, c.step)};
  }
  __device__ __forceinline__ Out out(int64_t z) const {
    const Phase f(*this, z);
    const Conv2dShape& s = c.s;
    return {gx + (f.h * s.iw + f.w) * s.ic + f.group * n, rows, cols, s.sh * s.iw * s.ic, s.sw * s.ic, s.ih - f.h, s.iw - f.w,
            s.sh, s.sw, s.n, s.ih * s.iw * s.ic,
            {epilogue.bias ? epilogue.bias + f.group * n : nullptr, epilogue.activation}};
  }
};

void check_sizes(const Conv2dShape& s) {
  // Pixels and taps are counted in 32 bits.
  constexpr int64_t kLimit = int64_t(1) << 29;
  const int64_t sizes[] = {s.n,  s.ih, s.iw, s.oh, s.ow, s.ic, s.oc, (s.kh - 1) * s.dh, (s.kw - 1) * s.dw, (s.oh - 1) * s.sh,
                           (s.ow - 1) * s.sw, s.ph, s.pw};
  for (int64_t size : sizes)
    if (size >= kLimit) throw std::runtime_error("[conv] every axis of an image and its padding must be smaller than 2^29 on CUDA");
}

// One tap that meets each pixel once: rows of x and y are those of matrices.
bool is_matmul(const Conv2dShape& s) {
  return s.kh * s.kw == 1 && s.sh == 1 && s.sw == 1 && s.ph == 0 && s.pw == 0 && s.ih == s.oh && s.iw == s.ow && s.groups == 1;
}

template <class T>
Convolution<T> convolution(const Conv2dShape& s, const T* x, const T* w, const T* y, int64_t icg, int64_t ocg, int64_t step) {
  check_sizes(s);
  return {s, icg, ocg, step, x, w, y, s.groups * icg, s.groups * ocg, s.groups * ocg};
}

// The operands of a convolution, any of them null, as they are or rounded and padded for bfloat16, and what runs its
// product: f(convolution, run) with run(problem, k).
template <class F>
void with_operands(const Conv2dShape& s, const float* x, const float* w, const float* y, F f) {
  const int64_t icg = s.ic / s.groups, ocg = s.oc / s.groups;
  const Precision precision = matmul_precision();
  if (precision == Precision::bf16) {
    const int64_t icp = padded(icg), ocp = padded(ocg), in = s.n * s.ih * s.iw, out = s.n * s.oh * s.ow, taps = s.kh * s.kw;
    Scratch<Bf16> rx(x ? in * s.groups * icp : 0), rw(w ? taps * icp * s.groups * ocp : 0), ry(y ? out * s.groups * ocp : 0);
    if (x) pad_bf16(x, rx.get(), in, 1, 1, s.groups, icg, icp);
    if (w) pad_bf16(w, rw.get(), taps, icg, icp, s.groups, ocg, ocp);
    if (y) pad_bf16(y, ry.get(), out, 1, 1, s.groups, ocg, ocp);
    return f(convolution<Bf16>(s, rx.get(), rw.get(), ry.get(), icp, ocp, kMmaDepth),
             [](const auto& problem, int64_t k) { run_mma(problem, k); });
  }
  const bool aligned = icg % 4 == 0 && ocg % 4 == 0 && is_aligned(x) && is_aligned(w) && is_aligned(y);
  if (precision == Precision::tf32 && aligned)
    return f(convolution(s, x, w, y, icg, ocg, kMmaDepth), [](const auto& problem, int64_t k) { run_mma(problem, k); });
  f(convolution(s, x, w, y, icg, ocg, int64_t(Simt64x64::BK)),
    [&](const auto& problem, int64_t k) { aligned ? run_simt<4>(problem, k) : run_simt<1>(problem, k); });
}

}  // namespace

void conv2d_forward(const float* x, const float* w, const float* bias, float* y, Conv2dShape s, int64_t activation) {
  const int64_t pixels = s.n * s.oh * s.ow, ocg = s.oc / s.groups;
  if (is_matmul(s)) return matmul(x, w, bias, y, {pixels, s.oc, s.ic, 0, 0, activation, {}});
  with_operands(s, x, w, nullptr, [&]<class T>(const Convolution<T>& c, auto run) {
    const ForwardProblem<T> p{pixels, ocg, s.groups, ocg % 4 == 0 && is_aligned(y), c, y, {bias, activation}};
    run(p, p.k(0));
  });
}

void conv2d_backward_input(const float* gy, const float* w, const float* bias, float* gx, Conv2dShape s, int64_t activation) {
  const int64_t icg = s.ic / s.groups;
  if (is_matmul(s)) return matmul(gy, w, bias, gx, {s.n * s.ih * s.iw, s.ic, s.oc, 0, 1, activation, {}});
  with_operands(s, nullptr, w, gy, [&]<class T>(const Convolution<T>& c, auto run) {
    InputProblem<T> p{0, icg, 0, icg % 4 == 0 && is_aligned(gx), c, gx, {bias, activation},
                      min(s.sh, s.ih), min(s.sw, s.iw), ceil_div(s.ih, s.sh), ceil_div(s.iw, s.sw)};
    p.m = s.n * p.rows * p.cols, p.products = p.phases_h * p.phases_w * s.groups;
    const int64_t step_h = PhaseTaps(s.kh, s.sh, s.dh, s.ph, 0).step, step_w = PhaseTaps(s.kw, s.sw, s.dw, s.pw, 0).step;
    run(p, ceil_div(s.kh, step_h) * ceil_div(s.kw, step_w) * c.ocg);  // the most that a phase has
  });
}

void conv2d_backward_weights(const float* x, const float* gy, float* gw, Conv2dShape s) {
  const int64_t pixels = s.n * s.oh * s.ow, ocg = s.oc / s.groups;
  if (is_matmul(s)) return matmul(x, gy, nullptr, gw, {s.ic, s.oc, pixels, 1, 0, kActivationLinear, {}});
  with_operands(s, x, nullptr, gy, [&]<class T>(const Convolution<T>& c, auto run) {
    const WeightsProblem<T> p{s.kh * s.kw * c.icg, ocg, s.groups, ocg % 4 == 0 && is_aligned(gw), c, gw};
    run(p, pixels);
  });
}

}  // namespace fastnn::cuda
