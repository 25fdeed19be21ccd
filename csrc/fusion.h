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
  // Calls of one group, which follow each other, run by strips of samples.
  int64_t group = 0, samples = 0, strips = 0;  // group 0: none
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
namespace norm_statistics {
enum { x, epsilon, mean, variance, rstd, rows, c };
}
namespace norm_chunks {
enum { x, partial, rows, c };
}
namespace norm_merge {
enum { partial, epsilon, mean, variance, rstd, rows, c };
}
namespace norm_gradient_chunks {
enum { x, gy, gamma, beta, mean, rstd, clip, partial, rows, c };
}
namespace norm_gradient_merge {
enum { partial, gamma, rstd, ggamma, gbeta, rest, rows, c };
}
namespace norm_gradient_sums {
enum { x, gy, gamma, beta, mean, rstd, clip, ggamma, gbeta, rest, rows, c };
}
namespace norm_gradient {
enum { x, gy, beta, mean, rest, clip, gx, rows, c };
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
namespace conv_backward_input {
enum { gy, w, bias, gx, s, activation };
}
namespace backward_weights {  // of conv2d, and of depthwise_conv2d
enum { x, gy, gw, s };
}
namespace reduce_args {
enum { op, x, y, outer, n, inner, count };
}
namespace depthwise {
enum { x, w, y, s };
}
namespace depthwise_weights {
enum { x, gy, gw, s };
}
namespace copy_args {
enum { x, y, s };
}
namespace average {
enum { x, y, s };
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

// The calls of a program taken apart, and who reads and writes what.
class Calls {
 protected:
  explicit Calls(Program& program)
      : program_(program),
        kernels_(program.device == Device::cpu ? cpu_kernels() : device_kernels(program.device)),
        is_result_(program.values.size()) {
    for (const Result& r : program.results)
      if (r.ref.place == Place::value) is_result_[r.ref.index] = true;
    for (const Step& s : program.steps) {
      Node node{s, {program.args.begin() + s.args, program.args.begin() + s.args + s.bytes}, {}};
      for (int64_t i = 0; i < s.operands; ++i) {
        Operand o = program.operands[s.first_operand + i];
        o.at -= s.args;
        node.operands.push_back(o);
      }
      nodes_.push_back(std::move(node));
    }
    index();
  }

  int count() const { return int(nodes_.size()); }
  template <auto K>
  bool is(int i) const {
    return i >= 0 && !nodes_[i].dead && nodes_[i].step.kernel == index_of<K>();
  }
  template <auto K>
  Args<K> args(int i) {
    return {nodes_[i]};
  }

  // ---- who uses what ----

  void index() {
    uses_.assign(program_.values.size(), {});
    for (int i = 0; i < count(); ++i)
      if (!nodes_[i].dead)
        for (const Operand& o : nodes_[i].operands)
          if (o.ref.place == Place::value) uses_[o.ref.index].push_back({i, o.written});
  }
  // The only node that writes a value, or -1.
  int writer(Ref ref) const {
    int found = -1;
    if (ref.place != Place::value || program_.values[ref.index].constant) return -1;
    for (const auto& [node, written] : uses_[ref.index]) {
      if (!written) continue;
      if (found >= 0 && found != node) return -1;
      found = node;
    }
    return found;
  }
  // The only node that reads a value written by `by` alone, which nobody else can see; or -1.
  int next(Ref ref, int by) const {
    if (by < 0 || writer(ref) != by || ref.offset != 0 || is_result_[ref.index]) return -1;
    int found = -1;
    for (const auto& [node, written] : uses_[ref.index]) {
      if (written) continue;
      if (node == by || (found >= 0 && found != node)) return -1;
      found = node;
    }
    return found;
  }
  // Memory that one node writes whole, which may become the result of an earlier one.
  bool made_by(Ref ref, int node) const { return ref.place == Place::value && ref.offset == 0 && writer(ref) == node; }
  static bool same_memory(Ref a, Ref b) { return a.place == b.place && a.index == b.index; }
  // No node between the two writes there.
  bool unchanged(Ref ref, int from, int to) const {
    for (int i = from + 1; i < to; ++i)
      if (!nodes_[i].dead)
        for (const Operand& o : nodes_[i].operands)
          if (o.written && same_memory(o.ref, ref)) return false;
    return true;
  }
  bool made_before(Ref ref, int node) const {
    if (ref.place == Place::value)
      for (const auto& [i, written] : uses_[ref.index])
        if (written && i >= node) return false;
    return true;
  }
  void remove(int i) {
    nodes_[i].dead = true;
    index();
  }
  Ref new_value(int64_t bytes) {
    Value v;
    v.bytes = bytes;
    program_.values.push_back(v);
    is_result_.push_back(false);
    return {Place::value, int64_t(program_.values.size()) - 1, 0};
  }

  // Makes the node a call of K with null pointers and zeros.
  template <auto K>
  Args<K> fill(Node& node) {
    node.step.kernel = index_of<K>();
    node.step.name = kernel_name(node.step.kernel);
    const auto kernel = kernels_.*K;
    node.step.run = thunk_of(kernel);
    node.step.function = reinterpret_cast<void (*)()>(kernel);
    node.args.assign(Args<K>::at.back(), std::byte{});
    node.operands.clear();
    return {node};
  }
  template <auto K, class F>
  void replace(int i, F set) {
    Node node{nodes_[i].step, {}, {}};
    set(fill<K>(node));
    nodes_[i] = std::move(node);
  }

  // Elementwise calls.
  struct Elementwise {
    int64_t n = 0;  // 0: the node is something else
    ChainLink link{};
    Ref a, b, y;
    bool has_b = false;
  };
  Elementwise elementwise(int i);
  // n if node j adds (or multiplies ...) two whole arrays of n floats, else 0.
  int64_t plain_binary(int j) {
    const auto s = args<&Kernels::binary>(j).get<BroadcastShape>(binary_args::s);
    return s.rank == 1 && s.stride[0][0] == 1 && s.stride[1][0] == 1 ? s.size[0] : 0;
  }

  // Strips of samples (strips.cpp), for calls whose results are too large for the second-level cache.
  void cut_into_strips();         // inference
  void group_calls_by_sample();   // training: with the same bits; marks and moves calls
  std::vector<Node> strips_of(int first, int end);  // the calls of a group

  Program& program_;
  const Kernels& kernels_;
  std::vector<Node> nodes_;
  std::vector<bool> is_result_;
  std::vector<std::vector<std::pair<int, bool>>> uses_;  // of each value: (node, whether it writes)

 private:
  struct BySample;
  struct Samples;
  struct Group;
  struct Memory;
  BySample by_sample(int i);
  Node strip_of(int i, Ref x, Ref y, int64_t n);
  Samples samples_of(int i, int64_t n);
  Node samples_from(int i, int64_t strip, int64_t first, int64_t count);
  Group group_from(int i);
  Group group_from(int i, int64_t exactly);
  bool joins(int i, const Samples& s, std::vector<Memory>& touched) const;
  bool separate(int i, int j) const;
  std::vector<Node> split_norm(int i, bool in_chunks);
  Node split_sum(Node& node, int64_t strips);
  bool takes_samples_of(int64_t v, int i);
  void remake(int64_t v);
  void keep_in_strips();
  bool is_in_strip(Ref ref) const { return ref.place == Place::value && program_.values[ref.index].in_strip; }
};

}  // namespace fastnn
