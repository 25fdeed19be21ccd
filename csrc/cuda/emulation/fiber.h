// A stack of its own and the switch to it, known to the sanitizers. x86-64 switches by hand, other
// machines through ucontext.
#pragma once
#include <cstddef>

// FASTNN_EMU_UCONTEXT asks for ucontext on x86-64, too, so that it is tested.
#if defined(__x86_64__) && !defined(FASTNN_EMU_UCONTEXT)
#define FASTNN_EMU_SWITCHES_BY_HAND
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned);
void __tsan_destroy_fiber(void*);
void __tsan_switch_to_fiber(void*, unsigned);
void __tsan_acquire(void*);
void __tsan_release(void*);
void AnnotateIgnoreReadsBegin(const char*, int);
void AnnotateIgnoreReadsEnd(const char*, int);
void AnnotateIgnoreWritesBegin(const char*, int);
void AnnotateIgnoreWritesEnd(const char*, int);
}
#endif
#if !defined(FASTNN_EMU_SWITCHES_BY_HAND)
#include <ucontext.h>
#endif

namespace fastnn::emulation {

// The emulator's own bookkeeping is not the kernel's: the race detector must not look at it.
struct Untracked {
#if defined(__SANITIZE_THREAD__)
  Untracked() { begin(); }
  ~Untracked() { end(); }
  static void begin() { AnnotateIgnoreReadsBegin("", 0), AnnotateIgnoreWritesBegin("", 0), add(1); }
  static void end() { add(-1), AnnotateIgnoreWritesEnd("", 0), AnnotateIgnoreReadsEnd("", 0); }
  // How many there are around what the running fiber does; each fiber has its own number, kept while it rests.
  [[gnu::noinline, gnu::no_sanitize_thread]] static int add(int more) { return depth += more; }
  [[gnu::noinline, gnu::no_sanitize_thread]] static void change(int& mine, const int& next) { mine = depth, depth = next; }
  static inline thread_local int depth = 0;
#else
  Untracked() {}
  ~Untracked() {}
#endif
  Untracked(const Untracked&) = delete;
};

class Fiber {
 public:
  static constexpr size_t kStack = 192 * 1024;  // 64 KiB of it are for colours
  // Stacks of different colours do not meet in the same sets of the caches.
  explicit Fiber(size_t colour = 0) : colour_(colour * 33 * 64 % (64 * 1024)) {}
  Fiber(const Fiber&) = delete;
  ~Fiber();

  // The next enter() begins `entry`, which never returns.
  void start(void (*entry)());
  // From the scheduler's fiber to another, and back; finished: the stack is not needed any more.
  void enter(Fiber& to);
  void leave(Fiber& scheduler, bool finished);
  // Of one that is given up half way: what it has done happened before what the scheduler does next.
  void abandon();
  // The first thing a new fiber does, on the scheduler's object.
  void arrived_first();

  // What happened before release(p) is seen after acquire(p).
  static void release([[maybe_unused]] void* p) {
#if defined(__SANITIZE_THREAD__)
    __tsan_release(p);
#endif
  }
  static void acquire([[maybe_unused]] void* p) {
#if defined(__SANITIZE_THREAD__)
    __tsan_acquire(p);
#endif
  }

 private:
  char* top() const { return stack_ + kStack - colour_ - 64; }

  size_t colour_;
  char* stack_ = nullptr;
  void* pointer_ = nullptr;      // of the stack, while the fiber rests
  void* tsan_ = nullptr;
  int untracked_ = 0;            // depth of Untracked, while it rests
  void* fake_stack_ = nullptr;   // of the address sanitizer
  const void* bottom_ = nullptr; // of the stack that enters, likewise
  size_t size_ = 0;
#if !defined(FASTNN_EMU_SWITCHES_BY_HAND)
  ucontext_t context_;
#endif
};

}  // namespace fastnn::emulation
