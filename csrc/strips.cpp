// A few samples at a time, so that a call reads what the one before it has left in the second-level cache.
//
// In inference calls in a row are repeated for strips of samples, each on all threads, and what is only handed on
// takes the memory of one strip. In training, where nearly all results are read again later, a thread takes a strip
// through all calls of a group, and each call gives the bits that it gives for all samples at once.
#include <algorithm>

#include "fusion.h"
#include "parallel.h"
#include "samples.h"

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

constexpr int kReach = 12;  // calls that may stand between those of a group

// The calls that go sample by sample: where their arguments hold the size and the arrays.
struct Form {
  enum Size { kPixels, kWindow, kRows };
  int kernel;
  Size size;
  int64_t at;                  // of the shape, or of the number of rows, which the channels follow
  std::vector<int64_t> arrays;  // kPixels, kWindow: of images, of results; taps of results and their bytes. kRows: all alike
  bool first = false;          // it must have all samples of its operands before, and is split: see split_norm
  int64_t partial = -1, each = 0;  // of sums of chunks of rows, and how many there are for a channel
  int64_t sum = -1;            // of a result that is a sum over samples
};
template <auto K>
Form form(Form::Size size, int at, std::initializer_list<int> arrays) {
  Form f{index_of<K>(), size, Args<K>::at[at], {}};
  for (const int i : arrays) f.arrays.push_back(Args<K>::at[i]);
  return f;
}
template <auto K>
Form form_of_sum(Form::Size size, int at, std::initializer_list<int> arrays, int sum) {
  Form f = form<K>(size, at, arrays);
  f.sum = Args<K>::at[sum];
  return f;
}
template <auto K>
Form form_of_norm(int at, std::initializer_list<int> arrays) {
  Form f = form<K>(Form::kRows, at, arrays);
  f.first = true;
  return f;
}
template <auto K>
Form form_of_chunks(int at, std::initializer_list<int> arrays, int partial, int64_t each) {
  Form f = form<K>(Form::kRows, at, arrays);
  f.partial = Args<K>::at[partial], f.each = each;
  return f;
}
const Form* form_of(int kernel) {
  using T = Kernels;
  static const Form all[] = {
      form<&T::conv2d_forward>(Form::kPixels, conv::s, {conv::x, conv::y}),
      form<&T::conv2d_backward_input>(Form::kPixels, conv_backward_input::s, {conv_backward_input::gx, conv_backward_input::gy}),
      form_of_sum<&T::conv2d_backward_weights>(Form::kPixels, backward_weights::s, {backward_weights::x, backward_weights::gy}, backward_weights::gw),
      form<&T::depthwise_conv2d_forward>(Form::kWindow, depthwise::s, {depthwise::x, depthwise::y}),
      form<&T::depthwise_conv2d_backward_input>(Form::kWindow, depthwise::s, {depthwise::y, depthwise::x}),  // gy stands in the place of x
      form_of_sum<&T::depthwise_conv2d_backward_weights>(Form::kWindow, backward_weights::s, {backward_weights::x, backward_weights::gy}, backward_weights::gw),
      form<&T::max_pool2d_forward>(Form::kWindow, pool::s, {pool::x, pool::y, pool::taps, pool::tap_bytes}),
      form<&T::max_pool2d_backward>(Form::kWindow, pool_backward::s, {pool_backward::gx, pool_backward::gy, pool_backward::taps, pool_backward::tap_bytes}),
      form<&T::average_pool2d_forward>(Form::kWindow, average::s, {average::x, average::y}),
      form<&T::average_pool2d_backward>(Form::kWindow, average::s, {average::y, average::x}),
      form<&T::batch_norm_inference>(Form::kRows, norm_inference::rows, {norm_inference::x, norm_inference::residual, norm_inference::y}),
      form<&T::batch_norm_gradient>(Form::kRows, norm_gradient::rows, {norm_gradient::x, norm_gradient::gy, norm_gradient::gx}),
      form_of_norm<&T::batch_norm_forward>(norm::rows, {norm::x, norm::residual, norm::y}),
      form_of_norm<&T::batch_norm_backward>(norm_backward::rows, {norm_backward::x, norm_backward::gy, norm_backward::gx}),
      form_of_chunks<&T::batch_norm_chunks>(norm_chunks::rows, {norm_chunks::x}, norm_chunks::partial, 3),
      form_of_chunks<&T::batch_norm_gradient_chunks>(norm_gradient_chunks::rows, {norm_gradient_chunks::x, norm_gradient_chunks::gy},
                                                     norm_gradient_chunks::partial, 2),
  };
  for (const Form& f : all)
    if (f.kernel == kernel) return &f;
  return nullptr;
}
template <class T>
T argument(const Node& node, int64_t at) {
  T value;
  std::memcpy(&value, node.args.data() + at, sizeof value);
  return value;
}
template <class T>
void set_argument(Node& node, int64_t at, T value) {
  std::memcpy(node.args.data() + at, &value, sizeof value);
}

