// Elementwise functions of one array and their gradients (unary.h).
// Four elements per thread and step; bound by memory: 8 and 12 bytes per element.
#include "elementwise.h"
#include "unary.h"

namespace fastnn::cuda {

void unary(int64_t op, const float* x, float* y, int64_t n, float p, float q) {
  switch (op) {
#define CASE(name) case unary_op::name: return map<1>(Unary<unary_op::name>{p, q}, {{x}}, y, n);
    FASTNN_UNARY_OPS(CASE)
#undef CASE
  }
}

void unary_backward(int64_t op, const float* gy, const float* v, float* gx, int64_t n, float p, float q) {
  switch (op) {
#define CASE(name) case unary_op::name: return map<2>(UnaryGradient<unary_op::name>{p, q}, {{gy, v}}, gx, n);
    FASTNN_UNARY_OPS(CASE)
#undef CASE
  }
}

}  // namespace fastnn::cuda
