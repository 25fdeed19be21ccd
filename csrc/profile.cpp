#include "profile.h"

#include <tuple>

#include "dispatch.h"

namespace fastnn {

bool Profiler::start() {
  if (hooks.profiler) return false;
  hooks.profiler = this;
  hooks.any = true;
  zero_ = std::chrono::steady_clock::now();
  return true;
}

void Profiler::stop() {
  if (hooks.profiler != this) return;
  hooks.profiler = nullptr;
  hooks.any = hooks.recorder != nullptr;
}

void Profiler::note(const char* name, int kernel, const char* label, const Cost& cost,
                    std::chrono::steady_clock::time_point begin, std::chrono::steady_clock::time_point end) {
  const auto seconds = [](auto span) { return std::chrono::duration<double>(span).count(); };
  events.push_back({name, kernel, label, seconds(begin - zero_), seconds(end - begin), cost.flops, cost.bytes});
}

// ---- what kernels cost ----

namespace {

// Computes the cost of a call from its packed arguments.
using Rule = Cost (*)(const std::byte* args);

template <class... P, size_t... I>
std::tuple<P...> unpacked(const std::byte* args, std::index_sequence<I...>) {
  [[maybe_unused]] constexpr auto at = packed_offsets<P...>();
  return {*reinterpret_cast<const P*>(args + at[I])...};
}

// F: Cost of the tuple of arguments, a lambda without captures.
template <class F, class... P>
void set(Rule* rules, void (*Kernels::*kernel)(P...), F) {
  const Kernels& table = cpu_kernels();
  const auto index = reinterpret_cast<void (*const*)()>(&(table.*kernel)) - reinterpret_cast<void (*const*)()>(&table);
  rules[index] = [](const std::byte* args) { return F()(unpacked<P...>(args, std::index_sequence_for<P...>())); };
}

double elements(const BroadcastShape& s) {
  double n = 1;
  for (int64_t a = 0; a < s.rank; ++a) n *= double(s.size[a]);
  return n;
}

// `arrays` float arrays as large as the product of argument I and those after it.
template <int arrays, size_t... I>
struct Streams {
  template <class T>
  Cost operator()(const T& t) const {
    double n = 1;
    ((n *= double(std::get<I>(t))), ...);
    return {n, 4.0 * arrays * n};
  }
};

struct Matmul {
  template <class T>
  Cost operator()(const T& t) const {
    const MatmulShape& s = std::get<MatmulShape>(t);
    const double batch = elements(s.batch), m = double(s.m), n = double(s.n), k = double(s.k);
    return {2 * batch * m * n * k, 4 * batch * (m * k + k * n + m * n)};
  }
};

struct Conv {
  template <class T>
  Cost operator()(const T& t) const {
    const Conv2dShape& s = std::get<Conv2dShape>(t);
    const double x = double(s.n * s.ih * s.iw * s.ic), y = double(s.n * s.oh * s.ow * s.oc);
    const double taps = double(s.kh * s.kw * (s.ic / s.groups));
    return {2 * y * taps, 4 * (x + y + taps * double(s.oc))};
  }
};

struct Window {
  template <class T>
  Cost operator()(const T& t) const {
    const WindowShape& s = std::get<WindowShape>(t);
    const double x = double(s.n * s.ih * s.iw * s.c), y = double(s.n * s.oh * s.ow * s.c);
    return {2 * y * double(s.kh * s.kw), 4 * (x + y)};
  }
};

template <int gates>
struct RnnF {
  template <class T>
  Cost operator()(const T& t) const {
    const RnnForward& a = std::get<RnnForward>(t);
    const double rows = double(a.batch * a.steps), u = double(a.units), f = double(a.features);
    return {2 * rows * gates * u * (u + f), 4 * (rows * (f + u + (a.gates ? 6 * u : 0)) + gates * u * (u + f))};
  }
};
template <int gates>
struct RnnB {
  template <class T>
  Cost operator()(const T& t) const {
    const RnnBackward& a = std::get<RnnBackward>(t);
    const double rows = double(a.batch * a.steps), u = double(a.units), f = double(a.features);
    const double products = (a.gx ? 2.0 : 1.0) * f + 2 * u;
    return {2 * rows * gates * u * products, 4 * (rows * (2 * f + 12 * u) + 2 * gates * u * (u + f))};
  }
};

// Each weight, its gradient and its state are read, and all but the gradient written.
struct Update {
  template <class T>
  Cost operator()(const T& t) const {
    const UpdateBatch& b = std::get<UpdateBatch>(t);
    Cost c;
    for (int64_t k = 0; k < b.count; ++k) {
      const UpdateSlot& s = b.slot[k];
      const int state = (s.m != nullptr) + (s.v != nullptr) + (s.u != nullptr);
      c.flops += double(s.n) * (4 + 6 * state);
      c.bytes += 4.0 * double(s.n) * (s.w ? 3 + 2 * state : 1);
    }
    return c;
  }
};

struct CopyCost {
  template <class T>
  Cost operator()(const T& t) const {
    const CopyShape& s = std::get<CopyShape>(t);
    double n = double(s.itemsize);
    for (int64_t a = 0; a < s.rank; ++a) n *= double(s.size[a]);
    return {0, 2 * n};
  }
};

struct ChainCost {
  template <class T>
  Cost operator()(const T& t) const {
    const Chain& c = std::get<Chain>(t);
    const double n = double(std::get<2>(t));
    double arrays = 1;
    for (int64_t i = 0; i < c.count; ++i) arrays += (c.link[i].a != nullptr) + (c.link[i].b && c.link[i].b != c.link[i].a);
    return {double(c.count) * n, 4 * arrays * n};
  }
};

struct Broadcast {
  template <class T>
  Cost operator()(const T& t) const {
    const double n = elements(std::get<BroadcastShape>(t));
    return {n, 12 * n};
  }
};

const std::vector<Rule>& rules() {
  static const std::vector<Rule> made = [] {
    std::vector<Rule> all(kernel_count(), nullptr);
    Rule* r = all.data();
    set(r, &Kernels::matmul, Matmul());
    set(r, &Kernels::conv2d_forward, Conv());
    set(r, &Kernels::conv2d_backward_input, Conv());
    set(r, &Kernels::conv2d_backward_weights, Conv());
    set(r, &Kernels::depthwise_conv2d_forward, Window());
    set(r, &Kernels::depthwise_conv2d_backward_input, Window());
    set(r, &Kernels::depthwise_conv2d_backward_weights, Window());
    set(r, &Kernels::max_pool2d_forward, Window());
    set(r, &Kernels::max_pool2d_backward, Window());
    set(r, &Kernels::average_pool2d_forward, Window());
    set(r, &Kernels::average_pool2d_backward, Window());
    set(r, &Kernels::lstm_forward, RnnF<4>());
    set(r, &Kernels::lstm_backward, RnnB<4>());
    set(r, &Kernels::gru_forward, RnnF<3>());
    set(r, &Kernels::gru_backward, RnnB<3>());
    set(r, &Kernels::simple_rnn_forward, RnnF<1>());
    set(r, &Kernels::simple_rnn_backward, RnnB<1>());
    set(r, &Kernels::sgd_update, Update());
    set(r, &Kernels::rmsprop_update, Update());
    set(r, &Kernels::adam_update, Update());
    set(r, &Kernels::squared_norms, Update());
    set(r, &Kernels::copy, CopyCost());
    set(r, &Kernels::binary, Broadcast());
    set(r, &Kernels::where, Broadcast());
    set(r, &Kernels::unary, Streams<2, 3>());
    set(r, &Kernels::unary_backward, Streams<3, 4>());
    set(r, &Kernels::binary_scalar, Streams<2, 5>());
    set(r, &Kernels::dropout, Streams<2, 3>());
    set(r, &Kernels::softmax_forward, Streams<2, 2, 3>());
    set(r, &Kernels::softmax_backward, Streams<3, 3, 4>());
    set(r, &Kernels::batch_norm_forward, Streams<3, 10, 11>());
    set(r, &Kernels::batch_norm_statistics, Streams<1, 5, 6>());
    set(r, &Kernels::batch_norm_gradient_sums, Streams<2, 10, 11>());
    set(r, &Kernels::batch_norm_chunks, Streams<1, 2, 3>());
    set(r, &Kernels::batch_norm_gradient_chunks, Streams<2, 8, 9>());
    set(r, &Kernels::batch_norm_gradient, Streams<3, 7, 8>());
    set(r, &Kernels::batch_norm_inference, Streams<2, 9, 10>());
    set(r, &Kernels::batch_norm_backward, Streams<5, 10, 11>());
    set(r, &Kernels::layer_norm_forward, Streams<2, 7, 8>());
    set(r, &Kernels::layer_norm_backward, Streams<3, 8, 9>());
    set(r, &Kernels::epilogue_backward, Streams<3, 5, 6>());
    set(r, &Kernels::reduce, Streams<1, 3, 4, 5>());
    set(r, &Kernels::add_n, Streams<3, 2>());
    set(r, &Kernels::chain, ChainCost());
    set(r, &Kernels::max_pool2d_backward_relu, Window());
    return all;
  }();
  return made;
}

}  // namespace

Cost cost_of(int kernel, const std::byte* args) {
  const Rule rule = rules()[kernel];
  return rule ? rule(args) : Cost{};
}

}  // namespace fastnn
