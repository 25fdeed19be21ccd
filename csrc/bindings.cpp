// The Python module: the Tensor type, memory and threads here; ops in bindings_math.cpp (arrays)
// and bindings_nn.cpp (networks), one line per function of ops.h.
#include "caster.h"
#include "check.h"
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

  m.def("isa", [] { return isa_name(); }, "The instruction set in use: 'avx512', 'avx2' or 'baseline'.");
  m.def("num_threads", &num_threads);
  m.def("set_num_threads", &set_num_threads, "n"_a);
  m.def("memory_stats", [] {
    const MemoryStats s = memory_stats();
    return py::dict("in_use"_a = s.in_use, "peak"_a = s.peak, "cached"_a = s.cached,
                    "allocations"_a = s.allocations, "system_calls"_a = s.system_calls);
  });
  m.def("reset_peak_memory", &reset_peak_memory);
  m.def("empty_cache", &empty_cache);
  bind_math(m);
  bind_nn(m);
  bind_program(m);
}
