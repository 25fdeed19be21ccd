"""Input: where a symbolic graph starts."""

from .. import dtypes
from ..symbolic import KerasTensor
from ..tensor import standardize_shape
from ..utils.warning import warn
from .layer import Layer
from .operation import Node


class InputLayer(Layer):
    """The layer behind `Input`; its output is the symbolic tensor.

    Args:
        shape: tuple of ints and None, without the batch axis.
        batch_size: int or None.
        dtype: dtype name; floatx by default. "string" for a layer that takes strings, such as StringLookup.
        sparse, ragged: must be False or None: tensors are dense.
        batch_shape: the whole shape, instead of `shape` and `batch_size`.
        input_tensor: a KerasTensor to take shape and dtype from.
        optional: None may be passed for this input.
        name: string.

    Raises:
        ValueError: no shape, or two of them.
    """

    def __init__(self, shape=None, batch_size=None, dtype=None, sparse=None, ragged=None, batch_shape=None,
                 input_tensor=None, optional=False, name=None, **kwargs):
        if "input_shape" in kwargs:
            warn("[Input] Argument `input_shape` is deprecated. Use `shape` instead.")
            shape = kwargs.pop("input_shape")
        if "batch_input_shape" in kwargs:
            batch_shape = kwargs.pop("batch_input_shape")
        for option, value in (("sparse", sparse), ("ragged", ragged)):
            if value:
                if input_tensor is not None:
                    raise ValueError(f"[Input] with `input_tensor` you cannot provide an incompatible `{option}`. "
                                     f"Received: {option}={value}, input_tensor={input_tensor!r}")
                raise ValueError(f"[Input] `{option}=True` is not supported: tensors are dense. Received: {option}={value}")
        if batch_shape is not None:
            for option, value in (("shape", shape), ("batch_size", batch_size)):
                if value is not None:
                    raise ValueError(f"[Input] You cannot pass both `{option}` and `batch_shape`. Received: "
                                     f"{option}={value}, batch_shape={batch_shape}")
        if input_tensor is not None:
            if not isinstance(input_tensor, KerasTensor):
                raise ValueError(f"[Input] Argument `input_tensor` must be a KerasTensor. Received: {input_tensor!r}")
            for option, value, own in (
                    ("shape", shape, input_tensor.shape[1:]), ("batch_size", batch_size, input_tensor.shape[0]),
                    ("batch_shape", batch_shape, input_tensor.shape), ("dtype", dtype, input_tensor.dtype)):
                if value is not None and (tuple(value) if option.endswith("shape") else value) != own:
                    raise ValueError(f"[Input] with `input_tensor` you cannot provide an incompatible `{option}`. "
                                     f"Received: {option}={value}, input_tensor={input_tensor!r}")
            batch_shape, dtype = input_tensor.shape, input_tensor.dtype
        elif shape is None and batch_shape is None:
            raise ValueError("[Input] needs a shape: pass a `shape` argument. Received: shape=None")
        super().__init__(name=name, **kwargs)
        if batch_shape is None:
            batch_shape = (batch_size, *standardize_shape(shape, "Input", allow_none=True))
        self.batch_shape = standardize_shape(batch_shape, "Input", allow_none=True)
        self._input_dtype = "string" if dtype in ("string", str) else dtypes.standardize_dtype(dtype)
        self.sparse = self.ragged = False
        self.optional = bool(optional)
        self.built = True
        # A tensor that already belongs to a graph keeps its place there.
        own = input_tensor is not None and input_tensor.history is None
        Node(self, (), {}, input_tensor if own else KerasTensor(
            self.batch_shape, dtype=self._input_dtype, name=self.name))

    def call(self):
        """Does nothing: the tensor is there from the start."""

    @property
    def dtype(self):
        """dtype name of the input."""
        return self._input_dtype

    @property
    def input(self):
        """The symbolic tensor itself."""
        return self._inbound_nodes[0].output

    output = input

    def get_config(self):
        """Returns the arguments of the constructor, as a dict."""
        return {"batch_shape": self.batch_shape, "dtype": self.dtype, "sparse": False, "ragged": False,
                "name": self.name, "optional": self.optional}


def Input(shape=None, batch_size=None, dtype=None, sparse=None, ragged=None, batch_shape=None, name=None, tensor=None,
          optional=False):
    """A symbolic tensor to apply layers and ops to.

    Args:
        shape: tuple of ints and None (unknown sizes), without the batch axis.
        batch_size: int or None.
        dtype: dtype name; floatx by default. Data are cast to it.
        sparse, ragged: must be False or None.
        batch_shape: the whole shape, instead of `shape` and `batch_size`.
        name: string; the key of this input in dicts of data.
        tensor: a KerasTensor to take shape and dtype from.
        optional: None may be passed for this input.

    Returns:
        KerasTensor of shape (batch_size, *shape).

    Raises:
        ValueError: no shape, two of them, or a negative size.
    """
    return InputLayer(shape=shape, batch_size=batch_size, dtype=dtype, sparse=sparse, ragged=ragged,
                      batch_shape=batch_shape, input_tensor=tensor, optional=optional, name=name).output
