#include "memory.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

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

int64_t physical_memory() {
  static const int64_t bytes = int64_t(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  return bytes;
}

// Larger blocks are cut out of regions of address space, from their beginning, and free neighbours become one again:
// what a training step allocates by turns, and the one block of its replays, fit into the same pages. Pages that
// nobody has written yet cost nothing.
class Regions {
 public:
  static constexpr int64_t kGrain = 4096;
  static int64_t rounded(int64_t bytes) { return (bytes + kGrain - 1) / kGrain * kGrain; }

  // The lowest place for a block of `bytes`, a multiple of the grain; null if the system has none.
  // touched: how much of it has been written before.
  void* take(int64_t bytes, int64_t* touched) {
    free_.reserve(free_.size() + taken_ + 2);  // what give() will need
    auto chunk = std::find_if(free_.begin(), free_.end(), [=](const Chunk& c) { return c.bytes >= bytes; });
    if (chunk == free_.end()) {
      if (!grow(bytes)) return nullptr;
      chunk = std::find_if(free_.begin(), free_.end(), [=](const Chunk& c) { return c.bytes >= bytes; });
    }
    ++taken_;
    char* block = chunk->begin;
    *touched = std::min(bytes, chunk->touched);
    *chunk = {chunk->begin + bytes, chunk->bytes - bytes, chunk->touched - *touched};
    if (!chunk->bytes) free_.erase(chunk);
    return block;
  }
  void give(void* block, int64_t bytes) noexcept {
    --taken_;
    insert({static_cast<char*>(block), bytes, bytes});
  }
  // Gives the pages of free blocks back. Returns their bytes; counts calls to the system.
  int64_t trim(int64_t* calls) {
    int64_t bytes = 0;
    for (Chunk& c : free_) {
      madvise(c.begin, size_t(c.bytes), MADV_DONTNEED);  // also where touched is 0: pages may have been written further on
      bytes += c.touched, ++*calls;
      c.touched = 0;
    }
    return bytes;
  }

 private:
  struct Chunk {
    char* begin;
    int64_t bytes, touched;  // pages were written in the first `touched` bytes, nearly always
  };

  void insert(Chunk c) {
    auto at = std::find_if(free_.begin(), free_.end(), [&](const Chunk& other) { return other.begin > c.begin; });
    if (at != free_.end() && c.begin + c.bytes == at->begin) {
      *at = {c.begin, c.bytes + at->bytes, c.touched + at->touched};
    } else {
      at = free_.insert(at, c);
    }
    if (at == free_.begin() || (at - 1)->begin + (at - 1)->bytes != at->begin) return;
    *(at - 1) = {(at - 1)->begin, (at - 1)->bytes + at->bytes, (at - 1)->touched + at->touched};
    free_.erase(at);
  }

  // More address space, a gigabyte or as much as there is, or else what is needed.
  bool grow(int64_t least) {
    const int64_t needed = (least + kHugePage - 1) / kHugePage * kHugePage;
    for (int64_t bytes : {std::max({needed, int64_t(1) << 30, reserved_}), needed}) {
      void* p = mmap(nullptr, size_t(bytes + kHugePage), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (p == MAP_FAILED) continue;
      char *begin = static_cast<char*>(p), *aligned = begin + (-reinterpret_cast<uintptr_t>(p) & uintptr_t(kHugePage - 1));
      if (aligned > begin) munmap(begin, size_t(aligned - begin));
      munmap(aligned + bytes, size_t(kHugePage - (aligned - begin)));
#ifdef MADV_HUGEPAGE
      madvise(aligned, size_t(bytes), MADV_HUGEPAGE);
#endif
      reserved_ += bytes;
      free_.reserve(free_.size() + taken_ + 2);
      insert({aligned, bytes, 0});
      return true;
    }
    return false;
  }

  std::vector<Chunk> free_;  // by address
  size_t taken_ = 0;
  int64_t reserved_ = 0;
};

// Leaked on purpose: tensors may outlive static destructors.
struct Allocator {
  std::mutex mutex;
  FreeBlock* free[kClasses] = {};
  int64_t class_bytes[kClasses] = {};
  Regions regions[2];  // of medium and of large blocks
  MemoryStats stats = {};

  void trim() {  // mutex held
    for (int c = 0; c < kClasses; ++c)
      while (FreeBlock* b = free[c]) {
        free[c] = b->next;
        stats.cached -= class_bytes[c];
        ++stats.system_calls;
        std::free(b);
      }
    for (Regions& r : regions) stats.cached -= r.trim(&stats.system_calls);
  }

  void* small(SizeClass c) {
    if (FreeBlock* block = free[c.index]) {
      free[c.index] = block->next;
      stats.cached -= c.bytes;
      return block;
    }
    // More kept than was ever needed at once means the sizes have changed: start afresh.
    if (stats.cached > stats.peak + (int64_t(64) << 20)) trim();
    ++stats.system_calls;
    class_bytes[c.index] = c.bytes;
    return std::aligned_alloc(kAlign, size_t(c.bytes));
  }
  void* large(Regions& regions, int64_t bytes) {
    int64_t touched = 0;
    void* block = regions.take(bytes, &touched);
    if (touched < bytes) ++stats.system_calls;  // for fresh pages
    stats.cached -= touched;
    return block;
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

// Blocks from kMedium bytes on are cut from regions. From malloc they cost a fault for each 4 KB, a third of the first
// step of a small model. Between large blocks they would leave gaps that the next large ones do not fit.
constexpr int64_t kMedium = int64_t(64) << 10, kLarge = int64_t(1) << 20;

// What a block of so many bytes takes, and its class; below 0: of regions[-1 - index].
SizeClass place_of(int64_t bytes) {
  if (bytes >= kMedium) return {bytes < kLarge ? -1 : -2, Regions::rounded(bytes)};
  return size_class(bytes);
}

}  // namespace

void* allocate(int64_t bytes) {
  if (bytes > physical_memory())
    throw MemoryError(message("[memory] a tensor must fit the memory of this machine (", physical_memory(),
                              " bytes). Received: bytes=", bytes));
  Allocator& a = allocator();
  const SizeClass c = place_of(bytes);
  std::lock_guard lock(a.mutex);
  const auto take = [&] { return c.index < 0 ? a.large(a.regions[-1 - c.index], c.bytes) : a.small(c); };
  void* block = take();
  if (!block) {
    a.trim();
    block = take();
  }
  if (!block) throw MemoryError(message("[memory] out of memory. Received: bytes=", bytes));
  ++a.stats.allocations;
  a.stats.in_use += c.bytes;
  a.stats.peak = std::max(a.stats.peak, a.stats.in_use);
  return block;
}

void deallocate(void* block, int64_t bytes) noexcept {
  Allocator& a = allocator();
  const SizeClass c = place_of(bytes);
  std::lock_guard lock(a.mutex);
  if (c.index < 0) {
    a.regions[-1 - c.index].give(block, c.bytes);
  } else {
    auto* b = static_cast<FreeBlock*>(block);
    b->next = a.free[c.index];
    a.free[c.index] = b;
  }
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
