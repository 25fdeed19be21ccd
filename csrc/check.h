// Argument checks of csrc/ops: the only place that raises. A failed check becomes ValueError,
// TypeError or IndexError in Python, with the message "[op] what must hold. Received: name=value".
#pragma once
#include <cstdint>
#include <initializer_list>
#include <sstream>
#include <stdexcept>
#include <string>

#include "tensor.h"

namespace fastnn {

struct TypeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct IndexError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct MemoryError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class... Args>
std::string message(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

template <class... Args>
void check(bool ok, const Args&... args) {
  if (!ok) [[unlikely]]
    throw std::invalid_argument(message(args...));
}
template <class... Args>
void check_type(bool ok, const Args&... args) {
  if (!ok) [[unlikely]]
    throw TypeError(message(args...));
}
template <class... Args>
void check_index(bool ok, const Args&... args) {
  if (!ok) [[unlikely]]
    throw IndexError(message(args...));
}

// a * b, or ValueError when the product does not fit. a, b >= 0.
int64_t checked_mul(int64_t a, int64_t b);

void check_rank(const char* op, const char* name, const Tensor& x, std::initializer_list<int> ranks);
void check_float32(const char* op, const char* name, const Tensor& x);
void check_shape(const char* op, const char* name, const Tensor& x, const Shape& expected);
void check_positive(const char* op, const char* name, int64_t value);
// Every value of x (int32 or int64) must lie in [low, high): kernels use them as they are. One pass;
// nothing is read from meta tensors. IndexError, or ValueError for class labels.
void check_index_range(const char* op, const char* name, const Tensor& x, int64_t low, int64_t high);
void check_label_range(const char* op, const char* name, const Tensor& x, int64_t classes);
// All tensors of one op must live on one device.
void check_device(const char* op, std::initializer_list<const Tensor*> tensors);

}  // namespace fastnn
