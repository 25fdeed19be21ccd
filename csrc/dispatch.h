// Chooses the kernel table of this machine, once per process, and calls kernels through it.
#pragma once
#include <string>
#include <vector>

#include "device.h"
#include "kernels.h"
#include "record.h"
#include "tensor.h"

namespace fastnn {

// The table of the best instruction set of this CPU, or of the one named by FASTNN_ISA.
const Kernels& cpu_kernels();
// "baseline", "avx2", "avx512" or "amx": the kernels of avx512, some of which use the tile unit.
const char* isa_name();
// Those that FASTNN_ISA may name here, best first.
std::vector<std::string> isa_names();
// The name of a kernel by its place in the table.
const char* kernel_name(int index);
int kernel_count();

// Memory that is always there and always zero: the source of copies that fill with zeros.
inline constexpr int kZeroBytes = 64;
extern const std::byte zero_bytes[kZeroBytes];
// The like on any device but meta.
const void* zeros(Device device);

// Runs one kernel on the device. The only way from an op to a kernel, so that a recorder sees it.
// Nothing runs for meta tensors, whose shapes are all there is to compute.
template <class... Params, class... Args>
void launch(Device device, void (*Kernels::*kernel)(Params...), Args... args) {
  if (device == Device::meta) return;
  const bool on_cpu = device == Device::cpu;
  const Kernels& table = on_cpu ? cpu_kernels() : device_kernels(device);
  if (hooks.any || !on_cpu) [[unlikely]] {
    const int index = int(reinterpret_cast<void (*const*)()>(&(table.*kernel)) - reinterpret_cast<void (*const*)()>(&table));
    return call_hooked(device, kernel_name(index), index, table.*kernel, std::index_sequence_for<Params...>(),
                       static_cast<Params>(args)...);
  }
  (table.*kernel)(static_cast<Params>(args)...);
}

}  // namespace fastnn
