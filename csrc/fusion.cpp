// A better program than the one recorded: calls that pass over the same memory one after the other become one.
//
// Every rule looks for calls whose result only the next one reads, and gives a kernel that computes both, with
// the same bits. Calls are moved, at most, over calls that do not touch what they read. What inference may do with
// other bits (folding a batch normalization into weights, a few samples at a time) stands at the end.
#include "fusion.h"

#include <algorithm>

namespace fastnn {

Calls::Elementwise Calls::elementwise(int i) {
  Elementwise e;
  if (is<&Kernels::unary>(i)) {
    const auto x = args<&Kernels::unary>(i);
    e.link = {kChainUnary, x.get<int64_t>(unary_args::op), 0, nullptr, nullptr, x.get<float>(unary_args::p), x.get<float>(unary_args::q)};
    e.n = x.get<int64_t>(unary_args::n), e.a = x.ref(unary_args::x), e.y = x.ref(unary_args::y);
  } else if (is<&Kernels::unary_backward>(i)) {
    namespace at = unary_backward_args;
    const auto x = args<&Kernels::unary_backward>(i);
    e.link = {kChainUnaryBackward, x.get<int64_t>(at::op), 0, nullptr, nullptr, x.get<float>(at::p), x.get<float>(at::q)};
    e.n = x.get<int64_t>(at::n), e.a = x.ref(at::gy), e.b = x.ref(at::v), e.y = x.ref(at::gx), e.has_b = true;
  } else if (is<&Kernels::binary>(i)) {
    const auto x = args<&Kernels::binary>(i);
    e.link.kind = kChainBinary, e.link.op = x.get<int64_t>(binary_args::op);
    e.n = plain_binary(i), e.a = x.ref(binary_args::a), e.b = x.ref(binary_args::b), e.y = x.ref(binary_args::y), e.has_b = true;
  } else if (is<&Kernels::binary_scalar>(i)) {
    const auto x = args<&Kernels::binary_scalar>(i);
    e.link = {kChainBinaryScalar, x.get<int64_t>(scalar_args::op), x.get<int64_t>(scalar_args::reversed), nullptr, nullptr,
              x.get<float>(scalar_args::value), 0};
    e.n = x.get<int64_t>(scalar_args::n), e.a = x.ref(scalar_args::a), e.y = x.ref(scalar_args::y);
  }
  return e;
}

namespace {

class Fusion : Calls {
 public:
  explicit Fusion(Program& program) : Calls(program) {}

  void run(bool inference) {
    drop_dead();
    if (program_.device == Device::cpu)
      for (int i = 0; i < count(); ++i) {
        if (is<&Kernels::depthwise_conv2d_forward>(i)) pad_within_window(i);
        if (is<&Kernels::depthwise_conv2d_backward_input>(i)) crop_within_window(i);
      }
    for (int i = 0; i < count(); ++i) {
      if (is<&Kernels::batch_norm_forward>(i)) extend_norm<&Kernels::batch_norm_forward, norm::residual, norm::clip, norm::y, norm::rows>(i);
      if (is<&Kernels::batch_norm_inference>(i))
        extend_norm<&Kernels::batch_norm_inference, norm_inference::residual, norm_inference::clip, norm_inference::y, norm_inference::rows>(i);
      if (is<&Kernels::conv2d_forward>(i)) activate_conv(i);
      if (is<&Kernels::matmul>(i)) activate_matmul(i);
    }
    for (int i = 0; i < count(); ++i) {
      if (is<&Kernels::batch_norm_backward>(i)) clip_norm_backward(i);
      if (is<&Kernels::epilogue_backward>(i)) activate_epilogue(i);
    }
    for (int i = 0; i < count(); ++i)
      if (is<&Kernels::epilogue_backward>(i) || is<&Kernels::unary_backward>(i)) pool_backward_through_relu(i);
    if (inference)
      for (int i = 0; i < count(); ++i)
        if (is<&Kernels::conv2d_forward>(i)) fold_norm(i);
    for (int i = 0; i < count(); ++i) make_chain(i);
    drop_dead();
    if (program_.device == Device::cpu) {  // kernels of devices rely on arrays that do not overlap, and have other caches
      if (!inference) group_calls_by_sample();
      share_memory();
      if (inference) cut_into_strips();
    }
    emit();
  }

