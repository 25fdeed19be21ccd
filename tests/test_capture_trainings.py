"""Whole trainings, with what real ones combine, give the same bits replayed and eager."""
import numpy as np
import pytest

import fastnn
from fastnn import layers

RNG = np.random.default_rng(3)
X = RNG.standard_normal((22, 6)).astype("f")  # batches of 8, 8 and 6
Y = RNG.integers(0, 3, 22)
SERIES = RNG.standard_normal((22, 7, 4)).astype("f")
WORDS = RNG.integers(0, 9, (22, 6))


def states(models):
    found = []
    for m in models:
        found += [v.numpy() for v in m.variables] + [v.numpy() for v in m.optimizer.variables]
        found += [v.numpy() for metric in m.metrics for v in metric.variables]
    return found


def same_both_ways(make, train, replays=1):
    """train(model or models) after make(), eager and replayed: the same states and the same return values."""
    results = []
    for eager in (True, False):
        fastnn.utils.set_random_seed(5)
        made = make()
        models = made if isinstance(made, tuple) else (made,)
        for m in models:
            m.run_eagerly = eager
        returned = train(*models)
        results.append((states(models), returned))
        replayed = [sum(c.replayed for c in m.captured.values()) for m in models]
    assert all(n >= replays for n in replayed), [(c.name, c.reason, c.recorded) for m in models for c in m.captured.values()]
    for a, b in zip(results[0][0], results[1][0], strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(results[0][1] or (), results[1][1] or (), strict=True):
        np.testing.assert_array_equal(a, b)


def net(optimizer="adam", **compiled):
    model = fastnn.Sequential([fastnn.Input((6,)), layers.Dense(8, activation="relu"), layers.BatchNormalization(),
                               layers.Dropout(0.2), layers.Dense(3, activation="softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], **compiled)
    return model


def fit(model, epochs=5, **options):
    history = model.fit(X, Y, batch_size=8, epochs=epochs, verbose=0, **options).history
    return [np.asarray(history[k]) for k in sorted(history)]


@pytest.mark.parametrize("options", [
    {"gradient_accumulation_steps": 2}, {"gradient_accumulation_steps": 3, "clipnorm": 0.5},
    {"use_ema": True, "ema_momentum": 0.9}, {"use_ema": True, "ema_overwrite_frequency": 4, "weight_decay": 0.01},
    {"use_ema": True, "gradient_accumulation_steps": 2, "global_clipnorm": 0.3},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
def test_accumulated_gradients_and_averages_with_a_smaller_last_batch(optimizer, options):
    make = lambda: net(getattr(fastnn.optimizers, optimizer)(0.05, **options))  # noqa: E731
    same_both_ways(make, lambda m: fit(m, 12))


@pytest.mark.parametrize("weights", [
    {"sample_weight": RNG.random(22).astype("f")}, {"class_weight": {0: 1.0, 1: 3.0, 2: 0.25}},
], ids=["sample", "class"])  # fmt: skip
def test_weights_of_samples_and_classes(weights):
    same_both_ways(lambda: net(weighted_metrics=["accuracy"]), lambda m: fit(m, **weights))


def test_fit_mixed_with_single_batches_evaluation_and_prediction():
    def train(model):
        seen = []
        for k in range(5):
            seen += fit(model, 2, validation_data=(X[:9], Y[:9]))
            seen.append(np.asarray(model.train_on_batch(X[k:k + 8], Y[k:k + 8])))
            seen.append(np.asarray(model.evaluate(X, Y, batch_size=8, verbose=0)))
            seen.append(np.asarray(model.test_on_batch(X[:8], Y[:8])))
            model.predict(X, batch_size=8, verbose=0)
        return seen

    same_both_ways(net, train, replays=20)


def test_rates_that_callbacks_change_and_weights_that_they_assign():
    callbacks = fastnn.callbacks

    def train(model):
        assign = callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs=None: model.layers[0].kernel.assign(model.layers[0].kernel * 0.5)
                                          if epoch == 3 else None)
        return fit(model, 8, validation_split=0.3, callbacks=[
            callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9), assign,
            callbacks.ReduceLROnPlateau(monitor="loss", patience=1, min_delta=10.0)])

    same_both_ways(net, train, replays=8)


def test_averages_swapped_in_for_evaluation():
    make = lambda: net(fastnn.optimizers.SGD(0.1, momentum=0.9, use_ema=True, ema_momentum=0.8))  # noqa: E731
    same_both_ways(make, lambda m: fit(m, 6, validation_split=0.3, callbacks=[fastnn.callbacks.SwapEMAWeights(swap_on_epoch=True)]))


def test_early_stopping_gives_the_best_weights_back():
    stop = lambda: fastnn.callbacks.EarlyStopping(monitor="loss", patience=2, min_delta=0.02, restore_best_weights=True)  # noqa: E731
    same_both_ways(lambda: net(fastnn.optimizers.SGD(0.5)), lambda m: fit(m, 15, callbacks=[stop()]) + fit(m, 3), replays=4)


@pytest.mark.filterwarnings("ignore:The set of trainable weights")
def test_layers_frozen_between_epochs_and_fits():
    def train(model):
        def freeze(epoch, logs=None):
            model.layers[0].trainable = epoch % 4 < 2

        seen = fit(model, 12, callbacks=[fastnn.callbacks.LambdaCallback(on_epoch_begin=freeze)])
        model.layers[1].trainable = False  # a batch normalization that is frozen uses its averages
        return seen + fit(model, 4)

    same_both_ways(net, train, replays=8)


def test_lora_enabled_after_some_training():
    def train(model):
        seen = fit(model, 4)
        model.layers[0].enable_lora(2)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return seen + fit(model, 6)

    same_both_ways(net, train, replays=10)


def test_several_outputs_with_losses_and_weights_of_their_own():
    def make():
        i = fastnn.Input((6,), name="i")
        h = layers.Dense(5, activation="tanh", activity_regularizer="l2")(i)
        model = fastnn.Model(i, {"a": layers.Dense(3, activation="softmax", name="a")(h), "b": layers.Dense(1, name="b")(h)})
        model.compile("adam", {"a": "sparse_categorical_crossentropy", "b": "huber"}, loss_weights={"a": 0.3, "b": 2.0},
                      metrics={"a": ["accuracy"], "b": ["mae", "mse"]}, weighted_metrics={"b": ["mae"]})
        return model

    def train(model):
        y = {"a": Y, "b": X[:, :1]}
        history = model.fit({"i": X}, y, batch_size=8, epochs=6, verbose=0,
                            sample_weight={"a": np.linspace(0, 1, 22), "b": np.ones(22)}).history
        return [np.asarray(history[k]) for k in sorted(history)]

    same_both_ways(make, train, replays=8)


def test_two_models_train_shared_layers_by_turns():
    def make():
        shared, norm = layers.Dense(6, activation="relu"), layers.BatchNormalization()
        models = []
        for units, optimizer in ((3, "adam"), (3, "rmsprop")):
            i = fastnn.Input((6,))
            models.append(fastnn.Model(i, layers.Dense(units, activation="softmax")(norm(shared(i)))))
            models[-1].compile(optimizer, "sparse_categorical_crossentropy")
        return tuple(models)

    def train(a, b):
        for k in range(8):
            fit(a, 1)
            for _ in range(2):
                b.train_on_batch(X[:8] + k, Y[:8])
            a.predict(X[:8], verbose=0)

    same_both_ways(make, train, replays=8)


def test_masks_and_lengths_that_change():
    def make():
        model = fastnn.Sequential([layers.Embedding(9, 4, mask_zero=True), layers.LSTM(5), layers.Dense(3, activation="softmax")])
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    def train(model):
        def batches():
            for k in range(30):
                n = (6, 4, 5)[k % 3]
                yield WORDS[k % 7:k % 7 + 8, :n], Y[k % 7:k % 7 + 8]

        model.fit(batches(), epochs=1, verbose=0)

    same_both_ways(make, train, replays=10)


def test_several_steps_at_once_and_a_metric_of_the_users_own():
    class Largest(fastnn.metrics.Metric):
        def __init__(self):
            super().__init__(name="largest")
            self.value = self.add_weight(shape=(), initializer="zeros", name="value")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.value.assign(fastnn.ops.maximum(self.value, fastnn.ops.max(y_pred)))

        def result(self):
            return self.value

    def make():
        model = net(steps_per_execution=2)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=[Largest()], steps_per_execution=2)
        return model

    same_both_ways(make, fit, replays=6)


def test_a_step_and_a_loss_of_the_users_own():
    class Model(fastnn.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.drop = layers.Dense(3, activation="softmax"), layers.Dropout(0.3)

        def call(self, x, training=False):
            y = self.drop(self.dense(x), training=training)
            self.add_loss(1e-2 * fastnn.ops.mean(y * y))
            return y

        def train_step(self, data):
            x, y = data
            with fastnn.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))
            weights = self.trainable_weights
            self.optimizer.apply(tape.gradient(loss, weights), weights)
            return {"loss": loss}

    def make():
        model = Model()
        model.compile(fastnn.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
        return model

    same_both_ways(make, fit, replays=6)
