// Ops of networks: convolution, pooling, normalisation, recurrent layers, losses, optimizers.
#include "caster.h"
#include "ops.h"

namespace py = pybind11;
using namespace py::literals;

namespace fastnn {

void bind_nn(py::module_& m) {

  py::class_<RnnOptions>(m, "RnnOptions")
      .def(py::init<bool, bool, bool, bool, int64_t, bool, bool>(), "go_backwards"_a = false, "zero_output"_a = false,
           "return_sequences"_a = false, "keep"_a = false, "variant"_a = 0, "use_bias"_a = true, "need_gx"_a = true);
  py::class_<RnnResult>(m, "RnnResult")
      .def_readonly("y", &RnnResult::y)
      .def_readonly("h", &RnnResult::h)
      .def_readonly("c", &RnnResult::c);
  m.def("lstm_forward", &lstm_forward, "x"_a, "kernel"_a, "recurrent_kernel"_a, "bias"_a, "h0"_a, "c0"_a, "mask"_a,
        "options"_a, nogil());
  m.def("lstm_backward", &lstm_backward, "x"_a, "kernel"_a, "recurrent_kernel"_a, "mask"_a, "saved"_a, "gy"_a, "gh"_a,
        "gc"_a, "options"_a, nogil());
  m.def("gru_forward", &gru_forward, "x"_a, "kernel"_a, "recurrent_kernel"_a, "bias"_a, "h0"_a, "mask"_a, "options"_a,
        nogil());
  m.def("gru_backward", &gru_backward, "x"_a, "kernel"_a, "recurrent_kernel"_a, "mask"_a, "saved"_a, "gy"_a, "gh"_a,
        "options"_a, nogil());
  m.def("simple_rnn_forward", &simple_rnn_forward, "x"_a, "kernel"_a, "recurrent_kernel"_a, "bias"_a, "h0"_a, "mask"_a,
        "options"_a, nogil());
  m.def("simple_rnn_backward", &simple_rnn_backward, "x"_a, "kernel"_a, "recurrent_kernel"_a, "mask"_a, "saved"_a,
        "gy"_a, "gh"_a, "options"_a, nogil());
}

}  // namespace fastnn
