"""Linear algebra against NumPy in float64, gradients included."""
import numpy as np
import pytest

import fastnn
from check import check_close, check_gradient, tensor, values
from fastnn import GradientTape, Input, ops


def positive(a):
    return a @ np.swapaxes(a, -1, -2) / a.shape[-1] + np.eye(a.shape[-1])


def dominant(a):
    return a + 3 * np.eye(a.shape[-1])


def symmetric(a):
    return (a + np.swapaxes(a, -1, -2)) / 2


def cholesky(a, upper=False):
    y = np.linalg.cholesky(symmetric(a))
    return np.swapaxes(y, -1, -2) if upper else y


def triangle(a, lower):
    return np.tril(a) if lower else np.triu(a)


def solve_triangular(a, b, lower=False):
    return np.linalg.solve(triangle(a, lower), b)


def solve(a, b):  # NumPy 2 takes b of shape (2, n) for a matrix
    return np.linalg.solve(a, b[..., None])[..., 0] if b.ndim == a.ndim - 1 else np.linalg.solve(a, b)


def cholesky_inverse(a, upper=False):
    return np.linalg.inv(a.swapaxes(-1, -2) @ a if upper else a @ a.swapaxes(-1, -2))


def lower_of(a):
    return np.linalg.cholesky(positive(a))


def part(name, i, **options):
    """Result i of a function of several."""
    return (lambda x: getattr(ops, name)(x, **options)[i]), (lambda x: getattr(np.linalg, name)(x, **options)[i])


ROWS = [
    ("inv", np.linalg.inv, [(4, 4)], dominant, {}),
    ("inv", np.linalg.inv, [(2, 3, 3, 3)], dominant, {}),
    ("det", np.linalg.det, [(4, 4)], dominant, {}),
    ("det", np.linalg.det, [(2, 3, 3)], dominant, {}),
    ("logdet", lambda x: np.linalg.slogdet(x)[1], [(2, 3, 3)], dominant, {}),
    ("solve", solve, [(4, 4), (4,)], dominant, {}),
    ("solve", solve, [(2, 3, 3), (2, 3)], dominant, {}),
    ("solve", solve, [(2, 3, 3), (2, 3, 5)], dominant, {}),
    ("solve", solve, [(2, 3, 3), (1, 3, 5)], dominant, {}),
    ("solve_triangular", solve_triangular, [(4, 4), (4, 2)], dominant, {}),
    ("solve_triangular", solve_triangular, [(2, 3, 3), (2, 3, 5)], dominant, {"lower": True}),
    ("cholesky", cholesky, [(4, 4)], positive, {}),
    ("cholesky", cholesky, [(2, 3, 3)], positive, {"upper": True}),
    ("pinv", np.linalg.pinv, [(5, 3)], None, {}),
    ("pinv", np.linalg.pinv, [(2, 3, 4)], None, {}),
    ("lstsq", lambda a, b: np.linalg.lstsq(a, b, None)[0], [(6, 3), (6, 2)], None, {}),
    ("lstsq", lambda a, b: np.linalg.lstsq(a, b, None)[0], [(6, 3), (6,)], None, {}),
]


def arguments(shapes, make, seed=0):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=s) for s in shapes]
    if make is not None:
        arrays[0] = make(arrays[0])
    return [a.astype("float32").astype("float64") for a in arrays], rng


@pytest.mark.parametrize("name, reference, shapes, make, options", ROWS)
def test_values_and_gradients(name, reference, shapes, make, options):
    arrays, rng = arguments(shapes, make)
    check_close(getattr(ops, name), reference, arrays, **options)
    check_gradient(getattr(ops, name), reference, arrays, rng, **options)


@pytest.mark.parametrize("upper", [False, True])
def test_cholesky_inverse(upper):
    factor = lower_of(arguments([(2, 3, 3)], None)[0][0]).astype("float32").astype("float64")
    factor = factor.swapaxes(-1, -2) if upper else factor
    check_close(ops.cholesky_inverse, cholesky_inverse, [factor], upper=upper)


@pytest.mark.parametrize("name, i, shape, make, options", [
    ("slogdet", 1, (3, 3), dominant, {}),
    ("qr", 0, (5, 3), None, {}),
    ("qr", 1, (2, 3, 3), None, {}),
    ("qr", 1, (5, 3), None, {}),
    ("svd", 0, (5, 3), None, {"full_matrices": False}),
    ("svd", 1, (5, 3), None, {}),
    ("svd", 1, (2, 3, 3), None, {}),
    ("svd", 2, (3, 3), None, {}),
    ("svd", 2, (3, 5), None, {"full_matrices": False}),
])
def test_factors(name, i, shape, make, options):
    arrays, rng = arguments([shape], make)
    f, reference = part(name, i, **options)
    check_close(f, reference, arrays)
    check_gradient(f, reference, arrays, rng, tolerance=1e-4)