 private:
  void drop_dead() {
    std::vector<bool> read(program_.values.size());
    for (int i = count() - 1; i >= 0; --i) {
      Node& node = nodes_[i];
      if (node.dead) continue;
      bool needed = node.step.kernel < 0 || node.operands.empty();  // steps of the host may raise
      for (const Operand& o : node.operands)
        if (o.written) needed = needed || o.ref.place != Place::value || is_result_[o.ref.index] || read[o.ref.index];
      if (!needed) node.dead = true;
      else
        for (const Operand& o : node.operands)
          if (o.ref.place == Place::value) read[o.ref.index] = true;
    }
    index();
  }

  // ---- borders of zeros around depthwise convolutions ----

  // A call that copies an image into (or out of) the larger one that a convolution sees, which then may see the image alone.
  struct Inside {
    int64_t h, w, top, left;

    WindowShape seen_by(WindowShape s) const {
      s.ih = h, s.iw = w, s.ph += top, s.pw += left;
      return s;
    }
  };
  bool inside(int copy, bool into, const WindowShape& s, Inside* found) {
    const auto a = args<&Kernels::copy>(copy);
    const auto c = a.get<CopyShape>(copy_args::s);
    const int64_t* image = into ? c.src_stride : c.dst_stride;
    const int64_t* larger = into ? c.dst_stride : c.src_stride;
    const int64_t pixel = 4 * s.c, offset = a.ref(into ? copy_args::y : copy_args::x).offset;
    if (c.rank != (s.n > 1 ? 3 : 2)) return false;
    const int64_t line = c.rank - 2, row = c.size[line + 1] * c.itemsize;
    const Inside m{c.size[line], row / pixel, offset / pixel / s.iw, offset / pixel % s.iw};
    *found = m;
    const auto meets = [](int64_t taps, int64_t dilation, int64_t before, int64_t after) {  // every window
      return std::max(before, after) <= (taps - 1) * dilation;
    };
    return row % pixel == 0 && offset % pixel == 0 && m.top + m.h <= s.ih && m.left + m.w <= s.iw && image[line + 1] == c.itemsize &&
           larger[line + 1] == c.itemsize && image[line] == row && larger[line] == s.iw * pixel &&
           (s.n == 1 || (c.size[0] == s.n && image[0] == m.h * row && larger[0] == s.ih * s.iw * pixel)) &&
           meets(s.kh, s.dh, s.ph + m.top, s.ih - m.top - m.h) && meets(s.kw, s.dw, s.pw + m.left, s.iw - m.left - m.w);
  }
  bool is_zero(Ref ref) const {
    if (ref.place == Place::zeros) return true;
    if (ref.place != Place::value || !program_.values[ref.index].constant) return false;
    const Value& v = program_.values[ref.index];
    const HostView view(v.data);
    const auto* bytes = static_cast<const char*>(view.data());
    return !v.data.borrowed() && std::all_of(bytes, bytes + v.bytes, [](char b) { return b == 0; });
  }
  // An image copied between borders of zeros, and depthwise convolutions of all that, forward and for the gradients of weights.
  // Their sums begin with zero, which products with zeros leave as it is, unless a weight is infinite or NaN: then the border gave NaN.
  void pad_within_window(int first) {
    const Ref padded = args<&Kernels::depthwise_conv2d_forward>(first).ref(depthwise::x);
    const auto s = args<&Kernels::depthwise_conv2d_forward>(first).get<WindowShape>(depthwise::s);
    if (padded.place != Place::value || padded.offset != 0 || is_result_[padded.index]) return;
    int image = -1;
    std::vector<int> copies, readers;
    for (const auto& [node, written] : uses_[padded.index]) {
      if (!written) {
        readers.push_back(node);
      } else {
        if (!is<&Kernels::copy>(node) || image >= 0 || !readers.empty()) return;  // the image comes last
        if (!is_zero(args<&Kernels::copy>(node).ref(copy_args::x))) image = node;
        copies.push_back(node);
      }
    }
    Inside m;
    if (image < 0 || !inside(image, true, s, &m)) return;
    const Ref x = args<&Kernels::copy>(image).ref(copy_args::x);
    const auto same_image = [&](Ref ref, const WindowShape& t) {
      return ref == padded && t.n == s.n && t.ih == s.ih && t.iw == s.iw && t.c == s.c && t.kh == s.kh && t.kw == s.kw && t.dh == s.dh &&
             t.dw == s.dw && t.ph == s.ph && t.pw == s.pw;
    };
    for (const int node : readers) {
      bool fits = false;
      if (is<&Kernels::depthwise_conv2d_forward>(node)) {
        const auto a = args<&Kernels::depthwise_conv2d_forward>(node);
        fits = same_image(a.ref(depthwise::x), a.get<WindowShape>(depthwise::s)) && !same_memory(a.ref(depthwise::w), padded);
      } else if (is<&Kernels::depthwise_conv2d_backward_weights>(node)) {
        const auto a = args<&Kernels::depthwise_conv2d_backward_weights>(node);
        fits = same_image(a.ref(depthwise_weights::x), a.get<WindowShape>(depthwise_weights::s)) && !same_memory(a.ref(depthwise_weights::gy), padded);
      }
      if (!fits || !unchanged(x, image, node)) return;
    }
    for (const int node : readers) {
      const auto change = [&](const auto& a) {  // x and s are the first and last arguments of both
        a.set_ref(depthwise::x, x);
        a.set(depthwise::s, m.seen_by(a.template get<WindowShape>(depthwise::s)));
      };
      if (is<&Kernels::depthwise_conv2d_forward>(node)) change(args<&Kernels::depthwise_conv2d_forward>(node));
      else change(args<&Kernels::depthwise_conv2d_backward_weights>(node));
    }
    for (const int node : copies) nodes_[node].dead = true;
    index();
  }
  // The gradient of such a convolution's input, of which the image's part alone is wanted.
  void crop_within_window(int i) {
    const auto a = args<&Kernels::depthwise_conv2d_backward_input>(i);
    const auto s = a.get<WindowShape>(depthwise::s);
    const int j = next(a.ref(depthwise::y), i);
    Inside m;
    if (!is<&Kernels::copy>(j) || !inside(j, false, s, &m)) return;
    const Ref gx = args<&Kernels::copy>(j).ref(copy_args::y);
    if (!made_by(gx, j)) return;
    a.set_ref(depthwise::y, gx, true);
    a.set(depthwise::s, m.seen_by(s));
    remove(j);
  }

