#include "device.h"

#include <dlfcn.h>

#include <atomic>
#include <cstring>
#include <mutex>

#include "check.h"
#include "record.h"

namespace fastnn {
namespace {

constexpr const char* kNames[kDevices] = {"cpu", "meta", "cuda", "cuda-emu"};
std::atomic<const DeviceLibrary*> libraries[kDevices];
std::atomic<int64_t> precision_in_use{0};

}  // namespace

const char* device_name(Device device) { return kNames[int(device)]; }

constinit thread_local Device thread_device = Device::meta;
Device process_device = Device::cpu;

void load_device(Device device, const char* path) {
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  std::atomic<const DeviceLibrary*>& slot = libraries[int(device)];
  if (slot.load()) return;
  void* handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  check(handle, "[device] the library of ", device_name(device), " cannot be loaded. Received: ", handle ? "" : dlerror());
  const auto get = reinterpret_cast<GetDeviceLibrary>(dlsym(handle, "fastnn_device_library"));
  check(get, "[device] the library of ", device_name(device), " must export fastnn_device_library. Received: path=", path);
  const char* why = "";
  const DeviceLibrary* found = get(&why);
  check(found, "[device] this machine cannot use ", device_name(device), ": ", why);
  check(found->interface == kernel_interface(), "[device] the library of ", device_name(device),
        " must be built with this version of fastnn. Received: path=", path);
  found->set_matmul_precision(precision_in_use);
  slot = found;
}

void set_matmul_precision(int64_t precision) {
  check(precision >= 0 && precision <= 2, "[set_matmul_precision] precision must be from 0 to 2. Received: precision=", precision);
  precision_in_use = precision;
  for (const auto& slot : libraries)
    if (const DeviceLibrary* found = slot.load()) found->set_matmul_precision(precision);
}

int64_t matmul_precision() { return precision_in_use; }

bool is_loaded(Device device) { return libraries[int(device)].load(std::memory_order_acquire) != nullptr; }

const DeviceLibrary& library(Device device) {
  const DeviceLibrary* found = libraries[int(device)].load(std::memory_order_acquire);
  check(found, "[device] the device must be loaded. Received: device=", device_name(device));
  return *found;
}

const Kernels& device_kernels(Device device) { return *library(device).kernels; }

HostView::HostView(Device device, const void* data, int64_t bytes) : data_(data) {
  if (device == Device::cpu) return;
  copy_.resize(size_t(bytes));
  if (bytes) library(device).copy_to_host(copy_.data(), data, bytes);
  data_ = copy_.data();
}

void write_from_host(Device device, void* to, const void* from, int64_t bytes) {
  if (!bytes) return;
  if (device == Device::cpu) std::memcpy(to, from, size_t(bytes));
  else library(device).copy_from_host(to, from, bytes);
}

Tensor to_device(const Tensor& t, Device device) {
  if (t.device() == device || t.is_meta()) return t;
  Tensor y(t.shape(), t.dtype(), device);
  if (!y.numel()) return y;
  if (device == Device::cpu) library(t.device()).copy_to_host(y.raw(), t.raw(), t.bytes());
  else write_from_host(device, y.raw(), HostView(t).data(), t.bytes());
  if (hooks.recorder) note_host_data(y);
  return y;
}

}  // namespace fastnn
