// The functions of the Python module that make, move and view tensors, and the door of the tape. Bound by hand, as
// the type itself is.
#include <cstring>
#include <string>

#include "check.h"
#include "cpu/parallel.h"
#include "device.h"
#include "half.h"
#include "program.h"
#include "tensor_functions.h"
#include "tensor_type.h"

namespace fastnn {

constinit thread_local int recording = 0;

namespace {

PyObject* recorder = nullptr;  // Python's record(y, parents, vjp), called when a tape is active

bool parse_dtype(PyObject* name, DType* dtype) {
  for (int d = 0; d < kDTypes; ++d)
    if (name == dtype_names[d]) {
      *dtype = DType(d);
      return true;
    }
  if (PyUnicode_Check(name))
    for (int d = 0; d < kDTypes; ++d)
      if (PyUnicode_Compare(name, dtype_names[d]) == 0) {
        *dtype = DType(d);
        return true;
      }
  PyErr_Format(PyExc_TypeError, "[tensor] dtype must be the name of a supported type. Received: dtype=%R", name);
  return false;
}

// The name of a device that can be computed on.
bool parse_device(PyObject* name, Device* device) {
  for (int d = 0; d < kDevices; ++d)
    if (PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, device_name(Device(d))) == 0) {
      *device = Device(d);
      if (*device == Device::cpu || is_loaded(*device)) return true;
    }
  PyErr_Format(PyExc_ValueError, "[device] device must be the name of a loaded device. Received: device=%R", name);
  return false;
}

// A Python object holds borrowed memory alive; it may be let go by a thread without the GIL.
void release_view(void* owner) {
  if (!Py_IsInitialized()) return;
  PyGILState_STATE gil = PyGILState_Ensure();
  auto* view = static_cast<Py_buffer*>(owner);
  PyBuffer_Release(view);
  delete view;
  PyGILState_Release(gil);
}

// from_buffer(array, dtype, borrow): a tensor of the values of a C-contiguous native array. The
// caller names the dtype (bfloat16 travels as uint16). borrow: in place, alive as long as needed.
PyObject* from_buffer(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  DType dtype;
  if (nargs != 3) {
    PyErr_SetString(PyExc_TypeError, "from_buffer takes (array, dtype, borrow)");
    return nullptr;
  }
  if (!parse_dtype(args[1], &dtype)) return nullptr;
  auto* view = new Py_buffer;
  if (PyObject_GetBuffer(args[0], view, PyBUF_C_CONTIGUOUS) != 0) {
    delete view;
    return nullptr;
  }
  try {
    Shape shape;
    for (int i = 0; i < view->ndim; ++i) shape.push_back(view->shape[i]);
    check(view->itemsize == itemsize(dtype), "[tensor] the array's items must have the size of ", dtype,
          ". Received: itemsize=", view->itemsize);
    if (PyObject_IsTrue(args[2]) && view->len > 0 && current_device() == Device::cpu) {
      auto* storage = new Storage;
      storage->data = view->buf;
      storage->bytes = view->len;
      storage->borrowed = true;
      storage->release = release_view;
      storage->owner = view;
      Tensor t(storage, view->buf, shape, dtype);
      if (hooks.recorder) note_host_data(t);
      return wrap(std::move(t));
    }
    Tensor t(shape, dtype, current_device());
    write_from_host(current_device(), t.raw(), view->buf, view->len);
    PyBuffer_Release(view);
    delete view;
    if (hooks.recorder) note_host_data(t);
    return wrap(std::move(t));
  } catch (...) {
    set_python_error();
    PyBuffer_Release(view);
    delete view;
    return nullptr;
  }
}

bool parse_shape(PyObject* o, Shape* shape) {
  PyObject* seq = PySequence_Fast(o, "[tensor] shape must be a sequence of integers");
  if (!seq) return false;
  try {
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(seq); ++i) {
      const Py_ssize_t n = PyNumber_AsSsize_t(PySequence_Fast_GET_ITEM(seq, i), PyExc_OverflowError);
      if (n == -1 && PyErr_Occurred()) {
        Py_DECREF(seq);
        return false;
      }
      check(n >= 0, "[tensor] sizes must not be negative. Received: shape[", i, "]=", n);
      shape->push_back(n);
    }
  } catch (...) {
    set_python_error();
    Py_DECREF(seq);
    return false;
  }
  Py_DECREF(seq);
  return true;
}

