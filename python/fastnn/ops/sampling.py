"""Values of a grid at places between its points."""

import itertools

import numpy as np

from ..tensor import from_numpy
from .array import cast, expand_dims
from .elementwise import abs, add, clip, floor, greater_equal, less, multiply, round, subtract, where
from .indexing import take
from .long_tail import logical_and, mod

_MODES = ("constant", "nearest", "wrap", "mirror", "reflect")


def check_mode(name, fill_mode):
    """ValueError unless there is such a way to fill what lies outside."""
    if fill_mode not in _MODES:
        raise ValueError(f"[{name}] Invalid value for argument `fill_mode`. Expected of one {_MODES}. "
                         f"Received: fill_mode={fill_mode}")


def check_interpolation(name, interpolation):
    """ValueError unless it is "nearest" or "bilinear"."""
    if interpolation not in ("nearest", "bilinear"):
        raise ValueError(f"[{name}] Invalid value for argument `interpolation`. Expected of one ('nearest', 'bilinear'). "
                         f"Received: interpolation={interpolation}")


def _mirror(index, size):
    last = size - 1
    return abs(subtract(mod(add(index, last), 2 * last), last)) if last else multiply(index, 0.0)


def _inside(index, size, mode):
    """A whole number for an axis, brought into [0, size), and where it was inside before (None: it does not matter)."""
    if mode == "constant":
        return clip(index, 0.0, size - 1.0), logical_and(greater_equal(index, 0.0), less(index, float(size)))
    if mode == "nearest":
        return clip(index, 0.0, size - 1.0), None
    if mode == "wrap":
        return mod(index, float(size)), None
    if mode == "mirror":
        return _mirror(index, size), None
    return floor(multiply(subtract(_mirror(add(multiply(index, 2.0), 1.0), 2 * size + 1), 1.0), 0.5)), None


def sample(table, sizes, places, offset, order, mode, value):
    """The values of a grid at places.

    Args:
        table: (rows,) or (rows, c): the grid's values in row-major order, several grids behind one another.
        sizes: of the grid's axes.
        places: for each axis a float tensor, all of one shape.
        offset: int tensor that broadcasts to it, the first row of the grid that each place is in; None for one grid.
        order: 0 or 1. mode, value: what lies outside.

    Returns:
        Of the shape of the places, and (c).
    """
    axes = []
    for place, size in zip(places, sizes):
        place = cast(place, "float32")
        if order == 0:  # halves go away from zero
            corners = [(where(less(place, 0.0), round(subtract(place, 1e-6)), floor(add(place, 0.5))), None)]
        else:
            low = floor(place)
            part = subtract(place, low)
            corners = [(low, subtract(1.0, part)), (add(low, 1.0), part)]
        axes.append([(*_inside(index, size, mode), weight) for index, weight in corners])
    strides = np.cumprod([1, *sizes[:0:-1]])[::-1]
    wide = table.ndim == 2
    result = None
    for corner in itertools.product(*axes):
        row, inside, weight = offset, None, None
        for (index, within, part), stride in zip(corner, strides):
            step = multiply(cast(index, "int32"), from_numpy(np.int32(stride)))
            row = step if row is None else add(row, step)
            inside = within if inside is None else logical_and(inside, within)
            if part is not None:
                weight = part if weight is None else multiply(weight, part)
        y = take(table, row, axis=0)
        if inside is not None:
            y = where(expand_dims(inside, -1) if wide else inside, y, float(value))
        if weight is not None:
            weight = cast(weight, y.dtype)
            y = multiply(y, expand_dims(weight, -1) if wide else weight)
        result = y if result is None else add(result, y)
    return result
