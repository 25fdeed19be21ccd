// What the files of the Python module share besides the type of Tensor.
#pragma once
#include <Python.h>

#include <cstdint>

namespace fastnn {

// The number of active tapes of this thread: ops are recorded when it is positive.
extern constinit thread_local int recording;

// a op b of float32 tensors and Python numbers, else None; a new reference, or NULL with an exception set.
PyObject* binary_or_none(int64_t op, PyObject* a, PyObject* b);
PyObject* compare_or_none(int64_t op, PyObject* a, PyObject* b);

// Slots of the type of Tensor, up to an empty one.
extern const PyType_Slot operator_slots[];

bool add_tensor_functions(PyObject* module);
bool add_op_type(PyObject* module);

}  // namespace fastnn
