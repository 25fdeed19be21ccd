"""Linear algebra: NumPy computes in double precision; results have the type of the argument.

Matrices are the last two axes, axes before them a batch. Gradients are written in ops, so that
they may be differentiated again.
"""

import numpy as np

from .. import _core, dtypes
from .._core import record
from ..symbolic import op
from ..tensor import as_tensor, from_numpy, to_numpy
from .array import expand_dims, squeeze, swapaxes
from .creation import eye, ones_like, tril, triu, zeros_like
from .elementwise import _fit, add, divide, equal, multiply, negative, subtract, wants_grad, where
from .matmul import matmul
from .numpy_op import float_dtype

__all__ = [
    "cholesky", "cholesky_inverse", "det", "eig", "eigh", "inv", "logdet", "lstsq", "lu_factor", "matrix_rank", "pinv",
    "qr", "slogdet", "solve", "solve_triangular", "svd",
]


def _matrix(name, x, square=False, arg="x"):
    """``x`` as a float tensor of matrices."""
    x = as_tensor(x)
    x = as_tensor(x, float_dtype(x.dtype))
    if x.ndim < 2:
        raise ValueError(f"[{name}] {arg} must have at least 2 dimensions. Received: {arg}.shape={x.shape}")
    if square and x.shape[-1] != x.shape[-2]:
        raise ValueError(f"[{name}] {arg} must be square in its last two dimensions. Received: {arg}.shape={x.shape}")
    return x


def _compute(name, must, f, shapes, *xs, names=None, finite=False):
    """f of the tensors as float64 arrays, as tensors.

    Args:
        must: what f's failure says about its arguments: "x must be invertible".
        shapes: of the results, a list, or of the only one, a tuple: what is given for meta tensors.
        names: the dtypes of the results, if they are not those of the first tensor.
        finite: refuse infinity and NaN: LAPACK's singular values with vectors may loop for ever on infinity.
    """
    several = type(shapes) is list
    names = names or [xs[0].dtype] * (len(shapes) if several else 1)
    if any(x.device == "meta" for x in xs):
        ys = tuple(_core.meta(tuple(s), d) for s, d in zip(shapes if several else [shapes], names))
        return ys if several else ys[0]
    try:
        arrays = [to_numpy(x).astype("float64") for x in xs]
        if finite and not all(np.isfinite(a).all() for a in arrays):
            raise np.linalg.LinAlgError("found infinity or NaN")
        with np.errstate(all="ignore"):
            result = f(*arrays)
            ys = [np.asarray(y).astype(dtypes.numpy_dtype(d), order="C") for y, d in zip(result if several else [result], names)]
    except np.linalg.LinAlgError as e:
        shown = ", ".join(f"shape {x.shape}" for x in xs)
        raise ValueError(f"[{name}] {must} ({e}). Received: {shown}") from None
    ys = tuple(from_numpy(y) for y in ys)
    return ys if several else ys[0]


def _t(x):
    return swapaxes(x, -1, -2)


def _columns(x):
    """(..., n) as (..., n, 1)."""
    return expand_dims(x, -1)


def _no_gradient(name, why):
    def vjp(*_):
        raise ValueError(f"[{name}] has no gradient {why}")

    return vjp


def _or_zeros(g, y):
    return zeros_like(y) if g is None else g


def _inverse_differences(x):
    """F[i, j] = 1 / (x[j] - x[i]), and 0 where i = j or the values are equal."""
    d = subtract(expand_dims(x, -2), expand_dims(x, -1))
    same = equal(d, 0)
    return where(same, 0.0, divide(1.0, where(same, 1.0, d)))


# ---- determinants, inverses, systems of equations ----


@op
def det(x):
    """The determinant of each (n, n) matrix.

    Args:
        x: (..., n, n) floats.

    Raises:
        ValueError: ``x`` is not square or has fewer than 2 dimensions.
    """
    x = _matrix("det", x, square=True)
    y = _compute("det", "x must be finite", np.linalg.det, x.shape[:-2], x)

    def vjp(gy):
        g = _columns(_columns(gy))
        if not to_numpy(y).all():  # the inverse does not exist, the cofactors do
            return (multiply(g, _compute("det", "x must be finite", _cofactors, x.shape, x)),)
        return (multiply(g, multiply(_columns(_columns(y)), _t(inv(x)))),)

    return record(y, (x,), vjp)


