// Chooses the kernel table of this machine, once per process, and calls kernels through it.
#pragma once
#include "kernels.h"
#include "tensor.h"

namespace fastnn {

// The table of the best instruction set of this CPU, or of the one named by FASTNN_ISA.
const Kernels& cpu_kernels();
// "baseline", "avx2" or "avx512".
const char* isa_name();

// Runs one kernel on the device. The only way from an op to a kernel. Nothing runs for meta
// tensors, whose shapes are all there is to compute.
template <class... Params, class... Args>
void launch(Device device, void (*Kernels::*kernel)(Params...), Args... args) {
  if (device == Device::meta) return;
  (cpu_kernels().*kernel)(static_cast<Params>(args)...);
}

}  // namespace fastnn