  // ---- what follows a layer ----

  // The size of the unary call at node j and its function in `op`, or 0.
  int64_t unary_at(int j, int64_t* op) {
    *op = -1;
    if (!is<&Kernels::unary>(j)) return 0;
    const auto a = args<&Kernels::unary>(j);
    *op = a.get<int64_t>(unary_args::op);
    return a.get<int64_t>(unary_args::n);
  }
  // Batch normalization, then an addition, then relu.
  template <auto K, int kResidual, int kClip, int kY, int kRows>
  void extend_norm(int i) {
    const auto a = args<K>(i);
    const int64_t n = a.template get<int64_t>(kRows) * a.template get<int64_t>(kRows + 1);
    int j = next(a.ref(kY), i);
    if (is<&Kernels::binary>(j) && plain_binary(j) == n) {
      const auto b = args<&Kernels::binary>(j);
      const Ref left = b.ref(binary_args::a), right = b.ref(binary_args::b), y = b.ref(binary_args::y);
      const Ref other = same_memory(left, a.ref(kY)) ? right : left;
      if (b.template get<int64_t>(binary_args::op) == binary_op::add && !same_memory(left, right) && made_by(y, j) &&
          made_before(other, i) && unchanged(other, i, j)) {
        a.set_ref(kResidual, other);
        a.set_ref(kY, y, true);
        remove(j);
        j = next(y, i);
      }
    }
    int64_t op;
    if (unary_at(j, &op) != n || clip_of(op) == kClipNone) return;
    const Ref y = args<&Kernels::unary>(j).ref(unary_args::y);
    if (!made_by(y, j)) return;
    a.set(kClip, clip_of(op));
    a.set_ref(kY, y, true);
    remove(j);
  }

