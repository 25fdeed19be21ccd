#include "program.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "check.h"
#include "cpu/parallel.h"
#include "dispatch.h"
#include "parallel.h"
#include "profile.h"

namespace fastnn {
namespace {

constexpr int64_t kAlign = 64;
int64_t aligned(int64_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

// It has a place of its own in the block.
bool is_placed(const Value& v) { return !v.constant && !v.kept && !v.in_strip && v.result < 0 && v.first >= 0 && v.in_place_of < 0; }

bool lifetimes_meet(const Value& a, const Value& b) { return a.first <= b.last && b.first <= a.last; }

// The lowest place for `v` among values that have one already.
int64_t lowest_place(const Value& v, const std::vector<const Value*>& placed_by_place) {
  int64_t place = 0;
  for (const Value* other : placed_by_place) {
    if (!lifetimes_meet(v, *other)) continue;
    if (other->place - place >= aligned(v.bytes)) break;
    place = std::max(place, other->place + aligned(other->bytes));
  }
  return place;
}

int64_t place_all(std::vector<Value*> order) {
  std::vector<const Value*> placed;
  int64_t bytes = 0;
  for (Value* v : order) {
    v->place = lowest_place(*v, placed);
    bytes = std::max(bytes, v->place + aligned(v->bytes));
    placed.insert(std::upper_bound(placed.begin(), placed.end(), v,
                                   [](const Value* a, const Value* b) { return a->place < b->place; }), v);
  }
  return bytes;
}

std::vector<Value*> in_block(std::vector<Value>& values) {
  std::vector<Value*> found;
  for (Value& v : values)
    if (is_placed(v)) found.push_back(&v);
  return found;
}

std::vector<Value*> in_order(std::vector<Value*> found) {
  std::stable_sort(found.begin(), found.end(), [](const Value* a, const Value* b) { return a->first < b->first; });
  return found;
}

}  // namespace

// ---- comparing two recordings ----

std::string Program::difference(const Program& other) const {
  if (other.recorded) return difference(*other.recorded);
  const size_t n = std::min(steps.size(), other.steps.size());
  for (size_t k = 0; k < n; ++k) {
    const Step &a = steps[k], &b = other.steps[k];
    const auto at = [&] { return message("call ", k, " (", a.name, *a.label ? " in " : "", a.label, ")"); };
    if (a.function != b.function) return message(at(), ": before it was ", b.name);
    if (a.bytes != b.bytes || std::memcmp(args.data() + a.args, other.args.data() + b.args, a.bytes))
      return message(at(), ": another size or number is passed");
    if (a.operands != b.operands) return message(at(), ": another number of arrays is passed");
    for (int64_t i = 0; i < a.operands; ++i) {
      const Operand &x = operands[a.first_operand + i], &y = other.operands[b.first_operand + i];
      if (x.ref == y.ref) {
        if (x.ref.place != Place::variable || variables[x.ref.index] == other.variables[y.ref.index]) continue;
      }
      return message(at(), ": another array is passed");
    }
  }
  if (steps.size() != other.steps.size()) return message("the number of calls, ", other.steps.size(), " and ", steps.size());
  if (variables != other.variables) return "the variables that the step uses";
  if (values.size() != other.values.size() || results.size() != other.results.size()) return "the number of results";
  for (size_t k = 0; k < values.size(); ++k) {
    const Value &a = values[k], &b = other.values[k];
    if (a.bytes != b.bytes || a.constant != b.constant) return "the size of a value";
    if (!a.constant) continue;
    const bool same = a.data.borrowed() || b.data.borrowed()
                          ? (a.hash ? a.hash : 0) == (b.hash ? b.hash : 0) && a.data.borrowed() == b.data.borrowed()
                          : !std::memcmp(HostView(device, a.data.storage()->data, a.bytes).data(),
                                         HostView(device, b.data.storage()->data, a.bytes).data(), a.bytes);
    if (same) continue;
    for (size_t i = 0; i < operands.size(); ++i)
      if (operands[i].ref.place == Place::value && operands[i].ref.index == int64_t(k))
        for (const Step& s : steps)
          if (int64_t(i) >= s.first_operand && int64_t(i) < s.first_operand + s.operands)
            return message("the values of an array that the host gives to ", s.name,
                           *s.label ? " in " : "", s.label);
    return "the values of an array that the host gives";
  }
  for (size_t k = 0; k < results.size(); ++k)
    if (!(results[k].ref == other.results[k].ref) || !(results[k].shape == other.results[k].shape) ||
        results[k].dtype != other.results[k].dtype)
      return "what the step returns";
  for (size_t k = 0; k < pinned.size(); ++k)
    if (k >= other.pinned.size() || pinned[k].raw() != other.pinned[k].raw()) return "a tensor from outside the step";
  return {};
}

void Program::share_constants(const Program& earlier) {
  for (size_t k = 0; k < values.size(); ++k) {
    Value& v = values[k];
    // One array at both times is read where it is, as the step would; a passing one is copied.
    if (v.constant && v.data.borrowed() && v.data.raw() != earlier.values[k].data.raw()) v.data = v.data.copy();
  }
}

// ---- memory ----

void Program::plan() {
  for (size_t k = 0; k < steps.size(); ++k)
    for (int64_t i = 0; i < steps[k].operands; ++i) {
      const Ref& r = operands[steps[k].first_operand + i].ref;
      if (r.place != Place::value) continue;
      Value& v = values[r.index];
      if (v.first < 0) v.first = int(k);
      v.last = int(k);
    }
  result_values_.clear();
  for (const Result& r : results) {
    if (r.ref.place != Place::value) continue;
    Value& v = values[r.ref.index];
    if (v.constant || v.result >= 0) continue;
    v.result = int(result_values_.size());
    result_values_.push_back(r.ref.index);
  }
  for (const auto& [y, x] : in_place) {
    const int64_t root = values[x].in_place_of < 0 ? x : values[x].in_place_of;
    values[y].in_place_of = root;
    values[root].last = std::max(values[root].last, values[y].last);
  }
  std::vector<int64_t> change(steps.size() + 1);
  for (const Value& v : values)
    if (is_placed(v)) change[v.first] += aligned(v.bytes), change[v.last + 1] -= aligned(v.bytes);
  int64_t live = 0;
  for (int64_t c : change) live_bytes = std::max(live_bytes, live += c);
  // Places in the order of the step reuse what was used last, which is still in the caches; when that
  // leaves too many gaps, the largest values choose first.
  place_in_order();
  if (block_bytes > live_bytes + live_bytes / 10) {
    const std::vector<Value> before = values;
    const int64_t bytes = block_bytes;
    place_by_size();
    if (block_bytes >= bytes) values = before, block_bytes = bytes;
  }
  for (Strips& s : strips) {
    std::vector<Value*> inside;
    for (Value& v : values)
      if (v.in_strip && v.in_place_of < 0 && v.first >= s.first && v.first < s.first + s.calls * s.count) {
        v.last -= int((s.count - 1) * s.calls);  // the last use within a strip
        inside.push_back(&v);
      }
    s.bytes = place_all(in_order(std::move(inside)));
  }
  for (Value& v : values)
    if (v.in_place_of >= 0) v.place = values[v.in_place_of].place;
  std::map<int64_t, void*> kept;
  for (size_t k = 0; k < values.size(); ++k)
    if (values[k].kept) {
      kept_.push_back(Tensor(Shape{values[k].bytes}, DType::uint8, device));
      kept[int64_t(k)] = kept_.back().raw();
    }
  variable_operands_.assign(variables.size(), {});
  variable_bases_.assign(variables.size(), nullptr);
  input_operands_.assign(inputs.size(), {});
  input_bases_.assign(inputs.size(), nullptr);
  result_operands_.assign(result_values_.size(), {});
  for (const Operand& o : operands) {
    const Ref& r = o.ref;
    switch (r.place) {
      case Place::null: break;
      case Place::variable: variable_operands_[r.index].push_back({o.at, r.offset}); break;
      case Place::input: input_operands_[r.index].push_back({o.at, r.offset}); break;
      case Place::value: {
        const Value& v = values[r.index];
        if (v.in_strip) break;
        if (v.kept) {
          char* p = static_cast<char*>(kept.at(r.index)) + r.offset;
          std::memcpy(args.data() + o.at, &p, sizeof p);
        } else if (v.result >= 0) {
          result_operands_[v.result].push_back({o.at, r.offset});
        } else if (!v.constant) {
          block_operands_.push_back({o.at, v.place + r.offset});
        } else {
          const char* p = static_cast<const char*>(v.data.storage()->data) + r.offset;
          std::memcpy(args.data() + o.at, &p, sizeof p);
        }
        break;
      }
      case Place::pinned:
      case Place::zeros: {
        const void* base = r.place == Place::zeros ? static_cast<const void*>(zeros(device)) : pinned[r.index].storage()->data;
        const char* p = static_cast<const char*>(base) + r.offset;
        std::memcpy(args.data() + o.at, &p, sizeof p);
        break;
      }
    }
  }
}

void Program::place_in_order() { block_bytes = place_all(in_order(in_block(values))); }

void Program::place_by_size() {
  std::vector<Value*> order = in_block(values);
  std::stable_sort(order.begin(), order.end(), [](const Value* a, const Value* b) { return a->bytes > b->bytes; });
  block_bytes = place_all(order);
}

// ---- running ----

void Program::bind(void*& base, const Positions& positions, void* data) {
  if (base == data) return;
  base = data;
  for (const auto& [at, offset] : positions) {
    char* p = static_cast<char*>(data) + offset;
    std::memcpy(args.data() + at, &p, sizeof p);
  }
}

void Program::bind_block(void* data) { bind(block_base_, block_operands_, data); }

void Program::bind_results() {
  result_memory_.clear();
  for (size_t k = 0; k < result_values_.size(); ++k) {
    Tensor memory(Shape{values[result_values_[k]].bytes}, DType::uint8, device);
    void* base = nullptr;
    bind(base, result_operands_[k], memory.raw());
    result_memory_.push_back(std::move(memory));
  }
}

void Program::run_steps(int64_t begin, int64_t end) const {
  auto next = strips.begin();
  for (int64_t k = begin; k < end;) {
    while (next != strips.end() && next->first < k) ++next;
    if (next != strips.end() && next->first == k) {
      run_strips(*next, [this](const Step& s) { run_step(s); });
      k += next->calls * next->count;
    } else {
      run_step(steps[k++]);
    }
  }
}

namespace {
// Memory for each of the strips that run at the same time. A thread mostly gets the same again, which its caches hold.
class StripMemory {
 public:
  StripMemory(int64_t bytes, int64_t strips)
      : bytes_(aligned(bytes)), strips_(strips), slots_(bytes ? num_threads() : 0), memory_(bytes_ * slots_), taken_(slots_) {}
  int64_t take(int64_t strip) {
    for (int64_t k = strip * slots_ / strips_;; k = (k + 1) % slots_)
      if (!taken_[k].exchange(true, std::memory_order_acquire)) return k;
  }
  void give_back(int64_t slot) { taken_[slot].store(false, std::memory_order_release); }
  std::byte* at(int64_t slot) const { return memory_ + slot * bytes_; }

