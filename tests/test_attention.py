"""Attention: against a float64 reference, masks of every kind, and what the layers pass on."""

import numpy as np
import pytest

import fastnn as keras
from check import check_op
from fastnn import layers, ops


def reference(q, k, v, bias=0.0, mask=None, scale=None, causal=False, cap=None):
    """q (b, t, n, h), k and v (b, s, k, h) in float64."""
    k, v = (np.repeat(x, q.shape[2] // x.shape[2], axis=2) for x in (k, v))
    z = np.einsum("btnh,bsnh->bnts", q, k) * (q.shape[3] ** -0.5 if scale is None else scale)
    z = cap * np.tanh(z / cap) if cap else z
    z = z + bias
    allowed = np.ones(z.shape, bool) if mask is None else np.broadcast_to(mask, z.shape).copy()
    if causal:
        allowed &= np.tril(np.ones(z.shape[2:], bool))
    z = np.where(allowed, z, -1e30)
    p = np.exp(z - z.max(-1, keepdims=True))
    return np.einsum("bnts,bsnh->btnh", p / p.sum(-1, keepdims=True), v)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


@pytest.mark.parametrize("t, s, heads, shared, h, v, options", [
    (3, 5, 2, 2, 4, 4, {}),
    (1, 1, 1, 1, 1, 1, {}),
    (5, 5, 4, 2, 3, 3, {"causal": True}),
    (7, 9, 6, 1, 17, 5, {"scale": 0.3}),
    (4, 6, 2, 2, 8, 8, {"cap": 2.0}),
])  # fmt: skip
def test_close_to_reference(t, s, heads, shared, h, v, options):
    q, k, x = numbers(2, t, heads, h), numbers(2, s, shared, h, seed=1), numbers(2, s, shared, v, seed=2)
    named = {"causal": "is_causal", "cap": "attn_logits_soft_cap"}
    y = ops.dot_product_attention(q, k, x, **{named.get(n, n): o for n, o in options.items()})
    expected = reference(*(a.astype("float64") for a in (q, k, x)), **options)
    np.testing.assert_allclose(np.asarray(y), expected, rtol=2e-5, atol=2e-6)


def test_gradient():
    check_op(ops.dot_product_attention, reference, [(2, 3, 2, 4), (2, 5, 2, 4), (2, 5, 2, 3)], exact=False)


def test_mask_and_bias():
    q, k, v = numbers(2, 3, 2, 4), numbers(2, 5, 2, 4, seed=1), numbers(2, 5, 2, 4, seed=2)
    mask = np.random.default_rng(3).random((2, 1, 3, 5)) < 0.6
    mask[..., 0] = True
    bias = numbers(1, 2, 3, 5, seed=4)
    y = ops.dot_product_attention(q, k, v, bias=bias, mask=mask)
    np.testing.assert_allclose(np.asarray(y), reference(q, k, v, bias, mask), rtol=1e-5, atol=1e-6)
    hidden = np.zeros((2, 1, 3, 5), bool)  # nothing to see: the mean of all values, not NaN
    y = np.asarray(ops.dot_product_attention(q, k, v, mask=hidden))
    np.testing.assert_allclose(y, np.broadcast_to(v.mean(1, keepdims=True), y.shape), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("q, k, v", [
    ((2, 3, 4), (2, 3, 4), (2, 3, 4)),
    ((2, 3, 2, 4), (1, 3, 2, 4), (1, 3, 2, 4)),
    ((2, 3, 2, 4), (2, 3, 2, 5), (2, 3, 2, 5)),
    ((2, 3, 3, 4), (2, 3, 2, 4), (2, 3, 2, 4)),
    ((2, 3, 2, 4), (2, 3, 2, 4), (2, 5, 2, 4)),
])  # fmt: skip
def test_shapes_that_disagree(q, k, v):
    with pytest.raises(ValueError, match="dot_product_attention"):
        ops.dot_product_attention(numbers(*q), numbers(*k), numbers(*v))


def test_half_precision():
    q = numbers(2, 5, 2, 8)
    y = ops.dot_product_attention(*(ops.cast(q, "bfloat16"),) * 3)
    assert y.dtype == "bfloat16"
    np.testing.assert_allclose(np.asarray(ops.cast(y, "float32")), reference(q, q, q), atol=0.05)


def heads(**config):
    return layers.MultiHeadAttention(2, 3, **config)


def test_padding_is_not_attended_to():
    """Masks of an embedding reach the attention, and the query's mask goes on."""
    layer = heads()
    embed = layers.Embedding(7, 4, mask_zero=True)
    words = np.array([[3, 2, 0, 0], [1, 2, 4, 0]])
    x = embed(words)
    y = layer(x, x)
    np.testing.assert_array_equal(np.asarray(y._keras_mask), words != 0)
    short = embed(words[:, :3])
    np.testing.assert_allclose(np.asarray(layer(short, short))[0, :2], np.asarray(y)[0, :2], rtol=1e-5, atol=1e-6)
    assert layers.Identity()(y)._keras_mask is not None


def test_masks_combine():
    layer, x = heads(), numbers(2, 4, 4)
    mask = np.random.default_rng(5).random((2, 4, 4)) < 0.7
    mask[..., 0] = True
    value_mask = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool)
    both = mask & value_mask[:, None] & np.tril(np.ones((4, 4), bool))
    y = layer(x, x, attention_mask=mask, value_mask=value_mask, use_causal_mask=True)
    np.testing.assert_allclose(np.asarray(y), np.asarray(layer(x, x, attention_mask=both)), rtol=1e-6)
    _, scores = layer(x, x, attention_mask=both, return_attention_scores=True)
    assert (np.asarray(scores)[~np.broadcast_to(both[:, None], scores.shape)] == 0).all()


def test_dropout_of_the_weights():
    layer, x = heads(dropout=0.5, seed=1), numbers(2, 4, 4)
    still = np.asarray(layer(x, x))
    assert (np.asarray(layer(x, x, training=True)) != still).any()
    np.testing.assert_array_equal(np.asarray(layer(x, x)), still)


def test_names_and_config():
    """Weights are called as Keras calls them, which files rely on."""
    layer = heads(use_gate=True, name="attend", sliding_window=3)
    layer.build((None, 5, 4), (None, 6, 2))
    parts = ("query", "key", "gate", "value", "attention_output")
    names = [w.path for w in layer.weights]
    assert names == [f"attend/{p}/{w}" for p in parts for w in ("kernel", "bias")]
    again = type(layer).from_config(layer.get_config())
    again.build((None, 5, 4), (None, 6, 2))
    again.set_weights(layer.get_weights())
    q, v = numbers(2, 5, 4), numbers(2, 6, 2)
    np.testing.assert_array_equal(np.asarray(layer(q, v)), np.asarray(again(q, v)))


def test_in_a_functional_model():
    q, v = keras.Input((None, 4)), keras.Input((6, 4))
    y, scores = heads()(q, v, return_attention_scores=True)
    assert y.shape == (None, None, 4) and scores.shape == (None, 2, None, 6)
    model = keras.Model([q, v], y)
    model.compile("adam", "mse")
    history = model.fit([numbers(8, 3, 4), numbers(8, 6, 4)], numbers(8, 3, 4), epochs=2, verbose=0)
    assert history.history["loss"][1] < history.history["loss"][0]


@pytest.mark.parametrize("cls", [layers.Attention, layers.AdditiveAttention])
def test_list_attention_masks(cls):
    layer, q, v = cls(), numbers(2, 3, 4), numbers(2, 5, 4, seed=1)
    query_mask, value_mask = np.array([[1, 1, 0]] * 2, bool), np.array([[1, 1, 1, 0, 0]] * 2, bool)
    y = np.asarray(layer([q, v], mask=[query_mask, value_mask]))
    assert (y[:, 2] == 0).all()
    np.testing.assert_allclose(y[:, :2], np.asarray(layer([q, v[:, :3]]))[:, :2], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(layer.compute_mask([q, v], [query_mask, value_mask])), query_mask)
    with pytest.raises(ValueError, match="must be called on a list"):
        layer(q)


@pytest.mark.parametrize("config, word", [
    (dict(num_heads=0, key_dim=2), "num_heads"), (dict(num_heads=2, key_dim=0), "key_dim"),
    (dict(num_heads=2, key_dim=2, sliding_window=0), "sliding_window"),
    (dict(num_heads=2, key_dim=2, dropout=0.1, flash_attention=True), "flash"),
])  # fmt: skip
def test_wrong_arguments(config, word):
    with pytest.raises(ValueError, match=word):
        layers.MultiHeadAttention(**config)


def test_grouped_heads_must_divide():
    with pytest.raises(ValueError, match="num_query_heads"):
        layers.GroupQueryAttention(4, 3, 2)


def test_masks_behind_attention_are_those_of_keras():
    """MultiHeadAttention hands the query's mask on, and takes it off its inputs: a sum with them has none."""
    ids = np.array([[1, 2, 0, 0], [1, 0, 0, 0]])
    mask = ids != 0
    inputs = keras.Input((4,), dtype="int32")
    x = keras.layers.Embedding(4, 5, mask_zero=True)(inputs)
    y = keras.layers.MultiHeadAttention(2, 3)(x, x)
    alone, added = keras.Model(inputs, y), keras.Model(inputs, keras.layers.Add()([x, y]))
    target = np.random.default_rng(0).standard_normal((2, 4, 5)).astype("f")
    for model, weights in ((alone, mask / mask.mean()), (added, np.ones((2, 4)))):
        model.compile("sgd", "mse", run_eagerly=True)
        for _ in range(2):
            expected = np.mean(np.mean((model.predict(ids, verbose=0) - target) ** 2, -1) * weights)
            np.testing.assert_allclose(model.evaluate(ids, target, verbose=0), expected, rtol=1e-5)
            model.run_eagerly = False
