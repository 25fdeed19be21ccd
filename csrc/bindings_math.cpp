// Ops on arrays: elementwise, reductions, matmul, data movement, random numbers.
#include "caster.h"
#include "ops.h"

namespace py = pybind11;
using namespace py::literals;

namespace fastnn {

void bind_math(py::module_& m) {
  m.def("binary", &binary, "op"_a, "a"_a, "b"_a, nogil());
}

}  // namespace fastnn