def _cofactors(a):
    u, s, vh = np.linalg.svd(a)
    n = s.shape[-1]
    others = np.where(np.eye(n, dtype=bool), 1.0, s[..., None, :]).prod(-1)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    return (sign[..., None, None] * u * others[..., None, :]) @ vh


@op
def slogdet(x):
    """The sign of each determinant and the logarithm of its absolute value; 0 and -inf for singular matrices.

    Args:
        x: (..., n, n) floats.

    Raises:
        ValueError: ``x`` is not square or has fewer than 2 dimensions.
    """
    x = _matrix("slogdet", x, square=True)
    ys = _compute("slogdet", "x must be finite", np.linalg.slogdet, [x.shape[:-2]] * 2, x)
    return record(ys, (x,), lambda gsign, glog: (
        None if glog is None else multiply(_columns(_columns(glog)), _t(inv(x))),))


@op
def logdet(x):
    """The logarithm of the absolute value of each determinant.

    Args:
        x: (..., n, n) floats.

    Raises:
        ValueError: ``x`` is not square or has fewer than 2 dimensions.
    """
    return slogdet(_matrix("logdet", x, square=True))[1]


@op
def inv(x):
    """The inverse of each (n, n) matrix.

    Args:
        x: (..., n, n) floats.

    Raises:
        ValueError: ``x`` is singular, not square, or has fewer than 2 dimensions.
    """
    x = _matrix("inv", x, square=True)
    y = _compute("inv", "x must be invertible", np.linalg.inv, x.shape, x)
    return record(y, (x,), lambda gy: (negative(matmul(matmul(_t(y), gy), _t(y))),))


@op
def pinv(x, rcond=None):
    """The pseudo-inverse (Moore and Penrose's) of each matrix.

    Args:
        x: (..., m, n).
        rcond: singular values below ``rcond`` times the largest count as 0; by default 10 max(m, n) times
            the machine epsilon of ``x``.

    Returns:
        (..., n, m). The gradient takes the rank to be constant.
    """
    x = _matrix("pinv", x)
    m, n = x.shape[-2:]
    cut = 10 * max(m, n) * _epsilon(x) if rcond is None else rcond
    y = _compute("pinv", "x must be finite", lambda a: np.linalg.pinv(a, cut), (*x.shape[:-2], n, m), x, finite=True)
    return record(y, (x,), lambda gy: (_pinv_gradient(x, y, gy),))


def _pinv_gradient(x, y, gy):
    """Golub and Pereyra's derivative of the pseudo-inverse."""
    yt, gt = _t(y), _t(gy)
    first = matmul(matmul(yt, gy), yt)
    second = matmul(matmul(gt, y), yt)
    third = matmul(matmul(yt, y), gt)
    second = subtract(second, matmul(x, matmul(y, second)))
    third = subtract(third, matmul(matmul(third, y), x))
    return subtract(add(second, third), first)


def _epsilon(x):
    if x.dtype == "bfloat16":
        return 2.0**-7
    return float(np.finfo(x.dtype).eps)


def _system(name, a, b, square):
    """The checked arguments of a system of equations, and whether b is a vector."""
    a, b = _matrix(name, a, square, "a"), as_tensor(b)
    dtype = dtypes.result_type(a.dtype, float_dtype(b.dtype))
    a, b = as_tensor(a, dtype), as_tensor(b, dtype)
    vector = b.ndim == a.ndim - 1
    if b.ndim < 1 or (not vector and b.ndim < 2) or b.shape[-1 if vector else -2] != a.shape[-2]:
        raise ValueError(f"[{name}] b must have the shape (..., n) or (..., n, k), with n rows as a. "
                         f"Received: a.shape={a.shape}, b.shape={b.shape}")
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-1] if vector else b.shape[:-2])
    except ValueError:
        raise ValueError(f"[{name}] the batches of a and b must broadcast. "
                         f"Received: a.shape={a.shape}, b.shape={b.shape}") from None
    return a, b, vector, batch


def _solve(name, a, b, f, transposed, keep):
    """x with a x = b. transposed: (a, b) -> the solution for a's transpose. keep: what of a's gradient counts."""
    a, b, vector, batch = _system(name, a, b, square=True)
    if vector:
        return squeeze(_solve(name, a, _columns(b), f, transposed, keep), -1)
    y = _compute(name, "a must be invertible", f, (*batch, *b.shape[-2:]), a, b)

    def vjp(gy):
        gb = transposed(_t(a), gy)
        ga = _fit(keep(negative(matmul(gb, _t(y)))), a) if wants_grad(a) else None
        return ga, _fit(gb, b)

    return record(y, (a, b), vjp)


