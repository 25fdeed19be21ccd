#include "check.h"
#include "dispatch.h"
#include "ops.h"

namespace fastnn {
namespace {

// Streams are cut into `chunks` equal parts of whole vectors.
int64_t chunk_size(const Tensor& x, int64_t chunks, int64_t repeats) {
  check_float32("ceiling", "x", x);
  check(chunks > 0 && repeats > 0 && repeats <= 1000000,
        "[ceiling] chunks and repeats must be positive, and repeats at most a million. Received: chunks=", chunks,
        ", repeats=", repeats);
  check(x.numel() > 0 && x.numel() % chunks == 0 && x.numel() / chunks % 16 == 0,
        "[ceiling] x must be a multiple of 16 * chunks. Received: size=", x.numel(), ", chunks=", chunks);
  return x.numel() / chunks;
}

}  // namespace

Tensor ceiling_fma(int64_t chunks, int64_t steps) {
  check(chunks > 0 && steps >= 0 && steps <= 1000000000,
        "[ceiling_fma] chunks must be positive, steps in [0, 1e9]. Received: chunks=", chunks, ", steps=", steps);
  Tensor y({chunks}, DType::float32, Device::cpu);
  launch(y.device(), &Kernels::ceiling_fma, y.f32(), chunks, steps);
  return y;
}

Tensor ceiling_copy(const Tensor& x, int64_t chunks, int64_t repeats) {
  const int64_t n = chunk_size(x, chunks, repeats);
  Tensor y(x.shape(), DType::float32, x.device());
  launch(y.device(), &Kernels::ceiling_copy, x.f32(), y.f32(), chunks, n, repeats);
  return y;
}

Tensor ceiling_triad(const Tensor& x, const Tensor& z, int64_t chunks, int64_t repeats) {
  const int64_t n = chunk_size(x, chunks, repeats);
  check_float32("ceiling_triad", "z", z);
  check_shape("ceiling_triad", "z", z, x.shape());
  check_device("ceiling_triad", {&x, &z});
  Tensor y(x.shape(), DType::float32, x.device());
  launch(y.device(), &Kernels::ceiling_triad, x.f32(), z.f32(), y.f32(), chunks, n, repeats);
  return y;
}

}  // namespace fastnn
