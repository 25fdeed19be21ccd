// What fusion.cpp rewrites: calls taken apart, and the arguments of the kernels that its rules know.
#pragma once
#include <cstring>
#include <vector>

#include "dispatch.h"
#include "program.h"

namespace fastnn {

struct Node {
  Step step;
  std::vector<std::byte> args;
  std::vector<Operand> operands;  // at: in args
  bool dead = false, prologue = false;
};

template <class... P>
constexpr auto offsets_of(void (*Kernels::*)(P...)) {
  return packed_offsets<P...>();
}

template <auto kernel>
int index_of() {
  const Kernels& table = cpu_kernels();
  static const int index = int(reinterpret_cast<void (*const*)()>(&(table.*kernel)) - reinterpret_cast<void (*const*)()>(&table));
  return index;
}

// The arguments of kernels, in the order of kernels.def.
namespace norm {
enum { x, gamma, beta, residual, epsilon, clip, y, mean, variance, rstd, rows, c };
}
namespace norm_inference {
enum { x, mean, variance, gamma, beta, residual, epsilon, clip, y, rows, c };
}
namespace norm_backward {
enum { x, gy, gamma, beta, mean, rstd, clip, gx, ggamma, gbeta, rows, c };
}
namespace fold {
enum { w, bias, mean, variance, gamma, beta, epsilon, wa, ba, rows, c };
}
namespace unary_args {
enum { op, x, y, n, p, q };
}
namespace unary_backward_args {
enum { op, gy, v, gx, n, p, q };
}
namespace binary_args {
enum { op, a, b, y, s };
}
namespace scalar_args {
enum { op, a, value, reversed, y, n };
}
namespace conv {
enum { x, w, bias, y, s, activation };
}
namespace matmul_args {
enum { a, b, bias, c, s };
}
namespace epilogue {
enum { activation, y, gy, gz, gb, rows, cols };
}
namespace pool {
enum { x, y, taps, tap_bytes, s };
}
namespace pool_backward {
enum { gy, taps, tap_bytes, gx, s };
}
namespace dropout_args {
enum { key, x, y, n, rate };
}
namespace pool_relu {
enum { gy, y, taps, tap_bytes, gz, gb, s };
}

// What kernels call the functions of `unary`.
inline int64_t clip_of(int64_t op) {
  return op == unary_op::relu ? kClipRelu : op == unary_op::relu6 ? kClipRelu6 : kClipNone;
}
inline int64_t activation_of(int64_t op) {
  return op == unary_op::relu      ? kActivationRelu
         : op == unary_op::sigmoid ? kActivationSigmoid
         : op == unary_op::tanh    ? kActivationTanh
                                   : kActivationLinear;
}

// The arguments of kernel K in a node.
template <auto K>
struct Args {
  static constexpr auto at = offsets_of(K);
  Node& node;

  template <class T>
  T get(int i) const {
    T value;
    std::memcpy(&value, node.args.data() + at[i], sizeof value);
    return value;
  }
  template <class T>
  void set(int i, T value) const {
    std::memcpy(node.args.data() + at[i], &value, sizeof value);
  }
  Ref ref(int i) const {
    for (const Operand& o : node.operands)
      if (o.at == at[i]) return o.ref;
    return {};
  }
  void set_ref(int i, Ref ref, bool written = false) const {
    std::erase_if(node.operands, [&](const Operand& o) { return o.at == at[i]; });
    if (ref.place != Place::null) node.operands.push_back({at[i], ref, written});
  }
};

}  // namespace fastnn