@pytest.mark.parametrize("i", [0, 1])
def test_eigh(i):
    arrays, rng = arguments([(2, 4, 4)], symmetric)
    check_close(lambda x: ops.eigh(x)[i], lambda x: np.linalg.eigh(symmetric(x))[i], arrays)
    check_gradient(lambda x: ops.eigh(x)[i], lambda x: np.linalg.eigh(symmetric(x))[i], arrays, rng, tolerance=1e-4)


def test_factors_multiply_to_the_matrix():
    x = tensor(np.random.default_rng(0).normal(size=(2, 5, 3)))
    q, r = ops.qr(x, mode="complete")
    assert q.shape == (2, 5, 5) and r.shape == (2, 5, 3)
    np.testing.assert_allclose(ops.matmul(q, r), x, atol=1e-6)
    u, s, vh = ops.svd(x)
    assert u.shape == (2, 5, 5) and s.shape == (2, 3) and vh.shape == (2, 3, 3)
    np.testing.assert_allclose(ops.svd(x, compute_uv=False), s)
    w, v = ops.eig(tensor([[2.0, 1.0], [0.0, 3.0]]))
    np.testing.assert_allclose(ops.matmul(v * w, ops.inv(v)), [[2, 1], [0, 3]], atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 4), (2, 5, 3), (3, 5)])
def test_lu_factor(shape):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    lu, pivots = map(np.asarray, ops.lu_factor(x))
    k = min(shape[-2:])
    assert pivots.dtype == "int32" and pivots.shape == (*shape[:-2], k)
    lower = np.tril(lu, -1)[..., :k] + np.eye(shape[-2], k)
    product = (lower @ np.triu(lu)[..., :k, :]).reshape(-1, *shape[-2:])
    for matrix, swaps, expected in zip(product, pivots.reshape(-1, k), x.reshape(-1, *shape[-2:])):
        for i in reversed(range(k)):
            matrix[[i, swaps[i]]] = matrix[[swaps[i], i]]
        np.testing.assert_allclose(matrix, expected, atol=1e-6)


def test_matrix_rank():
    assert int(ops.matrix_rank([[1, 4, 3], [2, 8, 6], [3, 12, 9]])) == 1
    ranks = ops.matrix_rank(np.stack([np.eye(3), np.zeros((3, 3)), np.diag([1, 1e-9, 0])]).astype("float32"))
    assert ranks.dtype == "int32" and np.asarray(ranks).tolist() == [3, 0, 1]
    assert int(ops.matrix_rank(np.diag([3.0, 0.5]).astype("float32"), tol=1.0)) == 1


def test_slogdet_of_singular():
    sign, log = ops.slogdet([[1.0, 2.0], [2.0, 4.0]])
    assert float(sign) == 0 and float(log) == -np.inf


def test_det_of_singular_has_a_gradient():
    x = tensor([[1.0, 2.0], [2.0, 4.0]])
    with GradientTape() as tape:
        tape.watch(x)
        y = ops.det(x)
    np.testing.assert_allclose(tape.gradient(y, x), [[4, -2], [-2, 1]], atol=1e-5)


def test_second_order():
    x = tensor([[2.0]])
    with GradientTape() as outer:
        outer.watch(x)
        with GradientTape() as inner:
            inner.watch(x)
            y = ops.inv(x)
        g = inner.gradient(y, x)
    np.testing.assert_allclose(outer.gradient(g, x), [[0.25]], rtol=1e-6)  # 2 / x^3


@pytest.mark.parametrize("dtype, result", [("float32", "float32"), ("float64", "float64"), ("int32", "float32"),
                                           ("float16", "float16"), ("bfloat16", "bfloat16")])
def test_dtypes(dtype, result):
    x = fastnn.convert_to_tensor([[2, 1], [0, 1]], dtype)
    for y in (ops.inv(x), ops.det(x), ops.svd(x)[1], ops.pinv(x), ops.solve(x, x)):
        assert y.dtype == result
    assert int(ops.matrix_rank(x)) == 2