// How a node's arrays are made of samples.
struct Calls::Samples {
  struct Slice {
    int64_t at, bytes;  // of the pointer, in the node's arguments; of a sample
  };
  const Form* form = nullptr;
  int64_t n = 0;      // 0: the node's result cannot be made sample by sample
  int64_t least = 1;  // samples of a strip
  int64_t exactly = 0, sum_floats = 0;  // samples of a strip whose sum is a part of the node's result, and the size of that
  int64_t chunks = 0;  // of batch normalization in a sample, 0: they are not of whole samples
  std::vector<Slice> slices;  // other operands are read by all samples

  bool first() const { return form->first; }
};

// What calls of a group touch.
struct Calls::Memory {
  Ref ref;
  int64_t bytes;  // of a sample; 0: read by all samples
  bool written, handed_on;
  bool after = false, kept = false;  // made after the strips; read after them
};

struct Calls::Group {
  std::vector<int> members;
  int64_t n = 0, strips = 0;
  bool split = false;
};

// n: the number of samples of calls that do not tell it themselves, or 0.
Calls::Samples Calls::samples_of(int i, int64_t n) {
  const Node& node = nodes_[i];
  Samples found;
  found.form = node.dead ? nullptr : form_of(node.step.kernel);
  if (!found.form) return {};
  const Form& f = *found.form;
  const auto add = [&](size_t array, int64_t bytes) {
    for (const Operand& o : node.operands)
      if (o.at == f.arrays[array]) found.slices.push_back({o.at, bytes});
  };
  if (f.size == Form::kPixels) {
    const auto s = argument<Conv2dShape>(node, f.at);
    if (!is_by_sample(s)) return {};
    const int64_t rows = rows_alike(s);
    found.n = s.n, found.least = (rows + s.oh * s.ow - 1) / (s.oh * s.ow);
    if (f.sum >= 0) found.exactly = samples_of_sum(s), found.sum_floats = s.ic * s.oc;
    add(0, 4 * s.ih * s.iw * s.ic), add(1, 4 * s.oh * s.ow * s.oc);
  } else if (f.size == Form::kWindow) {
    const auto s = argument<WindowShape>(node, f.at);
    found.n = s.n;
    if (f.sum >= 0) found.exactly = samples_of_sum(s), found.sum_floats = s.kh * s.kw * s.c;
    add(0, 4 * s.ih * s.iw * s.c), add(1, 4 * s.oh * s.ow * s.c);
    if (f.arrays.size() > 2) add(2, argument<int64_t>(node, f.arrays[3]) * s.oh * s.ow * s.c);
  } else {
    const int64_t rows = argument<int64_t>(node, f.at), c = argument<int64_t>(node, f.at + sizeof rows);
    if (n == 0 || rows % n) return {};
    found.n = n;
    for (size_t k = 0; k < f.arrays.size(); ++k) add(k, 4 * rows / n * c);
    const int64_t floats = rows / n * c, chunk = c > 0 ? norm_lines(c).chunk : 1;
    found.chunks = floats % chunk ? 0 : floats / chunk;
    if (f.partial >= 0) found.slices.push_back({f.partial, 4 * f.each * c * found.chunks});
  }
  if (f.sum >= 0 && found.exactly == 0) return {};
  // A normalization's gradient may be wanted for its parameters alone.
  if (f.first && std::none_of(found.slices.begin(), found.slices.end(), [&](auto& s) { return s.at == f.arrays.back(); })) return {};
  return found;
}

