// The device as _core sees it: memory from CUDA's stream-ordered pool, copies, the current stream, graphs. On "cuda-emu" the
// calls of CUDA are those of emulation/runtime.h.
#include <algorithm>
#include <map>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <utility>

#include "cuda.h"
#include "library.h"

namespace fastnn::cuda {
namespace {

#ifdef __CUDACC__
constexpr const char* kName = "[cuda] ";
constexpr bool kSurvivesFork = false;  // a context does not
void check_guards(const void* const*, int64_t) {}
#else
constexpr const char* kName = "[cuda-emu] ";
constexpr bool kSurvivesFork = true;
using emulation::check_guards;
#endif

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
pid_t owner = 0;
bool forked() { return !kSurvivesFork && owner != getpid(); }

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
  if (!forked()) cudaFreeAsync(p, stream);
}

// What this thread asks of `s` follows what it has asked of its stream before: arrays made in one are used, and freed, in
// the other.
void set_stream(cudaStream_t s) {
  if (s == stream) return;
  cudaEvent_t done;
  CUDA_CHECK(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
  const cudaError_t recorded = cudaEventRecord(done, stream);
  const cudaError_t follows = recorded == cudaSuccess ? cudaStreamWaitEvent(s, done, 0) : cudaSuccess;
  cudaEventDestroy(done);  // at once or when it has happened
  CUDA_CHECK(follows);
  stream = s;  // also where the old one is no more
  CUDA_CHECK(recorded);
}

void transfer(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind) {
  CUDA_CHECK(cudaMemcpyAsync(to, from, size_t(bytes), kind, stream));
  if (kind != cudaMemcpyDeviceToDevice) CUDA_CHECK(cudaStreamSynchronize(stream));
}

void verify(const void* const* pointers, int64_t count, bool after) {
  check_guards(pointers, after ? count : 0);
  if (after) return;
  if (forked()) throw std::runtime_error("[cuda] a process that was forked cannot use the GPU of its parent: start it with spawn");
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
    throw std::runtime_error(std::string(kName) + "a kernel is given an address that is not the device's");
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

// ---- graphs ----

// Calls that were captured: launches on fixed addresses, and the memory of their scratch arrays.
struct Graph {
  cudaGraphExec_t executable = nullptr;
  char* scratch = nullptr;
  int64_t scratch_bytes = 0;
};

// Scratch memory of this thread: how much is in use at once, and, while calls are captured, where it is. Arrays come
// and go in the order of their scopes, so a stack holds them.
struct ScratchStack {
  int64_t used = 0, most = 0;
  bool capturing = false;
  char* begin = nullptr;
  int64_t bytes = 0;
};
thread_local ScratchStack scratch;
constexpr int64_t kScratchAlign = 256;  // that of cudaMalloc: kernels choose their vectors by it
int64_t aligned(int64_t bytes) { return ceil_div(std::max<int64_t>(bytes, 1), kScratchAlign) * kScratchAlign; }

void free_graph(void* p) noexcept {
  auto* graph = static_cast<Graph*>(p);
  if (!forked()) {
    cudaDeviceSynchronize();  // it may run in another stream than this thread's
    if (graph->executable) cudaGraphExecDestroy(graph->executable);
  }
  if (graph->scratch) deallocate(graph->scratch, graph->scratch_bytes);
  delete graph;
}

// The calls of `run`, which launch and copy and nothing else, as a graph; null if something in them cannot be one.
cudaGraph_t captured(const Graph& graph, void (*run)(const void*), const void* context) {
  cudaStream_t own;  // the default stream cannot be captured
  if (cudaStreamCreateWithFlags(&own, cudaStreamNonBlocking) != cudaSuccess) return nullptr;
  cudaGraph_t found = nullptr;
  if (cudaStreamBeginCapture(own, cudaStreamCaptureModeThreadLocal) == cudaSuccess) {
    const cudaStream_t outer = std::exchange(stream, own);
    scratch = {0, 0, true, graph.scratch, graph.scratch_bytes};
    bool whole = true;
    try {
      run(context);
    } catch (const std::exception&) {
      whole = false;
    }
    scratch = {};
    stream = outer;
    if (cudaStreamEndCapture(own, &found) != cudaSuccess) found = nullptr;
    if (found && !whole) cudaGraphDestroy(std::exchange(found, nullptr));
  }
  cudaStreamDestroy(own);
  return found;
}

void* capture(void* p, void (*run)(const void*), const void* context) {
  scratch = {};
  run(context);
  auto* graph = p ? static_cast<Graph*>(p) : new Graph;
  if (const int64_t bytes = scratch.most; bytes > graph->scratch_bytes) {
    cudaStreamSynchronize(stream);
    if (graph->scratch) deallocate(graph->scratch, graph->scratch_bytes);
    graph->scratch = static_cast<char*>(allocate(bytes));
    graph->scratch_bytes = graph->scratch ? bytes : 0;
    cudaStreamSynchronize(stream);  // the graph may be launched into another one
  }
  cudaGraph_t found = captured(*graph, run, context);
  cudaGraphExecUpdateResultInfo why;
  if (found && graph->executable && cudaGraphExecUpdate(graph->executable, found, &why) != cudaSuccess) {
    cudaGraphExecDestroy(graph->executable);
    graph->executable = nullptr;
  }
  const bool made = found && (graph->executable || cudaGraphInstantiate(&graph->executable, found, 0) == cudaSuccess);
  if (found) cudaGraphDestroy(found);
  cudaGetLastError();  // of what was tried
  if (made) return graph;
  free_graph(graph);
  return nullptr;
}

void launch_graph(void* graph) { CUDA_CHECK(cudaGraphLaunch(static_cast<Graph*>(graph)->executable, stream)); }

}  // namespace

cudaStream_t current_stream() { return stream; }

void check_call(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  throw std::runtime_error(std::string(kName) + cudaGetErrorString(status) + ". Received: " + call + " (" + file + ":" +
                           std::to_string(line) + ")");
}

void* allocate_scratch(int64_t bytes) {
  ScratchStack& s = scratch;
  const bool fits = s.used + aligned(bytes) <= s.bytes;
  void* p = !s.capturing ? allocate(std::max<int64_t>(bytes, 1)) : fits ? s.begin + s.used : nullptr;
  if (!p) throw std::bad_alloc();
  s.used += aligned(bytes);
  s.most = std::max(s.most, s.used);
  return p;
}
void free_scratch(void* p, int64_t bytes) noexcept {
  scratch.used -= aligned(bytes);
  if (!scratch.capturing) deallocate(p, bytes);
}
void fill_bytes(void* p, int value, int64_t bytes) { CUDA_CHECK(cudaMemsetAsync(p, value, size_t(bytes), stream)); }

}  // namespace fastnn::cuda

const fastnn::DeviceLibrary* fastnn_device_library(const char** why) {
  using namespace fastnn;
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess || devices == 0) {
    cudaGetLastError();
    int driver = 0;  // 0: none is installed
    cudaDriverGetVersion(&driver);
    *why = status == cudaSuccess ? "there is no GPU" : driver == 0 ? "there is no driver of NVIDIA's" : cudaGetErrorString(status);
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
      [](void* s) { cuda::set_stream(static_cast<cudaStream_t>(s)); },
      cuda::set_matmul_precision,
      cuda::capture,
      cuda::launch_graph,
      cuda::free_graph,
  };
  return &library;
}
