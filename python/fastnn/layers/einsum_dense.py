"""EinsumDense: a product with a kernel by Einstein's notation."""
import re

from .. import initializers, ops
from .input_spec import InputSpec
from .kernel_layer import KernelLayer
from .quantization import QuantizedKernel


class EinsumDense(QuantizedKernel, KernelLayer):
    """activation(einsum(equation, inputs, kernel) + bias).

    Args:
        equation: "[X],[Y]->[Z]": letters for the axes of input, kernel and output; input and output may
            share "..." before or after their letters. The first axis of the input is the batch.
        output_shape: the sizes of the output without the batch, int or tuple; None where the input decides.
        activation: name, function or None (linear).
        bias_axes: letters of the output that the bias has, or None, no bias.
        kernel_initializer, bias_initializer: Initializer, name or function; glorot_uniform and zeros. Fans are
            counted along the axes that are summed (in) and kept (out).
        kernel_regularizer, bias_regularizer, activity_regularizer: Regularizer, name or None.
        kernel_constraint, bias_constraint: Constraint, name or None.
        lora_rank: int; train two factors of this rank instead of the kernel (`enable_lora`).
        lora_alpha: number, scale of their product over the rank; the rank by default.
        gptq_unpacked_column_size: int, columns of the kernel of a layer that GPTQ quantized.
        quantization_config: QuantizationConfig, how a layer whose `dtype` is a quantized policy is built.

    Weights:
        kernel: the sizes of its letters; bias: those of bias_axes, 1 for letters between and behind them.

    Raises:
        ValueError: the equation has another form, or does not fit the input and output_shape.

    Example:
        EinsumDense("abc,cd->abd", output_shape=(None, 64), bias_axes="d")
    """

    def __init__(self, equation, output_shape, activation=None, bias_axes=None, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, kernel_constraint=None,
                 bias_constraint=None, lora_rank=None, lora_alpha=None, gptq_unpacked_column_size=None,
                 quantization_config=None, **kwargs):
        super().__init__(activation=activation, use_bias=bias_axes is not None, kernel_initializer=kernel_initializer,
                         bias_initializer=bias_initializer, kernel_regularizer=kernel_regularizer,
                         bias_regularizer=bias_regularizer, kernel_constraint=kernel_constraint,
                         bias_constraint=bias_constraint, lora_rank=lora_rank, lora_alpha=lora_alpha, **kwargs)
        self.equation = equation
        self.partial_output_shape = (output_shape,) if hasattr(output_shape, "__index__") else tuple(output_shape)
        self.bias_axes = bias_axes
        self._terms = _terms(equation)
        self.gptq_unpacked_column_size = gptq_unpacked_column_size
        self.quantization_config = self._quantization_argument(quantization_config)

    def build(self, input_shape):
        left, kernel, right = self._terms
        sizes, output = self._sizes(input_shape)
        self._letters = _spread(left, len(input_shape)), list(kernel), _spread(right, len(output))
        self.input_spec = InputSpec(ndim=len(input_shape))
        unknown = [c for c in kernel if sizes.get(c) is None]
        if unknown:
            raise ValueError(f"[EinsumDense] the sizes of the kernel's axes {unknown} must be known. "
                             f"Received: equation={self.equation!r}, input_shape={input_shape}")
        bias = None
        if self.use_bias:
            letters = [c for c in right if c.isalpha()]
            wrong = [c for c in self.bias_axes if c not in letters]
            if wrong:
                raise ValueError(f"[EinsumDense] bias_axes must be letters of the output. Received: bias_axes="
                                 f"{self.bias_axes!r}, equation={self.equation!r}")
            by_letter = dict(zip(right if "." not in right else _spread(right, len(output)), output))
            first = min(letters.index(c) for c in self.bias_axes)
            bias = tuple(by_letter[c] if c in self.bias_axes else 1 for c in letters[first:])
            if right.endswith("."):
                bias += (1,) * (len(output) - len(letters))
        given = self.kernel_initializer
        if isinstance(given, initializers.VarianceScaling) and (given.input_axes is None or given.output_axes is None):
            axes = {"input_axes": [i for i, c in enumerate(kernel) if c not in right],
                    "output_axes": [i for i, c in enumerate(kernel) if c in right]}
            self.kernel_initializer = type(given).from_config({**given.get_config(), "seed": given.seed, **axes})
        try:
            self._add_quantized_kernel(tuple(sizes[c] for c in kernel), bias)
        finally:
            self.kernel_initializer = given
        self._matrix = self._as_matrix(left, kernel, right)

    def _sizes(self, input_shape):
        """{letter: size}, and the shape of the output."""
        left, kernel, right = self._terms
        input_shape = tuple(input_shape)
        letters = _spread(left, len(input_shape))
        hidden = len(input_shape) - sum(c.isalpha() for c in left)
        if hidden < 0 or (hidden and "." not in left):
            raise ValueError("[EinsumDense] the input must have one axis for each letter of its term. "
                             f"Received: equation={self.equation!r}, input_shape={input_shape}")
        sizes = dict(zip(letters, input_shape))
        out = _spread(right, hidden + sum(c.isalpha() for c in right))
        given = [*self.partial_output_shape] if len(out) > 1 else []  # of the batch no size is given
        if out and out[0] in sizes:
            given.insert(0, sizes[out[0]])  # the batch
        if hidden:  # sizes behind "..." are not given
            if right.startswith("."):
                given[1:1] = input_shape[1:hidden]
            else:
                given += input_shape[len(input_shape) - hidden:]
        if len(given) != len(out):
            raise ValueError("[EinsumDense] output_shape must have one size for each letter of the output but the batch. "
                             f"Received: output_shape={self.partial_output_shape}, equation={self.equation!r}")
        for i, c in enumerate(out):
            if c in sizes:
                if given[i] is not None and sizes[c] is not None and given[i] != sizes[c]:
                    raise ValueError("[EinsumDense] input and output must have one size at the axis they share, "
                                     f"{c!r}. Received: input_shape={input_shape}, output_shape={self.partial_output_shape}")
                given[i] = sizes[c] if given[i] is None else given[i]
            elif isinstance(c, str) and c not in kernel:
                raise ValueError(f"[EinsumDense] each letter of the output must be in a term. Received: {self.equation!r}")
        return {**dict(zip(out, given)), **{c: n for c, n in sizes.items() if n is not None}}, tuple(given)

    @staticmethod
    def _as_matrix(left, kernel, right):
        """How many axes are summed, where the einsum is a product with the kernel as a matrix, else None."""
        for k in range(1, len(kernel) + 1):
            lead, tail = left[:-k], kernel[k:]
            if lead and left.endswith(kernel[:k]) and right == lead + tail and not set(tail) & set(left):
                return k
        return None

    def call(self, inputs, training=None):
        if self._dtype_policy.quantization_mode is not None:
            return self.quantized_call(inputs, training=training)
        kernel, bias = self._kernel_and_bias()
        k = self._matrix
        if k is not None and (bias is None or bias.shape == kernel.shape[k:]):
            inner = 1
            for n in kernel.shape[:k]:
                inner *= n
            lead = inputs.shape[: inputs.ndim - k]
            x = inputs if k == 1 else ops.reshape(inputs, (*lead, inner))
            w = kernel if k == 1 and kernel.ndim == 2 else ops.reshape(kernel, (inner, -1))
            b = bias if bias is None or bias.ndim == 1 else ops.reshape(bias, (-1,))
            y = self._activate(lambda fused: ops.dense(x, w, b, fused)) if kernel.ndim > k else None
            if y is not None:
                return y if kernel.ndim == k + 1 else ops.reshape(y, (*lead, *kernel.shape[k:]))
        y = ops.einsum(self.equation, inputs, kernel)
        if bias is not None:
            y = ops.add(y, bias)
        return self.activation(y)

    def compute_output_shape(self, input_shape):
        return self._sizes(input_shape)[1]

    # ---- quantization; scales of kernels lie along the output, with size 1 where the kernel has no axis

    _zero_name = "zero_point"

    def quantize(self, mode=None, type_check=True, config=None):
        self._quantize_kernel(mode, type_check, config, EinsumDense)

    def _product(self, inputs, kernel):
        return ops.einsum(self.equation, inputs, kernel)

    def _product_vjp(self, gy, kernel):
        left, _, right = self.equation.replace(",", "->").split("->")
        return ops.einsum(f"{right},{self._terms[1]}->{left}", gy, kernel)

    def _matrix_shape(self, kernel_shape):
        reduced, rows, columns = self._kernel_axes(), 1, 1
        for i, n in enumerate(kernel_shape):
            rows, columns = (rows * n, columns) if i in reduced else (rows, columns * n)
        return rows, columns

    def _calibrated_shape(self, kernel_shape):
        # As Keras decides it: the largest axis is the model's, alone on one side.
        if len(kernel_shape) == 2:
            return kernel_shape
        if len(kernel_shape) != 3:
            raise ValueError(f"[EinsumDense] GPTQ and AWQ take kernels with 2 or 3 axes. Received: kernel_shape={kernel_shape}")
        a, b, c = kernel_shape
        return (a, b * c) if a == max(kernel_shape) else (a * b, c)

    def _kept_block_size(self, block_size):
        return None if block_size == -1 else block_size

    def _input_axes(self):
        return tuple(i for i, c in enumerate(self._letters[0]) if c not in self._letters[2])

    def _kernel_axes(self):
        return tuple(i for i, c in enumerate(self._letters[1]) if c not in self._letters[2])

    def _scale_from_kernel(self, scale):
        return _along(scale, self._letters[1], self._letters[2])

    def _scale_to_kernel(self, scale):
        return _along(scale, self._letters[2], self._letters[1])

    def _scale_from_input(self, scale):
        return _along(scale, self._letters[0], self._letters[2])

    def get_config(self):
        config = super().get_config()
        config.pop("use_bias")
        if self.gptq_unpacked_column_size:
            config["gptq_unpacked_column_size"] = self.gptq_unpacked_column_size
        return {**config, "equation": self.equation, "output_shape": self.partial_output_shape,
                "bias_axes": self.bias_axes, **self._quantization_entry()}