@op
def solve(a, b):
    """x with ``a x = b``.

    Args:
        a: (..., n, n).
        b: (..., n) or (..., n, k).

    Returns:
        x, in the shape of ``b``.

    Raises:
        ValueError: ``a`` is singular or not square, or the shapes do not fit.
    """
    return _solve("solve", a, b, np.linalg.solve, solve, lambda g: g)


@op
def solve_triangular(a, b, lower=False):
    """x with ``a x = b`` for a triangular ``a``; what is on the other side of its diagonal is not looked at.

    Args:
        a: (..., n, n).
        b: (..., n) or (..., n, k).
        lower: whether ``a`` is lower triangular.

    Raises:
        ValueError: the diagonal has a 0, ``a`` is not square, or the shapes do not fit.
    """
    return _solve("solve_triangular", a, b, lambda a, b: _substitute(a, b, lower),
                  lambda a, b: solve_triangular(a, b, not lower), tril if lower else triu)


def _substitute(a, b, lower):
    n = a.shape[-1]
    if not np.diagonal(a, axis1=-2, axis2=-1).all():
        raise np.linalg.LinAlgError("0 on the diagonal")
    x = np.zeros((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:]))
    for i in range(n) if lower else reversed(range(n)):
        known = slice(0, i) if lower else slice(i + 1, n)
        rest = b[..., i, :] - (a[..., i, None, known] @ x[..., known, :])[..., 0, :]
        x[..., i, :] = rest / a[..., i, i, None]
    return x


@op
def lstsq(a, b, rcond=None):
    """x with the least ``|a x - b|``, and of those the one with the least ``|x|``.

    Args:
        a: (m, n).
        b: (m,) or (m, k).
        rcond: singular values below ``rcond`` times the largest count as 0; by default max(m, n) times the
            machine epsilon.

    Returns:
        (n,) or (n, k). The gradient takes the rank of ``a`` to be constant.
    """
    a, b, vector, _ = _system("lstsq", a, b, square=False)
    if a.ndim != 2 or b.ndim > 2:
        raise ValueError(f"[lstsq] a must be one matrix. Received: a.shape={a.shape}, b.shape={b.shape}")
    if vector:
        return squeeze(lstsq(a, _columns(b), rcond), -1)
    cut = max(a.shape) * _epsilon(a) if rcond is None else rcond
    y = _compute("lstsq", "a and b must be finite", lambda a, b: np.linalg.lstsq(a, b, cut)[0],
                 (a.shape[1], b.shape[1]), a, b, finite=True)

    def vjp(gy):
        p = pinv(a, cut)
        return _pinv_gradient(a, p, matmul(gy, _t(b))) if wants_grad(a) else None, matmul(_t(p), gy)

    return record(y, (a, b), vjp)


# ---- factorizations ----


@op
def cholesky(x, upper=False):
    """The lower triangular L with ``L L^T = x``, or its transpose.

    Args:
        x: (..., n, n), positive definite. Its symmetric part is taken.
        upper: give the transpose of L.

    Raises:
        ValueError: ``x`` is not positive definite, not square, or has fewer than 2 dimensions.
    """
    x = _matrix("cholesky", x, square=True)
    y = _compute("cholesky", "x must be positive definite",
                 lambda a: np.linalg.cholesky((a + np.swapaxes(a, -1, -2)) / 2), x.shape, x)

    def vjp(gy):
        # Murray, "Differentiation of the Cholesky decomposition", 2016
        inner = tril(matmul(_t(y), gy))
        inner = subtract(inner, multiply(inner, multiply(eye(x.shape[-1], dtype=x.dtype), 0.5)))
        half = solve_triangular(_t(y), inner)
        g = _t(solve_triangular(_t(y), _t(half)))
        return (multiply(add(g, _t(g)), 0.5),)

    y = record(y, (x,), vjp)
    return _t(y) if upper else y


@op
def cholesky_inverse(x, upper=False):
    """The inverse of the matrix whose Cholesky factor is ``x``.

    Args:
        x: (..., n, n), lower triangular.
        upper: whether ``x`` is upper triangular.

    Raises:
        ValueError: the diagonal has a 0, or ``x`` is not square or has fewer than 2 dimensions.
    """
    x = _matrix("cholesky_inverse", x, square=True)
    factor = _t(x) if upper else x
    one = add(multiply(ones_like(x), 0.0), eye(x.shape[-1], dtype=x.dtype))
    inverse = solve_triangular(factor, one, lower=True)
    return matmul(_t(inverse), inverse)


