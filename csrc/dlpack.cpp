// DLPack, versions 0.8 and 1.0: tensors exchanged with NumPy, torch and CuPy without a copy.
// The structures are the protocol's (dmlc/dlpack, dlpack.h), written out here.
#include <cstring>
#include <new>

#include "check.h"
#include "device.h"
#include "tensor_type.h"

namespace fastnn {
namespace {

struct DLDevice {
  int32_t type, id;
};
struct DLDataType {
  uint8_t code, bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t *shape, *strides;
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* context;
  void (*deleter)(DLManagedTensor*);
};
struct DLManagedTensorVersioned {
  struct {
    uint32_t major, minor;
  } version;
  void* context;
  void (*deleter)(DLManagedTensorVersioned*);
  uint64_t flags;
  DLTensor tensor;
};
constexpr int32_t kCpu = 1, kCuda = 2, kCudaManaged = 13;
// Emulated memory is the host's.
int32_t device_type(const Tensor& t) { return t.device() == Device::cuda ? kCuda : kCpu; }
constexpr uint64_t kReadOnly = 1, kCopied = 2;
enum Code : uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBfloat = 4, kBool = 6 };

DLDataType to_dl(DType dtype) {
  const uint8_t bits = uint8_t(8 * itemsize(dtype));
  if (dtype == DType::boolean) return {kBool, 8, 1};
  if (dtype <= DType::int64) return {kInt, bits, 1};
  if (dtype <= DType::uint64) return {kUInt, bits, 1};
  return {dtype == DType::bfloat16 ? kBfloat : kFloat, bits, 1};
}

bool from_dl(DLDataType d, DType* dtype) {
  for (int i = 0; i < kDTypes; ++i) {
    const DLDataType have = to_dl(DType(i));
    if (have.code == d.code && have.bits == d.bits && d.lanes == 1) {
      *dtype = DType(i);
      return true;
    }
  }
  return false;
}

// What an exported capsule keeps alive.
template <class Managed>
struct Export {
  Managed managed;
  Tensor tensor;
  int64_t shape[Shape::kMaxRank], strides[Shape::kMaxRank];
};

template <class Managed>
Managed* export_tensor(const Tensor& t) {
  auto* e = new Export<Managed>{};
  e->tensor = t;
  int64_t stride = 1;
  for (int i = t.rank() - 1; i >= 0; --i) {
    e->shape[i] = t.size(i);
    e->strides[i] = stride;
    stride *= t.size(i);
  }
  e->managed.tensor = {const_cast<void*>(t.raw()), {device_type(t), 0}, t.rank(), to_dl(t.dtype()), e->shape, e->strides, 0};
  e->managed.context = e;
  e->managed.deleter = [](Managed* m) { delete static_cast<Export<Managed>*>(m->context); };
  return &e->managed;
}

template <class Managed>
void free_unused(PyObject* capsule) {
  const char* name = PyCapsule_GetName(capsule);
  if (!name || !std::strncmp(name, "used_", 5)) return;
  auto* m = static_cast<Managed*>(PyCapsule_GetPointer(capsule, name));
  if (m && m->deleter) m->deleter(m);
}

// Runs without the GIL held when a tensor dies in a kernel thread: the producer's deleter may need it.
template <class Managed>
void release_import(void* owner) {
  if (!Py_IsInitialized()) return;
  PyGILState_STATE gil = PyGILState_Ensure();
  auto* m = static_cast<Managed*>(owner);
  if (m->deleter) m->deleter(m);
  PyGILState_Release(gil);
}

template <class Managed>
PyObject* import_tensor(PyObject* capsule, const char* name, const char* used) {
  auto* m = static_cast<Managed*>(PyCapsule_GetPointer(capsule, name));
  if (!m) return nullptr;
  try {
    const DLTensor& d = m->tensor;
    DType dtype = DType::float32;
    const bool on_gpu = current_device() == Device::cuda;
    check(on_gpu ? d.device.type == kCuda || d.device.type == kCudaManaged : d.device.type == kCpu,
          "[from_dlpack] the tensor must be in the memory of the device in use, ", device_name(current_device()),
          ". Received: device_type=", d.device.type);
    check_type(from_dl(d.dtype, &dtype), "[from_dlpack] the dtype must be a supported one. Received: code=",
               int(d.dtype.code), ", bits=", int(d.dtype.bits), ", lanes=", d.dtype.lanes);
    check(d.ndim >= 0, "[from_dlpack] ndim must not be negative. Received: ndim=", d.ndim);
    const Shape shape(d.shape, d.ndim);
    int64_t n = 1, stride = 1;
    for (int64_t size : shape) n = checked_mul(n, size);
    check(n == 0 || d.data, "[from_dlpack] the data pointer must not be null.");
    bool contiguous = true;
    for (int i = d.ndim - 1; i >= 0; --i) {
      if (d.strides && shape[i] > 1 && d.strides[i] != stride) contiguous = false;
      stride *= shape[i];
    }
    char* data = static_cast<char*>(d.data) + d.byte_offset;
    PyObject* y;
    check(contiguous || current_device() != Device::cuda, "[from_dlpack] a tensor on a GPU must be contiguous.");
    if (contiguous && n > 0 && current_device() != Device::cuda_emu) {
      auto* storage = new Storage;
      storage->data = data;
      storage->bytes = n * itemsize(dtype);
      storage->borrowed = true;
      storage->release = release_import<Managed>;
      storage->owner = m;
      y = wrap(Tensor(storage, data, shape, dtype, current_device()));
    } else {
      // Strided: copied element by element, the shape walked as an odometer.
      Tensor t(shape, dtype, Device::cpu);
      const int64_t item = itemsize(dtype);
      int64_t index[Shape::kMaxRank] = {};
      for (int64_t i = 0; i < n; ++i) {
        int64_t offset = 0;
        int64_t step = 1;
        for (int a = d.ndim - 1; a >= 0; step *= shape[a--]) offset += index[a] * (d.strides ? d.strides[a] : step);
        std::memcpy(static_cast<char*>(t.raw()) + i * item, data + offset * item, item);
        for (int a = d.ndim - 1; a >= 0 && ++index[a] == shape[a]; --a) index[a] = 0;
      }
      y = wrap(to_device(t, current_device()));
      if (y && m->deleter) m->deleter(m);
    }
    if (y) PyCapsule_SetName(capsule, used);
    if (y && hooks.recorder) note_host_data(unwrap(y));
    return y;
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

}  // namespace

PyObject* tensor_dlpack(PyObject* self, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"stream", "max_version", "dl_device", "copy", nullptr};
  PyObject *stream = Py_None, *max_version = Py_None, *device = Py_None, *copy = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$OOOO", const_cast<char**>(names), &stream, &max_version, &device,
                                   &copy))
    return nullptr;
  const Tensor& t = unwrap(self);
  int type = device_type(t), id = 0;
  if (device != Py_None && !PyTuple_Check(device)) {
    PyErr_Format(PyExc_TypeError, "[dlpack] dl_device must be a tuple (device type, device id) or None. Received: dl_device=%R",
                 device);
    return nullptr;
  }
  if (device != Py_None && !PyArg_ParseTuple(device, "ii", &type, &id)) return nullptr;
  if (t.is_meta() || type != device_type(t) || (stream != Py_None && type == kCpu)) {
    PyErr_SetString(PyExc_BufferError, type == kCpu ? "[dlpack] the tensor is in CPU memory, which has no streams"
                                                    : "[dlpack] the tensor is in the memory of a GPU");
    return nullptr;
  }
  long major = 0;
  if (max_version != Py_None) {
    PyObject* first = PySequence_GetItem(max_version, 0);
    if (!first) return nullptr;
    major = PyLong_AsLong(first);
    Py_DECREF(first);
    if (major == -1 && PyErr_Occurred()) return nullptr;
  }
  note_read(t, "__dlpack__()");
  const int wants_copy = copy == Py_None ? 0 : PyObject_IsTrue(copy);
  if (wants_copy < 0) return nullptr;
  try {
    // Emulated memory belongs to nobody else.
    const Tensor shared = t.device() == Device::cuda_emu ? to_device(t, Device::cpu) : wants_copy ? t.copy() : t;
    if (t.device() == Device::cuda) library(t.device()).synchronize();
    if (major >= 1) {
      auto* m = export_tensor<DLManagedTensorVersioned>(shared);
      m->version = {1, 0};
      m->flags = wants_copy ? kCopied : kReadOnly;
      return PyCapsule_New(m, "dltensor_versioned", free_unused<DLManagedTensorVersioned>);
    }
    // The unversioned protocol cannot say "read-only".
    return PyCapsule_New(export_tensor<DLManagedTensor>(shared), "dltensor", free_unused<DLManagedTensor>);
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

PyObject* tensor_dlpack_device(PyObject* self, PyObject*) { return Py_BuildValue("(ii)", int(device_type(unwrap(self))), 0); }

PyObject* tensor_from_dlpack(PyObject*, PyObject* capsule) {
  if (PyCapsule_IsValid(capsule, "dltensor_versioned"))
    return import_tensor<DLManagedTensorVersioned>(capsule, "dltensor_versioned", "used_dltensor_versioned");
  if (PyCapsule_IsValid(capsule, "dltensor"))
    return import_tensor<DLManagedTensor>(capsule, "dltensor", "used_dltensor");
  PyErr_SetString(PyExc_ValueError, "[from_dlpack] the capsule must be an unused DLPack capsule");
  return nullptr;
}

}  // namespace fastnn
