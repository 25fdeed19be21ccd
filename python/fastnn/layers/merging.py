"""Layers that make one tensor of several, and the same as functions."""
from .. import ops
from .layer import Layer


def _check_masks(layer, inputs, mask):
    """ValueError unless inputs and mask are lists of one length."""
    for name, value in (("mask", mask), ("inputs", inputs)):
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"[{layer.name}] `{name}` should be a list. Received: {name}={value!r}")
    if len(mask) != len(inputs):
        raise ValueError(f"[{layer.name}] `inputs` and `mask` should have the same length. "
                         f"Received: {len(inputs)} and {len(mask)}")


def _check_list(layer, inputs, least=1):
    if not isinstance(inputs, (list, tuple)) or len(inputs) < least:
        raise ValueError(f"[{layer.name}] a merge layer must be called on a list of at least {least} inputs. "
                         f"Received: {inputs!r}")


class _Merge(Layer):
    """Base: inputs of equal shapes, or that broadcast within each sample, are combined by `_merge`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def _merge(self, xs):
        result = xs[0]
        for x in xs[1:]:
            result = self._pair(result, x)
        return result

    def build(self, input_shape):
        if not isinstance(input_shape, (list, tuple)) or not input_shape or not isinstance(
                input_shape[0], (list, tuple)):
            raise ValueError(f"[{self.name}] a merge layer must be called on a list of at least 1 input. "
                             f"Received: input_shape={input_shape}")
        batches = {s[0] for s in input_shape if s and s[0] is not None}
        if len(batches) > 1:
            raise ValueError(f"[{self.name}] all inputs must have the same batch size. "
                             f"Received: shapes {[tuple(s) for s in input_shape]}")
        sizes = [()] if not input_shape else [tuple(s[1:]) for s in input_shape]
        merged = sizes[0]
        for s in sizes[1:]:
            merged = self._broadcast(merged, s, sizes)

    def _broadcast(self, a, b, shapes):
        if len(a) < len(b):
            a, b = b, a
        result = list(a[: len(a) - len(b)])
        for m, n in zip(a[len(a) - len(b):], b):
            if None not in (m, n) and m != n and 1 not in (m, n):
                raise ValueError(f"[{self.name}] inputs have incompatible shapes: without the batch they must be equal "
                                 f"or broadcast. Received: {shapes}")
            result.append(n if m == 1 else m)
        return tuple(result)

    def call(self, inputs):
        _check_list(self, inputs)
        # a sample with fewer axes is repeated along the first ones of the others
        rank = max(x.ndim for x in inputs)
        return self._merge([ops.expand_dims(x, list(range(1, 1 + rank - x.ndim))) if x.ndim < rank else x
                            for x in inputs])

    def compute_mask(self, inputs, mask=None):
        if mask is None:
            return None
        _check_masks(self, inputs, mask)
        if any(m is None for m in mask):
            return None
        result = mask[0]
        for m in mask[1:]:
            result = ops.logical_or(result, m)
        return result


class Add(_Merge):
    """The sum of its inputs, elementwise."""

    def _pair(self, a, b):
        return ops.add(a, b)


class Subtract(_Merge):
    """The first of its two inputs less the second, elementwise."""

    def build(self, input_shape):
        super().build(input_shape)
        if len(input_shape) != 2:
            raise ValueError(f"[{self.name}] a Subtract layer should be called on exactly 2 inputs. "
                             f"Received: {len(input_shape)}")

    def _merge(self, xs):
        if len(xs) != 2:
            raise ValueError(f"[{self.name}] a Subtract layer should be called on exactly 2 inputs. Received: {len(xs)}")
        return ops.subtract(*xs)


class Multiply(_Merge):
    """The product of its inputs, elementwise. A masked step of one input does not change the product;
    where every input is masked it is 0.
    """

    def call(self, inputs):
        _check_list(self, inputs)
        masks = [getattr(x, "_keras_mask", None) for x in inputs]
        if all(m is None for m in masks):
            return super().call(inputs)
        wide = [None if m is None else ops.broadcast_to(ops.expand_dims(m, -1), x.shape) for m, x in zip(masks, inputs)]
        result = super().call([x if m is None else ops.where(m, x, 1.0) for m, x in zip(wide, inputs)])
        if any(m is None for m in wide):
            return result
        seen = wide[0]
        for m in wide[1:]:
            seen = ops.logical_or(seen, m)
        return ops.where(seen, result, 0.0)

    def _pair(self, a, b):
        return ops.multiply(a, b)


class Average(_Merge):
    """The mean of its inputs, elementwise."""

    def _merge(self, xs):
        total = xs[0]
        for x in xs[1:]:
            total = ops.add(total, x)
        return ops.divide(total, len(xs))


class _Extreme(_Merge):
    """Base of Maximum and Minimum: masked steps of an input do not count."""

    def call(self, inputs):
        _check_list(self, inputs)
        masks = [getattr(x, "_keras_mask", None) for x in inputs]
        if all(m is None for m in masks):
            return super().call(inputs)
        result = seen = None
        for i, (x, mask) in enumerate(zip(inputs, masks)):
            wide = None if mask is None else ops.broadcast_to(ops.expand_dims(mask, -1), x.shape)
            if i == 0:
                result, seen = x, wide
                continue
            x = x if wide is None else ops.where(wide, x, result)
            result = result if seen is None else ops.where(seen, result, x)
            seen = ops.logical_or(seen, wide) if seen is not None and wide is not None else None
            result = self._pair(result, x)
        return result


class Maximum(_Extreme):
    """The largest of its inputs, elementwise."""

    def _pair(self, a, b):
        return ops.maximum(a, b)


class Minimum(_Extreme):
    """The smallest of its inputs, elementwise."""

    def _pair(self, a, b):
        return ops.minimum(a, b)


class Concatenate(_Merge):
    """Its inputs one after the other along an axis; the other sizes must agree.

    Args:
        axis: int, the batch counted.
    """

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis

    def build(self, input_shape):
        shapes = [tuple(s) if isinstance(s, (list, tuple)) else None for s in input_shape]
        if not shapes or None in shapes:
            raise ValueError(f"[{self.name}] a Concatenate layer must be called on a list of at least 1 input. "
                             f"Received: input_shape={input_shape}")
        rank = len(shapes[0])
        if any(len(s) != rank for s in shapes) or not -rank <= self.axis < rank:
            raise ValueError(f"[{self.name}] all inputs must have the same number of axes, axis among them. "
                             f"Received: axis={self.axis}, shapes {shapes}")
        for a in range(rank):
            sizes = {s[a] for s in shapes if s[a] is not None}
            if a != self.axis % rank and len(sizes) > 1:
                raise ValueError(f"[{self.name}] a Concatenate layer requires inputs with matching shapes except for the concatenation axis {self.axis}. "
                                 f"Received: shapes {shapes}")

    def call(self, inputs):
        _check_list(self, inputs)
        return ops.concatenate(inputs, axis=self.axis)

    def compute_mask(self, inputs, mask=None):
        if mask is None:
            return None
        _check_masks(self, inputs, mask)
        if all(m is None for m in mask):
            return None
        masks = []
        for x, m in zip(inputs, mask):
            if m is None:
                m = ops.ones_like(x, dtype="bool")
            elif len(m.shape) < len(x.shape):
                m = ops.logical_or(ops.expand_dims(m, -1), ops.zeros_like(x, dtype="bool"))
            masks.append(m)
        return ops.any(ops.concatenate(masks, axis=self.axis), axis=-1)

    def get_config(self):
        return {**super().get_config(), "axis": self.axis}


class Dot(_Merge):
    """The products of two inputs, sample by sample, summed over one axis of each.

    Args:
        axes: int or (int, int), the axis of each input; not the batch.
        normalize: bool; scale both to length 1 along that axis first: the cosine of their angle.

    Input: (n, ...), (n, ...). Output: (n, axes left of the first, axes left of the second), or (n, 1).
    """

    def __init__(self, axes, normalize=False, **kwargs):
        super().__init__(**kwargs)
        ok = isinstance(axes, int) or (
            isinstance(axes, (list, tuple)) and len(axes) == 2 and all(isinstance(a, int) for a in axes))
        if not ok:
            raise TypeError(f"[Dot] axes must be an integer or two integers. Received: axes={axes!r}")
        self.axes = axes
        self.normalize = normalize

    def _pair_of_axes(self, ranks):
        axes = (self.axes, self.axes) if isinstance(self.axes, int) else tuple(self.axes)
        result = []
        for a, rank in zip(axes, ranks):
            if not -rank <= a < rank or a % rank == 0:
                raise ValueError(f"[{self.name}] axes must name an axis of each input other than the batch. "
                                 f"Received: axes={self.axes}, ranks {ranks}")
            result.append(a % rank)
        return result

    def build(self, input_shape):
        if not isinstance(input_shape, (list, tuple)) or len(input_shape) != 2 or not isinstance(
                input_shape[0], (list, tuple)):
            raise ValueError(f"[{self.name}] a Dot layer must be called on a list of 2 inputs. "
                             f"Received: input_shape={input_shape}")
        a, b = self._pair_of_axes([len(s) for s in input_shape])
        m, n = input_shape[0][a], input_shape[1][b]
        if None not in (m, n) and m != n:
            raise ValueError(f"[{self.name}] the sizes along axes must be equal. Received: axes={self.axes}, "
                             f"shapes {[tuple(s) for s in input_shape]}")

    def call(self, inputs):
        _check_list(self, inputs, 2)
        x, y = inputs
        a, b = self._pair_of_axes([x.ndim, y.ndim])
        x, y = ops.moveaxis(x, a, -1), ops.moveaxis(y, b, 1)
        if self.normalize:
            x, y = _unit(x, -1), _unit(y, 1)
        left, right, k = x.shape[1:-1], y.shape[2:], x.shape[-1]
        batch = x.shape[0]
        m, n = _size(left), _size(right)
        product = ops.matmul(ops.reshape(x, (batch, m, k)), ops.reshape(y, (batch, k, n)))
        return ops.reshape(product, (batch, *((*left, *right) or (1,))))

    def compute_mask(self, inputs, mask=None):
        return None

    def get_config(self):
        return {**super().get_config(), "axes": self.axes, "normalize": self.normalize}


def _size(shape):
    n = 1
    for s in shape:
        n *= s
    return n


def _unit(x, axis):
    square = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return ops.multiply(x, ops.rsqrt(ops.maximum(square, 1e-12)))


def add(inputs, **kwargs):
    """The sum of a list of tensors: `Add`.

    Args:
        inputs: list of tensors; all broadcast to one shape.
        kwargs: arguments of the layer, such as `name`.
    """
    return Add(**kwargs)(inputs)


def subtract(inputs, **kwargs):
    """The first of two tensors less the second: `Subtract`.

    Args:
        inputs: list of two tensors.
        kwargs: arguments of the layer, such as `name`.
    """
    return Subtract(**kwargs)(inputs)


def multiply(inputs, **kwargs):
    """The product of a list of tensors: `Multiply`.

    Args:
        inputs: list of tensors; all broadcast to one shape.
        kwargs: arguments of the layer, such as `name`.
    """
    return Multiply(**kwargs)(inputs)


def average(inputs, **kwargs):
    """The mean of a list of tensors: `Average`.

    Args:
        inputs: list of tensors; all broadcast to one shape.
        kwargs: arguments of the layer, such as `name`.
    """
    return Average(**kwargs)(inputs)


def maximum(inputs, **kwargs):
    """The largest of a list of tensors, elementwise: `Maximum`.

    Args:
        inputs: list of tensors; all broadcast to one shape.
        kwargs: arguments of the layer, such as `name`.
    """
    return Maximum(**kwargs)(inputs)


def minimum(inputs, **kwargs):
    """The smallest of a list of tensors, elementwise: `Minimum`.

    Args:
        inputs: list of tensors; all broadcast to one shape.
        kwargs: arguments of the layer, such as `name`.
    """
    return Minimum(**kwargs)(inputs)


def concatenate(inputs, axis=-1, **kwargs):
    """A list of tensors one after the other along an axis: `Concatenate`.

    Args:
        inputs: list of tensors of equal sizes but along `axis`.
        axis: int.
        kwargs: arguments of the layer, such as `name`.
    """
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs, axes=-1, **kwargs):
    """The products of two tensors, sample by sample: `Dot`.

    Args:
        inputs: list of two tensors.
        axes: int, or two of them: the axes that are summed over.
        kwargs: arguments of the layer: `normalize`, `name`.
    """
    return Dot(axes=axes, **kwargs)(inputs)
