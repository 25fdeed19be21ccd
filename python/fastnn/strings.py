"""Strings: what stands for a tensor of strings, of which there are none, between the input of a model and the layer that
takes it, such as StringLookup or TextVectorization."""
import numpy as np


class Strings:
    """An array of strings on its way to a layer.

    Args:
        array: NumPy array of str, bytes or objects.
    """

    dtype = "string"

    def __init__(self, array):
        self.array = array
        self.shape, self.ndim = array.shape, array.ndim

    def __getitem__(self, places):
        return Strings(self.array[places])

    def __len__(self):
        return len(self.array)

    def numpy(self):
        """The NumPy array."""
        return self.array

    def __repr__(self):
        return f"Strings(shape={self.shape})"


def are_strings(x):
    """Whether x is an array of strings, bytes, or objects that are such.

    Args:
        x: anything.
    """
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "OSU":
        return False
    return x.dtype.kind != "O" or all(isinstance(v, (str, bytes)) for v in x.ravel().tolist())
