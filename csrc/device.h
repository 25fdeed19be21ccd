// Devices beside this CPU. Each is a library of its own that brings memory, copies and a kernel table
// (csrc/cuda); it is loaded when first asked for.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels.h"
#include "memory.h"
#include "tensor.h"

namespace fastnn {

struct DeviceLibrary {
  uint64_t interface;
  const Kernels* kernels;
  // Null when there is not that much memory.
  void* (*allocate)(int64_t bytes);
  void (*deallocate)(void* p, int64_t bytes) noexcept;
  // Copies are ordered with the kernels; those to the host have happened when they return, and those from
  // the host no longer need its memory.
  void (*copy_from_host)(void* to, const void* from, int64_t bytes);
  void (*copy_to_host)(void* to, const void* from, int64_t bytes);
  void (*copy_within)(void* to, const void* from, int64_t bytes);
  void (*synchronize)();
  // Throws unless every pointer is null or in memory of this device. After a kernel: unless it has kept to
  // its arrays, as far as the device can tell.
  void (*verify)(const void* const* pointers, int64_t count, bool after);
  MemoryStats (*memory_stats)();
  void (*reset_peak_memory)();
  void (*empty_cache)();
  void (*set_stream)(void* stream);
  void (*set_matmul_precision)(int64_t precision);
  // Runs `run`, whose calls are kernels and copies within the device, and makes a graph of them: launched, it does the
  // same again, on the same addresses. `graph`: null, or one that this one replaces. Null where there cannot be one.
  void* (*capture)(void* graph, void (*run)(const void*), const void* context);
  void (*launch_graph)(void* graph);
  void (*free_graph)(void* graph) noexcept;
};

// A number that changes with the name or the arguments of any kernel: a library built from others is refused.
constexpr uint64_t kernel_interface() {
  uint64_t h = 14695981039346656037u;
#define K(name, args) \
  for (const char c : std::string_view(#name #args)) h = (h ^ uint64_t(c)) * 1099511628211u;
#include "kernels.def"
#undef K
  return h ^ sizeof(RnnForward) ^ sizeof(RnnBackward) << 8 ^ sizeof(UpdateBatch) << 16 ^ sizeof(CopyShape) << 32 ^ sizeof(DeviceLibrary) << 48;
}

// What a library exports under the name "fastnn_device_library": itself, or null and the reason why this machine
// cannot use it.
using GetDeviceLibrary = const DeviceLibrary* (*)(const char** why);

inline constexpr int kDevices = 4;
const char* device_name(Device device);

// The device whose tensors ops of this thread take and make: that of the process until the thread sets its own.
extern constinit thread_local Device thread_device;  // meta: not set
extern Device process_device;
inline Device current_device() { return thread_device == Device::meta ? process_device : thread_device; }

// Loads the library at `path` unless that has been done. ValueError: it cannot be loaded or used.
void load_device(Device device, const char* path);
bool is_loaded(Device device);
// Of matrix products and convolutions on devices that have a choice: 0 float32, 1 tf32, 2 bf16. Also holds for
// libraries that are loaded later.
void set_matmul_precision(int64_t precision);
int64_t matmul_precision();
// ValueError: not loaded.
const DeviceLibrary& library(Device device);
const Kernels& device_kernels(Device device);

// Memory of any device but meta, seen from the host. data() is the memory itself where the host can read it.
class HostView {
 public:
  HostView(Device device, const void* data, int64_t bytes);
  explicit HostView(const Tensor& t) : HostView(t.device(), t.raw(), t.bytes()) {}
  const void* data() const { return data_; }

 private:
  std::vector<std::byte> copy_;
  const void* data_;
};
// Host memory to memory of any device but meta.
void write_from_host(Device device, void* to, const void* from, int64_t bytes);
// The same values on another device.
Tensor to_device(const Tensor& t, Device device);

}  // namespace fastnn
