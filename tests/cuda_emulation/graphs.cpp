// Graphs: what CUDA refuses while a stream is captured is refused by the emulator, and what the runtime captures does
// again what its calls did. Prints what is wrong.
#include <cstdio>
#include <stdexcept>

#include "harness.h"

namespace fastnn::cuda {
const Kernels kernels = {};
void set_matmul_precision(int64_t) {}
}

namespace {
using namespace fastnn;
using namespace fastnn::cuda;
using planted::device;

int wrong = 0;
void expect(bool ok, const char* what) {
  if (ok) return;
  std::printf("%s\n", what);
  ++wrong;
}

__global__ void add_kernel(const float* x, float* y, int64_t n) {
  for (int64_t i = first_index(); i < n; i += index_step()) y[i] += x[i];
}

// ---- the emulated calls ----

void refusals() {
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  expect(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal) == cudaErrorStreamCaptureUnsupported,
         "the default stream can be captured");
  expect(cudaStreamEndCapture(stream, &graph) == cudaErrorIllegalState && !graph, "a capture ends that has not begun");

  float host[4] = {};
  void* p = nullptr;
  cudaMallocAsync(&p, sizeof host, stream);
  const auto spoils = [&](const char* what, auto call) {
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    expect(call() == cudaErrorStreamCaptureUnsupported, what);
    expect(cudaMemsetAsync(p, 0, sizeof host, stream) == cudaErrorStreamCaptureInvalidated, what);
    expect(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated && !graph, what);
  };
  spoils("a captured stream can be waited for", [&] { return cudaStreamSynchronize(stream); });
  spoils("memory is allocated within a capture", [&] { void* q; return cudaMallocAsync(&q, 4, stream); });
  spoils("memory is freed within a capture", [&] { return cudaFreeAsync(p, stream); });
  spoils("a copy from the host is captured", [&] { return cudaMemcpyAsync(p, host, sizeof host, cudaMemcpyHostToDevice, stream); });
  spoils("a copy to the host is captured", [&] { return cudaMemcpyAsync(host, p, sizeof host, cudaMemcpyDeviceToHost, stream); });
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  expect(cudaDeviceSynchronize() == cudaErrorStreamCaptureUnsupported, "the device can be waited for within a capture");
  cudaStreamEndCapture(stream, &graph);
  cudaGraphDestroy(graph);

  // An update keeps the kinds of nodes.
  cudaGraphExec_t executable;
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  cudaMemsetAsync(p, 1, sizeof host, stream);
  cudaStreamEndCapture(stream, &graph);
  cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  std::memset(p, 0, sizeof host);
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  cudaMemcpyAsync(p, static_cast<float*>(p) + 1, 4, cudaMemcpyDeviceToDevice, stream);
  cudaStreamEndCapture(stream, &graph);
  cudaGraphExecUpdateResultInfo why;
  expect(cudaGraphExecUpdate(executable, graph, &why) == cudaErrorGraphExecUpdateFailure, "a graph becomes one of other nodes");
  cudaGraphDestroy(graph);
  expect(static_cast<unsigned char*>(p)[5] == 0, "what is captured happens");
  cudaGraphLaunch(executable, stream);
  expect(static_cast<unsigned char*>(p)[5] == 1, "what is launched does not happen");
  cudaGraphExecDestroy(executable);
  cudaFreeAsync(p, stream);
  cudaStreamDestroy(stream);
  cudaGetLastError();
}

// ---- what the runtime makes of them ----

struct Work {
  const float* x;
  float* y;
  int64_t n;
  bool long_way = false, waits = false, throws = false;
};
void run(const void* context) {
  const Work& w = *static_cast<const Work*>(context);
  Scratch<float> one(w.n);
  device().copy_within(one.get(), w.x, w.n * 4);
  if (w.long_way) {
    Scratch<float> two(3 * w.n);
    fill_bytes(two.get(), 0, 3 * w.n * 4);
    launch(add_kernel, blocks_for(w.n), kThreads, 0, two.get() + w.n, one.get(), w.n);
  }
  launch(add_kernel, blocks_for(w.n), kThreads, 0, one.get(), w.y, w.n);
  if (w.waits) device().synchronize();
  if (w.throws) throw std::runtime_error("mine");
}

void captures() {
  const int64_t n = 100;
  planted::Array x(n), y(n), other(n);
  const auto is = [&](const planted::Array& a, float factor) {
    const std::vector<float> v = a.values();
    for (int64_t i = 0; i < n; ++i)
      if (v[i] != factor * float(i)) return false;
    return true;
  };
  const MemoryStats before = device().memory_stats();
  Work work{x.get(), y.get(), n};
  void* graph = device().capture(nullptr, run, &work);
  expect(graph && is(y, 2), "a capture does not run its calls once");
  device().launch_graph(graph);
  device().launch_graph(graph);
  expect(is(y, 4), "a graph does not do what its calls did");
  work.y = other.get();
  graph = device().capture(graph, run, &work);
  device().launch_graph(graph);
  expect(graph && is(y, 4) && is(other, 3), "a graph does not follow to another address");
  work.long_way = true;  // more nodes and more scratch memory
  graph = device().capture(graph, run, &work);
  device().launch_graph(graph);
  expect(graph && is(other, 5), "a graph cannot become a longer one");
  work.long_way = false;
  graph = device().capture(graph, run, &work);
  device().launch_graph(graph);
  expect(graph && is(other, 7), "a graph cannot become a shorter one");
  try {
    work.throws = true;
    device().capture(graph, run, &work);
    expect(false, "an exception is lost");
  } catch (const std::runtime_error& e) {
    expect(std::string(e.what()) == "mine", e.what());
  }
  device().launch_graph(graph);
  expect(is(other, 9), "a graph is lost by an exception");
  work.throws = false, work.waits = true;
  expect(!device().capture(graph, run, &work) && is(other, 10), "what waits for the device becomes a graph");
  work.waits = false;
  graph = device().capture(nullptr, run, &work);
  device().launch_graph(graph);
  expect(is(other, 12), "after a failed capture there is none");
  device().free_graph(graph);
  expect(device().memory_stats().in_use == before.in_use, "a graph keeps memory");
}

void streams() {
  const DeviceLibrary& d = device();
  cudaStream_t first, second;
  cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking);
  cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
  cudaEvent_t unused;
  cudaEventCreateWithFlags(&unused, cudaEventDisableTiming);
  cudaStreamWaitEvent(first, unused, 0);
  cudaEventDestroy(unused);
  expect(!emulation::follows(first, nullptr), "an event that was not recorded orders streams");
  d.set_stream(first);
  expect(current_stream() == first && emulation::follows(first, nullptr), "a stream does not follow the default one");
  d.set_stream(second);
  expect(emulation::follows(second, first) && !emulation::follows(second, nullptr), "a stream does not follow the one before");
  cudaGraph_t graph;
  cudaStreamBeginCapture(first, cudaStreamCaptureModeThreadLocal);  // somebody else's
  try {
    d.set_stream(first);
    expect(false, "a captured stream follows another one");
  } catch (const std::runtime_error&) {
    expect(current_stream() == second, "a stream that cannot be used is in use");
  }
  cudaStreamEndCapture(first, &graph);
  d.set_stream(nullptr);
  expect(current_stream() == nullptr && emulation::follows(nullptr, second), "the default stream does not follow the one before");
  cudaStreamDestroy(first);
  cudaStreamDestroy(second);
}

}  // namespace

int main() {
  try {
    refusals();
    captures();
    streams();
  } catch (const std::exception& e) {
    expect(false, e.what());
  }
  return wrong != 0;
}
