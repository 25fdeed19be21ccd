// What happens around a call besides the call itself: recording it for a program (program.h), timing
// it for a profile (profile.h). Calls are packed into bytes, in which every pointer is known.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernel_pointers.h"
#include "tensor.h"

namespace fastnn {

// A word in the arguments of a host step; compared by what it says.
struct Text {
  const char* chars;
};
// The same characters at an address that lasts.
Text intern(Text text);

struct PointerUse {
  int64_t at;  // where in the packed arguments
  const void* pointer;
  bool written;  // the callee may write there
};

// A call ready to be run again: run(function, args).
using Thunk = void (*)(void (*function)(), const std::byte* args);
struct Call {
  const char* name;
  int kernel;  // the index in Kernels, or -1 for a host step
  Thunk run;
  void (*function)();
  const std::byte* args;
  int64_t bytes;
  const std::vector<PointerUse>* uses;
  Device device = Device::cpu;  // of a kernel
};

class Recorder;
class Profiler;
// What listens to the calls of this thread; all null nearly always.
struct Hooks {
  bool any = false;
  const char* label = "";  // the layer that runs, interned; kept up while somebody listens
  Recorder* recorder = nullptr;
  Profiler* profiler = nullptr;
};
extern constinit thread_local Hooks hooks;

void run_hooked(const Call& call);

// ---- packing: each argument at a multiple of 8 bytes, gaps zero, so that equal calls have equal bytes ----

template <class... Params>
constexpr std::array<int64_t, sizeof...(Params) + 1> packed_offsets() {
  std::array<int64_t, sizeof...(Params) + 1> at{};
  int i = 0;
  ((at[i + 1] = at[i] + (int64_t(sizeof(Params)) + 7) / 8 * 8, ++i), ...);
  return at;
}

template <class... Params, size_t... I>
void call_packed(void (*function)(Params...), const std::byte* args, std::index_sequence<I...>) {
  [[maybe_unused]] constexpr auto at = packed_offsets<Params...>();
  function(*reinterpret_cast<const Params*>(args + at[I])...);
}

template <class P>
void pack_one(std::byte* base, int64_t at, P value, std::vector<PointerUse>& uses) {
  if constexpr (std::is_same_v<P, Text>) {
    value = intern(value);
  } else if constexpr (std::is_pointer_v<P>) {
    uses.push_back({at, value, !std::is_const_v<std::remove_pointer_t<P>>});
  } else if constexpr (std::is_class_v<P>) {
    static_assert(KnowsPointers<P>, "kernel_pointers.h must say where this struct holds pointers");
    clear_unused(value);
    for_each_pointer(value, [&]<class T>(T*& pointer) {
      const int64_t inside = reinterpret_cast<char*>(&pointer) - reinterpret_cast<char*>(&value);
      uses.push_back({at + inside, pointer, !std::is_const_v<T>});
    });
  }
  std::memcpy(base + at, &value, sizeof value);
}

// What unpacks the arguments of a function and calls it.
template <class... Params>
constexpr Thunk thunk_of(void (*)(Params...)) {
  return [](void (*f)(), const std::byte* packed) {
    call_packed(reinterpret_cast<void (*)(Params...)>(f), packed, std::index_sequence_for<Params...>());
  };
}

template <class... Params, size_t... I>
void call_hooked(Device device, const char* name, int kernel, void (*function)(Params...), std::index_sequence<I...> indices,
                 Params... params) {
  constexpr auto at = packed_offsets<Params...>();
  alignas(64) std::byte args[at.back() ? at.back() : 8];
  std::memset(args, 0, sizeof args);
  std::vector<PointerUse> uses;
  (pack_one<Params>(args, at[I], params, uses), ...);
  (void)indices;
  run_hooked({name, kernel, thunk_of(function), reinterpret_cast<void (*)()>(function), args, at.back(), &uses, device});
}

// Runs a function of the host on tensors' memory (a check of values, a copy) so that a program can
// repeat it. It may throw.
template <class... Params, class... Args>
void host_step(const char* name, void (*function)(Params...), Args... args) {
  if (hooks.any) [[unlikely]]
    return call_hooked(Device::cpu, name, -1, function, std::index_sequence_for<Params...>(), static_cast<Params>(args)...);
  function(static_cast<Params>(args)...);
}

// ---- what tensors tell a recorder of their thread ----

void note_created(Storage* storage);          // memory of a new tensor, which calls will write
void note_freed(Storage* storage) noexcept;
void note_host_data(const Tensor& t);         // values came from the host, not from a call
void note_argument(const Tensor& t);          // Python gives a tensor to an op
void note_read(const Tensor& t, const char* what);  // Python looks at values

}  // namespace fastnn
