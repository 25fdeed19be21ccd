// The matrix product, bound by hand.
#include "caster.h"
#include "fast_call.h"
#include "ops.h"

namespace fastnn {
namespace {

bool is_matrix(PyObject* o) { return is_float32(o) && unwrap(o).rank() >= 2; }

// product(a, b), product(a, b, trans_a, trans_b), or product(a, b, trans_a, trans_b, bias, activation)
PyObject* call_product(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (!check_count("product", nargs, 2, 6)) return nullptr;
  if (!is_matrix(args[0]) || !is_matrix(args[1])) Py_RETURN_NONE;
  const int trans_a = nargs > 2 ? PyObject_IsTrue(args[2]) : 0, trans_b = nargs > 3 ? PyObject_IsTrue(args[3]) : 0;
  if (trans_a < 0 || trans_b < 0) return nullptr;
  std::optional<Tensor> bias;
  int64_t activation = 0;
  if (nargs > 4) {
    const bool given = args[4] != Py_None;
    if (unwrap(args[1]).rank() != 2 || (given && !is_float32(args[4]))) Py_RETURN_NONE;
    if (given) bias = argument(args[4]);
  }
  if (nargs > 5) activation = PyLong_AsLongLong(args[5]);
  if (activation == -1 && PyErr_Occurred()) return nullptr;
  const Tensor a = argument(args[0]), b = argument(args[1]);
  // 32 multiply-adds take as long as one element of what kHoldGil is meant for.
  return compute(a.numel() * b.size(trans_b ? -2 : -1) / 32,
                 [&] { return matmul(a, b, bias, trans_a, trans_b, activation); });
}

PyMethodDef functions[] = {
    {"product", FAST(call_product),
     "product(a: Any, b: Any, trans_a: bool = False, trans_b: bool = False, bias: Any = None, activation: int = 0) -> Tensor | None\n\n"
     "a @ b as matmul computes it, or None unless both are float32 tensors of 2 axes or more. With bias and\n"
     "activation: None unless b has 2 axes, and bias is float32 or None."},
    {},
};

}  // namespace

bool add_matmul(PyObject* module) { return PyModule_AddFunctions(module, functions) == 0; }

}  // namespace fastnn
