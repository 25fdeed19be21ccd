// For functions bound by hand: pybind11's call would cost more than an op on a few elements.
#pragma once
#include <Python.h>

#include "tensor_type.h"

#define FAST(...) (PyCFunction)(void (*)()) fastnn::guarded<__VA_ARGS__>, METH_FASTCALL

namespace fastnn {

// What a function throws becomes Python's exception.
template <PyObject* (*f)(PyObject*, PyObject* const*, Py_ssize_t)>
PyObject* guarded(PyObject* self, PyObject* const* args, Py_ssize_t nargs) {
  try {
    return f(self, args, nargs);
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

// Larger results are computed without the GIL.
inline constexpr int64_t kHoldGil = 16384;

template <class F>
PyObject* compute(int64_t elements, F f) {
  try {
    if (elements < kHoldGil) return wrap(f());
    PyThreadState* state = PyEval_SaveThread();
    struct Restore {
      PyThreadState* state;
      ~Restore() { PyEval_RestoreThread(state); }
    };
    Tensor y;
    {
      Restore restore{state};
      y = f();
    }
    return wrap(std::move(y));
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

inline bool is_float32(PyObject* o) { return Py_TYPE(o) == tensor_type && unwrap(o).dtype() == DType::float32; }

inline bool check_count(const char* name, Py_ssize_t nargs, Py_ssize_t low, Py_ssize_t high) {
  if (nargs >= low && nargs <= high) return true;
  PyErr_Format(PyExc_TypeError, "%s: wrong number of arguments (%zd)", name, nargs);
  return false;
}

}  // namespace fastnn
