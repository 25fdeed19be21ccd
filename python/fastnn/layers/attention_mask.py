"""The masks of attention layers: which position of a query may look at which of the values."""
from .. import _core, ops


def causal_mask(query_length, value_length, like):
    """(1, query_length, value_length) bool: True where the value is not behind the query. `like`: a tensor of the call."""
    if like.device == "meta":
        return _core.meta((1, query_length, value_length), "bool")
    return ops.expand_dims(ops.tril(ops.ones((query_length, value_length), "bool")), 0)


def window_mask(query_length, value_length, window, like):
    """(1, query_length, value_length) bool: True where query and value are fewer than `window` positions apart."""
    if like.device == "meta":
        return _core.meta((1, query_length, value_length), "bool")
    q = ops.reshape(ops.arange(query_length), (1, query_length, 1))
    v = ops.reshape(ops.arange(value_length), (1, 1, value_length))
    return ops.less(ops.abs(ops.subtract(q, v)), window)


def merge(*masks):
    """All of the masks, which broadcast; None where all are None."""
    result = None
    for mask in masks:
        if mask is not None:
            mask = ops.cast(mask, "bool")
            result = mask if result is None else ops.logical_and(result, mask)
    return result


def attention_mask_of(query, value, query_mask, value_mask, key_mask, attention_mask, causal, window):
    """The mask (b, t, s) that padding, causality, a window and the caller's own mask make together, or None."""
    t, s = query.shape[1], value.shape[1]
    return merge(
        None if query_mask is None else ops.expand_dims(query_mask, -1),
        None if value_mask is None else ops.expand_dims(value_mask, -2),
        None if key_mask is None else ops.expand_dims(key_mask, -2),
        causal_mask(t, s, query) if causal else None,
        window_mask(t, s, window, query) if window is not None else None,
        attention_mask)