def _terms(equation):
    """The letters of input, kernel and output; "..." as one dot."""
    if not isinstance(equation, str):
        raise TypeError(f"[EinsumDense] equation must be a string. Received: equation={equation!r}")
    match = re.fullmatch(r"(\.?[a-zA-Z]+\.?),([a-zA-Z]+)->(\.?[a-zA-Z]+\.?)", equation.replace("...", "."))
    left, kernel, right = match.groups() if match else ("", "", "")
    if not match or "." in left[1:-1] or (left[0] == ".", left[-1] == ".") != (right[0] == ".", right[-1] == ".") or (
            left[0] == "." == left[-1]):
        raise ValueError(f"[EinsumDense] Invalid einsum equation '{equation}'. Equations must be in the form "
                         "[X],[Y]->[Z], ...[X],[Y]->...[Z], or [X]...,[Y]->[Z]....")
    return left, kernel, right


def _spread(term, ndim):
    """The letters of a term, with as many numbers in place of its dot as it takes to have ndim."""
    letters = [c for c in term if c.isalpha()]
    hidden = list(range(ndim - len(letters)))
    return hidden + letters if term.startswith(".") else letters + hidden


def _along(scale, letters, wanted):
    """A tensor whose axes are called `letters`, with size 1 in those not wanted, with the axes `wanted`."""
    kept = [c for c in letters if c in wanted]
    sizes = dict(zip(letters, scale.shape))
    x = ops.reshape(scale, [sizes[c] for c in kept])
    order = [kept.index(c) for c in wanted if c in kept]
    x = ops.transpose(x, order) if order != sorted(order) else x
    return ops.reshape(x, [sizes.get(c, 1) for c in wanted])
