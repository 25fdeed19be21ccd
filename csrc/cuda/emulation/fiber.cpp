#include "fiber.h"

#include <sys/mman.h>

#include <new>
#include <utility>

namespace fastnn::emulation {

#if defined(FASTNN_EMU_SWITCHES_BY_HAND)
// void fastnn_switch(void** save, void* to): callee-saved registers on the stack, then the other stack.
extern "C" void fastnn_switch(void** save, void* to);
asm(R"(.text
.local fastnn_switch
.type fastnn_switch,@function
fastnn_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size fastnn_switch,.-fastnn_switch
)");
#endif

Fiber::~Fiber() {
#if defined(__SANITIZE_THREAD__)
  if (stack_ && tsan_) __tsan_destroy_fiber(tsan_);
#endif
  if (stack_) munmap(stack_, kStack);
}

void Fiber::start(void (*entry)()) {
#if defined(__SANITIZE_THREAD__)
  // A stack that is used again would carry the accesses of the thread before.
  if (stack_) munmap(std::exchange(stack_, nullptr), kStack);
  if (tsan_) __tsan_destroy_fiber(tsan_);
  tsan_ = __tsan_create_fiber(0);
  untracked_ = 0;
#endif
  if (!stack_) {
    void* p = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    stack_ = static_cast<char*>(p);
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(stack_, kStack);
#endif
  }
#if defined(__SANITIZE_ADDRESS__)
  // What the functions that never return have left; all others have cleared their frames.
  __asan_unpoison_memory_region(top() - 4096, 4096);
#endif
  fake_stack_ = nullptr;
#if defined(FASTNN_EMU_SWITCHES_BY_HAND)
  // As fastnn_switch would have left it: six registers, then the address it returns to. At a function's
  // first instruction the stack is 8 bytes off a multiple of 16.
  void** at = reinterpret_cast<void**>(top());
  *--at = nullptr;
  *--at = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--at = nullptr;
  pointer_ = at;
#else
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_;
  context_.uc_stack.ss_size = size_t(top() - stack_);
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
#endif
}

void Fiber::enter(Fiber& to) {
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, to.stack_, kStack);
#endif
#if defined(__SANITIZE_THREAD__)
  Untracked::change(untracked_, to.untracked_);
  tsan_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to.tsan_, 1);
#endif
#if defined(FASTNN_EMU_SWITCHES_BY_HAND)
  fastnn_switch(&pointer_, to.pointer_);
#else
  swapcontext(&context_, &to.context_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void Fiber::leave(Fiber& scheduler, [[maybe_unused]] bool finished) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(finished ? nullptr : &fake_stack_, scheduler.bottom_, scheduler.size_);
#endif
#if defined(__SANITIZE_THREAD__)
  Untracked::change(untracked_, scheduler.untracked_);
  __tsan_switch_to_fiber(scheduler.tsan_, 1);
#endif
#if defined(FASTNN_EMU_SWITCHES_BY_HAND)
  fastnn_switch(&pointer_, scheduler.pointer_);
#else
  swapcontext(&context_, &scheduler.context_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack_, nullptr, nullptr);
#endif
}

void Fiber::abandon() {
#if defined(__SANITIZE_THREAD__)
  void* scheduler = __tsan_get_current_fiber();
  int outer;
  Untracked::change(outer, untracked_);
  __tsan_switch_to_fiber(tsan_, 0);  // 0: what is before the switch is seen behind it
  while (Untracked::add(0)) Untracked::end();
  __tsan_switch_to_fiber(scheduler, 0);
  Untracked::add(outer);
#endif
}

void Fiber::arrived_first() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &bottom_, &size_);
#endif
}

}  // namespace fastnn::emulation
