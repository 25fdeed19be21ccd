// The Python type of public ops, and the operators of Tensor. A call that a kernel serves as it is
// (float32 tensors that no tape watches, and numbers) goes there directly: no Python runs.
#include <Python.h>
#include <structmember.h>

#include "fast_call.h"
#include "kernel_args.h"
#include "tensor_functions.h"

namespace fastnn {
namespace {

constexpr Py_ssize_t kMostArguments = 8;  // of a kernel that ops call directly

struct PyOp {
  PyObject_HEAD
  vectorcallfunc vectorcall;
  PyObject* function;
  PyObject* kernel;   // or NULL
  PyObject* before;   // a tuple: arguments of the kernel in front of those given
  PyObject* after;    // a tuple: what it gets for those that may be left out
  Py_ssize_t least;   // how many must be given
  PyObject* names;    // a tuple that begins with the names of the function's parameters, or NULL
  PyObject* dict;
  PyObject* weakrefs;
};
PyOp* self_of(PyObject* o) { return reinterpret_cast<PyOp*>(o); }

// Python's, set once: the exception of a symbolic argument, what serves such a call, and what copies borrowed values.
PyObject *symbolic_error = nullptr, *call_symbolic = nullptr, *owned = nullptr;

bool taped(PyObject* const* args, Py_ssize_t nargs) {
  if (recording <= 0) return false;
  for (Py_ssize_t i = 0; i < nargs; ++i)
    if (Py_TYPE(args[i]) == tensor_type && reinterpret_cast<PyTensor*>(args[i])->node) return true;
  return false;
}

// A call with an error set. If a symbolic argument was the reason, the result is symbolic, too.
PyObject* retry(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  if (!symbolic_error || !PyErr_ExceptionMatches(symbolic_error)) return nullptr;
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  PyObject* positional = PyTuple_New(nargs);
  PyObject* named = PyDict_New();
  PyObject* y = nullptr;
  bool ok = positional && named;
  for (Py_ssize_t i = 0; ok && i < nargs; ++i) PyTuple_SET_ITEM(positional, i, Py_NewRef(args[i]));
  for (Py_ssize_t i = 0; ok && names && i < PyTuple_GET_SIZE(names); ++i)
    ok = PyDict_SetItem(named, PyTuple_GET_ITEM(names, i), args[nargs + i]) == 0;
  if (ok) y = PyObject_CallFunctionObjArgs(call_symbolic, self, positional, named, nullptr);
  Py_XDECREF(positional);
  Py_XDECREF(named);
  if (y == Py_NotImplemented) {  // no argument of this call was symbolic
    Py_DECREF(y);
    PyErr_Restore(type, value, trace);
    return nullptr;
  }
  Py_XDECREF(type);
  Py_XDECREF(value);
  Py_XDECREF(trace);
  return y;
}

// How many arguments are given by position, those by name included where they continue in the order of the
// parameters; -1 where they do not.
Py_ssize_t in_order(const PyOp* op, Py_ssize_t nargs, PyObject* names) {
  if (!names) return nargs;
  const Py_ssize_t named = PyTuple_GET_SIZE(names);
  if (!op->names || nargs + named > PyTuple_GET_SIZE(op->names)) return -1;
  for (Py_ssize_t i = 0; i < named; ++i)
    if (PyTuple_GET_ITEM(names, i) != PyTuple_GET_ITEM(op->names, nargs + i)) return -1;  // both are interned
  return nargs + named;
}

PyObject* call(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* names) {
  PyOp* op = self_of(self);
  const Py_ssize_t nargs = PyVectorcall_NARGS(nargsf), given = op->kernel ? in_order(op, nargs, names) : -1;
  const Py_ssize_t left_out = given < op->least ? -1 : op->least + PyTuple_GET_SIZE(op->after) - given;
  if (left_out >= 0 && op->kernel && !taped(args, given)) {
    PyObject* stack[kMostArguments];
    Py_ssize_t count = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(op->before); ++i) stack[count++] = PyTuple_GET_ITEM(op->before, i);
    for (Py_ssize_t i = 0; i < given; ++i) stack[count++] = args[i];
    for (Py_ssize_t i = PyTuple_GET_SIZE(op->after) - left_out; i < PyTuple_GET_SIZE(op->after); ++i)
      stack[count++] = PyTuple_GET_ITEM(op->after, i);
    PyObject* y = PyObject_Vectorcall(op->kernel, stack, count, nullptr);
    if (y != Py_None) return y;
    Py_DECREF(y);
  }
  PyObject* y = PyObject_Vectorcall(op->function, args, nargsf, names);
  if (!y) return retry(self, args, nargs, names);
  if (Py_TYPE(y) != tensor_type || !unwrap(y).borrowed()) return y;
  PyObject* copy = PyObject_CallOneArg(owned, y);
  Py_DECREF(y);
  return copy;
}

// Op(function, kernel=None, before=(), least=0, after=())
PyObject* make(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"function", "kernel", "before", "least", "after", nullptr};
  PyObject *function, *kernel = Py_None, *before = nullptr, *after = nullptr;
  Py_ssize_t least = 0;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|OO!nO!", const_cast<char**>(names), &function, &kernel, &PyTuple_Type,
                                   &before, &least, &PyTuple_Type, &after))
    return nullptr;
  const Py_ssize_t most = (before ? PyTuple_GET_SIZE(before) : 0) + least + (after ? PyTuple_GET_SIZE(after) : 0);
  if (least < 0 || most > kMostArguments) {
    PyErr_SetString(PyExc_ValueError, "Op: a kernel takes at most 8 arguments");
    return nullptr;
  }
  PyObject* o = type->tp_alloc(type, 0);
  if (!o) return nullptr;
  PyOp* op = self_of(o);
  op->vectorcall = call;
  op->function = Py_NewRef(function);
  op->kernel = kernel == Py_None ? nullptr : Py_NewRef(kernel);
  op->before = before ? Py_NewRef(before) : PyTuple_New(0);
  op->after = after ? Py_NewRef(after) : PyTuple_New(0);
  op->least = least;
  PyObject* code = PyObject_GetAttrString(function, "__code__");
  op->names = code ? PyObject_GetAttrString(code, "co_varnames") : nullptr;
  Py_XDECREF(code);
  PyErr_Clear();  // a function of another kind
  if (op->names && !PyTuple_Check(op->names)) Py_CLEAR(op->names);
  return o;
}