// The call of node i for the samples [first, first + count), the samples of strip `strip`.
Node Calls::samples_from(int i, int64_t strip, int64_t first, int64_t count) {
  const int64_t n = nodes_[i].samples;
  const Samples s = samples_of(i, n);
  Node node = nodes_[i];
  for (Operand& o : node.operands) {
    for (const Samples::Slice& slice : s.slices)
      if (slice.at == o.at && !is_in_strip(o.ref)) o.ref.offset += first * slice.bytes;
    if (o.at == s.form->sum) o.ref.offset += strip * 4 * s.sum_floats;
  }
  const auto resized = [&]<class Shape>(Shape shape) {
    shape.n = count;
    return shape;
  };
  const int64_t at = s.form->at;
  switch (s.form->size) {
    case Form::kPixels: set_argument(node, at, resized(argument<Conv2dShape>(node, at))); break;
    case Form::kWindow: set_argument(node, at, resized(argument<WindowShape>(node, at))); break;
    case Form::kRows: set_argument(node, at, argument<int64_t>(node, at) / n * count);
  }
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

// Whether all calls of the group see the same samples at the same places when i is one of them, which is then noted. A normalization
// behind others ends the group: its sums of chunks are made there.
bool Calls::joins(int i, const Samples& s, std::vector<Memory>& touched) const {
  const bool ends = s.first() && !touched.empty();
  std::vector<Memory> all = touched;
  for (const Operand& o : nodes_[i].operands) {
    if (o.ref.place == Place::null || o.ref.place == Place::zeros) continue;
    for (const Memory& m : touched)
      if (same_memory(m.ref, o.ref) && (m.after || (m.kept && o.written))) return false;
    int64_t bytes = 0;
    for (const Samples::Slice& slice : s.slices)
      if (slice.at == o.at) bytes = slice.bytes;
    if (o.at == s.form->sum || (ends && o.written)) {  // see split_sum and split_norm
      all.push_back({o.ref, 0, false, false, true});
      continue;
    }
    if (o.written && bytes == 0 && !s.first()) return false;
    const auto known = std::find_if(all.begin(), all.end(), [&](const Memory& m) { return !m.after && same_memory(m.ref, o.ref); });
    if (known == all.end()) {
      all.push_back({o.ref, bytes, o.written, false, false, ends});
      continue;
    }
    known->kept = known->kept || ends;
    if (!known->written && !o.written && (known->bytes == 0) != (bytes == 0)) return false;
    if ((known->written || o.written) && (known->bytes != bytes || known->ref != o.ref)) return false;
    known->handed_on = known->handed_on || known->written;
    known->written = known->written || o.written;
  }
  touched = std::move(all);
  return true;
}

// The calls from node i on that make a group: each reads what one before it has made. exactly: the samples of a strip, for
// groups with sums over samples, or 0.
Calls::Group Calls::group_from(int i, int64_t exactly) {
  constexpr int64_t kCaches = 4 << 20, kStrip = 1 << 20, kMost = 3 << 20;  // of all cores; of a core, and where nothing is gained
  constexpr int64_t kMostExactly = 4 << 20;
  Group group;
  for (int j = i; j < std::min(count(), i + kReach) && group.n == 0; ++j) group.n = samples_of(j, 0).n;
  Samples s = samples_of(i, group.n);
  std::vector<Memory> touched;
  if (s.n < 2 || s.n != group.n || s.exactly || !joins(i, s, touched)) return {};
  group.members = {i}, group.split = s.first();
  int64_t least = s.least;
  std::vector<int> between;
  for (int j = i + 1; j < count() && int(between.size()) < kReach; ++j) {
    s = samples_of(j, group.n);
    bool fits = s.n == group.n && (!s.first() || s.chunks) && (s.exactly == 0 || s.exactly == exactly), reads = false;
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
  if (group.members.size() < 2 || (exactly ? bytes * exactly > kMostExactly : bytes > kMost) || handed_on * group.n < kCaches) return {};
  // At least eight strips, and two for a thread: the last ones decide when all are through.
  const int64_t enough = std::max<int64_t>(8, 2 * num_threads());
  const int64_t size = exactly ? exactly : std::max(least, std::min(kStrip / std::max<int64_t>(1, bytes), group.n / enough));
  group.strips = group.n / std::max<int64_t>(1, size);
  if (group.strips < enough || size < least) return {};
  return group;
}
// With the sums over samples that what it makes goes into, where there are any.
Calls::Group Calls::group_from(int i) {
  const Group plain = group_from(i, 0);
  if (plain.members.empty()) return plain;
  for (int j = i + 1; j < std::min(count(), plain.members.back() + kReach); ++j)
    if (const int64_t exactly = samples_of(j, plain.n).exactly)
      if (Group group = group_from(i, exactly); group.members.size() > plain.members.size()) return group;
  return plain;
}

// A batch normalization, or its gradient, as what must see all samples first and what need not; in_chunks: the former as sums of
// chunks and what they come to.
std::vector<Node> Calls::split_norm(int i, bool in_chunks) {
  std::vector<Node> parts;
  const auto add = [&]() -> Node& { return parts.emplace_back(Node{nodes_[i].step, {}, {}}); };
  parts.reserve(3);
  if (is<&Kernels::batch_norm_forward>(i)) {
    namespace from = norm;
    namespace rest = norm_inference;
    const auto a = args<&Kernels::batch_norm_forward>(i);
    const int64_t rows = a.get<int64_t>(from::rows), c = a.get<int64_t>(from::c);
    const auto statistics = [&](const auto& to, int at) {  // epsilon, mean, variance, rstd, rows, c
      to.set(at, a.get<float>(from::epsilon));
      to.set_ref(at + 1, a.ref(from::mean), true);
      to.set_ref(at + 2, a.ref(from::variance), true);
      to.set_ref(at + 3, a.ref(from::rstd), true);
      to.set(at + 4, rows), to.set(at + 5, c);
    };
    if (in_chunks) {
      const Ref partial = new_value(12 * (rows * c / norm_lines(c).chunk) * c);
      const auto b = fill<&Kernels::batch_norm_chunks>(add());
      b.set_ref(norm_chunks::x, a.ref(from::x));
      b.set_ref(norm_chunks::partial, partial, true);
      b.set(norm_chunks::rows, rows), b.set(norm_chunks::c, c);
      const auto merge = fill<&Kernels::batch_norm_merge>(add());
      merge.set_ref(norm_merge::partial, partial);
      statistics(merge, norm_merge::epsilon);
    } else {
      const auto b = fill<&Kernels::batch_norm_statistics>(add());
      b.set_ref(norm_statistics::x, a.ref(from::x));
      statistics(b, norm_statistics::epsilon);
    }
    const auto to = fill<&Kernels::batch_norm_inference>(add());
    constexpr int both[][2] = {{from::x, rest::x}, {from::mean, rest::mean}, {from::variance, rest::variance}, {from::gamma, rest::gamma},
                               {from::beta, rest::beta}, {from::residual, rest::residual}};
    for (const auto& [theirs, mine] : both) to.set_ref(mine, a.ref(theirs));
    to.set(rest::epsilon, a.get<float>(from::epsilon));
    to.set(rest::clip, a.get<int64_t>(from::clip));
    to.set_ref(rest::y, a.ref(from::y), true);
    to.set(rest::rows, rows), to.set(rest::c, c);
    return parts;
  }
  namespace from = norm_backward;
  namespace rest = norm_gradient;
  const auto a = args<&Kernels::batch_norm_backward>(i);
  const int64_t rows = a.get<int64_t>(from::rows), c = a.get<int64_t>(from::c);
  const Ref factors = new_value(12 * c);
  const auto terms = [&](const auto& to) {  // x, gy, gamma, beta, mean, rstd, clip, as in batch_norm_backward
    for (int k = from::x; k <= from::rstd; ++k) to.set_ref(k, a.ref(k));
    to.set(from::clip, a.get<int64_t>(from::clip));
  };
  const auto results = [&](const auto& to, int at) {  // ggamma, gbeta, rest, rows, c
    to.set_ref(at, a.ref(from::ggamma), true);
    to.set_ref(at + 1, a.ref(from::gbeta), true);
    to.set_ref(at + 2, factors, true);
    to.set(at + 3, rows), to.set(at + 4, c);
  };
  if (in_chunks) {
    const Ref partial = new_value(8 * (rows * c / norm_lines(c).chunk) * c);
    const auto b = fill<&Kernels::batch_norm_gradient_chunks>(add());
    terms(b);
    b.set_ref(norm_gradient_chunks::partial, partial, true);
    b.set(norm_gradient_chunks::rows, rows), b.set(norm_gradient_chunks::c, c);
    const auto merge = fill<&Kernels::batch_norm_gradient_merge>(add());
    merge.set_ref(norm_gradient_merge::partial, partial);
    merge.set_ref(norm_gradient_merge::gamma, a.ref(from::gamma));
    merge.set_ref(norm_gradient_merge::rstd, a.ref(from::rstd));
    results(merge, norm_gradient_merge::ggamma);
  } else {
    const auto b = fill<&Kernels::batch_norm_gradient_sums>(add());
    terms(b);
    results(b, norm_gradient_sums::ggamma);
  }
  const auto to = fill<&Kernels::batch_norm_gradient>(add());
  constexpr int both[][2] = {{from::x, rest::x}, {from::gy, rest::gy}, {from::beta, rest::beta}, {from::mean, rest::mean}};
  for (const auto& [theirs, mine] : both) to.set_ref(mine, a.ref(theirs));
  to.set_ref(rest::rest, factors);
  to.set(rest::clip, a.get<int64_t>(from::clip));
  to.set_ref(rest::gx, a.ref(from::gx), true);
  to.set(rest::rows, rows), to.set(rest::c, c);
  return parts;
}

// A sum over samples as partial sums, one for each strip, which the node returned adds up.
Node Calls::split_sum(Node& node, int64_t strips) {
  const Form& f = *form_of(node.step.kernel);
  const auto o = std::find_if(node.operands.begin(), node.operands.end(), [&](const Operand& o) { return o.at == f.sum; });
  const int64_t floats = f.size == Form::kPixels ? [](const Conv2dShape& s) { return s.ic * s.oc; }(argument<Conv2dShape>(node, f.at))
                                                 : [](const WindowShape& s) { return s.kh * s.kw * s.c; }(argument<WindowShape>(node, f.at));
  Node sum{node.step, {}, {}};
  const auto a = fill<&Kernels::reduce>(sum);
  const Ref partial = new_value(4 * strips * floats);
  a.set(reduce_args::op, int64_t(reduce_op::sum));
  a.set_ref(reduce_args::x, partial);
  a.set_ref(reduce_args::y, o->ref, true);
  a.set(reduce_args::outer, int64_t(1)), a.set(reduce_args::n, strips), a.set(reduce_args::inner, floats), a.set(reduce_args::count, int64_t(1));
  o->ref = partial;
  return sum;
}

// Finds groups and moves their calls together: before the others that stand between them.
void Calls::group_calls_by_sample() {
  std::erase_if(nodes_, [](const Node& node) { return node.dead; });
  index();
  int64_t number = 0;
  for (int i = 0; i < count(); ++i) {
    const Group group = group_from(i);
    if (group.members.empty()) continue;
    std::vector<Node> order, sums;
    if (group.split) order = split_norm(i, false);
    else order = {nodes_[i]};
    const int first = int(order.size()) - 1, last = group.members.back();
    for (const int j : group.members) {
      if (j != i && form_of(nodes_[j].step.kernel)->first) {
        std::vector<Node> three = split_norm(j, true);
        order.push_back(std::move(three[0]));
        sums.insert(sums.end(), std::make_move_iterator(three.begin() + 1), std::make_move_iterator(three.end()));
        continue;
      }
      if (j != i) order.push_back(nodes_[j]);
      if (samples_of(j, group.n).exactly) sums.push_back(split_sum(order.back(), group.strips));
    }
    const int members = int(order.size());
    order.insert(order.end(), sums.begin(), sums.end());
    for (int j = i + 1; j < last; ++j)
      if (std::find(group.members.begin(), group.members.end(), j) == group.members.end()) order.push_back(nodes_[j]);
    ++number;
    for (int k = first; k < members; ++k) order[k].group = number, order[k].samples = group.n, order[k].strips = group.strips;
    nodes_.erase(nodes_.begin() + i, nodes_.begin() + last + 1);
    nodes_.insert(nodes_.begin() + i, std::make_move_iterator(order.begin()), std::make_move_iterator(order.end()));
    index();
    i += members - 1;
  }
  // A value made later may be made of one made before: the latest ones first.
  for (int64_t v = int64_t(uses_.size()) - 1; v >= 0; --v) remake(v);
  keep_in_strips();
}

// A value of one group that a later one reads is made there once more where its operands are small or are read there anyway: neither
// group's ever leaves the caches, where otherwise one would be written to memory (its lines read first) and read again.
void Calls::remake(int64_t v) {
  if (uses_[v].empty() || program_.values[v].constant || program_.values[v].kept || is_result_[v]) return;
  const int from = writer({Place::value, v, 0}), group = uses_[v].back().first;
  if (from < 0 || nodes_[from].group == 0 || nodes_[group].group == 0) return;
  if (!is<&Kernels::batch_norm_inference>(from) && !is<&Kernels::max_pool2d_backward>(from) && !is<&Kernels::depthwise_conv2d_forward>(from))
    return;
  const int64_t here = nodes_[from].group, there = nodes_[group].group, n = nodes_[from].samples;
  if (here == there || nodes_[group].samples != n) return;
  int first = count(), last = group;
  while (last + 1 < count() && nodes_[last + 1].group == there) ++last;
  for (const auto& [i, written] : uses_[v]) {
    if (nodes_[i].group != here && nodes_[i].group != there) return;
    if (nodes_[i].group == there) first = std::min(first, i);
    if (!takes_samples_of(v, i)) return;
  }
  int64_t moved = 0;  // bytes to and from memory for its operands
  const Samples samples = samples_of(from, n);
  for (const Operand& o : nodes_[from].operands) {
    if (o.written) continue;
    if (!unchanged(o.ref, from, last + 1)) return;
    if (std::none_of(samples.slices.begin(), samples.slices.end(), [&](auto& slice) { return slice.at == o.at; })) continue;
    if (o.ref.place != Place::value || o.ref.offset) return;
    bool only_here = true, is_there = false;
    for (const auto& [i, written] : uses_[o.ref.index])
      only_here = only_here && nodes_[i].group == here, is_there = is_there || nodes_[i].group == there;
    moved += is_there ? 0 : program_.values[o.ref.index].bytes * (only_here ? 3 : 1);
  }
  if (2 * moved > 3 * program_.values[v].bytes) return;
  const Ref again = new_value(program_.values[v].bytes);
  Node copy = nodes_[from];
  copy.group = there, copy.strips = nodes_[group].strips, copy.step.label = nodes_[first].step.label;
  const auto read_again = [&](Node& node) {
    for (Operand& o : node.operands)
      if (o.ref.place == Place::value && o.ref.index == v) o.ref.index = again.index;
  };
  read_again(copy);
  for (int i = first; i <= last; ++i) read_again(nodes_[i]);
  nodes_.insert(nodes_.begin() + first, std::move(copy));
  index();
}

// Node i of a group takes value v sample by sample, whole.
bool Calls::takes_samples_of(int64_t v, int i) {
  const int64_t n = nodes_[i].samples, bytes = program_.values[v].bytes;
  const Samples s = samples_of(i, n);
  for (const Operand& o : nodes_[i].operands) {
    if (o.ref.place != Place::value || o.ref.index != v) continue;
    const bool whole = std::any_of(s.slices.begin(), s.slices.end(),
                                   [&](const Samples::Slice& slice) { return slice.at == o.at && slice.bytes * n == bytes; });
    if (!whole || o.ref.offset != 0) return false;
  }
  return true;
}

// What only calls of one group use lives in the memory of the strip at work, for each thread: it never leaves the caches.
void Calls::keep_in_strips() {
  for (size_t v = 0; v < uses_.size(); ++v) {
    Value& value = program_.values[v];
    if (uses_[v].empty() || value.constant || value.kept || is_result_[v]) continue;
    const Node& node = nodes_[uses_[v][0].first];
    bool inside = node.group > 0 && uses_[v][0].second;
    for (const auto& [i, written] : uses_[v]) inside = inside && nodes_[i].group == node.group && takes_samples_of(int64_t(v), i);
    if (inside) value.bytes = (node.samples + node.strips - 1) / node.strips * (value.bytes / node.samples), value.in_strip = true;
  }
}

std::vector<Node> Calls::strips_of(int first, int end) {
  std::vector<Node> strips;
  const int64_t n = nodes_[first].samples, count = nodes_[first].strips;
  for (int64_t t = 0; t < count; ++t)
    for (int i = first; i < end; ++i) strips.push_back(samples_from(i, t, t * n / count, (t + 1) * n / count - t * n / count));
  return strips;
}

}  // namespace fastnn