  // The activation at node j of the n elements that node i makes; its result in `y`.
  int64_t activation_at(int j, int64_t n, Ref* y) {
    int64_t op;
    if (unary_at(j, &op) != n) return kActivationLinear;
    *y = args<&Kernels::unary>(j).ref(unary_args::y);
    return made_by(*y, j) ? activation_of(op) : int64_t(kActivationLinear);
  }
  void activate_conv(int i) {
    const auto a = args<&Kernels::conv2d_forward>(i);
    const auto s = a.get<Conv2dShape>(conv::s);
    if (a.get<int64_t>(conv::activation) != kActivationLinear) return;
    Ref y;
    const int j = next(a.ref(conv::y), i);
    const int64_t activation = activation_at(j, s.n * s.oh * s.ow * s.oc, &y);
    if (activation == kActivationLinear) return;
    a.set(conv::activation, activation);
    a.set_ref(conv::y, y, true);
    remove(j);
  }
  void activate_matmul(int i) {
    const auto a = args<&Kernels::matmul>(i);
    auto s = a.get<MatmulShape>(matmul_args::s);
    if (s.activation != kActivationLinear) return;
    int64_t n = s.m * s.n;
    for (int64_t k = 0; k < s.batch.rank; ++k) n *= s.batch.size[k];
    Ref y;
    const int j = next(a.ref(matmul_args::c), i);
    s.activation = activation_at(j, n, &y);
    if (s.activation == kActivationLinear) return;
    a.set(matmul_args::s, s);
    a.set_ref(matmul_args::c, y, true);
    remove(j);
  }

  // ---- gradients ----

  // The gradient of relu, then that of the batch normalization before it.
  void clip_norm_backward(int k) {
    const auto b = args<&Kernels::batch_norm_backward>(k);
    const Ref z = b.ref(norm_backward::gy);
    const int u = writer(z);
    if (!is<&Kernels::unary_backward>(u) || next(z, u) != k) return;
    const auto relu = args<&Kernels::unary_backward>(u);
    const int64_t clip = clip_of(relu.get<int64_t>(unary_backward_args::op));
    const Ref gy = relu.ref(unary_backward_args::gy), y = relu.ref(unary_backward_args::v);
    const int i = writer(y);
    if (clip == kClipNone || !is<&Kernels::batch_norm_forward>(i) || !unchanged(gy, u, k)) return;
    const auto f = args<&Kernels::batch_norm_forward>(i);
    if (f.get<int64_t>(norm::clip) != clip || f.ref(norm::residual).place != Place::null || f.ref(norm::y) != y) return;
    constexpr int pairs[][2] = {{norm::x, norm_backward::x}, {norm::gamma, norm_backward::gamma},
                                {norm::mean, norm_backward::mean}, {norm::rstd, norm_backward::rstd}};
    for (const auto& [mine, theirs] : pairs)
      if (f.ref(mine) != b.ref(theirs) || !unchanged(f.ref(mine), i, k)) return;
    if (!unchanged(f.ref(norm::beta), i, k)) return;
    b.set_ref(norm_backward::gy, gy);
    b.set_ref(norm_backward::beta, f.ref(norm::beta));
    b.set(norm_backward::clip, clip);
    remove(u);
  }

