// The emulated device: memory with guards around it, on the host.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <new>

#include "cuda.h"
#include "library.h"

namespace fastnn::cuda {
namespace {

// Each block stands between two guards, which a write past its ends damages, or between those of the address
// sanitizer, which sees reads, too; fresh memory is NaN.
#if defined(__SANITIZE_ADDRESS__)
constexpr int64_t kGuard = 0;
#else
constexpr int64_t kGuard = 64;
#endif
constexpr unsigned char kGuardByte = 0xa5, kPoison = 0xff;

struct Memory {
  std::mutex mutex;
  std::map<uintptr_t, int64_t> blocks;  // begin of the data -> bytes
  MemoryStats stats = {};
  std::string damage;  // found where nothing may be thrown
};
Memory& memory() {
  static auto* m = new Memory;  // tensors may outlive static destructors
  return *m;
}

uintptr_t address(const void* p) { return reinterpret_cast<uintptr_t>(p); }

bool intact(uintptr_t data, int64_t bytes) {
  const auto* p = reinterpret_cast<const unsigned char*>(data);
  for (int64_t i = 0; i < kGuard; ++i)
    if (p[i - kGuard] != kGuardByte || p[bytes + i] != kGuardByte) return false;
  return true;
}

void* allocate(int64_t bytes) {
  void* memory_block = nullptr;
  if (posix_memalign(&memory_block, 64, size_t(bytes + 2 * kGuard))) return nullptr;
  auto* block = static_cast<unsigned char*>(memory_block);
  unsigned char* data = block + kGuard;
  std::memset(block, kGuardByte, kGuard);
  std::memset(data, kPoison, size_t(bytes));
  std::memset(data + bytes, kGuardByte, kGuard);
  Memory& m = memory();
  std::lock_guard lock(m.mutex);
  m.blocks[address(data)] = bytes;
  m.stats.in_use += bytes;
  m.stats.peak = std::max(m.stats.peak, m.stats.in_use);
  ++m.stats.allocations;
  ++m.stats.system_calls;
  return data;
}

void deallocate(void* p, int64_t) noexcept {
  Memory& m = memory();
  std::lock_guard lock(m.mutex);
  const auto it = m.blocks.find(address(p));
  if (it == m.blocks.end()) {
    m.damage = "memory is freed that was not allocated";
    return;
  }
  if (!intact(it->first, it->second)) m.damage = "memory past the ends of an array was written";
  m.stats.in_use -= it->second;
  m.blocks.erase(it);
  std::free(static_cast<unsigned char*>(p) - kGuard);
}

void move(void* to, const void* from, int64_t bytes) { std::memmove(to, from, size_t(bytes)); }

void verify(const void* const* pointers, int64_t count, bool after) {
  Memory& m = memory();
  std::lock_guard lock(m.mutex);
  std::string damage;
  std::swap(damage, m.damage);
  for (int64_t i = 0; i < count && damage.empty(); ++i) {
    if (!pointers[i]) continue;
    auto it = m.blocks.upper_bound(address(pointers[i]));
    // One past the end is where an empty part begins.
    if (it == m.blocks.begin() || address(pointers[i]) > (--it)->first + uintptr_t(it->second))
      damage = "a kernel is given an address that is not the device's";
    else if (after && !intact(it->first, it->second))
      damage = "a kernel has written past the ends of an array";
  }
  if (!damage.empty()) throw emulation::Error("[cuda-emu] " + damage);
}

MemoryStats memory_stats() {
  std::lock_guard lock(memory().mutex);
  return memory().stats;
}
void reset_peak_memory() {
  std::lock_guard lock(memory().mutex);
  memory().stats.peak = memory().stats.in_use;
}

}  // namespace

void* allocate_scratch(int64_t bytes) {
  void* p = allocate(std::max<int64_t>(bytes, 1));
  if (!p) throw std::bad_alloc();
  return p;
}
void free_scratch(void* p, int64_t bytes) noexcept { deallocate(p, bytes); }
void fill_bytes(void* p, int value, int64_t bytes) { std::memset(p, value, size_t(bytes)); }

}  // namespace fastnn::cuda

const fastnn::DeviceLibrary* fastnn_device_library(const char**) {
  using namespace fastnn;
  static const DeviceLibrary library = {
      kernel_interface(),   &cuda::kernels, cuda::allocate, cuda::deallocate,   cuda::move,
      cuda::move,           cuda::move,     [] {},          cuda::verify,       cuda::memory_stats,
      cuda::reset_peak_memory, [] {},       [](void*) {},   cuda::set_matmul_precision,
  };
  return &library;
}
