#include "tensor_type.h"

#include <structmember.h>

#include <cstring>
#include <new>
#include <string>

#include "check.h"
#include "half.h"
#include "program.h"

namespace fastnn {

PyTypeObject* tensor_type = nullptr;
thread_local bool inferring = false;

namespace {

// The Python line that is running, outside of this library's tensors and ops.
std::string python_place() {
  std::string place;
  PyFrameObject* frame = PyEval_GetFrame();
  Py_XINCREF(frame);
  while (frame) {
    PyCodeObject* code = PyFrame_GetCode(frame);
    const char* file = PyUnicode_AsUTF8(code->co_filename);
    const bool inside = file && (std::strstr(file, "/fastnn/tensor.py") || std::strstr(file, "/fastnn/ops/") ||
                                 std::strstr(file, "/fastnn/symbolic.py"));
    place = message(file ? file : "?", ":", PyFrame_GetLineNumber(frame));
    Py_DECREF(code);
    PyFrameObject* back = inside ? PyFrame_GetBack(frame) : nullptr;
    Py_DECREF(frame);
    frame = back;
  }
  return place;
}

// How Python's struct module writes each dtype; bfloat16 has no letter.
constexpr const char* kFormat[kDTypes] = {"?", "b", "h", "i", "q", "B", "H", "I", "Q", "e", nullptr, "f", "d"};
PyObject* dtype_names[kDTypes];
PyObject* device_names[kDevices];

// Ops are being recorded in this thread when positive: the number of active tapes.
thread_local int recording = 0;
PyObject* recorder = nullptr;  // Python's record(y, parents, vjp), called when a tape is active

PyTensor* self_of(PyObject* o) { return reinterpret_cast<PyTensor*>(o); }

int traverse(PyObject* o, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(o));
  Py_VISIT(self_of(o)->node);
  Py_VISIT(self_of(o)->dict);
  return 0;
}
int clear(PyObject* o) {
  Py_CLEAR(self_of(o)->node);
  Py_CLEAR(self_of(o)->dict);
  return 0;
}
void dealloc(PyObject* o) {
  PyTypeObject* type = Py_TYPE(o);
  PyObject_GC_UnTrack(o);
  if (self_of(o)->weakrefs) PyObject_ClearWeakRefs(o);
  // A chain of a hundred thousand nodes must not be freed by recursion.
  Py_TRASHCAN_BEGIN(o, dealloc)
  clear(o);
  self_of(o)->value.~Tensor();
  PyObject_GC_Del(o);
  Py_DECREF(type);
  Py_TRASHCAN_END
}

PyObject* get_shape(PyObject* o, void*) { return shape_tuple(unwrap(o).shape()); }
PyObject* get_dtype(PyObject* o, void*) { return Py_NewRef(dtype_names[int(unwrap(o).dtype())]); }
PyObject* get_device(PyObject* o, void*) { return Py_NewRef(device_names[int(unwrap(o).device())]); }
PyObject* get_ndim(PyObject* o, void*) { return PyLong_FromLong(unwrap(o).rank()); }
PyObject* get_size(PyObject* o, void*) { return PyLong_FromLongLong(unwrap(o).numel()); }
PyObject* get_nbytes(PyObject* o, void*) { return PyLong_FromLongLong(unwrap(o).bytes()); }
PyObject* get_node(PyObject* o, void*) { return Py_NewRef(self_of(o)->node ? self_of(o)->node : Py_None); }
int set_node(PyObject* o, PyObject* node, void*) {
  PyObject* old = self_of(o)->node;
  self_of(o)->node = node && node != Py_None ? Py_NewRef(node) : nullptr;
  Py_XDECREF(old);
  return 0;
}
PyObject* get_borrowed(PyObject* o, void*) { return PyBool_FromLong(unwrap(o).borrowed()); }
PyObject* get_address(PyObject* o, void*) { return PyLong_FromVoidPtr(unwrap(o).raw()); }

PyObject* require_values(PyObject* o) {
  if (!unwrap(o).is_meta()) return o;
  PyErr_SetString(PyExc_TypeError,
                  "[tensor] a symbolic tensor has a shape and no values; Python code that reads values "
                  "cannot run while a model is being built.");
  return nullptr;
}

PyObject* get_array_interface(PyObject* o, void*) {
  const Tensor& t = unwrap(o);
  const int d = int(t.dtype());
  if (t.is_meta() || !kFormat[d] || t.device() != Device::cpu) {
    PyErr_SetString(PyExc_AttributeError, "__array_interface__");
    return nullptr;
  }
  note_read(t, "__array_interface__");
  const char kind = d == 0 ? 'b' : d < 5 ? 'i' : d < 9 ? 'u' : 'f';
  const std::string typestr = message(itemsize(t.dtype()) == 1 ? '|' : '<', kind, itemsize(t.dtype()));
  PyObject* shape = shape_tuple(t.shape());
  if (!shape) return nullptr;
  // True: read-only, tensors are values.
  return Py_BuildValue("{s:N,s:s,s:(NO),s:i}", "shape", shape, "typestr", typestr.c_str(), "data",
                       PyLong_FromVoidPtr(const_cast<void*>(t.raw())), Py_True, "version", 3);
}

// Values of another device are copied for as long as the buffer is held.
struct BufferInfo {
  Tensor on_host;
  Py_ssize_t shape[Shape::kMaxRank], strides[Shape::kMaxRank];
};

int get_buffer(PyObject* o, Py_buffer* view, int flags) {
  const Tensor& t = unwrap(o);
  view->obj = nullptr;
  if (t.is_meta() || !kFormat[int(t.dtype())] || (flags & PyBUF_WRITABLE)) {
    PyErr_SetString(PyExc_BufferError, t.is_meta() ? "[tensor] a symbolic tensor has no values"
                                       : (flags & PyBUF_WRITABLE) ? "[tensor] a tensor is read-only"
                                                                  : "[tensor] bfloat16 has no buffer format");
    return -1;
  }
  note_read(t, "a NumPy array or buffer of its values");
  auto* info = new BufferInfo;
  try {
    info->on_host = to_device(t, Device::cpu);
  } catch (...) {
    delete info;
    set_python_error();
    return -1;
  }
  Py_ssize_t stride = itemsize(t.dtype());
  view->itemsize = stride;
  for (int i = t.rank() - 1; i >= 0; --i) {
    info->shape[i] = t.size(i);
    info->strides[i] = stride;
    stride *= t.size(i);
  }
  view->buf = const_cast<void*>(std::as_const(info->on_host).raw());
  view->len = t.bytes();
  view->readonly = 1;
  view->format = flags & PyBUF_FORMAT ? const_cast<char*>(kFormat[int(t.dtype())]) : nullptr;
  view->ndim = t.rank();
  view->shape = flags & PyBUF_ND ? info->shape : nullptr;
  view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? info->strides : nullptr;
  view->suboffsets = nullptr;
  view->internal = info;
  view->obj = Py_NewRef(o);
  return 0;
}
void release_buffer(PyObject*, Py_buffer* view) { delete static_cast<BufferInfo*>(view->internal); }

Py_ssize_t length(PyObject* o) {
  if (unwrap(o).rank()) return unwrap(o).size(0);
  PyErr_SetString(PyExc_TypeError, "len() of a tensor with no dimensions");
  return -1;
}

// item(): the only element as a Python scalar.
PyObject* item(PyObject* o, PyObject*) {
  if (!require_values(o)) return nullptr;
  Tensor t = unwrap(o);
  if (t.numel() != 1) {
    PyErr_SetString(PyExc_ValueError,
                    message("[tensor] only a tensor of one element is a Python scalar. Received: shape=", t.shape())
                        .c_str());
    return nullptr;
  }
  note_read(t, "a Python number");
  try {
    t = to_device(t, Device::cpu);
  } catch (...) {
    set_python_error();
    return nullptr;
  }
  switch (t.dtype()) {
    case DType::boolean: return PyBool_FromLong(*t.data<bool>());
    case DType::int8: return PyLong_FromLong(*t.data<int8_t>());
    case DType::int16: return PyLong_FromLong(*t.data<int16_t>());
    case DType::int32: return PyLong_FromLong(*t.data<int32_t>());
    case DType::int64: return PyLong_FromLongLong(*t.data<int64_t>());
    case DType::uint8: return PyLong_FromLong(*t.data<uint8_t>());
    case DType::uint16: return PyLong_FromLong(*t.data<uint16_t>());
    case DType::uint32: return PyLong_FromUnsignedLong(*t.data<uint32_t>());
    case DType::uint64: return PyLong_FromUnsignedLongLong(*t.data<uint64_t>());
    case DType::float32: return PyFloat_FromDouble(*t.f32());
    case DType::float64: return PyFloat_FromDouble(*t.data<double>());
    case DType::bfloat16: return PyFloat_FromDouble(bfloat16_to_float(*t.data<uint16_t>()));
    case DType::float16: return PyFloat_FromDouble(float16_to_float(*t.data<uint16_t>()));
  }
  return nullptr;
}
PyObject* to_float(PyObject* o) {
  PyObject* value = item(o, nullptr);
  if (!value) return nullptr;
  PyObject* y = PyNumber_Float(value);
  Py_DECREF(value);
  return y;
}
PyObject* to_int(PyObject* o) {
  PyObject* value = item(o, nullptr);
  if (!value) return nullptr;
  PyObject* y = PyNumber_Long(value);
  Py_DECREF(value);
  return y;
}
PyObject* to_index(PyObject* o) {
  const int d = int(unwrap(o).dtype());
  if (d >= int(DType::float16) || unwrap(o).numel() != 1) {
    PyErr_SetString(PyExc_TypeError, "only an integer tensor of one element can be an index");
    return nullptr;
  }
  return to_int(o);
}
int to_bool(PyObject* o) {
  PyObject* value = item(o, nullptr);
  if (!value) return -1;
  const int truth = PyObject_IsTrue(value);
  Py_DECREF(value);
  return truth;
}

PyObject* alias(PyObject* o, PyObject*) { return wrap(unwrap(o)); }

PyGetSetDef getset[] = {
    {"shape", get_shape, nullptr, "The sizes, a tuple of int.", nullptr},
    {"dtype", get_dtype, nullptr, "The name of the element type, a string such as 'float32'.", nullptr},
    {"device", get_device, nullptr, "'cpu', or 'meta' for a shape without values.", nullptr},
    {"ndim", get_ndim, nullptr, "The number of dimensions.", nullptr},
    {"size", get_size, nullptr, "The number of elements.", nullptr},
    {"nbytes", get_nbytes, nullptr, "The number of bytes of all elements.", nullptr},
    {"node", get_node, set_node, "The tape's node that made this tensor, or None.", nullptr},
    {"borrowed", get_borrowed, nullptr, "Whether the memory belongs to somebody who may change it.", nullptr},
    {"address", get_address, nullptr, "The address of the first element.", nullptr},
    {"__array_interface__", get_array_interface, nullptr, nullptr, nullptr},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {},
};
PyMemberDef members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(PyTensor, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(PyTensor, weakrefs), READONLY, nullptr},
    {"output", T_INT, offsetof(PyTensor, output), 0, "Which of the node's outputs this is."},
    {},
};
PyMethodDef methods[] = {
    {"item", item, METH_NOARGS, "The only element as a Python scalar."},
    {"alias", alias, METH_NOARGS, "A new tensor over the same values, with no node."},
    {"__dlpack__", (PyCFunction)(void (*)())tensor_dlpack, METH_VARARGS | METH_KEYWORDS, "A DLPack capsule."},
    {"__dlpack_device__", tensor_dlpack_device, METH_NOARGS, "(device type, device id) as DLPack counts them."},
    {},
};
PyType_Slot slots[] = {
    {Py_tp_dealloc, (void*)dealloc},
    {Py_tp_traverse, (void*)traverse},
    {Py_tp_clear, (void*)clear},
    {Py_tp_getset, getset},
    {Py_tp_members, members},
    {Py_tp_methods, methods},
    {Py_bf_getbuffer, (void*)get_buffer},
    {Py_bf_releasebuffer, (void*)release_buffer},
    {Py_sq_length, (void*)length},
    {Py_mp_length, (void*)length},
    {Py_nb_float, (void*)to_float},
    {Py_nb_int, (void*)to_int},
    {Py_nb_index, (void*)to_index},
    {Py_nb_bool, (void*)to_bool},
    {Py_tp_doc, (void*)"An immutable array: contiguous values with a shape, a dtype and a device."},
    {},
};
PyType_Spec spec = {"fastnn._core.Tensor", sizeof(PyTensor), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

// ---- module functions ----

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
    if (PyObject_IsTrue(args[2]) && view->len > 0 && current_device == Device::cpu) {
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
    Tensor t(shape, dtype, current_device);
    write_from_host(current_device, t.raw(), view->buf, view->len);
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
      for (int64_t i = 0; i < n; ++i) p[i] = value;
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
    if (current_device != Device::cpu) t = to_device(t, current_device);
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
    PyErr_SetString(PyExc_ValueError, "copy_into needs equal shapes, dtypes and devices");
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
  const Device before = current_device;
  if (process) set_process_device(device);
  else current_device = device;
  return Py_NewRef(device_names[int(before)]);
}
PyObject* get_current_device(PyObject*, PyObject*) { return Py_NewRef(device_names[int(current_device)]); }

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
      if (is_tensor(parent) && self_of(parent)->node) return PyObject_Vectorcall(recorder, args, 3, nullptr);
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

PyObject* wrap(Tensor value) {
  PyObject* o = tensor_type->tp_alloc(tensor_type, 0);
  if (!o) return nullptr;
  new (&self_of(o)->value) Tensor(std::move(value));
  return o;
}

PyObject* shape_tuple(const Shape& shape) {
  PyObject* tuple = PyTuple_New(shape.rank());
  if (!tuple) return nullptr;
  for (int i = 0; i < shape.rank(); ++i) PyTuple_SET_ITEM(tuple, i, PyLong_FromLongLong(shape[i]));
  return tuple;
}

void set_python_error() {
  try {
    throw;
  } catch (const TypeError& e) {
    PyErr_SetString(PyExc_TypeError, e.what());
  } catch (const IndexError& e) {
    PyErr_SetString(PyExc_IndexError, e.what());
  } catch (const MemoryError& e) {
    PyErr_SetString(PyExc_MemoryError, e.what());
  } catch (const std::invalid_argument& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  } catch (const std::runtime_error& e) {  // of a device
    PyErr_SetString(PyExc_RuntimeError, e.what());
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  }
}

void wrong_device(const Tensor& t) {
  check(false, "[device] a tensor must be on the device in use: with fastnn.device(...) or tensor.to(...) change one of them. "
        "Received: tensor.device=", device_name(t.device()), ", device in use=", device_name(current_device));
  __builtin_unreachable();
}

void note_read(const Tensor& t, const char* what) {
  if (!hooks.recorder) [[likely]] return;
  if (t.is_meta() || t.numel() == 0 || hooks.recorder->readable(t)) return;
  hooks.recorder->fail(message("Python takes ", what, " at ", python_place()));
}

bool add_tensor_type(PyObject* module) {
  for (int d = 0; d < kDTypes; ++d) dtype_names[d] = PyUnicode_InternFromString(dtype_name(DType(d)));
  for (int d = 0; d < kDevices; ++d) device_names[d] = PyUnicode_InternFromString(device_name(Device(d)));
  tensor_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  return tensor_type && PyModule_AddObjectRef(module, "Tensor", reinterpret_cast<PyObject*>(tensor_type)) == 0 &&
         PyModule_AddFunctions(module, functions) == 0;
}

}  // namespace fastnn
