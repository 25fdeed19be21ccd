// Lets pybind11 functions take and return Tensor and Shape.
#pragma once
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "tensor_type.h"

namespace pybind11::detail {

template <>
struct type_caster<fastnn::Tensor> {
  PYBIND11_TYPE_CASTER(fastnn::Tensor, const_name("Tensor"));
  bool load(handle source, bool) {
    if (!fastnn::is_tensor(source.ptr())) return false;
    value = fastnn::argument(source.ptr());
    return true;
  }
  static handle cast(fastnn::Tensor t, return_value_policy, handle) { return fastnn::wrap(std::move(t)); }
};

template <>
struct type_caster<fastnn::Shape> {
  PYBIND11_TYPE_CASTER(fastnn::Shape, const_name("tuple[int, ...]"));
  bool load(handle source, bool convert) {
    make_caster<std::vector<int64_t>> sizes;
    if (!sizes.load(source, convert)) return false;
    value = fastnn::Shape(cast_op<std::vector<int64_t>&>(sizes));
    return true;
  }
  static handle cast(const fastnn::Shape& s, return_value_policy, handle) { return fastnn::shape_tuple(s); }
};

template <>
struct type_caster<fastnn::DType> {
  PYBIND11_TYPE_CASTER(fastnn::DType, const_name("str"));
  bool load(handle source, bool) {
    if (!PyUnicode_Check(source.ptr())) return false;
    for (int d = 0; d < fastnn::kDTypes; ++d)
      if (PyUnicode_CompareWithASCIIString(source.ptr(), fastnn::dtype_name(fastnn::DType(d))) == 0) {
        value = fastnn::DType(d);
        return true;
      }
    return false;
  }
  static handle cast(fastnn::DType d, return_value_policy, handle) { return PyUnicode_FromString(fastnn::dtype_name(d)); }
};

}  // namespace pybind11::detail

namespace fastnn {

// Kernels run without the GIL. Arguments are converted, and so kept alive, before it is released.
using nogil = pybind11::call_guard<pybind11::gil_scoped_release>;

bool add_elementwise(PyObject* module);
bool add_matmul(PyObject* module);
void bind_math(pybind11::module_& m);
void bind_nn(pybind11::module_& m);
void bind_program(pybind11::module_& m);

}  // namespace fastnn