// full(shape, value, dtype), value a Python bool, int or float.
PyObject* full(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  Shape shape;
  DType dtype;
  if (nargs != 3) {
    PyErr_SetString(PyExc_TypeError, "full takes (shape, value, dtype)");
    return nullptr;
  }
  if (!parse_shape(args[0], &shape) || !parse_dtype(args[2], &dtype)) return nullptr;
  const double f = PyFloat_AsDouble(args[1]);
  if (f == -1 && PyErr_Occurred()) return nullptr;
  int64_t integer = 0;
  uint64_t natural = 0;
  const bool is_integer = dtype < DType::float16 && dtype != DType::boolean;
  if (is_integer) {
    PyObject* whole = PyNumber_Long(args[1]);
    if (!whole) return nullptr;
    if (dtype == DType::uint64) natural = PyLong_AsUnsignedLongLong(whole);
    else integer = PyLong_AsLongLong(whole);
    Py_DECREF(whole);
    if (PyErr_Occurred()) return nullptr;
  }
  try {
    Tensor t(shape, dtype);
    const int64_t n = t.numel();
    const auto fill = [&]<class T>(T value) {
      T* p = t.mut<T>();
      // Threads share the faults of fresh memory.
      parallel_for(n, 65536, [=](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) p[i] = value;
      });
    };
    switch (dtype) {
      case DType::boolean: fill(bool(f != 0)); break;
      case DType::int8: case DType::uint8: fill(uint8_t(integer)); break;
      case DType::int16: case DType::uint16: fill(uint16_t(integer)); break;
      case DType::int32: case DType::uint32: fill(uint32_t(integer)); break;
      case DType::int64: fill(integer); break;
      case DType::uint64: fill(natural); break;
      case DType::float32: fill(float(f)); break;
      case DType::float64: fill(f); break;
      case DType::float16: fill(float_to_float16(float(f))); break;
      case DType::bfloat16: fill(float_to_bfloat16(float(f))); break;
    }
    if (current_device() != Device::cpu) t = to_device(t, current_device());
    else if (hooks.recorder) note_host_data(t);
    return wrap(std::move(t));
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

// meta(shape, dtype): a tensor without values.
PyObject* meta(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  Shape shape;
  DType dtype;
  if (nargs != 2) {
    PyErr_SetString(PyExc_TypeError, "meta takes (shape, dtype)");
    return nullptr;
  }
  if (!parse_shape(args[0], &shape) || !parse_dtype(args[1], &dtype)) return nullptr;
  try {
    return wrap(Tensor(shape, dtype, Device::meta));
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

// view(tensor, shape): the same values under a shape of the same size (one -1 is worked out).
PyObject* view(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (nargs != 2 || !is_tensor(args[0])) {
    PyErr_SetString(PyExc_TypeError, "[reshape] takes (tensor, shape)");
    return nullptr;
  }
  PyObject* seq = PySequence_Fast(args[1], "[reshape] shape must be a sequence of integers");
  if (!seq) return nullptr;
  try {
    const Tensor& t = unwrap(args[0]);
    if (hooks.recorder) note_argument(t);
    Shape shape;
    int unknown = -1;
    int64_t known = 1;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(seq); ++i) {
      const Py_ssize_t n = PyNumber_AsSsize_t(PySequence_Fast_GET_ITEM(seq, i), PyExc_OverflowError);
      if (n == -1 && PyErr_Occurred()) {
        Py_DECREF(seq);
        return nullptr;
      }
      check(n >= -1, "[reshape] sizes must be -1 or not negative. Received: shape[", i, "]=", n);
      check(n != -1 || unknown < 0, "[reshape] at most one size may be -1.");
      if (n == -1) unknown = int(i);
      else known = checked_mul(known, n);
      shape.push_back(n == -1 ? 0 : n);
    }
    if (unknown >= 0) {
      check(known > 0 && t.numel() % known == 0, "[reshape] the sizes must divide the element count. Received: ",
            t.shape(), " to ", shape);
      shape.set(unknown, t.numel() / known);
    }
    check((unknown >= 0 ? t.numel() : known) == t.numel(), "[reshape] the element count must stay the same. Received: ",
          t.shape(), " to ", shape);
    Py_DECREF(seq);
    return wrap(t.reshape(shape));
  } catch (...) {
    Py_DECREF(seq);
    set_python_error();
    return nullptr;
  }
}

// copy_into(target, source): overwrites the storage of `target` (a variable's own) with `source`.
PyObject* copy_into(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (nargs != 2 || !is_tensor(args[0]) || !is_tensor(args[1])) {
    PyErr_SetString(PyExc_TypeError, "copy_into takes (tensor, tensor)");
    return nullptr;
  }
  Tensor &to = unwrap(args[0]), &from = unwrap(args[1]);
  if (!(to.shape() == from.shape()) || to.dtype() != from.dtype() || to.is_meta() || to.device() != from.device()) {
    try {
      if (from.device() != to.device() && !to.is_meta() && !from.is_meta()) wrong_device(from);
      check(false, "copy_into needs equal shapes, dtypes and devices");
    } catch (...) {
      set_python_error();
    }
    return nullptr;
  }
  if (hooks.recorder) note_argument(from);
  copy_bytes(to.device(), to.raw(), from.raw(), to.bytes());
  Py_RETURN_NONE;
}

// clone(tensor): the values in storage of its own.
PyObject* clone(PyObject*, PyObject* o) {
  if (!is_tensor(o)) {
    PyErr_SetString(PyExc_TypeError, "clone takes a tensor");
    return nullptr;
  }
  try {
    if (hooks.recorder) note_argument(unwrap(o));
    return wrap(unwrap(o).copy());
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

// bitcast(tensor, dtype): the same memory read as another dtype of the same item size.
PyObject* bitcast(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  DType dtype;
  if (nargs != 2 || !is_tensor(args[0])) {
    PyErr_SetString(PyExc_TypeError, "bitcast takes (tensor, dtype)");
    return nullptr;
  }
  if (!parse_dtype(args[1], &dtype)) return nullptr;
  try {
    const Tensor& t = unwrap(args[0]);
    if (hooks.recorder) note_argument(t);
    check(itemsize(t.dtype()) == itemsize(dtype), "[bitcast] both dtypes must have one item size. Received: ",
          t.dtype(), " and ", dtype);
    return wrap(t.bitcast(dtype));
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

// to_device(tensor, device): the values on a device, which must be loaded.
PyObject* move_to_device(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  Device device;
  if (nargs != 2 || !is_tensor(args[0])) {
    PyErr_SetString(PyExc_TypeError, "to_device takes (tensor, device)");
    return nullptr;
  }
  if (!parse_device(args[1], &device)) return nullptr;
  try {
    const Tensor& t = unwrap(args[0]);
    if (!t.is_meta()) note_read(t, "the values for another device");
    return wrap(to_device(t, device));
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

// set_device(device, whole_process): what ops of this thread work on from now on; returns the device before.
PyObject* set_device(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  Device device;
  if (nargs != 2) {
    PyErr_SetString(PyExc_TypeError, "set_device takes (device, whole_process)");
    return nullptr;
  }
  if (!parse_device(args[0], &device)) return nullptr;
  const int process = PyObject_IsTrue(args[1]);
  if (process < 0) return nullptr;
  const Device before = current_device();
  if (process) process_device = device;
  thread_device = process ? Device::meta : device;
  return Py_NewRef(device_names[int(before)]);
}
PyObject* get_current_device(PyObject*, PyObject*) { return Py_NewRef(device_names[int(current_device())]); }

// unique(tensor): whether nobody but this Python object holds the storage.
PyObject* unique(PyObject*, PyObject* o) {
  if (!is_tensor(o)) {
    PyErr_SetString(PyExc_TypeError, "unique takes a tensor");
    return nullptr;
  }
  return PyBool_FromLong(unwrap(o).unique());
}

// record(y, parents, vjp) -> y: see autograd.py. Free of work unless a tape needs this op.
PyObject* record(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (nargs != 3 || !PyTuple_Check(args[1])) {
    PyErr_SetString(PyExc_TypeError, "record takes (y, tuple of parents, vjp)");
    return nullptr;
  }
  if (recording > 0 && recorder)
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args[1]); ++i) {
      PyObject* parent = PyTuple_GET_ITEM(args[1], i);
      if (is_tensor(parent) && reinterpret_cast<PyTensor*>(parent)->node) return PyObject_Vectorcall(recorder, args, 3, nullptr);
    }
  return Py_NewRef(args[0]);
}
PyObject* set_recorder(PyObject*, PyObject* f) {
  Py_XSETREF(recorder, Py_NewRef(f));
  Py_RETURN_NONE;
}
PyObject* set_recording(PyObject*, PyObject* n) {
  const int old = recording;
  const long value = PyLong_AsLong(n);
  if (value == -1 && PyErr_Occurred()) return nullptr;
  recording = int(value);
  return PyLong_FromLong(old);
}
PyObject* set_inferring(PyObject*, PyObject* flag) {
  const int value = PyObject_IsTrue(flag);
  if (value < 0) return nullptr;
  const bool old = inferring;
  inferring = value;
  return PyBool_FromLong(old);
}
PyObject* get_recording(PyObject*, PyObject*) { return PyLong_FromLong(recording); }

#define FAST(f) (PyCFunction)(void (*)()) f, METH_FASTCALL
PyMethodDef functions[] = {
    {"from_buffer", FAST(from_buffer), "from_buffer(array: object, dtype: str, borrow: bool) -> Tensor"},
    {"from_dlpack", tensor_from_dlpack, METH_O, "from_dlpack(capsule: object) -> Tensor"},
    {"full", FAST(full), "full(shape: Sequence[int], value: float, dtype: str) -> Tensor"},
    {"meta", FAST(meta), "meta(shape: Sequence[int], dtype: str) -> Tensor"},
    {"view", FAST(view), "view(tensor: Tensor, shape: Sequence[int]) -> Tensor"},
    {"copy_into", FAST(copy_into), "copy_into(target: Tensor, source: Tensor) -> None"},
    {"clone", clone, METH_O, "clone(tensor: Tensor) -> Tensor"},
    {"bitcast", FAST(bitcast), "bitcast(tensor: Tensor, dtype: str) -> Tensor"},
    {"to_device", FAST(move_to_device), "to_device(tensor: Tensor, device: str) -> Tensor"},
    {"set_device", FAST(set_device), "set_device(device: str, whole_process: bool) -> str"},
    {"current_device", get_current_device, METH_NOARGS, "current_device() -> str"},
    {"unique", unique, METH_O, "unique(tensor: Tensor) -> bool"},
    {"record", FAST(record), "record(y: object, parents: tuple, vjp: object) -> object"},
    {"set_recorder", set_recorder, METH_O, "set_recorder(recorder: object) -> None"},
    {"set_inferring", set_inferring, METH_O, "set_inferring(flag: bool) -> bool"},
    {"set_recording", set_recording, METH_O, "set_recording(tapes: int) -> int"},
    {"recording", get_recording, METH_NOARGS, "recording() -> int"},
    {},
};
}  // namespace

bool add_tensor_functions(PyObject* module) { return PyModule_AddFunctions(module, functions) == 0; }

}  // namespace fastnn