@op
def qr(x, mode="reduced"):
    """Q with orthonormal columns and the upper triangular R with ``Q R = x``.

    Args:
        x: (..., m, n).
        mode: "reduced": Q is (..., m, k), R (..., k, n), k = min(m, n); "complete": (..., m, m), (..., m, n).

    Raises:
        ValueError: another mode; or a gradient is asked for when m < n, or of a complete Q that is not square in x.
    """
    if mode not in ("reduced", "complete"):
        raise ValueError(f"[qr] mode must be 'reduced' or 'complete'. Received: mode={mode!r}")
    x = _matrix("qr", x)
    *batch, m, n = x.shape
    k = m if mode == "complete" else min(m, n)
    q, r = _compute("qr", "x must be finite", lambda a: np.linalg.qr(a, mode), [(*batch, m, k), (*batch, k, n)], x)
    if k != n:
        return record((q, r), (x,), _no_gradient("qr", f"for mode={mode!r} and x.shape={x.shape}"))

    def vjp(gq, gr):
        gq, gr = _or_zeros(gq, q), _or_zeros(gr, r)
        inner = subtract(matmul(r, _t(gr)), matmul(_t(gq), q))
        inner = add(tril(inner), _t(tril(inner, -1)))
        return (_t(solve_triangular(r, _t(add(gq, matmul(q, inner))))),)

    return record((q, r), (x,), vjp)


@op
def svd(x, full_matrices=True, compute_uv=True):
    """Singular values: ``x = u @ diag(s) @ vh``.

    Args:
        x: (..., m, n).
        full_matrices: u is (..., m, m) and vh (..., n, n); else (..., m, k) and (..., k, n), k = min(m, n).
        compute_uv: give (u, s, vh); else s alone.

    Returns:
        (u, s, vh) or s, (..., k), the largest first. The gradient is for singular values that differ and are
        not 0; that of s alone for all.

    Raises:
        ValueError: ``x`` has fewer than 2 dimensions or is not finite; or the gradient of a u or vh is asked
            for whose additional columns are not determined by ``x``.
    """
    x = _matrix("svd", x)
    *batch, m, n = x.shape
    k = min(m, n)
    if not compute_uv:
        s = _compute("svd", "x must be finite", lambda a: np.linalg.svd(a, compute_uv=False), (*batch, k), x, finite=True)

        def values_vjp(gs):
            u, _, vh = svd(x, False)
            return (matmul(multiply(u, expand_dims(gs, -2)), vh),)

        return record(s, (x,), values_vjp)
    rows, columns = (m, n) if full_matrices else (k, k)
    u, s, vh = _compute("svd", "x must be finite", lambda a: np.linalg.svd(a, full_matrices),
                        [(*batch, m, rows), (*batch, k), (*batch, columns, n)], x, finite=True)

    def vjp(gu, gs, gvh):
        if gu is None and gvh is None:
            first, _, last = svd(x, False) if rows != k or columns != k else (u, s, vh)
            return (matmul(multiply(first, expand_dims(gs, -2)), last),)
        if rows != k or columns != k:
            raise ValueError("[svd] u and vh have a gradient only with full_matrices=False or for square x. "
                             f"Received: x.shape={x.shape}")
        # Townsend, "Differentiating the singular value decomposition", 2016
        gu, gs, gv, v = _or_zeros(gu, u), _or_zeros(gs, s), _t(_or_zeros(gvh, vh)), _t(vh)
        across, down = expand_dims(s, -2), expand_dims(s, -1)
        f = _inverse_differences(multiply(s, s))
        pu, pv = matmul(_t(u), gu), matmul(vh, gv)
        inner = add(multiply(multiply(f, subtract(pu, _t(pu))), across),
                    multiply(multiply(f, subtract(pv, _t(pv))), down))
        inner = add(inner, multiply(eye(k, dtype=x.dtype), expand_dims(gs, -2)))
        g = matmul(matmul(u, inner), vh)
        if m > k:
            g = add(g, matmul(divide(subtract(gu, matmul(u, pu)), across), vh))
        if n > k:
            g = add(g, matmul(u, _t(divide(subtract(gv, matmul(v, pv)), across))))
        return (g,)

    return record((u, s, vh), (x,), vjp)


