// The Python type of Tensor, bound by hand: an op on one element costs well under a microsecond,
// and NumPy's buffer protocol, weak references and attributes come with it.
#pragma once
#include <Python.h>

#include "device.h"
#include "record.h"
#include "tensor.h"

namespace fastnn {

struct PyTensor {
  PyObject_HEAD
  Tensor value;
  PyObject* node;  // the tape's node that made this tensor, or NULL
  int output;      // which of the node's outputs it is
  PyObject* dict;
  PyObject* weakrefs;
};

extern PyTypeObject* tensor_type;
// Interned: the names that Python sees.
extern PyObject* dtype_names[kDTypes];
extern PyObject* device_names[kDevices];

inline bool is_tensor(PyObject* o) { return Py_TYPE(o) == tensor_type || PyObject_TypeCheck(o, tensor_type); }
inline Tensor& unwrap(PyObject* o) { return reinterpret_cast<PyTensor*>(o)->value; }
// A new reference, or NULL with an exception set.
PyObject* wrap(Tensor value);
PyObject* shape_tuple(const Shape& shape);
// Sets the Python exception that the C++ exception in flight stands for; call in catch (...).
void set_python_error();

// While shapes are inferred in this thread, every tensor that an op takes counts as a meta tensor: a
// layer applied to symbolic tensors runs with its variables and constants as they are.
extern constinit thread_local bool inferring;

// ValueError: ops take tensors of the current device.
[[noreturn]] void wrong_device(const Tensor& t);

// A Python tensor as the argument of an op.
inline Tensor argument(PyObject* o) {
  const Tensor& t = unwrap(o);
  if (hooks.recorder) [[unlikely]] note_argument(t);
  if (t.device() != current_device() && !t.is_meta()) [[unlikely]] wrong_device(t);
  return inferring && !t.is_meta() ? Tensor(t.shape(), t.dtype(), Device::meta) : t;
}

// Registers the type and its functions with the module. False with an exception set on failure.
bool add_tensor_type(PyObject* module);

// dlpack.cpp
PyObject* tensor_dlpack(PyObject* self, PyObject* args, PyObject* kwargs);
PyObject* tensor_dlpack_device(PyObject* self, PyObject*);
PyObject* tensor_from_dlpack(PyObject*, PyObject* capsule);

}  // namespace fastnn