 private:
  const int64_t bytes_, strips_, slots_;
  Scratch<std::byte> memory_;
  std::vector<std::atomic<bool>> taken_;
};
}  // namespace

void Program::bind_strip(const Step& step, const std::byte* memory) const {
  for (int64_t i = 0; i < step.operands; ++i) {
    const Operand& o = operands[step.first_operand + i];
    if (o.ref.place != Place::value || !values[o.ref.index].in_strip) continue;
    const std::byte* at = memory + values[o.ref.index].place;
    std::memcpy(args.data() + o.at, &at, sizeof at);
  }
}

// Strips of samples, each on one thread; run(step) for each step.
template <class F>
void Program::run_strips(const Strips& strips, F run) const {
  StripMemory memory(strips.bytes, strips.count);
  struct Context {
    const Program& program;
    const Strips& strips;
    StripMemory& memory;
    F& run;
  } context{*this, strips, memory, run};
  parallel_run(strips.count, [](void* p, int64_t strip) {
    const auto& [program, s, memory, run] = *static_cast<Context*>(p);
    struct Slot {
      StripMemory* memory;
      int64_t k;
      Slot(StripMemory* memory, int64_t strip) : memory(memory), k(memory ? memory->take(strip) : 0) {}
      ~Slot() {
        if (memory) memory->give_back(k);
      }
    } slot(s.bytes ? &memory : nullptr, strip);
    for (int64_t k = s.first + strip * s.calls; k < s.first + (strip + 1) * s.calls; ++k) {
      const Step& step = program.steps[k];
      if (s.bytes) program.bind_strip(step, memory.at(slot.k));
      run(step);
    }
  }, &context);
}

void Program::run(bool with_prologue) {
  const int64_t begin = with_prologue ? 0 : prologue, end = int64_t(steps.size());
  if (hooks.profiler) return run_profiled(*hooks.profiler, begin, end);
  if (device == Device::cpu) return run_steps(begin, end);
  run_steps(begin, prologue);
  graphs_.run(*this);
}

// Strips as one call for each of their kernels; their time is shared out as the threads have spent it.
void Program::run_profiled(Profiler& profiler, int64_t begin, int64_t end) const {
  using Clock = std::chrono::steady_clock;
  auto next = strips.begin();
  for (int64_t k = begin; k < end;) {
    while (next != strips.end() && next->first < k) ++next;
    if (next == strips.end() || next->first != k) {
      const Step& s = steps[k++];
      profile_call(profiler, s.name, s.kernel, s.label, args.data() + s.args, [&] {
        run_step(s);
        if (device != Device::cpu) library(device).synchronize();
      });
      continue;
    }
    const int64_t calls = next->calls, count = next->count;
    std::vector<double> spent(calls * count);
    const auto start = Clock::now();
    run_strips(*next, [&](const Step& s) {
      const auto at = Clock::now();
      run_step(s);
      spent[&s - &steps[k]] = std::chrono::duration<double>(Clock::now() - at).count();
    });
    const double wall = std::chrono::duration<double>(Clock::now() - start).count();
    double total = 0;
    for (double t : spent) total += t;
    double from = 0;
    for (int64_t i = 0; i < calls; ++i) {
      Cost cost;
      double share = 0;
      for (int64_t strip = 0; strip < count; ++strip) {
        const Step& s = steps[k + strip * calls + i];
        const Cost one = cost_of(s.kernel, args.data() + s.args);
        cost.flops += one.flops, cost.bytes += one.bytes;
        share += total > 0 ? spent[strip * calls + i] / total : 1.0 / double(calls * count);
      }
      const Step& s = steps[k + i];
      const auto at = [&](double seconds) { return start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)); };
      profiler.note(s.name, s.kernel, s.label, cost, at(from), at(from + share * wall));
      from += share * wall;
    }
    k += calls * count;
  }
}

