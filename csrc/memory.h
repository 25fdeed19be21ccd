// A caching allocator. Freed blocks are kept (small ones by size class) and handed out again: page faults on
// fresh memory cost more than most kernels, so a training step repeats without the system's help.
#pragma once
#include <cstdint>

namespace fastnn {

struct MemoryStats {
  int64_t in_use;        // bytes handed out now
  int64_t peak;          // the largest in_use so far
  int64_t cached;        // bytes kept for reuse
  int64_t allocations;   // blocks handed out so far
  int64_t system_calls;  // blocks asked from or given back to the system so far
};

// 64-byte aligned; MemoryError names the size when it cannot be had. bytes >= 0.
void* allocate(int64_t bytes);
// `bytes` is what allocate was asked for.
void deallocate(void* block, int64_t bytes) noexcept;
MemoryStats memory_stats();
void reset_peak_memory();
// Gives cached blocks back to the system.
void empty_cache();

}  // namespace fastnn
