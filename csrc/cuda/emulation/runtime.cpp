// Memory with guards around it, on the host, in a pool that gives freed blocks out again; streams and graphs.
#include "runtime.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "emulation.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define FORBID(p, bytes) ASAN_POISON_MEMORY_REGION(p, bytes)
#define PERMIT(p, bytes) ASAN_UNPOISON_MEMORY_REGION(p, bytes)
#else
#define FORBID(p, bytes)
#define PERMIT(p, bytes)
#endif

namespace fastnn::emulation {

struct Node {
  enum Kind { launch, copy, set } kind;
  std::function<void()> run;
};
struct Graph {
  std::vector<Node> nodes;  // each after the one before
};
struct Executable {
  std::vector<Node> nodes;
};
struct Stream {
  Graph* captured = nullptr;
  bool invalidated = false;
};
struct Event {
  const Stream* of = nullptr;
  bool recorded = false;
};

// Each block stands between two guards, which a write past its ends damages, or between those of the address
// sanitizer, which sees reads, too; fresh memory is NaN, and so is freed memory.
#if defined(__SANITIZE_ADDRESS__)
constexpr int64_t kGuard = 0;
#else
constexpr int64_t kGuard = 64;
#endif
constexpr unsigned char kGuardByte = 0xa5, kPoison = 0xff;
constexpr int64_t kCached = 64 << 20;  // freed memory that waits for the next block of its size; the last freed comes first

struct Pool {
  std::mutex mutex;
  std::map<uintptr_t, int64_t> blocks;  // begin of the data -> bytes
  std::map<int64_t, std::vector<void*>> cached;  // bytes -> data, the last freed at the end
  int64_t in_use = 0, cached_bytes = 0;
  std::string damage;  // found where nothing may be thrown
};

namespace {

Pool& pool() {
  static auto* p = new Pool;  // tensors may outlive static destructors
  return *p;
}

// (a stream, one that it has waited for)
std::set<std::pair<const Stream*, const Stream*>>& orders() {
  static auto* s = new std::set<std::pair<const Stream*, const Stream*>>;
  return *s;
}

thread_local int captures = 0;  // streams that this thread captures
thread_local cudaError_t last_error = cudaSuccess;

cudaError_t result(cudaError_t status) {
  if (status != cudaSuccess) last_error = status;
  return status;
}
// What must not happen while a stream is captured spoils the capture.
cudaError_t refuse(Stream* stream) {
  if (stream && stream->captured) stream->invalidated = true;
  return result(cudaErrorStreamCaptureUnsupported);
}
bool capturing(const Stream* stream) { return stream && stream->captured; }

cudaError_t add(Stream* stream, Node node) {
  if (stream->invalidated) return result(cudaErrorStreamCaptureInvalidated);
  stream->captured->nodes.push_back(std::move(node));
  return cudaSuccess;
}

uintptr_t address(const void* p) { return reinterpret_cast<uintptr_t>(p); }

bool intact(uintptr_t data, int64_t bytes) {
  const auto* p = reinterpret_cast<const unsigned char*>(data);
  for (int64_t i = 0; i < kGuard; ++i)
    if (p[i - kGuard] != kGuardByte || p[bytes + i] != kGuardByte) return false;
  return true;
}

void* fresh(int64_t bytes) {
  void* block = nullptr;
  if (posix_memalign(&block, 64, size_t(bytes + 2 * kGuard))) return nullptr;
  auto* p = static_cast<unsigned char*>(block);
  std::memset(p, kGuardByte, kGuard);
  std::memset(p + kGuard, kPoison, size_t(bytes));
  std::memset(p + kGuard + bytes, kGuardByte, kGuard);
  return p + kGuard;
}

void give_back(void* data, int64_t bytes) {
  PERMIT(data, size_t(bytes));
  (void)bytes;
  std::free(static_cast<unsigned char*>(data) - kGuard);
}

void trim(Pool& p) {
  for (const auto& [bytes, blocks] : p.cached)
    for (void* data : blocks) give_back(data, bytes);
  p.cached.clear();
  p.cached_bytes = 0;
}

// The block that p points into, or past the end of, where an empty part begins.
std::map<uintptr_t, int64_t>::const_iterator find(const Pool& p, const void* pointer) {
  auto it = p.blocks.upper_bound(address(pointer));
  if (it == p.blocks.begin() || address(pointer) > (--it)->first + uintptr_t(it->second)) return p.blocks.end();
  return it;
}

}  // namespace

bool follows(const Stream* later, const Stream* earlier) {
  std::lock_guard lock(pool().mutex);
  return orders().contains({later, earlier});
}

void enqueue(Stream* stream, std::function<void()> run) {
  if (!capturing(stream)) return run();
  if (add(stream, {Node::launch, std::move(run)}) != cudaSuccess)
    throw Error("[cuda-emu] a kernel is launched into a stream whose capture is spoiled");
}

void check_guards(const void* const* pointers, int64_t count) {
  Pool& p = pool();
  std::lock_guard lock(p.mutex);
  std::string damage;
  std::swap(damage, p.damage);
  for (int64_t i = 0; i < count && damage.empty(); ++i) {
    if (!pointers[i]) continue;
    const auto it = find(p, pointers[i]);
    if (it != p.blocks.end() && !intact(it->first, it->second)) damage = "a kernel has written past the ends of an array";
  }
  if (!damage.empty()) throw Error("[cuda-emu] " + damage);
}

}  // namespace fastnn::emulation

using namespace fastnn::emulation;

