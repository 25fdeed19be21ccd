"""StatelessScope: what changes inside is known, and gone outside."""
import numpy as np
import pytest

import fastnn as keras

X = np.random.default_rng(0).standard_normal((16, 3)).astype("f")


def values(weights):
    return [np.array(w.numpy()) for w in weights]


@pytest.mark.parametrize("calls_before", [0, 4])  # a call that is replayed leaves nothing behind, either
def test_a_call_changes_nothing_and_its_updates_are_known(calls_before):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)])
    for _ in range(calls_before):
        model(X, training=True)
    dense, norm = model.layers[:2]
    seed = model.layers[2].seed_generator.state
    before = values([*model.weights, seed])
    zeros = [(w, np.zeros(w.shape, "f")) for w in dense.weights]
    with keras.StatelessScope(zeros) as scope:
        y = model(X, training=True)
        assert not np.any(dense.kernel.numpy()) and not np.any(scope.get_current_value(dense.kernel))
        assert scope.get_current_value(norm.gamma) is None
    np.testing.assert_array_equal(np.asarray(y), 0)
    for a, b in zip(values([*model.weights, seed]), before):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(scope.get_current_value(norm.moving_variance), 0.99 * before[5], rtol=1e-6)
    assert scope.get_current_value(norm.gamma) is None and not np.any(scope.get_current_value(dense.kernel))
    assert not np.array_equal(scope.get_current_value(seed), before[-1])


def test_a_training_step_and_updates_by_hand():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.train_on_batch(X, X[:, :1])
    before = values([*model.weights, *model.optimizer.variables])
    with keras.StatelessScope() as scope:
        model.train_on_batch(X, X[:, :1])
    for a, b in zip(values([*model.weights, *model.optimizer.variables]), before):
        np.testing.assert_array_equal(a, b)
    new = scope.get_current_value(model.weights[0])
    model.train_on_batch(X, X[:, :1])
    np.testing.assert_array_equal(new, model.weights[0].numpy())
    v = keras.Variable(1.0)
    with keras.StatelessScope() as scope:
        scope.add_update((v, 3.0))
        assert float(v.value) == 3 == float(scope.get_current_value(v))
        with pytest.raises(ZeroDivisionError), keras.StatelessScope([(v, 5.0)]):
            v.assign_add(1.0)
            raise ZeroDivisionError
        assert float(v.value) == 3
    assert float(v.value) == 1 and float(scope.get_current_value(v)) == 3


def test_losses_and_wrong_mappings():
    class Adds(keras.layers.Layer):
        def call(self, x):
            self.add_loss(keras.ops.sum(x))
            return x

    for collects in (True, False):
        with keras.StatelessScope(collect_losses=collects) as scope:
            Adds()(X)
        assert len(scope.losses) == collects
    with pytest.raises(ValueError, match="must be Variables"):
        keras.StatelessScope([(3, 4)])
    with pytest.raises(ValueError, match="must have the shape"):
        keras.StatelessScope([(keras.Variable(1.0), np.zeros(3))])
