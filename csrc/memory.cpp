#include "memory.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>

#include "check.h"

namespace fastnn {
namespace {

constexpr int64_t kAlign = 64;
constexpr int64_t kHugePage = int64_t(2) << 20;
constexpr int kClasses = 256;

// Four classes per power of two, so at most a fifth of a block is unused.
struct SizeClass {
  int index;
  int64_t bytes;
};
SizeClass size_class(int64_t bytes) {
  if (bytes <= kAlign) return {0, kAlign};
  const int log = 63 - std::countl_zero(uint64_t(bytes - 1));  // 2^log < bytes <= 2^(log + 1)
  const int64_t step = std::max(kAlign, int64_t(1) << (log - 2));
  const int64_t rounded = (bytes + step - 1) / step * step;
  return {4 * (log - 5) + int((rounded - (int64_t(1) << log)) / step), rounded};
}

struct FreeBlock {
  FreeBlock* next;
};

// Leaked on purpose: tensors may outlive static destructors.
struct Allocator {
  std::mutex mutex;
  FreeBlock* free[kClasses] = {};
  int64_t class_bytes[kClasses] = {};
  MemoryStats stats = {};

  void trim() {  // mutex held
    for (int c = 0; c < kClasses; ++c)
      while (FreeBlock* b = free[c]) {
        free[c] = b->next;
        stats.cached -= class_bytes[c];
        ++stats.system_calls;
        std::free(b);
      }
  }
};

Allocator& allocator() {
  static Allocator* a = [] {
    auto* made = new Allocator;
    // A child of fork() gets a consistent free list and an unlocked mutex.
    pthread_atfork([] { allocator().mutex.lock(); }, [] { allocator().mutex.unlock(); },
                   [] { allocator().mutex.unlock(); });
    return made;
  }();
  return *a;
}

int64_t physical_memory() {
  static const int64_t bytes = int64_t(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  return bytes;
}

void* from_system(int64_t bytes) {
  void* block = std::aligned_alloc(bytes >= kHugePage ? kHugePage : kAlign,
                                   bytes >= kHugePage ? (bytes + kHugePage - 1) / kHugePage * kHugePage : bytes);
#ifdef MADV_HUGEPAGE
  if (block && bytes >= kHugePage) madvise(block, bytes, MADV_HUGEPAGE);
#endif
  return block;
}

}  // namespace

void* allocate(int64_t bytes) {
  if (bytes > physical_memory())
    throw MemoryError(message("[memory] a tensor must fit the memory of this machine (", physical_memory(),
                              " bytes). Received: bytes=", bytes));
  Allocator& a = allocator();
  const SizeClass c = size_class(bytes);
  std::lock_guard lock(a.mutex);
  void* block = a.free[c.index];
  if (block) {
    a.free[c.index] = a.free[c.index]->next;
    a.stats.cached -= c.bytes;
  } else {
    // More kept than was ever needed at once means the sizes have changed: start afresh.
    if (a.stats.cached > a.stats.peak + (int64_t(64) << 20)) a.trim();
    ++a.stats.system_calls;
    block = from_system(c.bytes);
    if (!block) {
      a.trim();
      block = from_system(c.bytes);
    }
    if (!block) throw MemoryError(message("[memory] out of memory. Received: bytes=", bytes));
    a.class_bytes[c.index] = c.bytes;
  }
  ++a.stats.allocations;
  a.stats.in_use += c.bytes;
  a.stats.peak = std::max(a.stats.peak, a.stats.in_use);
  return block;
}

void deallocate(void* block, int64_t bytes) noexcept {
  Allocator& a = allocator();
  const SizeClass c = size_class(bytes);
  std::lock_guard lock(a.mutex);
  auto* b = static_cast<FreeBlock*>(block);
  b->next = a.free[c.index];
  a.free[c.index] = b;
  a.stats.in_use -= c.bytes;
  a.stats.cached += c.bytes;
}

MemoryStats memory_stats() {
  Allocator& a = allocator();
  std::lock_guard lock(a.mutex);
  return a.stats;
}

void reset_peak_memory() {
  Allocator& a = allocator();
  std::lock_guard lock(a.mutex);
  a.stats.peak = a.stats.in_use;
}

void empty_cache() {
  Allocator& a = allocator();
  std::lock_guard lock(a.mutex);
  a.trim();
}

}  // namespace fastnn
