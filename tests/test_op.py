"""The type of ops: kernels called directly, and what falls back to Python."""
import copy
import inspect
import pickle

import numpy as np
import pytest

import fastnn
from fastnn import GradientTape, _core, ops

tensor = fastnn.convert_to_tensor

X, Z = np.array([1.5, -2, 0.25], "f4"), np.array([3, 0.5, -4], "f4")


def count(f, *args, **kwargs):
    """How often the Python function of an op is called by ``f``."""
    calls = []

    def python(*a, **k):
        calls.append(a)
        return ops.add.__wrapped__(*a, **k)

    op = _core.Op(python, _core.binary, (_core.BINARY_OPS["add"],), 2)
    return f(op), len(calls)


def test_a_kernel_serves_float32_without_python():
    y, calls = count(lambda add: add(tensor(X), tensor(Z)))
    assert calls == 0 and np.array_equal(y, X + Z)
    y, calls = count(lambda add: add(tensor(X), 2))
    assert calls == 0 and np.array_equal(y, X + 2)


@pytest.mark.parametrize("call", [
    lambda add: add(tensor(X.astype("f8")), tensor(Z)), lambda add: add(X, tensor(Z)), lambda add: add(tensor(X), x2=tensor(Z)),
    lambda add: add(fastnn.Variable(X), tensor(Z)), lambda add: add(tensor(X), Z),
])
def test_python_serves_the_rest(call):
    y, calls = count(call)
    assert calls == 1 and np.array_equal(y, X + Z)


def test_tapes_record_watched_arguments_and_no_others():
    x, z = tensor(X), tensor(Z)

    def run(add):
        with GradientTape() as tape:
            tape.watch(x)
            free = add(z, z)
            y = add(x, z) * free
        return tape.gradient(y, x)

    gradient, calls = count(run)
    assert calls == 1 and np.array_equal(gradient, Z + Z)


@pytest.mark.parametrize("f", [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / b, lambda a, b: a ** b,
                               lambda a, b: a > b, lambda a, b: a <= b, lambda a, b: a == b, lambda a, b: a != b,
                               lambda a, b: a // b, lambda a, b: a % b, lambda a, b: -a + abs(b)])
def test_operators(f):
    pairs = [(np.abs(X), Z), (np.abs(X), 2.0), (2, Z), (np.abs(X).astype("f8"), Z.astype("f8"))]
    for a, b in pairs:
        got = f(*[tensor(v) if isinstance(v, np.ndarray) else v for v in (a, b)])
        want = f(a, b)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, 1e-6)
    mixed = f(tensor(np.abs(X)), Z)  # an array beside a tensor, either way round
    np.testing.assert_allclose(mixed, f(np.abs(X), Z), 1e-6)
    np.testing.assert_allclose(f(np.abs(X), tensor(Z)), f(np.abs(X), Z), 1e-6)


def test_operators_with_other_kinds():
    x = tensor(X)
    assert (x == None) is False and (x != "a") is True  # noqa: E711
    with pytest.raises(TypeError):
        x + "a"
    with pytest.raises(TypeError):
        pow(x, 2, 3)
    with pytest.raises(ValueError, match="broadcast"):
        x + tensor(np.ones(2, "f4"))
    assert len({x, x}) == 1 and (+x) is x
    assert np.array_equal(fastnn.Variable(X) + x, X + X) and np.array_equal(x * fastnn.Variable(Z), X * Z)


def test_operators_on_symbolic_tensors():
    s = fastnn.KerasTensor((None, 3))
    assert (tensor(X) + s).shape == (None, 3) and (s * tensor(X)).shape == (None, 3)
    with pytest.raises(ValueError, match="broadcast"):
        tensor(np.ones(2, "f4")) + s


def test_an_error_of_a_call_inside_is_not_taken_for_its_own():
    s = fastnn.KerasTensor((2,))

    def inner(x):
        return ops.exp.__wrapped__(s)  # raises what stops symbolic arguments

    with pytest.raises(TypeError, match="symbolic"):
        _core.Op(inner)(tensor(X))


def test_ops_are_functions_to_python():
    assert str(inspect.signature(ops.add)) == "(x1, x2)" and ops.add.__name__ == "add" and inspect.isroutine(ops.add)
    assert pickle.loads(pickle.dumps(ops.relu)) is ops.relu and copy.deepcopy(ops.relu) is ops.relu

    class Holder:
        method = ops.multiply

        def __init__(self, x):
            self.x = x

        def __array__(self, dtype=None, copy=None):
            return self.x

    assert np.array_equal(Holder(X).method(2.0), X * 2) and Holder.method is ops.multiply
    with pytest.raises(TypeError):
        ops.add(tensor(X))
    with pytest.raises(TypeError):
        ops.exp(tensor(X), 1)


def test_results_never_alias_arrays_of_the_caller():
    x = X.copy()
    y = ops.reshape(x, (3, 1))
    x[:] = 7
    assert np.array_equal(y[:, 0], X)


def test_names_in_the_order_of_the_parameters_are_positions():
    x = tensor(np.arange(12, dtype="f4").reshape(3, 4))
    assert np.array_equal(ops.sum(x, axis=0), [12, 15, 18, 21]) and ops.sum(x, axis=1, keepdims=True).shape == (3, 1)
    assert ops.sum(x, keepdims=True).shape == (1, 1) and ops.sum(x=x, axis=1).shape == (3,)
    assert ops.sum(x, keepdims=True, axis=1).shape == (3, 1)
    assert np.array_equal(ops.take(x, tensor([2, -1]), axis=1), np.arange(12).reshape(3, 4)[:, [2, 3]])
    assert np.array_equal(ops.take(x, tensor([5])), [5]) and ops.take(x, tensor([[1]]), -1).shape == (3, 1, 1)
    with pytest.raises(TypeError):
        ops.sum(x, axes=0)
    with pytest.raises(IndexError, match=r"\[take\] indices must be in"):
        ops.take(x, tensor([3]), axis=0)
    with pytest.raises(ValueError):
        ops.take(x, tensor([0]), axis=2)