  // The gradient of an activation, then the sum over rows that is the gradient of a bias.
  void activate_epilogue(int k) {
    const auto e = args<&Kernels::epilogue_backward>(k);
    if (e.get<int64_t>(epilogue::activation) != kActivationLinear) return;
    const Ref z = e.ref(epilogue::gy);
    const int u = writer(z);
    if (!is<&Kernels::unary_backward>(u) || !made_by(z, u)) return;
    const auto a = args<&Kernels::unary_backward>(u);
    const int64_t activation = activation_of(a.get<int64_t>(unary_backward_args::op));
    const Ref gy = a.ref(unary_backward_args::gy), y = a.ref(unary_backward_args::v);
    if (activation == kActivationLinear || !unchanged(gy, u, k) || !unchanged(y, u, k)) return;
    if (a.get<int64_t>(unary_backward_args::n) != e.get<int64_t>(epilogue::rows) * e.get<int64_t>(epilogue::cols)) return;
    for (const auto& [node, written] : uses_[z.index])
      if (node > u && node < k) return;
    e.set(epilogue::activation, activation);
    e.set_ref(epilogue::y, y);
    e.set_ref(epilogue::gy, gy);
    e.set_ref(epilogue::gz, z, true);
    remove(u);
  }

  // The gradient of max pooling, then that of the relu before it.
  void pool_backward_through_relu(int k) {
    const bool sums = is<&Kernels::epilogue_backward>(k);
    Ref z, y, gz, gb;
    int64_t n, c = 0;
    if (sums) {
      const auto e = args<&Kernels::epilogue_backward>(k);
      if (e.get<int64_t>(epilogue::activation) != kActivationRelu) return;
      z = e.ref(epilogue::gy), y = e.ref(epilogue::y), gz = e.ref(epilogue::gz), gb = e.ref(epilogue::gb);
      c = e.get<int64_t>(epilogue::cols), n = c * e.get<int64_t>(epilogue::rows);
    } else {
      const auto a = args<&Kernels::unary_backward>(k);
      if (a.get<int64_t>(unary_backward_args::op) != unary_op::relu) return;
      z = a.ref(unary_backward_args::gy), y = a.ref(unary_backward_args::v), gz = a.ref(unary_backward_args::gx);
      n = a.get<int64_t>(unary_backward_args::n);
    }
    const int u = writer(z);
    if (!is<&Kernels::max_pool2d_backward>(u) || next(z, u) != k) return;
    const auto b = args<&Kernels::max_pool2d_backward>(u);
    const Ref gy = b.ref(pool_backward::gy), taps = b.ref(pool_backward::taps);
    const auto s = b.get<WindowShape>(pool_backward::s);
    const auto covers = [](int64_t size, int64_t stride) { return (size + stride - 1) / stride; };
    if (n != s.n * s.ih * s.iw * s.c || (c && c != s.c) || covers(s.kh, s.sh) * covers(s.kw, s.sw) > kPoolCovers) return;
    const int f = writer(taps);
    if (!is<&Kernels::max_pool2d_forward>(f)) return;
    const auto forward = args<&Kernels::max_pool2d_forward>(f);
    const Ref pooled = forward.ref(pool::y);
    if (forward.ref(pool::x) != y || forward.ref(pool::taps) != taps || !unchanged(y, f, k) || !unchanged(pooled, f, k) ||
        !unchanged(taps, f, k) || !unchanged(gy, u, k))
      return;
    replace<&Kernels::max_pool2d_backward_relu>(k, [&](const auto& to) {
      to.set_ref(pool_relu::gy, gy);
      to.set_ref(pool_relu::y, pooled);
      to.set_ref(pool_relu::taps, taps);
      to.set(pool_relu::tap_bytes, b.template get<int64_t>(pool_backward::tap_bytes));
      to.set_ref(pool_relu::gz, gz, true);
      to.set_ref(pool_relu::gb, gb, true);
      to.set(pool_relu::s, s);
    });
    remove(u);
  }

  // ---- elementwise calls in a row ----

