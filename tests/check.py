"""check_op: an op against a float64 reference, its gradients included, for any number of threads."""
import os

import numpy as np

import fastnn
from fastnn import GradientTape

EPS = np.finfo(np.float32).eps
DEVICE = os.environ.get("FASTNN_DEVICE", "cpu")
# Numbers of threads that must not change a bit; they mean nothing off the CPU.
THREADS = (1, 2, 3, 7) if DEVICE == "cpu" else (1,)


def sized(problem, small):
    """``problem``, or ``small`` where kernels are emulated, at about 0.25 GFLOP/s."""
    return small if tensor(0.0).device == "cuda-emu" else problem


def tensor(array):
    return fastnn.convert_to_tensor(np.asarray(array), "float32")


def fit(n, flops, seconds=1):
    """As many of n equal parts of a test, of so many operations each, as the emulated device does in this time, at 0.2
    GFLOP/s; one at least. All of them on other devices."""
    return n if DEVICE != "cuda-emu" else max(1, min(n, int(seconds * 2e8 / flops)))


def values(x):
    """A tensor's values in float64."""
    return np.asarray(x).astype("float64")


def gradients(op, arrays, gy, **options):
    """The result of ``op`` and the gradient of sum(result * gy) with respect to each array, as tensors."""
    xs = [tensor(a) for a in arrays]
    with GradientTape() as tape:
        tape.watch(xs)
        y = op(*xs, **options)
    return y, tape.gradient(y, xs, output_gradients=tensor(gy))


def assert_near(found, expected, size, roundings=16):
    """|found - expected| <= roundings eps size, where ``size`` is what is rounded on the way: of a sum, that of the absolute values,
    which is no smaller where the sum cancels."""
    found, expected = np.broadcast_arrays(values(found), np.asarray(expected, "float64"))
    excess = np.abs(found - expected) - roundings * EPS * np.asarray(size, "float64")
    assert (excess <= 0).all(), f"{excess.max()} too far: {found.ravel()[excess.argmax()]} for {expected.ravel()[excess.argmax()]}"


def check_exact(op, reference, arrays, **options):
    """On small integers every sum is exact in float32, in any order: results must be equal."""
    y = op(*[tensor(a) for a in arrays], **options)
    np.testing.assert_array_equal(values(y), reference(*arrays, **options))


def check_close(op, reference, arrays, bound=None, **options):
    """|y - reference| <= 16 eps bound, where ``bound`` is a function as ``reference`` is one, or 1 by default
    times the largest result."""
    expected = reference(*arrays, **options)
    y = op(*[tensor(a) for a in arrays], **options)
    assert tuple(y.shape) == expected.shape
    if expected.size:
        limit = np.abs(expected).max() if bound is None else bound(*[np.abs(a) for a in arrays], **options)
        assert (np.abs(values(y) - expected) <= 16 * EPS * limit + 1e-30).all(), np.abs(values(y) - expected).max()


def check_gradient(op, reference, arrays, rng, tolerance=3e-5, **options):
    """<gradient, v> against the central difference of the float64 reference along a random v."""
    gy = rng.normal(size=reference(*arrays, **options).shape).astype("float32").astype("float64")
    _, gs = gradients(op, arrays, gy, **options)
    for i, g in enumerate(gs):
        assert tuple(g.shape) == arrays[i].shape
        v, eps = rng.normal(size=arrays[i].shape), 1e-6
        moved = [[a + s * eps * v if j == i else a for j, a in enumerate(arrays)] for s in (1, -1)]
        numeric = ((reference(*moved[0], **options) - reference(*moved[1], **options)) * gy).sum() / (2 * eps)
        limit = tolerance * np.linalg.norm(values(g)) * np.linalg.norm(v) + 1e-6
        assert abs((values(g) * v).sum() - numeric) <= limit, (i, (values(g) * v).sum(), numeric)


def check_threads(op, arrays, gy, **options):
    """Results and gradients have the same bits for 1, 2, 3 and 7 threads."""
    before, seen = fastnn.num_threads(), set()
    try:
        for n in THREADS:
            fastnn.set_num_threads(n)
            y, gs = gradients(op, arrays, gy, **options)
            seen.add(b"".join(np.asarray(t).tobytes() for t in (y, *gs)))
    finally:
        fastnn.set_num_threads(before)
    assert len(seen) == 1


def check_op(op, reference, shapes, *, exact=True, bound=None, gradient=True, tolerance=3e-5, seed=0, low=-3, high=3,
             **options):
    """All checks of one op.

    Args:
        op: a function of tensors.
        reference: the same function of float64 arrays.
        shapes: of the arguments.
        exact: whether small integers give results without rounding.
        bound: see ``check_close``; for sums of products, the reference itself.
        gradient: whether to check gradients.
        options: further arguments of both functions.
    """
    rng = np.random.default_rng(seed)
    if exact:
        check_exact(op, reference, [rng.integers(low, high + 1, s).astype("float64") for s in shapes], **options)
    arrays = [rng.normal(size=s).astype("float32").astype("float64") for s in shapes]
    check_close(op, reference, arrays, bound, **options)
    if gradient:
        check_gradient(op, reference, arrays, rng, tolerance, **options)
        check_threads(op, arrays, rng.normal(size=reference(*arrays, **options).shape), **options)
