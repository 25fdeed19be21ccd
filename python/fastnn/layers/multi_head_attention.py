"""MultiHeadAttention and GroupedQueryAttention: projections around dot-product attention."""
import math
import string

from .. import constraints, initializers, ops, regularizers
from ..symbolic import KerasTensor
from .activation import Softmax
from .attention_mask import attention_mask_of, causal_mask, merge
from .dropout import Dropout
from .einsum_dense import EinsumDense
from .kernel_layer import check_count
from .layer import Layer


class _Heads(Layer):
    """What the two layers share: options, the projections' arguments, and the attention over given heads."""

    def _set_options(self, dropout, use_bias, sliding_window, flash_attention, kernel_initializer, bias_initializer,
                     kernel_regularizer, bias_regularizer, kernel_constraint, bias_constraint, use_gate, seed):
        kind = type(self).__name__
        if sliding_window is not None:
            sliding_window = check_count(sliding_window, "sliding_window", kind)
        from ..config import is_flash_attention_enabled

        self._flash_attention = flash_attention or is_flash_attention_enabled()
        if self._flash_attention and dropout > 0:
            raise ValueError(f"[{kind}] Dropout is not supported when flash attention is enabled. Please set dropout to "
                             f"0.0 to use flash attention. Received: dropout={dropout}")
        self.supports_masking = True
        self._options = dict(dropout=dropout, use_bias=use_bias, use_gate=use_gate, sliding_window=sliding_window,
                             seed=seed)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    dropout = property(lambda self: self._options["dropout"], doc="Number in [0, 1), of the attention weights.")
    use_bias = property(lambda self: self._options["use_bias"], doc="Whether the projections have a bias.")
    use_gate = property(lambda self: self._options["use_gate"], doc="Whether a sigmoid of the query gates the result.")
    sliding_window = property(lambda self: self._options["sliding_window"], doc="Distance from which on nothing is seen.")
    seed = property(lambda self: self._options["seed"], doc="Of the dropout.")
    query_dense = property(lambda self: self._query_dense, doc="The projection of the query.")
    key_dense = property(lambda self: self._key_dense, doc="The projection of the key.")
    value_dense = property(lambda self: self._value_dense, doc="The projection of the value.")
    output_dense = property(lambda self: self._output_dense, doc="The projection of the result.")

    def _projection(self, equation, output_shape, bias_axes, name, input_shape, activation=None):
        def again(initializer):  # each projection draws numbers of its own
            if hasattr(initializer, "get_config"):
                return type(initializer).from_config(initializer.get_config())
            return initializer

        dense = EinsumDense(
            equation, output_shape, activation=activation, bias_axes=bias_axes if self.use_bias else None,
            kernel_initializer=again(self.kernel_initializer), bias_initializer=again(self.bias_initializer),
            kernel_regularizer=self.kernel_regularizer, bias_regularizer=self.bias_regularizer,
            activity_regularizer=self.activity_regularizer, kernel_constraint=self.kernel_constraint,
            bias_constraint=self.bias_constraint, name=name,
            dtype=self.dtype_policy if self._policy_map is None else self._policy_map)
        dense._quiet_masks = True  # the mask has been used by then
        dense.build(input_shape)
        return dense

    def _add_softmax(self, axis):
        self._softmax = Softmax(axis=axis, dtype=self.dtype_policy)
        self._dropout_layer = Dropout(rate=self.dropout, dtype=self.dtype_policy, seed=self.seed)

    def _attend(self, query, key, value, mask, scale, with_scores, causal, training, equations):
        """(result, softmax or None) of projected heads (b, ..., n, h)."""
        if query.ndim == 4 and not with_scores and not (self.dropout > 0 and training):
            if mask is not None and mask.ndim == 3:
                mask = ops.expand_dims(mask, 1)
            return ops.dot_product_attention(query, key, value, mask=mask, scale=scale, is_causal=causal), None
        if self._flash_attention and with_scores:
            raise ValueError(f"[{type(self).__name__}] Returning attention scores is not supported when flash attention is "
                             "enabled. Please disable flash attention to access attention scores.")
        if causal:
            mask = merge(mask, causal_mask(query.shape[1], value.shape[1], query))
        dot, combine = equations
        scores = ops.einsum(dot, key, ops.multiply(query, scale))
        if mask is not None:
            place = scores.ndim - (mask.ndim - 1)  # of the axes that the heads and others take
            mask = ops.reshape(mask, (mask.shape[0], *(1,) * (place - 1), *mask.shape[1:]))
        scores = self._softmax(scores, mask=mask)
        weights = self._dropout_layer(scores, training=training) if self.dropout > 0 else scores
        return ops.einsum(combine, weights, value), scores

    def _run(self, query, value, key, masks, attention_mask, with_scores, training, causal):
        query_mask, value_mask, key_mask = masks
        key = value if key is None else key
        own = type(self)._compute_attention in (MultiHeadAttention._compute_attention, GroupedQueryAttention._compute_attention)
        only_causal = own and causal and not with_scores and not (self.dropout > 0 and training) and attention_mask is None and (
            self.sliding_window is None) and all(m is None for m in masks)
        mask = None if only_causal else attention_mask_of(query, value, query_mask, value_mask, key_mask, attention_mask,
                                                          causal, self.sliding_window)
        gate = self._gate_dense(query) if self.use_gate else None
        extra = {"use_causal_mask": True} if only_causal else {}  # a subclass's own attention may not know it
        y, scores = self._compute_attention(
            self._query_dense(query), self._key_dense(key), self._value_dense(value), mask, training, with_scores, **extra)
        if gate is not None:
            y = ops.multiply(y, gate)
        y = self._output_dense(y)
        return (y, scores) if with_scores else y

    def _shared_config(self):
        return {
            **self._options,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "activity_regularizer": regularizers.serialize(self.activity_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
        }


class MultiHeadAttention(_Heads):
    """Dot-product attention in several heads, between projections of the inputs.

    Args:
        num_heads: int.
        key_dim: int, size of a head of query and key.
        value_dim: int, size of a head of the value; key_dim by default.
        dropout: number in [0, 1), of the softmax.
        use_bias: bool; the projections have biases.
        output_shape: int or tuple, the last axes of the output; the last axis of the query by default.
        attention_axes: ints, the axes that are attended over; all but batch and features by default.
        sliding_window: int w; a position sees only those less than w away.
        flash_attention: accepted; there is one way to compute.
        kernel_initializer, bias_initializer: Initializer, name or function; glorot_uniform and zeros.
        kernel_regularizer, bias_regularizer, activity_regularizer: Regularizer, name or None.
        kernel_constraint, bias_constraint: Constraint, name or None.
        use_gate: bool; the heads are multiplied by a sigmoid of a projection of the query.
        seed: int, of the dropout.

    Call arguments:
        query: (b, t, d). value: (b, s, e). key: (b, s, f); the value by default.
        query_mask, value_mask, key_mask: bool, (b, t) and (b, s): padding is not attended to.
        attention_mask: bool, (b, t, s) or broadcasting to it.
        return_attention_scores: bool; also return the softmax (b, num_heads, t, s).
        use_causal_mask: bool; position i attends to the positions up to i only.

    Returns:
        (b, t, d), or (b, t, *output_shape)

    Weights:
        query, key, value: kernel (d, num_heads, size) and bias (num_heads, size); gate, if any;
        attention_output: kernel (num_heads, value_dim, d) and bias (d,).

    Source: Vaswani et al. 2017.
    """

    # Keras's files call them after its properties.
    _saved_names = {f"_{name}_dense": f"{name}_dense" for name in ("query", "key", "value", "output")}

    def __init__(self, num_heads, key_dim, value_dim=None, dropout=0.0, use_bias=True, output_shape=None,
                 attention_axes=None, sliding_window=None, flash_attention=None, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, use_gate=False, seed=None, **kwargs):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        kind = type(self).__name__
        for name, value in (("num_heads", num_heads), ("key_dim", key_dim), ("value_dim", value_dim)):
            if not (value is None and name == "value_dim") and (not hasattr(value, "__index__") or value < 1):
                raise ValueError(f"[{kind}] {name} must be a positive integer. Received: argument `{name}`={value!r}")
        self._num_heads = check_count(num_heads, "num_heads", kind)
        self._key_dim = check_count(key_dim, "key_dim", kind)
        self._value_dim = self._key_dim if value_dim is None else check_count(value_dim, "value_dim", kind)
        if output_shape is not None:
            output_shape = (output_shape,) if hasattr(output_shape, "__index__") else output_shape
            if not isinstance(output_shape, (tuple, list)):
                raise ValueError(f"[{kind}] Invalid `output_shape`: it must be a tuple, list or int. Received: {output_shape!r}")
            output_shape = tuple(check_count(n, "output_shape", kind) for n in output_shape)
        self._output_shape = output_shape
        if isinstance(attention_axes, int):
            attention_axes = (attention_axes,)
        elif attention_axes is not None and not isinstance(attention_axes, (list, tuple)):
            raise ValueError(f"[{kind}] attention_axes must be an int, list, or tuple. Received: {attention_axes!r}")
        self._attention_axes = attention_axes if attention_axes is None else tuple(attention_axes)
        self._set_options(dropout, use_bias, sliding_window, flash_attention, kernel_initializer, bias_initializer,
                          kernel_regularizer, bias_regularizer, kernel_constraint, bias_constraint, use_gate, seed)

    num_heads = property(lambda self: self._num_heads, doc="int")
    key_dim = property(lambda self: self._key_dim, doc="int, size of a head of query and key.")
    value_dim = property(lambda self: self._value_dim, doc="int, size of a head of the value.")
    attention_axes = property(lambda self: self._attention_axes, doc="The axes attended over.")

    def build(self, query_shape, value_shape, key_shape=None):
        key_shape = value_shape if key_shape is None else key_shape
        if tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
            raise ValueError("[MultiHeadAttention] All dimensions of `value` and `key`, except the last one, must be equal. "
                             f"Received: value_shape={value_shape} and key_shape={key_shape}")
        letters = string.ascii_lowercase

        def split(shape, size, name, activation=None):
            free = letters[: len(shape) - 1]
            c, n, h = letters[len(shape) - 1: len(shape) + 2]
            return self._projection(f"{free}{c},{c}{n}{h}->{free}{n}{h}",
                                    (*(None,) * (len(free) - 1), self._num_heads, size), n + h, name, shape, activation)

        self._query_dense = split(query_shape, self._key_dim, "query")
        self._key_dense = split(key_shape, self._key_dim, "key")
        if self.use_gate:
            self._gate_dense = split(query_shape, self._value_dim, "gate", "sigmoid")
        self._value_dense = split(value_shape, self._value_dim, "value")
        self._set_axes(len(value_shape) + 1)
        outputs = self._output_shape or (query_shape[-1],)
        free = letters[: len(query_shape) - 1]
        n, h, *out = letters[len(free): len(free) + 2 + len(outputs)]
        out = "".join(out)
        self._output_dense = self._projection(
            f"{free}{n}{h},{n}{h}{out}->{free}{out}", (*(None,) * (len(free) - 1), *outputs), out, "attention_output",
            (*query_shape[:-1], self._num_heads, self._value_dim))

    def _set_axes(self, rank):
        """The einsums of heads with `rank` axes (b, ..., n, h)."""
        if self._attention_axes is None:
            self._attention_axes = tuple(range(1, rank - 2))
        axes = self._attention_axes = tuple(a % (rank - 1) for a in self._attention_axes)
        q = string.ascii_lowercase[:rank]
        batch = [i for i in range(rank - 1) if i not in axes]  # with the heads
        fresh = iter(string.ascii_lowercase[rank:])
        k = "".join(next(fresh) if i in axes else q[i] for i in range(rank))
        scores = "".join(q[i] for i in batch) + "".join(q[i] for i in axes) + "".join(k[i] for i in axes)
        v = "".join(k[:-1]) + next(fresh)
        self._equations = (f"{k},{q}->{scores}", f"{scores},{v}->{q[:-1]}{v[-1]}")
        self._add_softmax(tuple(range(len(scores) - len(axes), len(scores))))

    def _compute_attention(self, query, key, value, attention_mask=None, training=None, return_attention_scores=False,
                           use_causal_mask=False):
        """Attention of projected heads; a subclass may have its own."""
        return self._attend(query, key, value, attention_mask, 1 / math.sqrt(self._key_dim), return_attention_scores,
                            use_causal_mask, training, self._equations)

    def call(self, query, value, key=None, query_mask=None, value_mask=None, key_mask=None, attention_mask=None,
             return_attention_scores=False, training=None, use_causal_mask=False):
        # Keras takes the masks off its inputs: what else the model does with them has none, `query + attention` for one.
        for x in (query, value, key):
            if getattr(x, "_keras_mask", None) is not None:
                x._keras_mask = None
        return self._run(query, value, key, (query_mask, value_mask, key_mask), attention_mask, return_attention_scores,
                         training, use_causal_mask)

    def compute_output_shape(self, query_shape, value_shape, key_shape=None):
        if key_shape is not None and tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
            raise ValueError("[MultiHeadAttention] All dimensions of `value` and `key`, except the last one, must be equal. "
                             f"Received: value_shape={value_shape} and key_shape={key_shape}")
        return (*query_shape[:-1], *(self._output_shape or (query_shape[-1],)))

    def compute_output_spec(self, query, value, key=None, query_mask=None, value_mask=None, key_mask=None,
                            attention_mask=None, return_attention_scores=False, training=None, use_causal_mask=False):
        y = KerasTensor(self.compute_output_shape(query.shape, value.shape, None if key is None else key.shape),
                        dtype=self.compute_dtype)
        if not return_attention_scores:
            return y
        axes = self._attention_axes
        rest = [n for i, n in enumerate(query.shape[:-1]) if i not in axes]
        shape = (*rest, self._num_heads, *(query.shape[a] for a in axes), *(value.shape[a] for a in axes))
        return y, KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "num_heads": self._num_heads, "key_dim": self._key_dim,
                "value_dim": self._value_dim, "output_shape": self._output_shape, "attention_axes": self._attention_axes,
                **self._shared_config()}


