// The recording of a step: what every pointer of every call means.
#include <cstdint>
#include <mutex>
#include <unordered_set>

#include "check.h"
#include "device.h"
#include "dispatch.h"
#include "profile.h"
#include "program.h"

namespace fastnn {

constinit thread_local Hooks hooks;

Text intern(Text text) {
  static std::mutex mutex;
  static auto* known = new std::unordered_set<std::string>;
  std::lock_guard lock(mutex);
  return {known->insert(text.chars).first->c_str()};
}

void note_created(Storage* storage) { hooks.recorder->created(storage); }
void note_freed(Storage* storage) noexcept { hooks.recorder->freed(storage); }
void note_host_data(const Tensor& t) { hooks.recorder->host_data(t); }
void note_argument(const Tensor& t) { hooks.recorder->argument(t); }

void run_hooked(const Call& call) {
  if (hooks.recorder) hooks.recorder->add(call);
  const auto run = [&] {
    if (call.device == Device::cpu) return call.run(call.function, call.args);
    // A pointer to the wrong memory must not reach a kernel.
    std::vector<const void*> pointers;
    for (const PointerUse& u : *call.uses) pointers.push_back(u.pointer);
    const DeviceLibrary& lib = library(call.device);
    lib.verify(pointers.data(), int64_t(pointers.size()), false);
    call.run(call.function, call.args);
    lib.verify(pointers.data(), int64_t(pointers.size()), true);
    if (hooks.profiler) lib.synchronize();
  };
  if (!hooks.profiler) return run();
  profile_call(*hooks.profiler, call.name, call.kernel, hooks.label, call.args, run);
}

namespace {

uintptr_t address(const void* p) { return reinterpret_cast<uintptr_t>(p); }

// The bytes of a tensor's memory: a block of our own starts with the Storage itself.
int64_t payload(const Storage* s) {
  return s->release ? s->bytes : s->bytes - (static_cast<const char*>(s->data) - reinterpret_cast<const char*>(s));
}

// FNV over words: tells whether an array of the user's has changed between two recordings.
uint64_t hash_bytes(const void* data, int64_t bytes) {
  const auto* p = static_cast<const unsigned char*>(data);
  uint64_t h = 14695981039346656037u;
  for (; bytes >= 8; p += 8, bytes -= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    h = (h ^ word) * 1099511628211u;
    h ^= h >> 29;
  }
  for (; bytes > 0; ++p, --bytes) h = (h ^ *p) * 1099511628211u;
  return h;
}

}  // namespace

Recorder::Recorder(std::vector<Tensor> inputs, std::vector<Range> variables)
    : program_(new Program), inputs_(std::move(inputs)) {
  program_->device = current_device();
  for (const Tensor& x : inputs_) program_->inputs.push_back({x.shape(), x.dtype()});
  for (size_t k = 0; k < variables.size(); ++k)
    variables_[address(variables[k].data)] = {variables[k].bytes, int64_t(k)};
}

bool Recorder::start() {
  if (hooks.recorder) return false;
  hooks.recorder = this;
  hooks.any = true;
  return true;
}

void Recorder::stop() {
  if (hooks.recorder != this) return;
  hooks.recorder = nullptr;
  hooks.any = hooks.profiler != nullptr;
}

void Recorder::fail(std::string why) {
  if (why_.empty()) why_ = std::move(why);
  stop();
}

void Recorder::created(Storage* storage) {
  const uintptr_t begin = address(storage->data), end = begin + std::max<int64_t>(payload(storage), 1);
  // What was known of these addresses is gone: another thread may have freed it.
  auto it = live_.lower_bound(begin);
  if (it != live_.begin() && std::prev(it)->first + std::prev(it)->second.bytes > begin) --it;
  while (it != live_.end() && it->first < end) it = live_.erase(it);
  live_[begin] = {int64_t(end - begin), -1, {}};
}

void Recorder::freed(Storage* storage) { live_.erase(address(storage->data)); }

void Recorder::host_data(const Tensor& t) {
  if (t.is_meta() || t.numel() == 0) return;
  created(t.storage());
  Live& live = live_[address(t.storage()->data)];
  live.constant = t;
  live.is_constant = true;
}

void Recorder::argument(const Tensor& t) {
  if (t.is_meta() || t.numel() == 0) return;
  const uintptr_t p = address(t.raw());
  auto it = live_.upper_bound(p);
  if (it != live_.begin() && p < std::prev(it)->first + std::prev(it)->second.bytes) return;
  for (const Tensor& x : inputs_)
    if (x.storage() == t.storage()) return;
  if (auto v = variables_.upper_bound(p); v != variables_.begin() && p < std::prev(v)->first + std::prev(v)->second.first) return;
  // Borrowed memory may be written by its owner between two steps; it is compared like host data.
  if (t.borrowed()) return host_data(t);
  if (pinned_.try_emplace(address(t.storage()->data), int64_t(program_->pinned.size())).second) program_->pinned.push_back(t);
}

bool Recorder::readable(const Tensor& t) {
  const uintptr_t p = address(t.raw());
  auto it = live_.upper_bound(p);
  if (it != live_.begin() && p < std::prev(it)->first + std::prev(it)->second.bytes) {
    Live& live = std::prev(it)->second;
    if (!live.is_constant) return false;
    use(live, false);  // so that its bytes are compared
    return true;
  }
  for (const Tensor& x : inputs_)
    if (x.storage() == t.storage()) return false;
  if (auto v = variables_.upper_bound(p); v != variables_.begin() && p < std::prev(v)->first + std::prev(v)->second.first)
    return false;
  if (t.borrowed()) {
    host_data(t);
    use(live_[address(t.storage()->data)], false);
    return true;
  }
  argument(t);
  return true;
}

int64_t Recorder::use(Live& live, bool written) {
  if (live.value < 0) {
    live.value = int64_t(program_->values.size());
    Value v;
    v.bytes = live.bytes;
    v.constant = live.is_constant;
    v.data = live.constant;
    if (v.constant && v.data.borrowed()) v.hash = hash_bytes(HostView(v.data).data(), v.data.bytes());
    if (!v.constant && !written) fail("a call reads memory that no recorded call has written");
    program_->values.push_back(v);
  }
  if (live.is_constant && written) fail("a constant is overwritten");
  return live.value;
}

Ref Recorder::variable_ref(size_t k, int64_t offset, bool written) {
  const auto [found, fresh] = variable_index_.try_emplace(int64_t(k), int64_t(program_->variables.size()));
  if (fresh) {
    program_->variables.push_back(int64_t(k));
    program_->variable_written.push_back(false);
  }
  if (written) program_->variable_written[found->second] = true;
  return {Place::variable, found->second, offset};
}

bool Recorder::resolve(const void* pointer, bool written, Ref* ref) {
  if (!pointer) return true;
  const uintptr_t p = address(pointer);
  if (auto it = live_.upper_bound(p); it != live_.begin()) {
    const auto& [begin, live] = *--it;
    if (p < begin + live.bytes) {
      *ref = {Place::value, use(it->second, written), int64_t(p - begin)};
      return true;
    }
  }
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const uintptr_t begin = address(inputs_[i].raw());
    if (p < begin || p >= begin + inputs_[i].bytes()) continue;
    *ref = {Place::input, int64_t(i), int64_t(p - begin)};
    return !written;
  }
  if (auto v = variables_.upper_bound(p); v != variables_.begin()) {
    const auto& [begin, entry] = *std::prev(v);
    if (p < begin + entry.first) {
      *ref = variable_ref(entry.second, int64_t(p - begin), written);
      return true;
    }
  }
  if (auto it = pinned_.upper_bound(p); it != pinned_.begin()) {
    const auto& [begin, index] = *std::prev(it);
    if (p < begin + payload(program_->pinned[index].storage())) {
      *ref = {Place::pinned, index, int64_t(p - begin)};
      return !written;
    }
  }
  if (const uintptr_t begin = address(zeros(program_->device)); p >= begin && p < begin + kZeroBytes) {
    *ref = {Place::zeros, 0, int64_t(p - begin)};
    return !written;
  }
  return false;
}