@op
def eigh(x):
    """Eigenvalues, the smallest first, and eigenvectors, as columns, of symmetric matrices.

    Args:
        x: (..., n, n). Its symmetric part is taken.

    Returns:
        ((..., n), (..., n, n)). The gradient is for eigenvalues that differ.

    Raises:
        ValueError: ``x`` is not square, not finite, or has fewer than 2 dimensions.
    """
    x = _matrix("eigh", x, square=True)
    w, v = _compute("eigh", "x must be finite", lambda a: np.linalg.eigh((a + np.swapaxes(a, -1, -2)) / 2),
                    [x.shape[:-1], x.shape], x)

    def vjp(gw, gv):
        inner = multiply(eye(x.shape[-1], dtype=x.dtype), expand_dims(_or_zeros(gw, w), -2))
        if gv is not None:
            inner = add(inner, multiply(_inverse_differences(w), matmul(_t(v), gv)))
        g = matmul(matmul(v, inner), _t(v))
        return (multiply(add(g, _t(g)), 0.5),)

    return record((w, v), (x,), vjp)


@op
def eig(x):
    """Eigenvalues and eigenvectors, as columns, of matrices whose eigenvalues are real.

    Args:
        x: (..., n, n).

    Returns:
        ((..., n), (..., n, n)). They have no gradient; ``eigh``, for symmetric matrices, has.

    Raises:
        ValueError: an eigenvalue is complex, there being no complex tensors; or ``x`` is not square, not
            finite, or has fewer than 2 dimensions.
    """
    x = _matrix("eig", x, square=True)

    def real(a):
        w, v = np.linalg.eig(a)
        if np.iscomplexobj(w) and (w.imag != 0).any():
            raise np.linalg.LinAlgError(f"{int((w.imag != 0).sum())} of {w.size} are complex")
        return w.real, v.real

    ys = _compute("eig", "x must be finite and have real eigenvalues", real, [x.shape[:-1], x.shape], x)
    return record(ys, (x,), _no_gradient("eig", "; use eigh for symmetric matrices"))


@op
def lu_factor(x):
    """The LU factorization with partial pivoting.

    Args:
        x: (..., m, n).

    Returns:
        lu, (..., m, n): U on and above the diagonal, L, whose diagonal is 1, below it; and pivots,
        (..., min(m, n)) int32: row i was exchanged with row pivots[i], for i = 0, 1, ... They have no gradient.
    """
    x = _matrix("lu_factor", x)
    *batch, m, n = x.shape
    k = min(m, n)

    def factor(a):
        lu = a.reshape(-1, m, n) if a.size else np.zeros((0, m, n))
        pivots = np.zeros((len(lu), k), "int32")
        for matrix, swaps in zip(lu, pivots):
            for i in range(k):
                p = swaps[i] = i + np.argmax(np.abs(matrix[i:, i]))
                matrix[[i, p]] = matrix[[p, i]]
                if matrix[i, i] != 0:
                    matrix[i + 1:, i] /= matrix[i, i]
                    matrix[i + 1:, i + 1:] -= np.outer(matrix[i + 1:, i], matrix[i, i + 1:])
        return lu.reshape(a.shape), pivots.reshape(*batch, k) if a.size else np.zeros((*batch, k), "int32")

    ys = _compute("lu_factor", "x must be finite", factor, [x.shape, (*batch, k)], x, names=[x.dtype, "int32"])
    return record(ys, (x,), _no_gradient("lu_factor", "; det, inv and solve have"))


@op
def matrix_rank(x, tol=None):
    """The number of linearly independent rows of each matrix, int32.

    Args:
        x: (..., m, n).
        tol: singular values up to ``tol`` count as 0; by default max(m, n) times the machine epsilon of ``x``
            times the largest singular value.

    Raises:
        ValueError: ``x`` has fewer than 2 dimensions or is not finite.
    """
    x = _matrix("matrix_rank", x)

    def rank(a):
        s = np.linalg.svd(a, compute_uv=False)
        cut = s.max(-1, keepdims=True, initial=0.0) * max(a.shape[-2:]) * _epsilon(x) if tol is None else tol
        return (s > cut).sum(-1)

    return _compute("matrix_rank", "x must be finite", rank, x.shape[:-2], x, names=["int32"])


def __getattr__(name):
    # `ops.linalg` also shows these two, which live elsewhere.
    if name in ("jvp", "norm"):
        from .. import ops

        return getattr(ops, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
