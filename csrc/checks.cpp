// Checks of a recorded step go first. Where they are in the step as it was written, it has changed variables by then.
#include <algorithm>

#include "program.h"

namespace fastnn {
namespace {

class Front {
 public:
  explicit Front(const Program& program) : program_(program), writer_(program.values.size(), -1) {
    for (int i = 0; i < int(program.steps.size()); ++i)
      for (const Operand* o = begin(i); o < end(i); ++o)
        if (o->written && o->ref.place == Place::value) {
          int& w = writer_[o->ref.index];
          w = w < 0 || w == i ? i : kSeveral;
        }
  }

  bool is_check(int i) const {
    return program_.steps[i].kernel < 0 && begin(i) < end(i) && std::none_of(begin(i), end(i), [](const Operand& o) { return o.written; });
  }
  // Notes the calls that must come before call i so that it can be moved to the front; false: it cannot.
  bool collect(int i, std::vector<int>& before) const {
    constexpr size_t kMost = 4;  // a conversion, the reading of indices: not half a network
    for (const Operand* o = begin(i); o < end(i); ++o) {
      const Ref& r = o->ref;
      if (o->written) {
        if (r.place != Place::value || writer_[r.index] != i) return false;
        continue;
      }
      if (r.place == Place::variable && program_.variable_written[r.index]) return false;
      if (r.place != Place::value || program_.values[r.index].constant) continue;
      const int w = writer_[r.index];
      if (w < 0 || w >= i || program_.steps[w].kernel < 0) return false;
      if (std::find(before.begin(), before.end(), w) != before.end()) continue;
      if (before.size() == kMost || !collect(w, before)) return false;
      before.push_back(w);
    }
    return true;
  }

 private:
  static constexpr int kSeveral = 1 << 30;  // no call writes the value alone
  const Operand* begin(int i) const { return program_.operands.data() + program_.steps[i].first_operand; }
  const Operand* end(int i) const { return begin(i) + program_.steps[i].operands; }

  const Program& program_;
  std::vector<int> writer_;
};

}  // namespace

void Program::put_checks_first() {
  const Front front(*this);
  std::vector<int> turn(steps.size(), 2);
  for (int i = 0; i < int(steps.size()); ++i) {
    std::vector<int> before;
    if (!front.is_check(i) || !front.collect(i, before)) continue;
    turn[i] = 1;
    for (int k : before) turn[k] = 0;
  }
  std::vector<Step> ordered;
  for (int t = 0; t < 3; ++t)
    for (size_t i = 0; i < steps.size(); ++i)
      if (turn[i] == t) ordered.push_back(steps[i]);
  steps = std::move(ordered);
}

}  // namespace fastnn
