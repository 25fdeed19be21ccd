"""Dot-product attention, composed of batched matrix products and a softmax over the last axis."""

import math

from .. import _core
from ..dtypes import result_type
from ..symbolic import op
from ..tensor import as_tensor
from .array import cast, transpose
from .creation import ones, tril
from .elementwise import add, multiply, tanh, where
from .long_tail import logical_and
from .matmul import _matmul
from .numpy_op import float_dtype
from .repetition import repeat
from .softmax import softmax

# What a masked logit is replaced by, as a part of the smallest float32: adding a bias cannot overflow it.
_MASKED = -0.7 * 3.4028235e38


def _check(query, key, value):
    shapes = f"Received: query.shape={query.shape}, key.shape={key.shape}, value.shape={value.shape}"
    if not query.ndim == key.ndim == value.ndim == 4:
        raise ValueError("[dot_product_attention] query, key and value must have 4 axes, (batch, sequence, heads, size). "
                         + shapes)
    b, _, n, h = query.shape
    if key.shape[0] != b or value.shape[0] != b or key.shape[3] != h or key.shape[1:3] != value.shape[1:3]:
        raise ValueError("[dot_product_attention] query and key must have one batch and head size, key and value one "
                         "batch, sequence and number of heads. " + shapes)
    if not key.shape[2] or n % key.shape[2]:
        raise ValueError("[dot_product_attention] the number of query heads must be a multiple of that of key and value. "
                         + shapes)


@op
def dot_product_attention(query, key, value, bias=None, mask=None, scale=None, is_causal=False, flash_attention=None,
                          attn_logits_soft_cap=None):
    """softmax(query key^T * scale + bias) value, for each head.

    Args:
        query: (b, t, n, h).
        key: (b, s, k, h), where k divides n: each head of key and value serves n / k heads of the query.
        value: (b, s, k, v).
        bias: broadcasts to (b, n, t, s); added to the scaled products.
        mask: bool, broadcasts to (b, n, t, s); False takes a product out of the softmax. A row without
            any True averages all values.
        scale: number; 1 / sqrt(h) by default.
        is_causal: position i of the query attends to the positions up to i only.
        flash_attention: accepted; there is one way to compute.
        attn_logits_soft_cap: number c; the products become c * tanh(products / c) before bias and mask.

    Returns:
        (b, t, n, v), in the common dtype; the softmax is computed in float32 at least.

    Raises:
        ValueError: ranks, batches, head sizes or numbers of heads disagree.
    """
    query, key, value = as_tensor(query), as_tensor(key), as_tensor(value)
    dtype = float_dtype(result_type(query.dtype, key.dtype, value.dtype))
    query, key, value = cast(query, dtype), cast(key, dtype), cast(value, dtype)
    _check(query, key, value)
    heads = query.shape[2]
    if key.shape[2] != heads:
        key, value = (repeat(x, heads // x.shape[2], axis=2) for x in (key, value))
    scale = 1 / math.sqrt(query.shape[3]) if scale is None else scale
    q, k, v = (transpose(x, (0, 2, 1, 3)) for x in (query, key, value))
    logits = _matmul(multiply(q, scale), k, False, True)  # scaled while it is small
    if dtype in ("float16", "bfloat16"):
        logits = cast(logits, "float32")
    if attn_logits_soft_cap is not None:
        logits = multiply(tanh(multiply(logits, 1 / attn_logits_soft_cap)), attn_logits_soft_cap)
    if bias is not None:
        logits = add(logits, as_tensor(bias, logits.dtype))
    if is_causal:
        causal = tril(ones((query.shape[1], key.shape[1]), "bool")) if query.device != "meta" else _core.meta(
            (query.shape[1], key.shape[1]), "bool")
        mask = causal if mask is None else logical_and(as_tensor(mask), causal)
    if mask is not None:
        logits = where(cast(mask, "bool"), logits, _MASKED)
    y = _matmul(cast(softmax(logits), dtype), v)
    return transpose(y, (0, 2, 1, 3))


__all__ = ["dot_product_attention"]