int traverse(PyObject* o, visitproc visit, void* arg) {
  PyOp* op = self_of(o);
  Py_VISIT(Py_TYPE(o));
  Py_VISIT(op->function);
  Py_VISIT(op->kernel);
  Py_VISIT(op->before);
  Py_VISIT(op->after);
  Py_VISIT(op->names);
  Py_VISIT(op->dict);
  return 0;
}
int clear(PyObject* o) {
  PyOp* op = self_of(o);
  Py_CLEAR(op->function);
  Py_CLEAR(op->kernel);
  Py_CLEAR(op->before);
  Py_CLEAR(op->after);
  Py_CLEAR(op->names);
  Py_CLEAR(op->dict);
  return 0;
}
void dealloc(PyObject* o) {
  PyTypeObject* type = Py_TYPE(o);
  PyObject_GC_UnTrack(o);
  if (self_of(o)->weakrefs) PyObject_ClearWeakRefs(o);
  clear(o);
  type->tp_free(o);
  Py_DECREF(type);
}

// As an attribute of a class an op is a method, as a function would be.
PyObject* bind(PyObject* o, PyObject* instance, PyObject*) {
  return !instance || instance == Py_None ? Py_NewRef(o) : PyMethod_New(o, instance);
}

PyObject* represent(PyObject* o) {
  PyObject* name = PyObject_GetAttrString(o, "__qualname__");
  if (!name) return nullptr;
  PyObject* text = PyUnicode_FromFormat("<op %U>", name);
  Py_DECREF(name);
  return text;
}

// Copies and pickles are the op itself, found by its name.
PyObject* reduce(PyObject* o, PyObject*) { return PyObject_GetAttrString(o, "__qualname__"); }

PyGetSetDef getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {},
};
PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(PyOp, vectorcall), READONLY, nullptr},
    {"__dictoffset__", T_PYSSIZET, offsetof(PyOp, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(PyOp, weakrefs), READONLY, nullptr},
    {},
};
PyMethodDef methods[] = {
    {"__reduce__", reduce, METH_NOARGS, nullptr},
    {},
};
PyType_Slot slots[] = {
    {Py_tp_new, (void*)make},
    {Py_tp_call, (void*)PyVectorcall_Call},
    {Py_tp_dealloc, (void*)dealloc},
    {Py_tp_traverse, (void*)traverse},
    {Py_tp_clear, (void*)clear},
    {Py_tp_descr_get, (void*)bind},
    {Py_tp_repr, (void*)represent},
    {Py_tp_getset, getset},
    {Py_tp_members, members},
    {Py_tp_methods, methods},
    {Py_tp_doc, (void*)"A function of tensors that also takes symbolic ones; its kernel, where it has one, is called directly."},
    {},
};
PyType_Spec spec = {"fastnn._core.Op", sizeof(PyOp), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL, slots};

// ---- the operators of Tensor ----

enum Operator { add, sub, mul, truediv, floordiv, mod, pow, matmul, and_, or_, xor_, lshift, rshift, neg, abs_, invert, pos,
                lt, le, eq, ne, gt, ge, kOperators };
constexpr const char* kOperatorNames[kOperators] = {"add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul",
                                                    "and", "or", "xor", "lshift", "rshift", "neg", "abs", "invert", "pos",
                                                    "lt", "le", "eq", "ne", "gt", "ge"};
