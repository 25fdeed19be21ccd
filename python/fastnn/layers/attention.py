"""Attention and AdditiveAttention: one head, over a list [query, value, key]."""
from .. import ops, random
from .attention_mask import causal_mask, merge
from .layer import Layer


class Attention(Layer):
    """softmax(scores(query, key)) value, with scores by products (Luong).

    Args:
        use_scale: bool; a trained number multiplies the scores.
        score_mode: "dot", query key^T, or "concat", w sum(tanh(scale (query + key))) with a trained number w.
        dropout: number in [0, 1), of the softmax.
        seed: int; by default drawn.

    Call arguments:
        inputs: [query (b, t, d), value (b, s, v)] or [query, value, key (b, s, d)]; the value is the key by default.
        mask: [query mask (b, t), value mask (b, s)], bool; rows outside of the query mask become 0, values outside
            of the value mask are not attended to.
        return_attention_scores: bool; also return the softmax (b, t, s).
        use_causal_mask: bool; position i attends to the positions up to i only.

    Returns:
        (b, t, v)

    Raises:
        ValueError: inputs or mask are no list of 2 or 3 entries.
    """

    def __init__(self, use_scale=False, score_mode="dot", dropout=0.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        if score_mode not in ("dot", "concat"):
            raise ValueError("[Attention] Invalid value for argument score_mode. Expected one of {'dot', 'concat'}. "
                             f"Received: score_mode={score_mode}")
        self.use_scale = use_scale
        self.score_mode = score_mode
        self.dropout = dropout
        self.seed = seed
        if dropout > 0:
            self.seed_generator = random.SeedGenerator(seed)
        self.scale = self.concat_score_weight = None

    def build(self, input_shape):
        self._check(input_shape)
        if self.use_scale:
            self.scale = self.add_weight((), "ones", name="scale")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight((), "ones", name="concat_score_weight")

    def _weight(self, variable):
        return ops.cast(variable, self.compute_dtype)

    def _calculate_scores(self, query, key):
        if self.score_mode == "dot":
            scores = ops.matmul(query, ops.swapaxes(key, -2, -1))
            return scores if self.scale is None else ops.multiply(scores, self._weight(self.scale))
        both = ops.add(ops.expand_dims(query, -2), ops.expand_dims(key, -3))
        if self.scale is not None:
            both = ops.multiply(both, self._weight(self.scale))
        return ops.multiply(ops.sum(ops.tanh(both), axis=-1), self._weight(self.concat_score_weight))

    def call(self, inputs, mask=None, training=False, return_attention_scores=False, use_causal_mask=False):
        self._check(inputs, mask)
        query, value = inputs[0], inputs[1]
        key = inputs[2] if len(inputs) > 2 else value
        query_mask, value_mask = (mask[0], mask[1]) if mask else (None, None)
        scores = self._calculate_scores(query, key)
        allowed = merge(
            None if value_mask is None else ops.expand_dims(value_mask, -2) if value_mask.ndim == 2 else value_mask,
            causal_mask(*scores.shape[-2:], scores) if use_causal_mask else None)
        if allowed is not None:
            far = 65504.0 if scores.dtype == "float16" else 1e9
            scores = ops.where(allowed, scores, ops.subtract(scores, far))
        weights = ops.softmax(scores)
        if training and self.dropout > 0:
            weights = random.dropout(weights, self.dropout, seed=self.seed_generator)
        y = ops.matmul(weights, value)
        if query_mask is not None:
            y = ops.where(ops.expand_dims(query_mask, -1), y, 0.0)
        return (y, weights) if return_attention_scores else y

    def compute_mask(self, inputs, mask=None):
        self._check(inputs, mask)
        return None if mask is None else mask[0]

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:-1], input_shape[1][-1])

    def compute_output_spec(self, inputs, mask=None, return_attention_scores=False, training=None,
                            use_causal_mask=False):
        from ..symbolic import KerasTensor

        self._check(inputs, mask)
        y = KerasTensor(self.compute_output_shape([x.shape for x in inputs]), dtype=self.compute_dtype)
        if not return_attention_scores:
            return y
        return y, KerasTensor((*inputs[0].shape[:-1], inputs[-1].shape[-2]), dtype=self.compute_dtype)

    def _check(self, inputs, mask=None):
        kind = type(self).__name__
        for name, value in (("inputs", inputs), ("mask", mask)):
            if value is None and name == "mask":
                continue
            if not isinstance(value, list):
                must = "must be called on a list of inputs, namely [query, value] or [query, value, key]"
                must = must if name == "inputs" else "mask must be a list, namely [query_mask, value_mask]"
                raise ValueError(f"[{kind}] {kind} layer {must}. Received: {name}={value!r}")
            if not 2 <= len(value) <= 3:
                raise ValueError(f"[{kind}] layer accepts {name} list of length 2 or 3, namely [query, value] or "
                                 f"[query, value, key]. Received length: {len(value)}")

    def get_config(self):
        return {**super().get_config(), "use_scale": self.use_scale, "score_mode": self.score_mode,
                "dropout": self.dropout, "seed": self.seed}


class AdditiveAttention(Attention):
    """softmax(sum(scale tanh(query + key))) value (Bahdanau). Call arguments as for `Attention`.

    Args:
        use_scale: bool; a trained vector (d,) multiplies the tanh.
        dropout: number in [0, 1), of the softmax.

    Source: Bahdanau et al. 2014.
    """

    def __init__(self, use_scale=True, dropout=0.0, **kwargs):
        super().__init__(use_scale=use_scale, dropout=dropout, **kwargs)

    def build(self, input_shape):
        self._check(input_shape)
        if self.use_scale:
            self.scale = self.add_weight((input_shape[0][-1],), "glorot_uniform", name="scale")

    def _calculate_scores(self, query, key):
        y = ops.tanh(ops.add(ops.expand_dims(query, -2), ops.expand_dims(key, -3)))
        return ops.sum(y if self.scale is None else ops.multiply(y, self._weight(self.scale)), axis=-1)

    def get_config(self):
        config = super().get_config()
        config.pop("score_mode")
        return config