cudaError_t cudaGetLastError() {
  const cudaError_t status = last_error;
  last_error = cudaSuccess;
  return status;
}
const char* cudaGetErrorString(cudaError_t status) {
  constexpr const char* names[] = {"no error", "invalid argument", "out of memory", "an illegal memory access was encountered",
                                   "operation not permitted when stream is capturing",
                                   "operation failed due to a previous error during capture",
                                   "the operation cannot be performed in the present state", "the graph update was not performed"};
  return names[status];
}
cudaError_t cudaDriverGetVersion(int* version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) { return properties->major = 8, cudaSuccess; }
cudaError_t cudaDeviceSynchronize() { return captures ? result(cudaErrorStreamCaptureUnsupported) : cudaSuccess; }

// ---- memory ----

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* found, int) { return *found = &pool(), cudaSuccess; }
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t p, cudaMemPoolAttr, void* value) {
  std::lock_guard lock(p->mutex);
  *static_cast<uint64_t*>(value) = uint64_t(p->in_use + p->cached_bytes);
  return cudaSuccess;
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t p, size_t) {
  std::lock_guard lock(p->mutex);
  trim(*p);
  return cudaSuccess;
}

// While a stream is captured, memory would become a part of its graph, which could not be updated any more.
cudaError_t cudaMallocAsync(void** found, size_t size, cudaStream_t stream) {
  if (captures) return refuse(stream);
  Pool& p = pool();
  const int64_t bytes = int64_t(size);
  std::lock_guard lock(p.mutex);
  void* data = nullptr;
  if (std::vector<void*>& free = p.cached[bytes]; !free.empty()) {
    data = free.back();
    free.pop_back();
    p.cached_bytes -= bytes;
    PERMIT(data, size);
    const auto* c = static_cast<const unsigned char*>(data);
    if (std::any_of(c, c + bytes, [](unsigned char byte) { return byte != kPoison; })) p.damage = "memory was written after it was freed";
    std::memset(data, kPoison, size);
  } else {
    data = fresh(bytes);
  }
  if (!data) return result(cudaErrorMemoryAllocation);
  p.blocks[address(data)] = bytes;
  p.in_use += bytes;
  *found = data;
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void* data, cudaStream_t stream) {
  if (captures) return refuse(stream);
  Pool& p = pool();
  std::lock_guard lock(p.mutex);
  const auto it = p.blocks.find(address(data));
  if (it == p.blocks.end()) {
    p.damage = "memory is freed that was not allocated";
    return result(cudaErrorInvalidValue);
  }
  const int64_t bytes = it->second;
  const bool whole = intact(it->first, bytes);
  if (!whole) p.damage = "memory past the ends of an array was written";
  p.blocks.erase(it);
  p.in_use -= bytes;
  if (!whole || bytes > kCached) {
    give_back(data, bytes);
    return cudaSuccess;
  }
  // What was freed before goes, not this: a step that is run again finds its addresses again, as with CUDA's pool.
  if (p.cached_bytes + bytes > kCached) trim(p);
  std::memset(data, kPoison, size_t(bytes));
  FORBID(data, size_t(bytes));
  p.cached[bytes].push_back(data);
  p.cached_bytes += bytes;
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* found, const void* pointer) {
  Pool& p = pool();
  std::lock_guard lock(p.mutex);
  found->type = find(p, pointer) == p.blocks.end() ? cudaMemoryTypeUnregistered : cudaMemoryTypeDevice;
  return cudaSuccess;
}

// A copy from or to memory of the host waits for it: none is page-locked here.
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (capturing(stream) && kind != cudaMemcpyDeviceToDevice) return refuse(stream);
  const auto run = [=] { std::memmove(to, from, bytes); };
  if (capturing(stream)) return add(stream, {Node::copy, run});
  run();
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream) {
  const auto run = [=] { std::memset(p, value, bytes); };
  if (capturing(stream)) return add(stream, {Node::set, run});
  run();
  return cudaSuccess;
}

// ---- streams and graphs ----

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) { return *stream = new Stream, cudaSuccess; }
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (capturing(stream)) return refuse(stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return capturing(stream) ? refuse(stream) : cudaSuccess; }


// Nothing is under way, so there is nothing to wait for; who waited for whom is kept for the tests. Events that become parts of
// a capture are not for this runtime.
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { return *event = new Event, cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (capturing(stream)) return refuse(stream);
  *event = {stream, true};
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (capturing(stream)) return refuse(stream);
  if (event->recorded) {
    std::lock_guard lock(pool().mutex);
    orders().insert({stream, event->of});
  }
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (!stream) return result(cudaErrorStreamCaptureUnsupported);
  if (stream->captured) return result(cudaErrorIllegalState);
  stream->captured = new Graph;
  stream->invalidated = false;
  ++captures;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!capturing(stream)) return result(cudaErrorIllegalState);
  --captures;
  Graph* found = std::exchange(stream->captured, nullptr);
  if (stream->invalidated) {
    delete found;
    return result(cudaErrorStreamCaptureInvalidated);
  }
  *graph = found;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new Executable{graph->nodes};
  return cudaSuccess;
}
// The nodes must be of the same kinds, in the same order; what they do may be another kernel or other arguments.
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t executable, cudaGraph_t graph, cudaGraphExecUpdateResultInfo*) {
  if (!std::equal(graph->nodes.begin(), graph->nodes.end(), executable->nodes.begin(), executable->nodes.end(),
                  [](const Node& a, const Node& b) { return a.kind == b.kind; }))
    return result(cudaErrorGraphExecUpdateFailure);
  executable->nodes = graph->nodes;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  if (capturing(stream)) return refuse(stream);  // it would become a child graph
  for (const Node& node : executable->nodes) node.run();
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
