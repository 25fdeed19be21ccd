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
  m.def("softmax_forward", &softmax_forward, "x"_a, nogil());
  m.def("softmax_backward", &softmax_backward, "y"_a, "gy"_a, nogil());
  m.def("log_softmax_forward", &log_softmax_forward, "x"_a, nogil());
  m.def("log_softmax_backward", &log_softmax_backward, "y"_a, "gy"_a, nogil());
  m.def("class_labels", &class_labels, "label"_a, "classes"_a, nogil());
  m.def("categorical_crossentropy_forward", &categorical_crossentropy_forward, "target"_a, "output"_a, "from_logits"_a, nogil());
  m.def("categorical_crossentropy_backward", &categorical_crossentropy_backward, "target"_a, "output"_a, "stats"_a, "gy"_a, nogil());
  m.def("sparse_categorical_crossentropy_forward", &sparse_categorical_crossentropy_forward, "label"_a, "output"_a, "from_logits"_a, nogil());
  m.def("sparse_categorical_crossentropy_backward", &sparse_categorical_crossentropy_backward, "label"_a, "output"_a, "stats"_a, "gy"_a, nogil());
  m.def("binary_crossentropy_forward", &binary_crossentropy_forward, "target"_a, "output"_a, "from_logits"_a, nogil());
  m.def("binary_crossentropy_backward", &binary_crossentropy_backward, "target"_a, "output"_a, "gy"_a, "from_logits"_a, nogil());
  m.def("ctc_forward", &ctc_forward, "label"_a, "label_count"_a, "frame_count"_a, "logp"_a, "blank"_a, nogil());
  m.def("ctc_backward", &ctc_backward, "label"_a, "label_count"_a, "frame_count"_a, "logp"_a, "alpha"_a, "gy"_a, "blank"_a, nogil());

  m.def("sgd_update", &sgd_update, "w"_a, "g"_a, "row_slots"_a, "m"_a, "lr"_a, "momentum"_a, "nesterov"_a,
        "weight_decay"_a = 0.f, "decay"_a = std::vector<bool>(), "clipvalue"_a = 0.f, "scale"_a = std::nullopt, nogil());
  m.def("rmsprop_update", &rmsprop_update, "w"_a, "g"_a, "row_slots"_a, "v"_a, "mean"_a, "m"_a, "lr"_a, "rho"_a, "momentum"_a,
        "epsilon"_a, "weight_decay"_a = 0.f, "decay"_a = std::vector<bool>(), "clipvalue"_a = 0.f, "scale"_a = std::nullopt, nogil());
  m.def("adam_update", &adam_update, "w"_a, "g"_a, "row_slots"_a, "m"_a, "v"_a, "vmax"_a, "lr"_a, "iterations"_a, "beta1"_a,
        "beta2"_a, "epsilon"_a, "weight_decay"_a = 0.f, "decay"_a = std::vector<bool>(), "clipvalue"_a = 0.f,
        "scale"_a = std::nullopt, nogil());
  m.def("squared_norms", &squared_norms, "g"_a, "row_slots"_a, nogil());
  m.def("clip_scales", &clip_scales, "squares"_a, "clipnorm"_a, "global_norm"_a, nogil());
  m.def("increment", &increment, "x"_a, nogil());

  m.def("depthwise_conv2d_forward", &depthwise_conv2d_forward, "x"_a, "w"_a, "strides"_a, "pads"_a, "dilation"_a, nogil());
  m.def("depthwise_conv2d_backward_input", &depthwise_conv2d_backward_input, "gy"_a, "w"_a, "x_shape"_a, "strides"_a,
        "pads"_a, "dilation"_a, nogil());
  m.def("depthwise_conv2d_backward_weights", &depthwise_conv2d_backward_weights, "x"_a, "gy"_a, "w_shape"_a, "strides"_a,
        "pads"_a, "dilation"_a, nogil());

  m.def("max_pool2d_forward", &max_pool2d_forward, "x"_a, "size"_a, "strides"_a, "pads"_a, nogil());
  m.def("max_pool2d_forward_with_taps", &max_pool2d_forward_with_taps, "x"_a, "size"_a, "strides"_a, "pads"_a, nogil());
  m.def("max_pool2d_backward", &max_pool2d_backward, "gy"_a, "taps"_a, "x_shape"_a, "size"_a, "strides"_a, "pads"_a, nogil());
  m.def("max_pool2d_take", &max_pool2d_take, "x"_a, "taps"_a, "size"_a, "strides"_a, "pads"_a, nogil());
  m.def("average_pool2d_forward", &average_pool2d_forward, "x"_a, "size"_a, "strides"_a, "pads"_a, nogil());
  m.def("average_pool2d_backward", &average_pool2d_backward, "gy"_a, "x_shape"_a, "size"_a, "strides"_a, "pads"_a, nogil());

  m.def("batch_norm_forward", &batch_norm_forward, "x"_a, "gamma"_a, "beta"_a, "epsilon"_a, nogil());
  m.def("batch_norm_inference", &batch_norm_inference, "x"_a, "mean"_a, "variance"_a, "gamma"_a, "beta"_a, "epsilon"_a, nogil());
  m.def("batch_norm_backward", &batch_norm_backward, "x"_a, "gy"_a, "gamma"_a, "mean"_a, "rstd"_a, "need_gx"_a = true, nogil());
  m.def("batch_norm_backward_inference", &batch_norm_backward_inference, "x"_a, "gy"_a, "gamma"_a, "mean"_a, "variance"_a,
        "epsilon"_a, "need_gx"_a = true, nogil());
  m.def("moving_average", &moving_average, "moving"_a, "value"_a, "momentum"_a, nogil());
  m.def("layer_norm_forward", &layer_norm_forward, "x"_a, "gamma"_a, "beta"_a, "axes"_a, "epsilon"_a, nogil());
  m.def("layer_norm_backward", &layer_norm_backward, "x"_a, "gy"_a, "gamma"_a, "mean"_a, "rstd"_a, "axes"_a,
        "need_gx"_a = true, nogil());
  // strides, dilations, pads (top, bottom, left, right), groups
  py::class_<Conv2dOptions>(m, "Conv2dOptions")
      .def(py::init<std::array<int64_t, 2>, std::array<int64_t, 2>, std::array<int64_t, 4>, int64_t>(), "strides"_a,
           "dilations"_a, "pads"_a, "groups"_a);
  m.def("conv2d_forward", &conv2d_forward, "x"_a, "w"_a, "bias"_a, "options"_a, "activation"_a, nogil());
  m.def("conv2d_backward_input", &conv2d_backward_input, "gy"_a, "w"_a, "bias"_a, "size"_a, "options"_a, "activation"_a,
        nogil());
  m.def("conv2d_backward_weights", &conv2d_backward_weights, "x"_a, "gy"_a, "size"_a, "options"_a, nogil());
}

}  // namespace fastnn