std::vector<const void*> Program::addresses() const {
  std::vector<const void*> all{block_base_};
  all.insert(all.end(), variable_bases_.begin(), variable_bases_.end());
  all.insert(all.end(), input_bases_.begin(), input_bases_.end());
  for (const Tensor& t : result_memory_) all.push_back(t.raw());
  return all;
}

// ---- graphs ----

Graphs::~Graphs() {
  for (const Set& set : sets_)
    for (void* graph : set.graphs)
      if (graph) library(device_).free_graph(graph);
}

void Graphs::cut(const Program& program) {
  device_ = program.device;
  const auto copy = reinterpret_cast<void (*)()>(library(device_).copy_within);
  for (int64_t k = program.prologue; k < int64_t(program.steps.size()); ++k) {
    const Step& s = program.steps[k];
    const bool capturable = s.kernel >= 0 || s.function == copy;
    if (stretches_.empty() || stretches_.back().capturable != capturable) stretches_.push_back({k, k, capturable});
    stretches_.back().end = k + 1;
  }
  for (Stretch& s : stretches_) s.capturable = s.capturable && s.end - s.begin > 1;
}

void Graphs::run(const Program& program) {
  constexpr size_t kSets = 4;
  if (stretches_.empty()) cut(program);
  const DeviceLibrary& lib = library(device_);
  std::vector<const void*> now = program.addresses();
  now.push_back(reinterpret_cast<const void*>(matmul_precision()));  // it chooses kernels
  auto set = std::find_if(sets_.begin(), sets_.end(), [&](const Set& s) { return s.addresses == now; });
  const bool known = set != sets_.end();
  if (!known) {
    if (sets_.size() < kSets) set = sets_.insert(sets_.end(), {{}, std::vector<void*>(stretches_.size())});
    else set = std::min_element(sets_.begin(), sets_.end(), [](const Set& a, const Set& b) { return a.used < b.used; });
    set->addresses = std::move(now);
    set->ready = false;
  }
  set->used = ++clock_;
  repeated += known && set->ready;
  struct Part {
    const Program& program;
    const Stretch& stretch;
  };
  for (size_t k = 0; k < stretches_.size(); ++k) {
    const Stretch& stretch = stretches_[k];
    void*& graph = set->graphs[k];
    if (known && set->ready && graph) {
      lib.launch_graph(graph);
      ++launched;
    } else if (known && !set->ready && stretch.capturable) {
      const Part part{program, stretch};
      graph = lib.capture(graph, [](const void* context) {
        const Part& p = *static_cast<const Part*>(context);
        p.program.run_steps(p.stretch.begin, p.stretch.end);
      }, &part);
      captured += graph != nullptr;
    } else {
      program.run_steps(stretch.begin, stretch.end);
    }
  }
  set->ready = known;
}

namespace {
// A view of memory that a handle holds.
Tensor view(const Tensor& memory, int64_t offset, const Shape& shape, DType dtype) {
  memory.storage()->refs.fetch_add(1, std::memory_order_relaxed);
  return Tensor(memory.storage(), static_cast<char*>(memory.storage()->data) + offset, shape, dtype, memory.device());
}
}  // namespace

Tensor Program::result(int64_t index) const {
  const Result& r = results[index];
  if (r.ref.place == Place::pinned) return view(pinned[r.ref.index], r.ref.offset, r.shape, r.dtype);
  if (r.ref.place == Place::value) {
    const Value& v = values[r.ref.index];
    if (!v.constant) return view(result_memory_[v.result], r.ref.offset, r.shape, r.dtype);
    const Tensor t = view(v.data, r.ref.offset, r.shape, r.dtype);
    return t.borrowed() ? t.copy() : t;
  }
  return Tensor(r.shape, r.dtype, device);  // nothing in it
}

}  // namespace fastnn
