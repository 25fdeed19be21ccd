"""InputSpec: what a layer expects of its input, checked before every call."""
from ..tensor import Tensor, standardize_shape


class InputSpec:
    """Expected dtype, rank and sizes of one input.

    Args:
        dtype: dtype name, or None.
        shape: tuple; None entries are free. Fixes the rank, too.
        ndim: int, the exact rank.
        max_ndim, min_ndim: ints, bounds of the rank.
        axes: dict from axis (negative ones allowed) to size.
        allow_last_axis_squeeze: accept inputs that lack, or have one more, last axis of size 1.
        name: name of the input, for dict inputs.
        optional: None may be passed.

    Raises:
        TypeError: `axes` is not a dict of integers.
        ValueError: an axis lies outside the rank.
    """

    def __init__(self, dtype=None, shape=None, ndim=None, max_ndim=None, min_ndim=None, axes=None,
                 allow_last_axis_squeeze=False, name=None, optional=False):
        self.dtype = None if dtype is None else str(dtype)
        self.shape = None if shape is None else standardize_shape(shape, "InputSpec", allow_none=True)
        self.ndim = len(self.shape) if shape is not None else ndim
        self.max_ndim = max_ndim
        self.min_ndim = min_ndim
        self.name = name
        self.optional = optional
        self.accepted = None  # the shape that was found good last
        self.allow_last_axis_squeeze = allow_last_axis_squeeze
        try:
            self.axes = {int(axis): size for axis, size in dict(axes or {}).items()}
        except (TypeError, ValueError):
            raise TypeError(f"[InputSpec] axes must be a dict of integers. Received: axes={axes}") from None
        rank = self.ndim if self.ndim is not None else self.max_ndim
        if self.axes and rank is not None and max(self.axes) >= rank:
            raise ValueError(f"[InputSpec] an axis must be below the rank {rank}. Received: axes={axes}")

    def __repr__(self):
        parts = [f"{key}={value}" for key, value in vars(self).items() if value and key != "accepted"]
        return f"InputSpec({', '.join(parts)})"

    def get_config(self):
        """Returns the arguments of the constructor, as a dict."""
        return {"dtype": self.dtype, "shape": self.shape, "ndim": self.ndim, "max_ndim": self.max_ndim,
                "min_ndim": self.min_ndim, "axes": self.axes, "optional": self.optional}

    @classmethod
    def from_config(cls, config):
        """Makes a spec from what `get_config` returned."""
        return cls(**config)

    def mismatch(self, shape, dtype):
        """What is wrong with an input, as "expected ..." text, or None."""
        rank = len(shape)
        if self.ndim is not None and not self.allow_last_axis_squeeze and rank != self.ndim:
            return f"expected ndim={self.ndim}, found ndim={rank}"
        if self.max_ndim is not None and rank > self.max_ndim:
            return f"expected max_ndim={self.max_ndim}, found ndim={rank}"
        if self.min_ndim is not None and rank < self.min_ndim:
            return f"expected min_ndim={self.min_ndim}, found ndim={rank}"
        if self.dtype is not None and dtype != self.dtype:
            return f"expected dtype={self.dtype}, found dtype={dtype}"
        for axis, size in self.axes.items():
            if size is not None and (axis >= rank or axis < -rank or shape[axis] not in (size, None)):
                return f"expected axis {axis} of size {size}"
        if self.shape is not None:
            spec = self.shape
            if self.allow_last_axis_squeeze:
                if spec and spec[-1] == 1:
                    spec = spec[:-1]
                if shape and shape[-1] == 1:
                    shape = shape[:-1]
                if len(spec) != len(shape):
                    return f"expected shape={self.shape}, found shape={tuple(shape)}"
            for expected, found in zip(spec, shape):
                if expected is not None and found is not None and expected != found:
                    return f"expected shape={self.shape}, found shape={tuple(shape)}"
        return None


def check_input(spec, inputs, layer):
    """Raises ValueError if `inputs` do not agree with the `input_spec` of `layer`.

    Args:
        spec: InputSpec, or a list (by position) or dict (by name) of them.
        inputs: a tensor, or a list, tuple or dict of them; anything with `shape` and `dtype`.
        layer: the layer, for its name in the message.
    """
    if type(spec) is InputSpec:
        if type(inputs) is Tensor and spec.dtype is None:
            if inputs.shape == spec.accepted:
                return
            if spec.mismatch(inputs.shape, None) is None:
                spec.accepted = inputs.shape
                return
        # One spec for a list of inputs is a layer that takes one input.
        if isinstance(inputs, (list, tuple)):
            if len(inputs) != 1:
                raise ValueError(f"[{layer.name}] expects 1 input. Received: {len(inputs)} inputs: {_shapes(inputs)}")
            inputs = inputs[0]
        pairs = ((spec, inputs),)
    elif isinstance(spec, dict):
        if not isinstance(inputs, dict):
            pairs = tuple(zip(spec.values(), inputs if isinstance(inputs, (list, tuple)) else [inputs]))
        else:
            missing = [key for key, one in spec.items() if key not in inputs and not one.optional]
            if missing:
                raise ValueError(f"[{layer.name}] is missing the inputs {missing}. Received: {list(inputs)}")
            pairs = tuple((one, inputs.get(key)) for key, one in spec.items())
    else:
        inputs = list(inputs) if isinstance(inputs, (list, tuple)) else (
            list(inputs.values()) if isinstance(inputs, dict) else [inputs])
        if len(inputs) != len(spec):
            raise ValueError(
                f"[{layer.name}] expects {len(spec)} inputs. Received: {len(inputs)} inputs: {_shapes(inputs)}")
        pairs = tuple(zip(spec, inputs))
    for index, (one, x) in enumerate(pairs):
        if one is None:
            continue
        if x is None:
            if one.optional:
                continue
            raise ValueError(f"[{layer.name}] input {index} must not be None")
        shape = getattr(x, "shape", None)
        if shape is None:
            raise ValueError(f"[{layer.name}] inputs must be tensors. Received: {x!r} (of type {type(x).__name__})")
        wrong = one.mismatch(shape, x.dtype)
        if wrong is not None:
            raise ValueError(
                f"[{layer.name}] ({type(layer).__name__}) input {index} is incompatible with the layer: {wrong}. "
                f"Received: shape={tuple(shape)}")


def _shapes(inputs):
    return [getattr(x, "shape", x) for x in (inputs.values() if isinstance(inputs, dict) else inputs)]
