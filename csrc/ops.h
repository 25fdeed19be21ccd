// One prototype per op function: check, allocate the result, launch the kernel.
#pragma once
#include "tensor.h"

namespace fastnn {

// ---- elementwise ----
// a op b with NumPy's broadcasting, float32. op: BinaryOp.
Tensor binary(int64_t op, const Tensor& a, const Tensor& b);

}  // namespace fastnn
