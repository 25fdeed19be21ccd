// The Python module: the Tensor type, memory and threads here; ops in bindings_math.cpp (arrays)
// and bindings_nn.cpp (networks), one line per function of ops.h.
#include "caster.h"
#include "check.h"
#include "device.h"
#include "dispatch.h"
#include "memory.h"
#include "parallel.h"

namespace py = pybind11;
using namespace fastnn;
using namespace py::literals;

PYBIND11_MODULE(_core, m) {
  m.doc() = "The native core of fastnn: tensors, memory, threads and kernels.";
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const TypeError&) {
      set_python_error();
    } catch (const IndexError&) {
      set_python_error();
    } catch (const MemoryError&) {
      set_python_error();
    }
  });
  if (!add_tensor_type(m.ptr()) || !add_elementwise(m.ptr()) || !add_matmul(m.ptr())) throw py::error_already_set();

  m.def("isa", [] { return isa_name(); }, "The instruction set in use: 'amx', 'avx512', 'avx2' or 'baseline'.");
  m.def("isa_names", &isa_names, "What FASTNN_ISA may be here, best first.");
  m.def("num_threads", &num_threads);
  m.def("set_num_threads", &set_num_threads, "n"_a);
  m.def("memory_stats", [] {
    const MemoryStats s = memory_stats();
    return py::dict("in_use"_a = s.in_use, "peak"_a = s.peak, "cached"_a = s.cached,
                    "allocations"_a = s.allocations, "system_calls"_a = s.system_calls);
  });
  m.def("reset_peak_memory", &reset_peak_memory);
  m.def("empty_cache", &empty_cache);
  // The functions below take the name of a device that is loaded.
  const auto device_of = [](const std::string& name) {
    for (const Device d : {Device::cuda, Device::cuda_emu})
      if (name == device_name(d)) return d;
    throw std::invalid_argument(message("[device] device must be cuda or cuda-emu. Received: device=", name));
  };
  m.def("load_device", [=](const std::string& name, const std::string& path) { load_device(device_of(name), path.c_str()); },
        "device"_a, "path"_a);
  m.def("device_loaded", [=](const std::string& name) { return is_loaded(device_of(name)); }, "device"_a);
  m.def("device_memory_stats", [=](const std::string& name) {
    const MemoryStats s = library(device_of(name)).memory_stats();
    return py::dict("in_use"_a = s.in_use, "peak"_a = s.peak, "cached"_a = s.cached,
                    "allocations"_a = s.allocations, "system_calls"_a = s.system_calls);
  }, "device"_a);
  m.def("device_synchronize", [=](const std::string& name) { library(device_of(name)).synchronize(); }, "device"_a, nogil());
  m.def("device_empty_cache", [=](const std::string& name) { library(device_of(name)).empty_cache(); }, "device"_a);
  m.def("device_reset_peak", [=](const std::string& name) { library(device_of(name)).reset_peak_memory(); }, "device"_a);
  m.def("set_matmul_precision", &fastnn::set_matmul_precision, "precision"_a);
  m.def("device_set_stream", [=](const std::string& name, uintptr_t stream) {
    library(device_of(name)).set_stream(reinterpret_cast<void*>(stream));
  }, "device"_a, "stream"_a);
  bind_math(m);
  bind_nn(m);
  bind_program(m);
}