class GroupedQueryAttention(_Heads):
    """MultiHeadAttention in which several heads of the query share one head of key and value.

    Args:
        head_dim: int, size of all heads.
        num_query_heads: int, a multiple of num_key_value_heads.
        num_key_value_heads: int.
        others, call arguments: as for `MultiHeadAttention`.

    Returns:
        (b, t, d)

    Weights:
        query: kernel (d, num_query_heads, head_dim); key, value: kernel (e, num_key_value_heads, head_dim);
        attention_output: kernel (num_query_heads, head_dim, d); each with its bias.

    Source: Ainslie et al. 2023.
    """

    def __init__(self, head_dim, num_query_heads, num_key_value_heads, dropout=0.0, use_bias=True, sliding_window=None,
                 flash_attention=None, kernel_initializer="glorot_uniform", bias_initializer="zeros",
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 bias_constraint=None, use_gate=False, seed=None, **kwargs):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        kind = type(self).__name__
        self.head_dim = check_count(head_dim, "head_dim", kind)
        self.num_query_heads = check_count(num_query_heads, "num_query_heads", kind)
        self.num_key_value_heads = check_count(num_key_value_heads, "num_key_value_heads", kind)
        if num_query_heads % num_key_value_heads:
            raise ValueError(f"[{kind}] `num_query_heads` must be divisible by `num_key_value_heads`. Received: "
                             f"num_query_heads={num_query_heads}, num_key_value_heads={num_key_value_heads}")
        self.num_repeats = num_query_heads // num_key_value_heads
        self._set_options(dropout, use_bias, sliding_window, flash_attention, kernel_initializer, bias_initializer,
                          kernel_regularizer, bias_regularizer, kernel_constraint, bias_constraint, use_gate, seed)

    def build(self, query_shape, value_shape, key_shape=None):
        key_shape = value_shape if key_shape is None else key_shape
        query, shared = (None, self.num_query_heads, self.head_dim), (None, self.num_key_value_heads, self.head_dim)
        self._query_dense = self._projection("bqm,muh->bquh", query, "uh", "query", query_shape)
        self._key_dense = self._projection("bkm,mvh->bkvh", shared, "vh", "key", key_shape)
        if self.use_gate:
            self._gate_dense = self._projection("bqm,muh->bquh", query, "uh", "gate", query_shape, "sigmoid")
        self._value_dense = self._projection("bkm,mvh->bkvh", shared, "vh", "value", value_shape)
        self._add_softmax(-1)
        self._output_dense = self._projection("bquh,uhm->bqm", (None, query_shape[-1]), "m", "attention_output",
                                              (None, None, self.num_query_heads, self.head_dim))

    def _compute_attention(self, query, key, value, attention_mask=None, training=None, return_attention_scores=False,
                           use_causal_mask=False):
        """Attention of projected heads; a subclass may have its own."""
        if self.num_repeats > 1:
            key, value = (ops.repeat(x, self.num_repeats, axis=2) for x in (key, value))
        return self._attend(query, key, value, attention_mask, 1 / math.sqrt(self.head_dim), return_attention_scores,
                            use_causal_mask, training, ("bkuh,bquh->buqk", "buqk,bkuh->bquh"))

    def call(self, query, value, key=None, query_mask=None, value_mask=None, key_mask=None, attention_mask=None,
             return_attention_scores=False, training=None, use_causal_mask=False):
        return self._run(query, value, key, (query_mask, value_mask, key_mask), attention_mask, return_attention_scores,
                         training, use_causal_mask)

    def compute_output_shape(self, query_shape, value_shape, key_shape=None):
        if query_shape[-1] != value_shape[-1]:
            raise ValueError("[GroupedQueryAttention] The last dimension of `query_shape` and `value_shape` must be equal. "
                             f"Received: query_shape={query_shape}, value_shape={value_shape}")
        if key_shape is not None and tuple(key_shape[1:-1]) != tuple(value_shape[1:-1]):
            raise ValueError("[GroupedQueryAttention] All dimensions of `value` and `key`, except the last one, must be equal. "
                             f"Received: value_shape={value_shape}, key_shape={key_shape}")
        return tuple(query_shape)

    def compute_output_spec(self, query, value, key=None, query_mask=None, value_mask=None, key_mask=None,
                            attention_mask=None, return_attention_scores=False, training=None, use_causal_mask=False):
        y = KerasTensor(self.compute_output_shape(query.shape, value.shape), dtype=self.compute_dtype)
        if not return_attention_scores:
            return y
        return y, KerasTensor((query.shape[0], self.num_query_heads, query.shape[1], value.shape[1]),
                              dtype=self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "head_dim": self.head_dim, "num_query_heads": self.num_query_heads,
                "num_key_value_heads": self.num_key_value_heads, **self._shared_config()}


GroupQueryAttention = GroupedQueryAttention  # the name that Keras shows
