// The elementwise functions, bound by hand: pybind11's call would cost more than an op on one
// element. They take float32 tensors, and Python numbers beside them; for anything else they return
// None, and the Python op converts or goes to NumPy.
#include <Python.h>

#include "caster.h"
#include "fast_call.h"
#include "ops.h"
#include "tensor_functions.h"

namespace fastnn {
namespace {

// Exactly a Python bool, int or float: NumPy's scalars have a dtype of their own.
bool is_number(PyObject* o) { return PyFloat_CheckExact(o) || PyLong_CheckExact(o) || PyBool_Check(o); }

// False with an exception set: an int too large for a double.
bool number(PyObject* o, float* value) {
  const double d = PyFloat_CheckExact(o) ? PyFloat_AS_DOUBLE(o) : PyFloat_AsDouble(o);
  *value = float(d);
  return d != -1 || !PyErr_Occurred();
}

// args[i] and args[i + 1], where given, as parameters.
bool parameters(PyObject* const* args, Py_ssize_t nargs, Py_ssize_t i, float* p, float* q) {
  *p = *q = 0;
  return (nargs <= i || number(args[i], p)) && (nargs <= i + 1 || number(args[i + 1], q));
}

// unary(op, x, p=0, q=0)
PyObject* call_unary(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  float p, q;
  if (!check_count("unary", nargs, 2, 4)) return nullptr;
  if (!is_float32(args[1])) Py_RETURN_NONE;
  const int64_t op = PyLong_AsLongLong(args[0]);
  if ((op == -1 && PyErr_Occurred()) || !parameters(args, nargs, 2, &p, &q)) return nullptr;
  const Tensor x = argument(args[1]);
  return compute(x.numel(), [&] { return unary(op, x, p, q); });
}

// unary_backward(op, gy, v, p=0, q=0)
PyObject* call_unary_backward(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  float p, q;
  if (!check_count("unary_backward", nargs, 3, 5)) return nullptr;
  if (!is_float32(args[1]) || !is_float32(args[2])) Py_RETURN_NONE;
  const int64_t op = PyLong_AsLongLong(args[0]);
  if ((op == -1 && PyErr_Occurred()) || !parameters(args, nargs, 3, &p, &q)) return nullptr;
  const Tensor gy = argument(args[1]), v = argument(args[2]);
  return compute(v.numel(), [&] { return unary_backward(op, gy, v, p, q); });
}

// With a number on the left a comparison is turned round.
int64_t mirrored(int64_t op) {
  switch (op) {
    case compare_op::less: return compare_op::greater;
    case compare_op::less_equal: return compare_op::greater_equal;
    case compare_op::greater: return compare_op::less;
    case compare_op::greater_equal: return compare_op::less_equal;
  }
  return op;
}

// left op right
template <bool comparison>
PyObject* two_operands(int64_t op, PyObject* left, PyObject* right) {
  const bool a_is_tensor = is_float32(left), b_is_tensor = is_float32(right);
  if (a_is_tensor && b_is_tensor) {
    const Tensor a = argument(left), b = argument(right);
    const int64_t n = a.numel() > b.numel() ? a.numel() : b.numel();
    return compute(n, [&] { return comparison ? compare(op, a, b) : binary(op, a, b); });
  }
  if (!(a_is_tensor && is_number(right)) && !(b_is_tensor && is_number(left))) Py_RETURN_NONE;
  float value;
  if (!number(a_is_tensor ? right : left, &value)) return nullptr;
  const Tensor x = argument(a_is_tensor ? left : right);
  return compute(x.numel(), [&] {
    if (comparison) return compare_scalar(a_is_tensor ? op : mirrored(op), x, value);
    return binary_scalar(op, x, value, !a_is_tensor);
  });
}

// binary(op, a, b) and compare(op, a, b)
template <bool comparison>
PyObject* call_binary(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (!check_count(comparison ? "compare" : "binary", nargs, 3, 3)) return nullptr;
  const int64_t op = PyLong_AsLongLong(args[0]);
  if (op == -1 && PyErr_Occurred()) return nullptr;
  return two_operands<comparison>(op, args[1], args[2]);
}

// The axes of a reduction: None for all, an int, or a tuple or list of ints; false for anything else.
bool read_axes(PyObject* axis, int rank, std::vector<int64_t>* axes) {
  if (axis == Py_None) {
    for (int i = 0; i < rank; ++i) axes->push_back(i);
    return true;
  }
  const bool many = PyTuple_CheckExact(axis) || PyList_CheckExact(axis);
  const Py_ssize_t count = many ? PySequence_Fast_GET_SIZE(axis) : 1;
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* item = many ? PySequence_Fast_GET_ITEM(axis, i) : axis;
    if (!PyLong_CheckExact(item)) return false;
    int overflow;
    axes->push_back(PyLong_AsLongLongAndOverflow(item, &overflow));
    if (overflow) return false;
  }
  return true;
}

// reduce(op, x, axis, keepdims)
PyObject* call_reduce(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (!check_count("reduce", nargs, 4, 4)) return nullptr;
  std::vector<int64_t> axes;
  if (!is_float32(args[1]) || !read_axes(args[2], unwrap(args[1]).rank(), &axes)) Py_RETURN_NONE;
  const int64_t op = PyLong_AsLongLong(args[0]);
  const int keepdims = PyObject_IsTrue(args[3]);
  if ((op == -1 && PyErr_Occurred()) || keepdims < 0) return nullptr;
  const Tensor x = argument(args[1]);
  return compute(x.numel(), [&] { return reduce(op, x, axes, keepdims); });
}

// take(x, indices, axis)
PyObject* call_take(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (!check_count("take", nargs, 3, 3)) return nullptr;
  if (Py_TYPE(args[0]) != tensor_type || Py_TYPE(args[1]) != tensor_type || !PyLong_CheckExact(args[2])) Py_RETURN_NONE;
  const int64_t rank = unwrap(args[0]).rank();
  int overflow;
  int64_t axis = PyLong_AsLongLongAndOverflow(args[2], &overflow);
  if (overflow || axis < -rank || axis >= rank) Py_RETURN_NONE;
  if (axis < 0) axis += rank;
  const Tensor x = argument(args[0]), positions = argument(args[1]);
  const int64_t elements = x.size(int(axis)) ? x.numel() / x.size(int(axis)) * positions.numel() : 0;
  return compute(elements, [&] { return gather(x, indices("take", "indices", positions, x.size(int(axis)), true), axis); });
}

PyMethodDef functions[] = {
    {"take", FAST(call_take),
     "take(x: Any, indices: Any, axis: Any) -> Tensor | None\n\n"
     "The elements of x at indices along axis, or None unless both are tensors and axis an int in range."},
    {"unary", FAST(call_unary),
     "unary(op: int, x: Any, p: float = 0, q: float = 0) -> Tensor | None\n\nf(x), or None unless x is a float32 tensor."},
    {"unary_backward", FAST(call_unary_backward),
     "unary_backward(op: int, gy: Any, v: Any, p: float = 0, q: float = 0) -> Tensor | None\n\n"
     "gy f'(v), or None unless both are float32 tensors."},
    {"binary", FAST(call_binary<false>),
     "binary(op: int, a: Any, b: Any) -> Tensor | None\n\na op b, or None unless they are float32 tensors and numbers."},
    {"compare", FAST(call_binary<true>),
     "compare(op: int, a: Any, b: Any) -> Tensor | None\n\nThe same for comparisons; the result is bool."},
    {"reduce", FAST(call_reduce),
     "reduce(op: int, x: Any, axis: Any, keepdims: bool) -> Tensor | None\n\n"
     "The reduction over axis, None unless x is a float32 tensor and axis None, an int or several."},
    {},
};

PyObject* codes(std::initializer_list<const char*> names) {
  PyObject* dict = PyDict_New();
  long code = 0;
  for (const char* name : names) {
    PyObject* value = PyLong_FromLong(code++);
    const int failed = PyDict_SetItemString(dict, name, value);
    Py_DECREF(value);
    if (failed) {
      Py_DECREF(dict);
      return nullptr;
    }
  }
  return dict;
}

bool add(PyObject* module, const char* name, PyObject* value) {
  const bool ok = value && PyModule_AddObjectRef(module, name, value) == 0;
  Py_XDECREF(value);
  return ok;
}

}  // namespace

PyObject* binary_or_none(int64_t op, PyObject* a, PyObject* b) {
  try {
    return two_operands<false>(op, a, b);
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}
PyObject* compare_or_none(int64_t op, PyObject* a, PyObject* b) {
  try {
    return two_operands<true>(op, a, b);
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

#define FASTNN_NAME(name) #name,
bool add_elementwise(PyObject* module) {
  return PyModule_AddFunctions(module, functions) == 0 &&
         add(module, "UNARY_OPS", codes({FASTNN_UNARY_OPS(FASTNN_NAME)})) &&
         add(module, "BINARY_OPS", codes({FASTNN_BINARY_OPS(FASTNN_NAME)})) &&
         add(module, "COMPARE_OPS", codes({FASTNN_COMPARE_OPS(FASTNN_NAME)})) &&
         add(module, "REDUCE_OPS", codes({FASTNN_REDUCE_OPS(FASTNN_NAME)}));
}

}  // namespace fastnn