PyObject* operator_functions[kOperators];

template <Operator which, int64_t code = -1>
PyObject* operate(PyObject* a, PyObject* b) {
  PyObject* const args[] = {a, b};
  if constexpr (code >= 0) {
    if (!taped(args, 2)) {
      PyObject* y = binary_or_none(code, a, b);
      if (y != Py_None) return y;
      Py_DECREF(y);
    }
  }
  return PyObject_Vectorcall(operator_functions[which], args, 2, nullptr);
}
PyObject* power(PyObject* a, PyObject* b, PyObject* modulus) {
  if (modulus != Py_None) Py_RETURN_NOTIMPLEMENTED;
  return operate<pow, binary_op::power>(a, b);
}
template <Operator which>
PyObject* operate_one(PyObject* x) {
  return PyObject_CallOneArg(operator_functions[which], x);
}

PyObject* compare(PyObject* a, PyObject* b, int how) {
  // Asking for equality with None or a string is asking for identity.
  if ((how == Py_EQ || how == Py_NE) && (b == Py_None || PyUnicode_Check(b))) Py_RETURN_NOTIMPLEMENTED;
  constexpr int64_t codes[] = {compare_op::less, compare_op::less_equal, compare_op::equal, compare_op::not_equal,
                               compare_op::greater, compare_op::greater_equal};  // in the order of Py_LT ... Py_GE
  PyObject* y = compare_or_none(codes[how], a, b);
  if (y != Py_None) return y;
  Py_DECREF(y);
  PyObject* const args[] = {a, b};
  return PyObject_Vectorcall(operator_functions[lt + how], args, 2, nullptr);
}
static_assert(Py_LT == 0 && Py_LE == 1 && Py_EQ == 2 && Py_NE == 3 && Py_GT == 4 && Py_GE == 5);

Py_hash_t identity(PyObject* o) { return PyBaseObject_Type.tp_hash(o); }

// set_operators(functions): Python's functions by operator, for what no kernel serves as it is.
PyObject* set_operators(PyObject*, PyObject* functions) {
  for (int i = 0; i < kOperators; ++i) {
    PyObject* f = PyDict_Check(functions) ? PyDict_GetItemString(functions, kOperatorNames[i]) : nullptr;
    if (!f) {
      PyErr_Format(PyExc_KeyError, "set_operators needs a function for %s", kOperatorNames[i]);
      return nullptr;
    }
    Py_XSETREF(operator_functions[i], Py_NewRef(f));
  }
  Py_RETURN_NONE;
}

// set_symbolic(error, call, owned)
PyObject* set_symbolic(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (!check_count("set_symbolic", nargs, 3, 3)) return nullptr;
  Py_XSETREF(symbolic_error, Py_NewRef(args[0]));
  Py_XSETREF(call_symbolic, Py_NewRef(args[1]));
  Py_XSETREF(owned, Py_NewRef(args[2]));
  Py_RETURN_NONE;
}

PyMethodDef functions[] = {
    {"set_operators", set_operators, METH_O, "set_operators(functions: dict) -> None"},
    {"set_symbolic", FAST(set_symbolic), "set_symbolic(error: type, call: Any, owned: Any) -> None"},
    {},
};

}  // namespace

const PyType_Slot operator_slots[] = {
    {Py_nb_add, (void*)operate<add, binary_op::add>},
    {Py_nb_subtract, (void*)operate<sub, binary_op::subtract>},
    {Py_nb_multiply, (void*)operate<mul, binary_op::multiply>},
    {Py_nb_true_divide, (void*)operate<truediv, binary_op::divide>},
    {Py_nb_floor_divide, (void*)operate<floordiv>},
    {Py_nb_remainder, (void*)operate<mod>},
    {Py_nb_power, (void*)power},
    {Py_nb_matrix_multiply, (void*)operate<matmul>},
    {Py_nb_and, (void*)operate<and_>},
    {Py_nb_or, (void*)operate<or_>},
    {Py_nb_xor, (void*)operate<xor_>},
    {Py_nb_lshift, (void*)operate<lshift>},
    {Py_nb_rshift, (void*)operate<rshift>},
    {Py_nb_negative, (void*)operate_one<neg>},
    {Py_nb_absolute, (void*)operate_one<abs_>},
    {Py_nb_invert, (void*)operate_one<invert>},
    {Py_nb_positive, (void*)operate_one<pos>},
    {Py_tp_richcompare, (void*)compare},
    {Py_tp_hash, (void*)identity},
    {},
};

bool add_op_type(PyObject* module) {
  PyObject* type = PyType_FromSpec(&spec);
  if (!type) return false;
  const bool ok = PyModule_AddObjectRef(module, "Op", type) == 0 && PyModule_AddFunctions(module, functions) == 0;
  Py_DECREF(type);
  return ok;
}

}  // namespace fastnn
