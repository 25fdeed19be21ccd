#include "check.h"
#include "dispatch.h"
#include "ops.h"

namespace fastnn {
namespace {

const uint32_t* key_of(const char* op, const Tensor& key) {
  check(key.dtype() == DType::uint32 && key.numel() == 2, "[", op, "] key must be two words of uint32. Received: key.shape=",
        key.shape(), ", key.dtype=", key.dtype());
  return key.data<uint32_t>();
}

using Fill = void (*Kernels::*)(const uint32_t*, float*, int64_t, float, float);
Tensor fill(const char* op, Fill kernel, const Tensor& key, const Shape& shape, float a, float b) {
  const uint32_t* k = key_of(op, key);
  Tensor y(shape, DType::float32, key.device());
  if (y.numel()) launch(y.device(), kernel, k, y.f32(), y.numel(), a, b);
  return y;
}

}  // namespace

Tensor random_key(Tensor state) {
  key_of("random_key", state);
  Tensor key({2}, DType::uint32, state.device());
  launch(state.device(), &Kernels::random_key, state.mut<uint32_t>(), key.mut<uint32_t>());
  return key;
}

Tensor random_words(const Tensor& key, int64_t n) {
  const uint32_t* k = key_of("random_words", key);
  Tensor y(Shape{n}, DType::uint32, key.device());
  if (n) launch(y.device(), &Kernels::random_words, k, y.mut<uint32_t>(), n);
  return y;
}

Tensor random_uniform(const Tensor& key, const Shape& shape, float low, float high) {
  return fill("random.uniform", &Kernels::random_uniform, key, shape, low, high);
}
Tensor random_normal(const Tensor& key, const Shape& shape, float mean, float stddev) {
  return fill("random.normal", &Kernels::random_normal, key, shape, mean, stddev);
}
Tensor random_truncated_normal(const Tensor& key, const Shape& shape, float mean, float stddev) {
  return fill("random.truncated_normal", &Kernels::random_truncated_normal, key, shape, mean, stddev);
}

Tensor random_integers(const Tensor& key, const Shape& shape, int64_t low, int64_t high) {
  const uint32_t* k = key_of("random.randint", key);
  check(low < high && low >= INT32_MIN && high <= int64_t(INT32_MAX) + 1,
        "[random.randint] minval must be below maxval, both within int32. Received: minval=", low, ", maxval=", high);
  Tensor y(shape, DType::int32, key.device());
  if (y.numel()) launch(y.device(), &Kernels::random_integers, k, y.mut<int32_t>(), y.numel(), low, high - low);
  return y;
}

Tensor dropout(const Tensor& key, const Tensor& x, float rate) {
  const uint32_t* k = key_of("dropout", key);
  check_float32("dropout", "x", x);
  check_device("dropout", {&x, &key});
  check(rate >= 0 && rate < 1, "[dropout] rate must be in [0, 1). Received: rate=", rate);
  Tensor y(x.shape(), DType::float32, x.device());
  if (y.numel()) launch(y.device(), &Kernels::dropout, k, x.f32(), y.f32(), y.numel(), rate);
  return y;
}

}  // namespace fastnn