  void make_chain(int first) {
    // What a core computes while it fetches the next call; a launch on a device costs more than any array of this size.
    const int64_t least = program_.device == Device::cpu ? 4096 : 1;
    std::vector<int> members{first};
    std::vector<Elementwise> links{elementwise(first)};
    if (links[0].n < least) return;
    while (int(members.size()) < kChainLinks) {
      const int j = next(links.back().y, members.back());
      if (j < 0) break;
      const Elementwise e = elementwise(j);
      if (e.n != links[0].n || !made_by(e.y, j)) break;
      if (e.a != links.back().y && !(e.has_b && e.b == links.back().y)) break;
      bool movable = true;
      members.push_back(j), links.push_back(e);
      for (size_t k = 0; k < members.size(); ++k)
        movable = movable && unchanged(links[k].a, members[k], j) && (!links[k].has_b || unchanged(links[k].b, members[k], j));
      if (!movable) {
        members.pop_back(), links.pop_back();
        break;
      }
    }
    if (members.size() < 2) return;
    const int last = members.back();
    const Elementwise end = links.back();
    replace<&Kernels::chain>(last, [&](const auto& to) {
      Chain c{};
      c.count = int64_t(members.size());
      for (size_t k = 0; k < links.size(); ++k) {
        c.link[k] = links[k].link;
        const auto put = [&](Ref ref, const float* const* field) {
          if (k > 0 && ref == links[k - 1].y) return;
          const int64_t at = Args<&Kernels::chain>::at[0] + (reinterpret_cast<const char*>(field) - reinterpret_cast<const char*>(&c));
          to.node.operands.push_back({at, ref, false});
        };
        put(links[k].a, &c.link[k].a);
        put(links[k].has_b ? links[k].b : links[k].a, &c.link[k].b);
      }
      to.set(0, c);
      to.set_ref(1, end.y, true);
      to.set(2, end.n);
    });
    for (size_t k = 0; k + 1 < members.size(); ++k) nodes_[members[k]].dead = true;
    index();
  }

  // ---- inference ----

  bool is_fixed(Ref ref) const {
    return ref.place == Place::null || (ref.place == Place::variable && !program_.variable_written[ref.index]);
  }
  Ref new_kept_value(int64_t bytes) {
    const Ref ref = new_value(bytes);
    program_.values[ref.index].kept = true;
    return ref;
  }
  // A convolution, then a batch normalization with constants: weights that do both.
  void fold_norm(int i) {
    const auto a = args<&Kernels::conv2d_forward>(i);
    const auto s = a.get<Conv2dShape>(conv::s);
    const int j = next(a.ref(conv::y), i);
    if (a.get<int64_t>(conv::activation) != kActivationLinear || !is<&Kernels::batch_norm_inference>(j)) return;
    const auto b = args<&Kernels::batch_norm_inference>(j);
    const int64_t clip = b.get<int64_t>(norm_inference::clip);
    if (b.ref(norm_inference::residual).place != Place::null || clip == kClipRelu6 || b.get<int64_t>(norm_inference::c) != s.oc) return;
    const Ref y = b.ref(norm_inference::y);
    constexpr int pairs[][2] = {{norm_inference::mean, fold::mean}, {norm_inference::variance, fold::variance},
                                {norm_inference::gamma, fold::gamma}, {norm_inference::beta, fold::beta}};
    for (const auto& [theirs, mine] : pairs)
      if (!is_fixed(b.ref(theirs))) return;
    if (!is_fixed(a.ref(conv::w)) || a.ref(conv::w).place == Place::null || !is_fixed(a.ref(conv::bias)) || !made_by(y, j)) return;
    const int64_t rows = s.kh * s.kw * (s.ic / s.groups);
    Node node{nodes_[i].step, {}, {}};
    node.prologue = true;
    folds_.push_back(std::move(node));
    const auto to = fill<&Kernels::fold_batch_norm>(folds_.back());
    to.set_ref(fold::w, a.ref(conv::w));
    to.set_ref(fold::bias, a.ref(conv::bias));
    for (const auto& [theirs, mine] : pairs) to.set_ref(mine, b.ref(theirs));
    to.set(fold::epsilon, b.get<float>(norm_inference::epsilon));
    const Ref wa = new_kept_value(4 * rows * s.oc), ba = new_kept_value(4 * s.oc);
    to.set_ref(fold::wa, wa, true);
    to.set_ref(fold::ba, ba, true);
    to.set(fold::rows, rows);
    to.set(fold::c, s.oc);
    a.set_ref(conv::w, wa);
    a.set_ref(conv::bias, ba);
    a.set_ref(conv::y, y, true);
    a.set(conv::activation, int64_t(clip == kClipRelu ? kActivationRelu : kActivationLinear));
    remove(j);
  }

