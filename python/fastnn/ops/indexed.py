"""Embedding lookups and their gradient, which names the rows that it is not zero in."""

import numpy as np

from .. import _core
from .._core import record
from ..symbolic import op
from ..tensor import as_tensor, to_numpy
from .array import reshape
from .indexing import gather, read_indices, scatter_rows
from .joining import concatenate

__all__ = ["IndexedSlices", "embedding_lookup"]


class IndexedSlices:
    """A gradient of ``shape`` that is the sum of ``values[i]`` placed at row ``indices[i]``.

    It converts to a dense tensor wherever one is needed; optimizers apply it row by row with the
    arithmetic of the dense one.

    Attributes:
        indices: (n,) int64 tensor of rows, in any order, repeated or not.
        values: (n, ...) tensor.
        shape: tuple, of the dense gradient.

    Raises:
        IndexError: an index is not in [0, shape[0]).
        ValueError: the shapes do not fit.
    """

    is_indexed_slices = True
    node = None

    def __init__(self, indices, values, shape):
        self.shape = tuple(shape)
        self.values = as_tensor(values)
        # checked here, because the sums trust them
        self.indices = read_indices("IndexedSlices", "indices", indices, self.shape[0], False)
        if self.values.shape != self.indices.shape + self.shape[1:] or self.indices.ndim != 1:
            raise ValueError("[IndexedSlices] indices must be (n,) and values (n, *shape[1:]). Received: indices.shape="
                             f"{self.indices.shape}, values.shape={self.values.shape}, shape={self.shape}")
        self._parts = None

    @property
    def dtype(self):
        """The dtype of the values."""
        return self.values.dtype

    @property
    def ndim(self):
        """The number of axes of the dense gradient."""
        return len(self.shape)

    def coalesce(self):
        """Equal rows summed, in the order of their positions.

        Returns:
            (row_slot, slot_row, count, sums): row r of the gradient is ``sums[row_slot[r]]``, or zero where
            row_slot is -1; ``slot_row[:count]`` are the rows that are not left out.
        """
        if self._parts is None:
            cols = self.values.size // max(1, self.indices.size)
            self._parts = _core.coalesce(self.indices, _core.view(self.values, (self.indices.size, cols)), self.shape[0])
        return self._parts

    def to_dense(self):
        """The gradient as a tensor of ``shape``."""
        if self.values.node is not None or self.values.dtype != "float32" or self.indices.size == 0:
            return scatter_rows(self.values, self.indices, self.shape, 0)
        row_slot, _, _, sums = self.coalesce()
        return _core.view(_core.densify(row_slot, sums), self.shape)

    def numpy(self):
        """The dense gradient as a NumPy array."""
        return to_numpy(self.to_dense())

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.numpy(), dtype=dtype)

    def _scaled(self, f, other):
        if isinstance(other, (int, float)):
            return IndexedSlices(self.indices, f(self.values, other), self.shape)
        return f(self.to_dense(), other)

    def __mul__(self, other):
        from .elementwise import multiply

        return self._scaled(multiply, other)

    __rmul__ = __mul__

    def __truediv__(self, other):
        from .elementwise import divide

        return self._scaled(divide, other)

    def __neg__(self):
        return self * -1.0

    def __add__(self, other):
        return add_sparse(self, other)

    def __radd__(self, other):
        return add_sparse(other, self)

    def __repr__(self):
        return f"<IndexedSlices shape={self.shape}, dtype={self.dtype}, rows={self.indices.size}>"


def add_sparse(a, b):
    """The sum of two gradients of which one at least is an IndexedSlices."""
    if isinstance(a, IndexedSlices) and isinstance(b, IndexedSlices):
        return IndexedSlices(concatenate([a.indices, b.indices]), concatenate([a.values, b.values]), a.shape)
    from .elementwise import add

    return add(as_tensor(a), as_tensor(b))


@op
def embedding_lookup(embeddings, ids):
    """embeddings[ids]: the rows of a table.

    Args:
        embeddings: (rows, ...) float tensor or variable.
        ids: integers of any shape and dtype; whole floats are accepted.

    Returns:
        ids.shape + embeddings.shape[1:]

    Raises:
        IndexError: an id is not in [0, rows); the message names its position.
        ValueError: an id is a fraction, NaN or infinite.
    """
    table = as_tensor(embeddings)
    ids = as_tensor(ids)
    if table.ndim < 1:
        raise ValueError(f"[embedding] embeddings must have at least 1 dimension. Received: shape={table.shape}")
    index = read_indices("embedding", "ids", ids, table.shape[0], False)
    node = table.node
    if node is None or node.vjp is not None or table.dtype != "float32":
        return gather(table, index, 0)
    # a variable itself was looked up: its gradient need not be dense
    y = _core.gather(table, index, 0)
    n, shape = index.size, table.shape

    def vjp(gy):
        return (IndexedSlices(_core.view(index, (n,)), reshape(gy, (n,) + shape[1:]), shape),)

    return record(y, (table,), vjp)
