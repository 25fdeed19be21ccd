// Data movement: every op here is one or more strided copies.
#include <algorithm>

#include "check.h"
#include "dispatch.h"
#include "ops.h"

namespace fastnn {
namespace {

// The axes of a copy while it is being described; strides in bytes.
struct Copy {
  int64_t itemsize;
  const void* x;
  void* y;
  CopyShape s{};

  Copy(int64_t itemsize, const void* x, void* y) : itemsize(itemsize), x(x), y(y) {}
  void axis(int64_t size, int64_t src_stride, int64_t dst_stride) {
    if (size == 1) return;
    const int64_t r = s.rank;
    if (r && s.src_stride[r - 1] == src_stride * size && s.dst_stride[r - 1] == dst_stride * size) {
      s.size[r - 1] *= size, s.src_stride[r - 1] = src_stride, s.dst_stride[r - 1] = dst_stride;
    } else {
      s.size[r] = size, s.src_stride[r] = src_stride, s.dst_stride[r] = dst_stride;
      ++s.rank;
    }
  }
  void run(Device device) {
    s.itemsize = itemsize;
    // A short contiguous last axis makes one wider item.
    if (s.rank) {
      const int last = int(s.rank) - 1;
      const int64_t bytes = s.size[last] * itemsize;
      if (s.src_stride[last] == itemsize && s.dst_stride[last] == itemsize && bytes <= 16 && (bytes & (bytes - 1)) == 0)
        s.itemsize = bytes, --s.rank;
    }
    if (s.rank == 0) s.rank = 1, s.size[0] = 1, s.src_stride[0] = s.dst_stride[0] = s.itemsize;
    launch(device, &Kernels::copy, x, y, s);
  }
};

void* at(Tensor& t, int64_t offset) { return static_cast<char*>(t.raw()) + offset; }
const void* at(const Tensor& t, int64_t offset) { return static_cast<const char*>(t.raw()) + offset; }

// Byte strides of a contiguous array.
void strides_of(const Tensor& x, int64_t* stride) {
  int64_t n = itemsize(x.dtype());
  for (int a = x.rank() - 1; a >= 0; --a) stride[a] = n, n *= x.size(a);
}

void fill(Tensor& y, const void* value, int64_t offset, int64_t count) {
  if (count == 0) return;
  Copy c(itemsize(y.dtype()), value, at(y, offset));
  c.axis(count, 0, c.itemsize);
  c.run(y.device());
}

Tensor zeros(const Shape& shape, DType dtype, Device device) {
  Tensor y(shape, dtype, device);
  fill(y, zeros(y.device()), 0, y.numel());
  return y;
}

// The part of an array that starts at `begin` and moves by `step` along each axis.
struct Region {
  int64_t offset = 0;
  int64_t stride[kMaxAxes];
};

Region region(const char* op, const Tensor& x, const Shape& size, const std::vector<int64_t>& begin,
              const std::vector<int64_t>& step) {
  check(int(begin.size()) == x.rank() && int(step.size()) == x.rank() && size.rank() == x.rank(), "[", op,
        "] begin, size and step must have one entry for each axis. Received: x.shape=", x.shape());
  Region r;
  strides_of(x, r.stride);
  for (int a = 0; a < x.rank(); ++a) {
    int64_t span, last;
    const bool fits = !__builtin_mul_overflow(size[a] - 1, step[a], &span) &&
                      !__builtin_add_overflow(begin[a], span, &last);
    check(step[a] != 0 && (size[a] == 0 || (fits && begin[a] >= 0 && begin[a] < x.size(a) && last >= 0 && last < x.size(a))),
          "[", op, "] the slice must lie inside the array. Received: axis=", a, ", begin=", begin[a], ", size=", size[a],
          ", step=", step[a], ", x.shape=", x.shape());
    r.offset += begin[a] * r.stride[a];
    r.stride[a] *= step[a];
  }
  return r;
}

}  // namespace

Tensor transpose(const Tensor& x, const std::vector<int64_t>& axes) {
  const int rank = x.rank();
  bool seen[kMaxAxes] = {}, ok = int(axes.size()) == rank;
  for (int a = 0; ok && a < rank; ++a) {
    ok = axes[a] >= 0 && axes[a] < rank && !seen[axes[a]];
    if (ok) seen[axes[a]] = true;
  }
  check(ok, "[transpose] axes must be a permutation of the axes of x. Received: axes=", Shape(axes), ", x.shape=", x.shape());
  int64_t stride[kMaxAxes], previous = -1;
  strides_of(x, stride);
  Shape shape;
  bool same = true;  // only axes of size 1 move
  for (int64_t a : axes) {
    shape.push_back(x.size(int(a)));
    if (x.size(int(a)) == 1) continue;
    same &= a > previous;
    previous = a;
  }
  if (same || x.numel() == 0) return x.reshape(shape);
  Tensor y(shape, x.dtype(), x.device());
  int64_t to[kMaxAxes];
  strides_of(y, to);
  Copy c(itemsize(x.dtype()), x.raw(), y.raw());
  for (int a = 0; a < rank; ++a) c.axis(shape[a], stride[axes[a]], to[a]);
  c.run(y.device());
  return y;
}

Tensor broadcast_to(const Tensor& x, const Shape& shape) {
  const int extra = shape.rank() - x.rank();
  bool ok = extra >= 0;
  for (int a = 0; ok && a < x.rank(); ++a) ok = x.size(a) == 1 || x.size(a) == shape[a + extra];
  check(ok, "[broadcast_to] x must broadcast to shape. Received: x.shape=", x.shape(), ", shape=", shape);
  if (x.shape() == shape) return x.borrowed() ? x.copy() : x;
  Tensor y(shape, x.dtype(), x.device());
  if (y.numel() == 0) return y;
  int64_t from[kMaxAxes], to[kMaxAxes];
  strides_of(x, from);
  strides_of(y, to);
  Copy c(itemsize(x.dtype()), x.raw(), y.raw());
  for (int a = 0; a < shape.rank(); ++a)
    c.axis(shape[a], a < extra || x.size(a - extra) == 1 ? 0 : from[a - extra], to[a]);
  c.run(y.device());
  return y;
}

Tensor slice(const Tensor& x, const std::vector<int64_t>& begin, const Shape& size, const std::vector<int64_t>& step) {
  const Region r = region("slice", x, size, begin, step);
  bool rows = x.rank() > 0 && step[0] == 1;
  for (int a = 1; a < x.rank(); ++a) rows &= size[a] == x.size(a) && step[a] == 1;
  if (rows && size[0] > 0 && !x.is_meta()) return x.rows(begin[0], size[0]);
  Tensor y(size, x.dtype(), x.device());
  if (y.numel() == 0) return y;
  int64_t to[kMaxAxes];
  strides_of(y, to);
  Copy c(itemsize(x.dtype()), at(x, r.offset), y.raw());
  for (int a = 0; a < x.rank(); ++a) c.axis(size[a], r.stride[a], to[a]);
  c.run(y.device());
  return y;
}

namespace {
void write_slice(const char* op, Tensor& y, const Tensor& x, const std::vector<int64_t>& begin,
                 const std::vector<int64_t>& step) {
  const Region r = region(op, y, x.shape(), begin, step);
  if (x.numel() == 0) return;
  int64_t from[kMaxAxes];
  strides_of(x, from);
  Copy c(itemsize(x.dtype()), x.raw(), at(y, r.offset));
  for (int a = 0; a < x.rank(); ++a) c.axis(x.size(a), from[a], r.stride[a]);
  c.run(y.device());
}
}  // namespace

Tensor slice_backward(const Tensor& gy, const Shape& shape, const std::vector<int64_t>& begin,
                      const std::vector<int64_t>& step) {
  Tensor gx = zeros(shape, gy.dtype(), gy.device());
  write_slice("slice_backward", gx, gy, begin, step);
  return gx;
}

Tensor slice_update(const Tensor& x, const Tensor& updates, const std::vector<int64_t>& begin,
                    const std::vector<int64_t>& step) {
  check_type(x.dtype() == updates.dtype(), "[slice_update] updates must have the dtype of x. Received: x.dtype=",
             x.dtype(), ", updates.dtype=", updates.dtype());
  check_device("slice_update", {&x, &updates});
  Tensor y(x.shape(), x.dtype(), x.device());
  if (x.numel()) {
    Copy c(itemsize(x.dtype()), x.raw(), y.raw());
    c.axis(x.numel(), c.itemsize, c.itemsize);
    c.run(y.device());
  }
  write_slice("slice_update", y, updates, begin, step);
  return y;
}

Tensor concatenate(const std::vector<Tensor>& xs, int64_t axis) {
  check(!xs.empty(), "[concatenate] at least one array must be given. Received: none");
  const Tensor& first = xs[0];
  const int rank = first.rank();
  check(axis >= -rank && axis < rank, "[concatenate] axis must be in [", -rank, ", ", rank, "). Received: axis=", axis,
        ", shape=", first.shape());
  if (axis < 0) axis += rank;
  Shape shape = first.shape();
  int64_t total = 0;
  for (size_t i = 0; i < xs.size(); ++i) {
    const Tensor& x = xs[i];
    bool ok = x.rank() == rank;
    for (int a = 0; ok && a < rank; ++a) ok = a == axis || x.size(a) == shape[a];
    check(ok, "[concatenate] all arrays must have the same sizes except along axis ", axis,
          ". Received: shape=", first.shape(), " and ", x.shape(), " (number ", i, ")");
    check_type(x.dtype() == first.dtype(), "[concatenate] all arrays must have one dtype. Received: ", first.dtype(),
               " and ", x.dtype());
    check_device("concatenate", {&first, &x});
    check(!__builtin_add_overflow(total, x.size(int(axis)), &total),
          "[concatenate] the size along axis must fit 63 bits. Received: axis=", axis, ", shape=", x.shape(), " (number ", i, ")");
  }
  shape.set(int(axis), total);
  Tensor y(shape, first.dtype(), first.device());
  if (y.numel() == 0) return y;
  int64_t outer = 1, inner = itemsize(y.dtype());
  for (int a = 0; a < axis; ++a) outer *= shape[a];
  for (int a = int(axis) + 1; a < rank; ++a) inner *= shape[a];
  int64_t offset = 0;
  for (const Tensor& x : xs) {
    const int64_t row = x.size(int(axis)) * inner;
    if (row == 0) continue;
    Copy c(itemsize(y.dtype()), x.raw(), at(y, offset));
    c.axis(outer, row, total * inner);
    c.axis(row / c.itemsize, c.itemsize, c.itemsize);
    c.run(y.device());
    offset += row;
  }
  return y;
}

Tensor pad(const Tensor& x, const std::vector<int64_t>& before, const std::vector<int64_t>& after, const Tensor& value) {
  const int rank = x.rank();
  check(int(before.size()) == rank && int(after.size()) == rank,
        "[pad] pad_width must have one pair for each axis. Received: x.shape=", x.shape(), ", pairs=", before.size());
  check(value.numel() == 1 && value.dtype() == x.dtype(), "[pad] the padding value must be one element of x's dtype");
  check_device("pad", {&x, &value});
  Shape shape;
  for (int a = 0; a < rank; ++a) {
    int64_t n;
    check(before[a] >= 0 && after[a] >= 0, "[pad] pad_width must not be negative. Received: (", before[a], ", ", after[a], ")");
    check(!__builtin_add_overflow(before[a], after[a], &n) && !__builtin_add_overflow(n, x.size(a), &n),
          "[pad] a size must fit 63 bits. Received: pad_width=(", before[a], ", ", after[a], ")");
    shape.push_back(n);
  }
  Tensor y(shape, x.dtype(), x.device());
  if (y.numel() == 0) return y;
  if (x.numel() == 0) {
    fill(y, value.raw(), 0, y.numel());
    return y;
  }
  int64_t from[kMaxAxes], to[kMaxAxes], offset = 0;
  strides_of(x, from);
  strides_of(y, to);
  // Two borders for each axis: inside along the axes before it, the whole of those after it.
  for (int a = 0; a < rank; ++a) {
    for (const bool front : {true, false}) {
      const int64_t count = front ? before[a] : after[a];
      if (count == 0) continue;
      Copy c(itemsize(x.dtype()), value.raw(), at(y, offset + (front ? 0 : (before[a] + x.size(a)) * to[a])));
      for (int b = 0; b < a; ++b) c.axis(x.size(b), 0, to[b]);
      c.axis(count, 0, to[a]);
      for (int b = a + 1; b < rank; ++b) c.axis(shape[b], 0, to[b]);
      c.run(y.device());
    }
    offset += before[a] * to[a];
  }
  Copy c(itemsize(x.dtype()), x.raw(), at(y, offset));
  for (int a = 0; a < rank; ++a) c.axis(x.size(a), from[a], to[a]);
  c.run(y.device());
  return y;
}

}  // namespace fastnn
