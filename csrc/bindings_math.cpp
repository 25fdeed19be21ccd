// Ops on arrays: elementwise, reductions, matmul, data movement, random numbers.
#include "caster.h"
#include "ops.h"

namespace py = pybind11;
using namespace py::literals;

namespace fastnn {

void bind_math(py::module_& m) {

  m.def("transpose", &transpose, "x"_a, "axes"_a, nogil());
  m.def("broadcast_to", &broadcast_to, "x"_a, "shape"_a, nogil());
  m.def("slice", &slice, "x"_a, "begin"_a, "size"_a, "step"_a, nogil());
  m.def("slice_backward", &slice_backward, "gy"_a, "shape"_a, "begin"_a, "step"_a, nogil());
  m.def("slice_update", &slice_update, "x"_a, "updates"_a, "begin"_a, "step"_a, nogil());
  m.def("concatenate", &concatenate, "xs"_a, "axis"_a, nogil());
  m.def("pad", &pad, "x"_a, "before"_a, "after"_a, "value"_a, nogil());
  m.def("cast", &cast, "x"_a, "dtype"_a, nogil());

  m.def("indices", &indices, "op"_a, "name"_a, "x"_a, "limit"_a, "wrap"_a, nogil());
  m.def("gather", &gather, "x"_a, "index"_a, "axis"_a, nogil());
  m.def("gather_backward", &gather_backward, "gy"_a, "index"_a, "shape"_a, "axis"_a, nogil());
  m.def("gather_elements", &gather_elements, "x"_a, "index"_a, "axis"_a, nogil());
  m.def("gather_elements_backward", &gather_elements_backward, "gy"_a, "index"_a, "shape"_a, "axis"_a, nogil());
  m.def("coalesce", &coalesce, "index"_a, "values"_a, "rows"_a, nogil());
  m.def("densify", &densify, "row_slot"_a, "sums"_a, nogil());

  m.def("random_key", &random_key, "state"_a, nogil());
  m.def("random_words", &random_words, "key"_a, "n"_a, nogil());
  m.def("random_uniform", &random_uniform, "key"_a, "shape"_a, "low"_a, "high"_a, nogil());
  m.def("random_normal", &random_normal, "key"_a, "shape"_a, "mean"_a, "stddev"_a, nogil());
  m.def("random_truncated_normal", &random_truncated_normal, "key"_a, "shape"_a, "mean"_a, "stddev"_a, nogil());
  m.def("random_integers", &random_integers, "key"_a, "shape"_a, "low"_a, "high"_a, nogil());
  m.def("dropout", &dropout, "key"_a, "x"_a, "rate"_a, nogil());
  m.def("matmul", &matmul, "a"_a, "b"_a, "bias"_a, "trans_a"_a, "trans_b"_a, "activation"_a, nogil());
  m.def("epilogue_backward", &epilogue_backward, "activation"_a, "y"_a, "gy"_a, "bias"_a, nogil());
  m.def("where", &where, "condition"_a, "a"_a, "b"_a, nogil());
  m.def("add_n", &add_n, "terms"_a, nogil());
  m.def("arg_reduce", &arg_reduce, "x"_a, "axis"_a, "minimum"_a, "keepdims"_a, nogil());
  m.def("ceiling_fma", &ceiling_fma, "chunks"_a, "steps"_a, nogil());
  m.def("ceiling_copy", &ceiling_copy, "x"_a, "chunks"_a, "repeats"_a, nogil());
  m.def("ceiling_triad", &ceiling_triad, "x"_a, "z"_a, "chunks"_a, "repeats"_a, nogil());
  m.def("sum_to", &sum_to, "x"_a, "shape"_a, nogil());
}

}  // namespace fastnn