void Recorder::add(const Call& call) {
  Program& program = *program_;
  const int64_t args = int64_t(program.args.size()), first = int64_t(program.operands.size());
  program.args.insert(program.args.end(), call.args, call.args + call.bytes);
  for (const PointerUse& u : *call.uses) {
    Ref ref;
    if (!resolve(u.pointer, u.written, &ref)) return fail(message("memory of unknown origin is used by ", call.name));
    if (!why_.empty()) return;
    if (ref.place == Place::null) continue;
    std::memset(program.args.data() + args + u.at, 0, sizeof(void*));
    program.operands.push_back({args + u.at, ref, u.written});
  }
  program.steps.push_back({call.name, call.kernel, hooks.label, call.run, call.function, args, call.bytes, first,
                           int64_t(program.operands.size()) - first});
}

std::unique_ptr<Program> Recorder::finish(const std::vector<Tensor>& results,
                                          const std::vector<std::pair<int64_t, Tensor>>& moved) {
  if (!why_.empty()) return nullptr;
  for (const Tensor& t : results) {
    Ref ref;
    if (t.is_meta()) return fail("a result is symbolic"), nullptr;
    argument(t);
    if (t.numel() && !resolve(t.raw(), false, &ref)) return fail("a result has memory of unknown origin"), nullptr;
    for (const auto& [number, now] : moved)
      if (ref.place == Place::variable && program_->variables[ref.index] == number)
        return fail("a result is what a variable held before the step changed it"), nullptr;
    program_->results.push_back({ref, t.shape(), t.dtype()});
  }
  // A variable that was copied before it was overwritten: the copy goes back into its storage.
  for (const auto& [number, now] : moved) {
    const auto made = live_.upper_bound(address(now.raw()));
    const bool here = made != live_.begin() && address(now.raw()) < std::prev(made)->first + std::prev(made)->second.bytes;
    if (!here && !variable_index_.contains(number)) continue;  // another thread's doing
    Ref from;
    if (!resolve(now.raw(), false, &from) || from.place != Place::value)
      return fail("a variable was given memory of unknown origin"), nullptr;
    Program& program = *program_;
    const int64_t args = int64_t(program.args.size()), first = int64_t(program.operands.size());
    const Ref to = variable_ref(number, 0, true);
    program.args.resize(args + 3 * 8);
    const int64_t bytes = now.bytes();
    std::memcpy(program.args.data() + args + 16, &bytes, 8);
    program.operands.push_back({args, to, true});
    program.operands.push_back({args + 8, from, false});
    using Copy = void (*)(void*, const void*, int64_t);
    const Copy on_cpu = [](void* y, const void* x, int64_t n) { std::memmove(y, x, n); };
    const Copy copy = now.device() == Device::cpu ? on_cpu : library(now.device()).copy_within;
    program.steps.push_back({"copy_bytes", -1, "", thunk_of(copy), reinterpret_cast<void (*)()>(copy), args, 24, first, 2});
  }
  if (!why_.empty()) return nullptr;
  stop();
  return std::move(program_);
}

}  // namespace fastnn
