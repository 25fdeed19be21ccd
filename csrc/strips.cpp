// A few samples at a time, so that a call reads what the one before it has left in the second-level cache.
#include <algorithm>

#include "fusion.h"

namespace fastnn {

// A node that makes each sample of its result of one sample of its operand.
struct Calls::BySample {
  int64_t n = 0;  // 0: the node is something else
  Ref x, y;
  int64_t x_bytes = 0, y_bytes = 0, weight_bytes = 0;  // of a sample; of what all samples read
};
Calls::BySample Calls::by_sample(int i) {
  if (is<&Kernels::conv2d_forward>(i)) {
    const auto a = args<&Kernels::conv2d_forward>(i);
    const auto s = a.get<Conv2dShape>(conv::s);
    return {s.n, a.ref(conv::x), a.ref(conv::y), 4 * s.ih * s.iw * s.ic, 4 * s.oh * s.ow * s.oc, 4 * s.kh * s.kw * (s.ic / s.groups) * s.oc};
  }
  if (is<&Kernels::max_pool2d_forward>(i)) {
    const auto a = args<&Kernels::max_pool2d_forward>(i);
    const auto s = a.get<WindowShape>(pool::s);
    if (a.ref(pool::taps).place == Place::null) return {s.n, a.ref(pool::x), a.ref(pool::y), 4 * s.ih * s.iw * s.c, 4 * s.oh * s.ow * s.c};
  }
  return {};
}
// The call of node i for `n` samples.
Node Calls::strip_of(int i, Ref x, Ref y, int64_t n) {
  Node node = nodes_[i];
  if (is<&Kernels::conv2d_forward>(i)) {
    const Args<&Kernels::conv2d_forward> a{node};
    auto s = a.get<Conv2dShape>(conv::s);
    s.n = n;
    a.set(conv::s, s), a.set_ref(conv::x, x), a.set_ref(conv::y, y, true);
  } else {
    const Args<&Kernels::max_pool2d_forward> a{node};
    auto s = a.get<WindowShape>(pool::s);
    s.n = n;
    a.set(pool::s, s), a.set_ref(pool::x, x), a.set_ref(pool::y, y, true);
  }
  return node;
}
// Convolutions and poolings in a row whose results are too large for the second-level cache take the samples in
// strips, so that each reads what the one before it has left there.
void Calls::cut_into_strips() {
  constexpr int64_t kCaches = 4 << 20, kStrip = 1536 << 10, kWeights = 256 << 10, kLeast = 8;
  std::erase_if(nodes_, [](const Node& node) { return node.dead; });
  index();
  std::vector<Node> cut;
  for (int i = 0, end; i < count(); i = end) {
    std::vector<BySample> members;
    int64_t between = 0, largest = 1;
    for (end = i; end < count(); ++end) {
      const BySample m = by_sample(end);
      if (m.n == 0 || m.weight_bytes > kWeights) break;
      if (!members.empty()) {
        if (m.x != members.back().y || next(m.x, end - 1) != end || m.n != members[0].n) break;
        between += m.n * m.x_bytes, largest = std::max(largest, m.x_bytes);
      }
      members.push_back(m);
    }
    if (end == i) end = i + 1;
    const int64_t n = members.empty() ? 0 : members[0].n, most = kStrip / largest / kLeast * kLeast;
    if (members.size() < 2 || between <= kCaches || most < kLeast || n <= most) {
      for (int k = i; k < end; ++k) cut.push_back(nodes_[k]);
      continue;
    }
    const int64_t strips = (n + most - 1) / most;
    for (int64_t t = 0, from = 0, to; t < strips; ++t, from = to) {
      to = (t + 1) * n / strips;
      for (size_t k = 0; k < members.size(); ++k) {
        Ref x = members[k].x, y = members[k].y;
        if (k == 0) x.offset += from * members[k].x_bytes;
        if (k + 1 == members.size()) y.offset += from * members[k].y_bytes;
        cut.push_back(strip_of(i + int(k), x, y, to - from));
      }
    }
    for (size_t k = 0; k + 1 < members.size(); ++k)
      program_.values[members[k].y.index].bytes = (n + strips - 1) / strips * members[k].y_bytes;
  }
  nodes_ = std::move(cut);
}

}  // namespace fastnn
