// A few samples at a time, so that a call reads what the one before it has left in the second-level cache.
//
// In inference calls in a row are repeated for strips of samples, each on all threads, and what is only handed on
// takes the memory of one strip. In training, where nearly all results are read again later, a thread takes a strip
// through all calls of a group, and each call gives the bits that it gives for all samples at once.
#include <algorithm>

#include "fusion.h"
#include "parallel.h"

namespace fastnn {

// ---- inference ----

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

// ---- training ----

// How a node's arrays are made of samples.
struct Calls::Samples {
  struct Slice {
    int64_t at, bytes;  // of the pointer, in the node's arguments; of a sample
  };
  int64_t n = 0;      // 0: the node's result cannot be made sample by sample
  int64_t least = 1;  // samples of a strip
  bool first = false; // it must have all samples of its operands before, and is split: see split_norm
  std::vector<Slice> slices;  // other operands are read by all samples

  template <auto K>
  void add(const Args<K>& a, int i, int64_t bytes) {
    if (a.ref(i).place != Place::null) slices.push_back({Args<K>::at[i], bytes});
  }
};

// What calls of a group touch.
struct Calls::Memory {
  Ref ref;
  int64_t bytes;  // of a sample; 0: read by all samples
  bool written, handed_on;
};

struct Calls::Group {
  std::vector<int> members;
  int64_t n = 0, strips = 0;
  bool split = false;
};

// n: the number of samples of calls that do not tell it themselves, or 0.
Calls::Samples Calls::samples_of(int i, int64_t n) {
  Samples found;
  // Products of pixels have the same bits for any number of pixels from here on (gemm.cpp); the tile unit takes kTogether at a
  // time, and computes with vectors where those are not finite.
  constexpr int64_t kPixels = 256, kTogether = 32, kChannels = 512, kWeights = 65536;
  const auto pointwise = [&](const Conv2dShape& s) {
    if (s.kh * s.kw * s.sh * s.sw * s.groups != 1 || s.ph || s.pw || s.oh != s.ih || s.ow != s.iw) return;
    if (s.ic > kChannels || s.oc > kChannels || s.ic * s.oc > kWeights || s.oh * s.ow % kTogether) return;
    found.n = s.n, found.least = (kPixels + s.oh * s.ow - 1) / std::max<int64_t>(1, s.oh * s.ow);
  };
  const auto window = [&]<auto K>(int x, int y, int shape, int taps, int tap_bytes) {
    const Args<K> a{nodes_[i]};
    const auto s = a.template get<WindowShape>(shape);
    found.n = s.n;
    found.add(a, x, 4 * s.ih * s.iw * s.c);
    found.add(a, y, 4 * s.oh * s.ow * s.c);
    if (taps >= 0) found.add(a, taps, a.template get<int64_t>(tap_bytes) * s.oh * s.ow * s.c);
  };
  const auto rows = [&]<auto K>(int count, std::initializer_list<int> arrays) {
    const Args<K> a{nodes_[i]};
    const int64_t all = a.template get<int64_t>(count), c = a.template get<int64_t>(count + 1);
    if (n == 0 || all % n) return;
    found.n = n;
    for (const int k : arrays) found.add(a, k, 4 * all / n * c);
  };
  if (is<&Kernels::conv2d_forward>(i)) {
    const auto a = args<&Kernels::conv2d_forward>(i);
    const auto s = a.get<Conv2dShape>(conv::s);
    pointwise(s);
    found.add(a, conv::x, 4 * s.ih * s.iw * s.ic);
    found.add(a, conv::y, 4 * s.oh * s.ow * s.oc);
  } else if (is<&Kernels::conv2d_backward_input>(i)) {
    const auto a = args<&Kernels::conv2d_backward_input>(i);
    const auto s = a.get<Conv2dShape>(conv_backward_input::s);
    pointwise(s);
    found.add(a, conv_backward_input::gy, 4 * s.oh * s.ow * s.oc);
    found.add(a, conv_backward_input::gx, 4 * s.ih * s.iw * s.ic);
  } else if (is<&Kernels::depthwise_conv2d_forward>(i)) {
    window.template operator()<&Kernels::depthwise_conv2d_forward>(depthwise::x, depthwise::y, depthwise::s, -1, 0);
  } else if (is<&Kernels::depthwise_conv2d_backward_input>(i)) {  // gy stands in the place of x
    window.template operator()<&Kernels::depthwise_conv2d_backward_input>(depthwise::y, depthwise::x, depthwise::s, -1, 0);
  } else if (is<&Kernels::max_pool2d_forward>(i)) {
    window.template operator()<&Kernels::max_pool2d_forward>(pool::x, pool::y, pool::s, pool::taps, pool::tap_bytes);
  } else if (is<&Kernels::max_pool2d_backward>(i)) {
    namespace at = pool_backward;
    window.template operator()<&Kernels::max_pool2d_backward>(at::gx, at::gy, at::s, at::taps, at::tap_bytes);
  } else if (is<&Kernels::average_pool2d_forward>(i)) {
    window.template operator()<&Kernels::average_pool2d_forward>(average::x, average::y, average::s, -1, 0);
  } else if (is<&Kernels::average_pool2d_backward>(i)) {
    window.template operator()<&Kernels::average_pool2d_backward>(average::y, average::x, average::s, -1, 0);
  } else if (is<&Kernels::batch_norm_inference>(i)) {
    rows.template operator()<&Kernels::batch_norm_inference>(norm_inference::rows, {norm_inference::x, norm_inference::residual, norm_inference::y});
  } else if (is<&Kernels::batch_norm_forward>(i)) {
    rows.template operator()<&Kernels::batch_norm_forward>(norm::rows, {norm::x, norm::residual, norm::y});
    found.first = true;
  } else if (is<&Kernels::batch_norm_backward>(i)) {
    namespace at = norm_backward;
    if (args<&Kernels::batch_norm_backward>(i).ref(at::gx).place != Place::null)
      rows.template operator()<&Kernels::batch_norm_backward>(at::rows, {at::x, at::gy, at::gx});
    found.first = true;
  } else if (is<&Kernels::batch_norm_gradient>(i)) {
    rows.template operator()<&Kernels::batch_norm_gradient>(norm_gradient::rows, {norm_gradient::x, norm_gradient::gy, norm_gradient::gx});
  }
  return found;
}

// The call of node i for the samples [first, first + count).
Node Calls::samples_from(int i, int64_t first, int64_t count) {
  const int64_t n = nodes_[i].samples;
  const Samples s = samples_of(i, n);
  Node node = nodes_[i];
  for (const Samples::Slice& slice : s.slices)
    for (Operand& o : node.operands)
      if (o.at == slice.at) o.ref.offset += first * slice.bytes;
  const auto resize = [&]<auto K, class Shape>(int at, Shape shape) {
    if constexpr (std::is_same_v<Shape, int64_t>) shape = shape / n * count;
    else shape.n = count;
    Args<K>{node}.set(at, shape);
  };
#define FASTNN_RESIZE(name, at, Shape) \
  if (is<&Kernels::name>(i)) resize.template operator()<&Kernels::name>(at, args<&Kernels::name>(i).template get<Shape>(at))
  FASTNN_RESIZE(conv2d_forward, conv::s, Conv2dShape);
  FASTNN_RESIZE(conv2d_backward_input, conv_backward_input::s, Conv2dShape);
  FASTNN_RESIZE(depthwise_conv2d_forward, depthwise::s, WindowShape);
  FASTNN_RESIZE(depthwise_conv2d_backward_input, depthwise::s, WindowShape);
  FASTNN_RESIZE(max_pool2d_forward, pool::s, WindowShape);
  FASTNN_RESIZE(max_pool2d_backward, pool_backward::s, WindowShape);
  FASTNN_RESIZE(average_pool2d_forward, average::s, WindowShape);
  FASTNN_RESIZE(average_pool2d_backward, average::s, WindowShape);
  FASTNN_RESIZE(batch_norm_inference, norm_inference::rows, int64_t);
  FASTNN_RESIZE(batch_norm_gradient, norm_gradient::rows, int64_t);
#undef FASTNN_RESIZE
  return node;
}

// Node j, which stands behind i, may as well stand before it.
bool Calls::separate(int i, int j) const {
  if (nodes_[i].step.kernel < 0 || nodes_[j].step.kernel < 0) return false;
  for (const Operand& a : nodes_[i].operands)
    for (const Operand& b : nodes_[j].operands)
      if ((a.written || b.written) && same_memory(a.ref, b.ref)) return false;
  return true;
}

// Whether all calls of the group see the same samples at the same places when i is one of them, which is then noted.
bool Calls::joins(int i, const Samples& s, std::vector<Memory>& touched) const {
  std::vector<Memory> all = touched;
  for (const Operand& o : nodes_[i].operands) {
    if (o.ref.place == Place::null || o.ref.place == Place::zeros) continue;
    int64_t bytes = 0;
    for (const Samples::Slice& slice : s.slices)
      if (slice.at == o.at) bytes = slice.bytes;
    if (o.written && bytes == 0 && !s.first) return false;
    const auto known = std::find_if(all.begin(), all.end(), [&](const Memory& m) { return same_memory(m.ref, o.ref); });
    if (known == all.end()) {
      all.push_back({o.ref, bytes, o.written, false});
      continue;
    }
    if (!known->written && !o.written && (known->bytes == 0) != (bytes == 0)) return false;
    if ((known->written || o.written) && (known->bytes != bytes || known->ref != o.ref)) return false;
    known->handed_on = known->handed_on || known->written;
    known->written = known->written || o.written;
  }
  touched = std::move(all);
  return true;
}

// The calls from node i on that make a group: each reads what one before it has made.
Calls::Group Calls::group_from(int i) {
  constexpr int kReach = 12;                                              // calls that may stand between
  constexpr int64_t kCaches = 4 << 20, kStrip = 1 << 20, kMost = 3 << 20;  // of all cores; of a core, and where nothing is gained
  Group group;
  for (int j = i; j < std::min(count(), i + kReach) && group.n == 0; ++j) group.n = samples_of(j, 0).n;
  Samples s = samples_of(i, group.n);
  std::vector<Memory> touched;
  if (s.n < 2 || s.n != group.n || !joins(i, s, touched)) return {};
  group.members = {i}, group.split = s.first;
  int64_t least = s.least;
  std::vector<int> between;
  for (int j = i + 1; j < count() && int(between.size()) < kReach; ++j) {
    s = samples_of(j, group.n);
    bool fits = s.n == group.n && !s.first, reads = false;
    for (const Operand& o : nodes_[j].operands)
      for (const Memory& m : touched) reads = reads || (!o.written && m.written && same_memory(o.ref, m.ref));
    for (const int k : between) fits = fits && separate(k, j);
    if (fits && reads && joins(j, s, touched)) {
      group.members.push_back(j);
      least = std::max(least, s.least);
    } else {
      between.push_back(j);
    }
  }
  int64_t bytes = 0, handed_on = 0;
  for (const Memory& m : touched) {
    bytes += m.bytes;
    if (m.handed_on) handed_on += m.bytes;
  }
  if (group.members.size() < 2 || bytes > kMost || handed_on * group.n < kCaches) return {};
  // At least eight strips, and two for a thread: the last ones decide when all are through.
  const int64_t enough = std::max<int64_t>(8, 2 * num_threads());
  const int64_t size = std::max(least, std::min(kStrip / std::max<int64_t>(1, bytes), group.n / enough));
  group.strips = group.n / std::max<int64_t>(1, size);
  if (group.strips < enough) return {};
  return group;
}

// A batch normalization, or its gradient, as what must see all samples first and what need not.
std::vector<Node> Calls::split_norm(int i) {
  std::vector<Node> two(2, Node{nodes_[i].step, {}, {}});
  if (is<&Kernels::batch_norm_forward>(i)) {
    namespace from = norm;
    namespace sums = norm_statistics;
    namespace rest = norm_inference;
    const auto a = args<&Kernels::batch_norm_forward>(i);
    const auto b = fill<&Kernels::batch_norm_statistics>(two[0]);
    const auto c = fill<&Kernels::batch_norm_inference>(two[1]);
    b.set_ref(sums::x, a.ref(from::x));
    b.set(sums::epsilon, a.get<float>(from::epsilon));
    b.set_ref(sums::mean, a.ref(from::mean), true);
    b.set_ref(sums::variance, a.ref(from::variance), true);
    b.set_ref(sums::rstd, a.ref(from::rstd), true);
    c.set_ref(rest::x, a.ref(from::x));
    c.set_ref(rest::mean, a.ref(from::mean));
    c.set_ref(rest::variance, a.ref(from::variance));
    c.set_ref(rest::gamma, a.ref(from::gamma));
    c.set_ref(rest::beta, a.ref(from::beta));
    c.set_ref(rest::residual, a.ref(from::residual));
    c.set(rest::epsilon, a.get<float>(from::epsilon));
    c.set(rest::clip, a.get<int64_t>(from::clip));
    c.set_ref(rest::y, a.ref(from::y), true);
    for (int k = 0; k < 2; ++k) b.set(sums::rows + k, a.get<int64_t>(from::rows + k)), c.set(rest::rows + k, a.get<int64_t>(from::rows + k));
    return two;
  }
  namespace from = norm_backward;
  namespace sums = norm_gradient_sums;
  namespace rest = norm_gradient;
  const auto a = args<&Kernels::batch_norm_backward>(i);
  const auto b = fill<&Kernels::batch_norm_gradient_sums>(two[0]);
  const auto c = fill<&Kernels::batch_norm_gradient>(two[1]);
  const Ref factors = new_value(12 * a.get<int64_t>(from::c));
  constexpr int both[][2] = {{from::x, sums::x}, {from::gy, sums::gy}, {from::gamma, sums::gamma}, {from::beta, sums::beta},
                             {from::mean, sums::mean}, {from::rstd, sums::rstd}};
  for (const auto& [theirs, mine] : both) b.set_ref(mine, a.ref(theirs));
  b.set(sums::clip, a.get<int64_t>(from::clip));
  b.set_ref(sums::ggamma, a.ref(from::ggamma), true);
  b.set_ref(sums::gbeta, a.ref(from::gbeta), true);
  b.set_ref(sums::rest, factors, true);
  c.set_ref(rest::x, a.ref(from::x));
  c.set_ref(rest::gy, a.ref(from::gy));
  c.set_ref(rest::beta, a.ref(from::beta));
  c.set_ref(rest::mean, a.ref(from::mean));
  c.set_ref(rest::rest, factors);
  c.set(rest::clip, a.get<int64_t>(from::clip));
  c.set_ref(rest::gx, a.ref(from::gx), true);
  for (int k = 0; k < 2; ++k) b.set(sums::rows + k, a.get<int64_t>(from::rows + k)), c.set(rest::rows + k, a.get<int64_t>(from::rows + k));
  return two;
}

// Finds groups and moves their calls together: before the others that stand between them.
void Calls::group_calls_by_sample() {
  std::erase_if(nodes_, [](const Node& node) { return node.dead; });
  index();
  int64_t number = 0;
  for (int i = 0; i < count(); ++i) {
    const Group group = group_from(i);
    if (group.members.empty()) continue;
    std::vector<Node> order;
    if (group.split) order = split_norm(i);
    else order = {nodes_[i]};
    const int first = int(order.size()) - 1, last = group.members.back();
    for (const int j : group.members)
      if (j != i) order.push_back(nodes_[j]);
    const int members = int(order.size());
    for (int j = i + 1; j < last; ++j)
      if (std::find(group.members.begin(), group.members.end(), j) == group.members.end()) order.push_back(nodes_[j]);
    ++number;
    for (int k = first; k < members; ++k) order[k].group = number, order[k].samples = group.n, order[k].strips = group.strips;
    nodes_.erase(nodes_.begin() + i, nodes_.begin() + last + 1);
    nodes_.insert(nodes_.begin() + i, std::make_move_iterator(order.begin()), std::make_move_iterator(order.end()));
    index();
    i += members - 1;
  }
}

std::vector<Node> Calls::strips_of(int first, int end) {
  std::vector<Node> strips;
  const int64_t n = nodes_[first].samples, count = nodes_[first].strips;
  for (int64_t t = 0; t < count; ++t)
    for (int i = first; i < end; ++i) strips.push_back(samples_from(i, t * n / count, (t + 1) * n / count - t * n / count));
  return strips;
}

}  // namespace fastnn
