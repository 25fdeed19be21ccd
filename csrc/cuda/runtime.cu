// The device as _core sees it: memory from CUDA's stream-ordered pool, copies, the current stream.
#include <algorithm>
#include <map>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <unistd.h>

#include "cuda.h"
#include "library.h"

namespace fastnn::cuda {
namespace {

struct Memory {
  std::mutex mutex;
  std::map<uintptr_t, int64_t> blocks;  // begin -> bytes
  MemoryStats stats = {};
};
Memory& memory() {
  static auto* m = new Memory;  // tensors may outlive static destructors
  return *m;
}

thread_local cudaStream_t stream = nullptr;
pid_t owner = 0;  // a context does not survive fork()

uintptr_t address(const void* p) { return reinterpret_cast<uintptr_t>(p); }

cudaMemPool_t pool() {
  cudaMemPool_t p;
  CUDA_CHECK(cudaDeviceGetDefaultMemPool(&p, 0));
  return p;
}

void* allocate(int64_t bytes) {
  void* p = nullptr;
  cudaError_t status = cudaMallocAsync(&p, size_t(bytes), stream);
  if (status == cudaErrorMemoryAllocation) {  // what is cached may be in pieces
    cudaGetLastError();
    cudaStreamSynchronize(stream);
    cudaMemPoolTrimTo(pool(), 0);
    status = cudaMallocAsync(&p, size_t(bytes), stream);
  }
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // not sticky: the context lives on
    return nullptr;
  }
  CUDA_CHECK(status);
  Memory& m = memory();
  std::lock_guard lock(m.mutex);
  m.blocks[address(p)] = bytes;
  m.stats.in_use += bytes;
  m.stats.peak = std::max(m.stats.peak, m.stats.in_use);
  ++m.stats.allocations;
  return p;
}

void deallocate(void* p, int64_t) noexcept {
  {
    Memory& m = memory();
    std::lock_guard lock(m.mutex);
    const auto it = m.blocks.find(address(p));
    if (it == m.blocks.end()) return;
    m.stats.in_use -= it->second;
    m.blocks.erase(it);
  }
  // At exit the driver may be gone before the last tensor.
  if (owner == getpid()) cudaFreeAsync(p, stream);
}

void transfer(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind) {
  CUDA_CHECK(cudaMemcpyAsync(to, from, size_t(bytes), kind, stream));
  if (kind != cudaMemcpyDeviceToDevice) CUDA_CHECK(cudaStreamSynchronize(stream));
}

void verify(const void* const* pointers, int64_t count, bool after) {
  if (after) return;
  if (owner != getpid()) throw std::runtime_error("[cuda] a process that was forked cannot use the GPU of its parent: start it with spawn");
  Memory& m = memory();
  std::lock_guard lock(m.mutex);
  for (int64_t i = 0; i < count; ++i) {
    if (!pointers[i]) continue;
    auto it = m.blocks.upper_bound(address(pointers[i]));
    if (it != m.blocks.begin() && address(pointers[i]) <= (--it)->first + uintptr_t(it->second)) continue;
    cudaPointerAttributes found;  // memory shared by CuPy or torch
    if (cudaPointerGetAttributes(&found, pointers[i]) == cudaSuccess && found.type != cudaMemoryTypeUnregistered &&
        found.type != cudaMemoryTypeHost)
      continue;
    cudaGetLastError();
    throw std::runtime_error("[cuda] a kernel is given an address that is not the device's");
  }
}

MemoryStats memory_stats() {
  Memory& m = memory();
  std::lock_guard lock(m.mutex);
  MemoryStats s = m.stats;
  uint64_t reserved = 0;
  if (cudaMemPoolGetAttribute(pool(), cudaMemPoolAttrReservedMemCurrent, &reserved) == cudaSuccess)
    s.cached = int64_t(reserved) - s.in_use;
  return s;
}
void reset_peak_memory() {
  Memory& m = memory();
  std::lock_guard lock(m.mutex);
  m.stats.peak = m.stats.in_use;
}

}  // namespace

cudaStream_t current_stream() { return stream; }

void check_call(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  throw std::runtime_error(std::string("[cuda] ") + cudaGetErrorString(status) + ". Received: " + call + " (" + file + ":" +
                           std::to_string(line) + ")");
}

void* allocate_scratch(int64_t bytes) {
  void* p = allocate(std::max<int64_t>(bytes, 1));
  if (!p) throw std::bad_alloc();
  return p;
}
void free_scratch(void* p, int64_t bytes) noexcept { deallocate(p, bytes); }
void fill_bytes(void* p, int value, int64_t bytes) { CUDA_CHECK(cudaMemsetAsync(p, value, size_t(bytes), stream)); }

}  // namespace fastnn::cuda

const fastnn::DeviceLibrary* fastnn_device_library(const char** why) {
  using namespace fastnn;
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess || devices == 0) {
    cudaGetLastError();
    *why = status == cudaSuccess ? "there is no GPU" : cudaGetErrorString(status);
    return nullptr;
  }
  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess || properties.major < 8) {
    *why = "the GPU must have compute capability 8.0 or higher";
    return nullptr;
  }
  // Freed memory stays with the process.
  uint64_t keep = UINT64_MAX;
  cudaMemPoolSetAttribute(cuda::pool(), cudaMemPoolAttrReleaseThreshold, &keep);
  cuda::owner = getpid();
  static const DeviceLibrary library = {
      kernel_interface(),
      &cuda::kernels,
      cuda::allocate,
      cuda::deallocate,
      [](void* to, const void* from, int64_t bytes) { cuda::transfer(to, from, bytes, cudaMemcpyHostToDevice); },
      [](void* to, const void* from, int64_t bytes) { cuda::transfer(to, from, bytes, cudaMemcpyDeviceToHost); },
      [](void* to, const void* from, int64_t bytes) { cuda::transfer(to, from, bytes, cudaMemcpyDeviceToDevice); },
      [] { CUDA_CHECK(cudaStreamSynchronize(cuda::stream)); },
      cuda::verify,
      cuda::memory_stats,
      cuda::reset_peak_memory,
      [] { cudaStreamSynchronize(cuda::stream), cudaMemPoolTrimTo(cuda::pool(), 0); },
      [](void* s) { cuda::stream = static_cast<cudaStream_t>(s); },
      cuda::set_matmul_precision,
  };
  return &library;
}
