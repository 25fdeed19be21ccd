// Ops of networks: convolution, pooling, normalisation, recurrent layers, losses, optimizers.
#include "caster.h"
#include "ops.h"

namespace py = pybind11;
using namespace py::literals;

namespace fastnn {

void bind_nn([[maybe_unused]] py::module_& m) {
}

}  // namespace fastnn