  // ---- results in place of what they are made of ----

  // A result that is written element by element takes the memory of an operand that nobody reads afterwards.
  void share(int i, Ref y, std::initializer_list<Ref> operands) {
    if (!made_by(y, i) || is_result_[y.index]) return;
    const Value& result = program_.values[y.index];
    for (const Ref& x : operands) {
      if (x.place != Place::value || x.offset != 0 || x.index == y.index || is_result_[x.index]) continue;
      const Value& v = program_.values[x.index];
      if (v.constant || v.kept || v.in_strip != result.in_strip || v.bytes != result.bytes) continue;
      bool last = true;
      for (const auto& [node, written] : uses_[x.index]) last = last && node <= i;
      if (!last) continue;
      program_.in_place.push_back({y.index, x.index});
      return;
    }
  }
  void share_memory() {
    for (int i = 0; i < count(); ++i) {
      if (const Elementwise e = elementwise(i); e.n > 0) share(i, e.y, {e.a, e.b});
      if (is<&Kernels::chain>(i)) {
        const auto a = args<&Kernels::chain>(i);
        for (const Operand& o : nodes_[i].operands)
          if (!o.written && (program_.in_place.empty() || program_.in_place.back().first != a.ref(1).index)) share(i, a.ref(1), {o.ref});
      }
      if (is<&Kernels::dropout>(i)) {
        const auto a = args<&Kernels::dropout>(i);
        share(i, a.ref(dropout_args::y), {a.ref(dropout_args::x)});
      }
      if (is<&Kernels::epilogue_backward>(i)) {
        const auto a = args<&Kernels::epilogue_backward>(i);
        if (a.ref(epilogue::gz).place == Place::value) share(i, a.ref(epilogue::gz), {a.ref(epilogue::gy), a.ref(epilogue::y)});
      }
      if (is<&Kernels::batch_norm_gradient>(i)) {
        const auto a = args<&Kernels::batch_norm_gradient>(i);
        share(i, a.ref(norm_gradient::gx), {a.ref(norm_gradient::gy), a.ref(norm_gradient::x)});
      }
      if (is<&Kernels::batch_norm_backward>(i)) {
        const auto a = args<&Kernels::batch_norm_backward>(i);
        if (a.ref(norm_backward::gx).place == Place::value)
          share(i, a.ref(norm_backward::gx), {a.ref(norm_backward::gy), a.ref(norm_backward::x)});
      }
    }
  }

  // ---- the new program ----

  void emit() {
    Program& p = program_;
    p.steps.clear(), p.operands.clear(), p.args.clear(), p.strips.clear();
    const auto add = [&](const Node& node) {
      Step s = node.step;
      s.args = int64_t(p.args.size()), s.bytes = int64_t(node.args.size());
      s.first_operand = int64_t(p.operands.size()), s.operands = int64_t(node.operands.size());
      p.args.insert(p.args.end(), node.args.begin(), node.args.end());
      for (Operand o : node.operands) {
        o.at += s.args;
        p.operands.push_back(o);
      }
      p.steps.push_back(s);
    };
    for (const Node& node : folds_) {
      add(node);
      for (const Operand& o : node.operands)
        if (o.ref.place == Place::variable) p.prologue_variables.push_back(o.ref.index);
    }
    p.prologue = int64_t(folds_.size());
    for (int i = 0, end; i < count(); i = end) {
      end = i + 1;
      if (nodes_[i].dead) continue;
      if (nodes_[i].group == 0) {
        add(nodes_[i]);
        continue;
      }
      while (end < count() && nodes_[end].group == nodes_[i].group) ++end;
      p.strips.push_back({int64_t(p.steps.size()), end - i, nodes_[i].strips});
      for (const Node& node : strips_of(i, end)) add(node);
    }
  }

  std::vector<Node> folds_;
};

}  // namespace

void Program::fuse(bool inference) {
  recorded = std::make_shared<const Program>(*this);
  put_checks_first();
  Fusion(*this).run(inference);
}

}  // namespace fastnn