def test_symbolic():
    x = Input((4, 3))
    assert ops.pinv(x).shape == (None, 3, 4)
    assert [y.shape for y in ops.svd(x, False)] == [(None, 4, 3), (None, 3), (None, 3, 3)]
    assert [y.shape for y in ops.qr(x)] == [(None, 4, 3), (None, 3, 3)]
    square = Input((3, 3))
    assert ops.inv(square).shape == (None, 3, 3) and ops.det(square).shape == (None,)
    assert ops.solve(square, Input((3, 2))).shape == (None, 3, 2)
    assert ops.matrix_rank(x).dtype == "int32"


def test_empty():
    assert ops.inv(np.zeros((0, 3, 3), "float32")).shape == (0, 3, 3)
    assert ops.lu_factor(np.zeros((0, 3, 3), "float32"))[1].shape == (0, 3)
    assert ops.det(np.zeros((2, 0, 0), "float32")).shape == (2,)


WRONG = [
    ("inv", [[1.0, 2.0], [2.0, 4.0]], r"\[inv\] x must be invertible"),
    ("inv", [[1.0, 2.0, 3.0]], r"\[inv\] x must be square"),
    ("inv", [1.0], r"\[inv\] x must have at least 2 dimensions"),
    ("det", [[1.0, 2.0, 3.0]], r"\[det\] x must be square"),
    ("slogdet", [1.0], r"\[slogdet\] x must have"),
    ("cholesky", [[1.0, 2.0], [2.0, 1.0]], r"\[cholesky\] x must be positive definite"),
    ("eig", [[0.0, 1.0], [-1.0, 0.0]], r"\[eig\] x must be finite and have real eigenvalues"),
    ("svd", [[np.nan, 1.0]], r"\[svd\] x must be finite"),
    ("matrix_rank", [1.0], r"\[matrix_rank\] x must have"),
]


@pytest.mark.parametrize("name, x, text", WRONG)
def test_errors(name, x, text):
    with pytest.raises(ValueError, match=text):
        getattr(ops, name)(np.array(x, "float32"))


def test_errors_of_systems():
    a = np.eye(3, dtype="float32")
    with pytest.raises(ValueError, match=r"\[solve\] b must have the shape"):
        ops.solve(a, np.zeros(2, "float32"))
    with pytest.raises(ValueError, match=r"\[solve\] a must be invertible"):
        ops.solve(0 * a, np.zeros(3, "float32"))
    with pytest.raises(ValueError, match=r"\[solve_triangular\] a must be invertible"):
        ops.solve_triangular(0 * a, np.zeros(3, "float32"))
    with pytest.raises(ValueError, match=r"\[solve\] the batches"):
        ops.solve(np.stack([a, a]), np.zeros((3, 3, 1), "float32"))
    with pytest.raises(ValueError, match=r"\[lstsq\] a must be one matrix"):
        ops.lstsq(np.stack([a, a]), np.zeros((2, 3, 1), "float32"))
    with pytest.raises(ValueError, match=r"\[qr\] mode must be"):
        ops.qr(a, mode="full")


@pytest.mark.parametrize("f", [lambda x: ops.eig(x)[0], lambda x: ops.lu_factor(x)[0],
                               lambda x: ops.svd(x[:1])[2], lambda x: ops.qr(x[:1])[1]])
def test_what_has_no_gradient_says_so(f):
    x = tensor([[2.0, 1.0], [0.0, 3.0]])
    with GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    with pytest.raises(ValueError, match="gradient"):
        tape.gradient(y, x)
    assert np.isfinite(values(y)).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("f", [
    ops.svd, lambda x: ops.svd(x, compute_uv=False), ops.pinv, lambda x: ops.lstsq(x, x), lambda x: ops.lstsq(ops.ones((3, 3)), x)])
def test_infinity_is_refused_where_lapack_would_not_return(f, value):
    x = np.random.default_rng(0).normal(size=(3, 3)).astype("f")
    x[0, 0] = value
    with pytest.raises(ValueError, match="finite"):
        f(x)


def test_gradient_of_the_spectral_norm_of_infinity_is_nan():
    x = fastnn.Variable(np.array([[np.inf, 1], [2, 3]], "f"))
    with GradientTape() as tape:
        y = ops.norm(x, ord=2)
    assert np.isnan(np.array(tape.gradient(y, x))).all()


def test_differences_end_where_nothing_is_left():
    assert ops.diff(np.ones((2, 3)), n=2**40).shape == (2, 0)


def test_pattern_must_be_a_string():
    with pytest.raises(TypeError, match="pattern must be a string"):
        ops.rearrange(np.ones(3), None)
