#include "tensor_type.h"

#include <structmember.h>

#include <cstring>
#include <new>
#include <string>

#include "check.h"
#include "half.h"
#include "program.h"
#include "tensor_functions.h"

namespace fastnn {

PyTypeObject* tensor_type = nullptr;
constinit thread_local bool inferring = false;
PyObject* dtype_names[kDTypes];
PyObject* device_names[kDevices];

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

PyObject* get_array_interface(PyObject* o, void* closure) {
  const Tensor& t = unwrap(o);
  const int d = int(t.dtype());
  // __cuda_array_interface__ (closure != null) describes memory of a GPU in the same way.
  const bool on_gpu = closure != nullptr;
  const char* const name = on_gpu ? "__cuda_array_interface__" : "__array_interface__";
  if (t.is_meta() || !kFormat[d] || t.device() != (on_gpu ? Device::cuda : Device::cpu)) {
    PyErr_SetString(PyExc_AttributeError, name);
    return nullptr;
  }
  note_read(t, name);
  if (on_gpu) {
    try {
      library(t.device()).synchronize();  // then the consumer's stream need not wait for ours
    } catch (...) {
      set_python_error();
      return nullptr;
    }
  }
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
    {"__cuda_array_interface__", get_array_interface, nullptr, nullptr, const_cast<char*>("cuda")},
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
const PyType_Slot own_slots[] = {
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
        "Received: tensor.device=", device_name(t.device()), ", device in use=", device_name(current_device()));
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
  std::vector<PyType_Slot> slots;
  for (const PyType_Slot* s = own_slots; s->slot; ++s) slots.push_back(*s);
  for (const PyType_Slot* s = operator_slots; s->slot; ++s) slots.push_back(*s);
  slots.push_back({});
  PyType_Spec spec = {"fastnn._core.Tensor", sizeof(PyTensor), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots.data()};
  tensor_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  return tensor_type && PyModule_AddObjectRef(module, "Tensor", reinterpret_cast<PyObject*>(tensor_type)) == 0 &&
         add_tensor_functions(module) && add_op_type(module);
}

}  // namespace fastnn
