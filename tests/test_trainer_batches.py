"""fit, evaluate and predict: the batches that arrays, generators and data sets give, and how many."""
import numpy as np
import pytest
from small_model import assert_equal, data, small, weights

import fastnn as keras
from fastnn import callbacks, layers, ops


def test_arrays_and_generators_give_the_same_weights():
    x, y = data()
    a, b, c, d = small(), small(), small(), small()
    a.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)

    def batches():
        for _ in range(3):
            for i in range(0, 20, 4):
                yield x[i : i + 4], y[i : i + 4]

    b.fit(batches(), epochs=3, steps_per_epoch=5, verbose=0)

    class Data(keras.utils.PyDataset):
        def __len__(self):
            return 5

        def __getitem__(self, i):
            return x[4 * i : 4 * i + 4], y[4 * i : 4 * i + 4]

    c.fit(Data(), epochs=3, shuffle=False, verbose=0)
    assert_equal(weights(a), weights(b))
    d.fit(Data(workers=2, max_queue_size=2), epochs=3, shuffle=False, verbose=0)
    for other in (b, c, d):
        assert_equal(weights(a), weights(other))


def test_the_last_smaller_batch_counts_by_its_rows():
    x, y = data(10)
    model = small(metrics=["mae"])
    loss, mae = model.evaluate(x, y, batch_size=4, verbose=0)
    whole_loss, whole_mae = model.evaluate(x, y, batch_size=10, verbose=0)
    assert abs(loss - whole_loss) < 1e-6 and abs(mae - whole_mae) < 1e-6


def test_shuffling_visits_every_row_once():
    seen = []

    class Look(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x):
            return self.dense(x)

        def train_step(self, batch):
            seen.extend(np.asarray(batch[0])[:, 0].tolist())
            return super().train_step(batch)

    x = np.arange(23, dtype="f").reshape(23, 1)
    for shuffle in (True, "batch", False):
        seen.clear()
        model = Look()
        model.compile("sgd", "mse")
        model.fit(x, x, batch_size=5, verbose=0, shuffle=shuffle)
        assert sorted(seen) == list(range(23)) and (seen == list(range(23))) == (shuffle is False)


def test_steps_per_epoch_with_arrays_goes_on_where_it_stopped():
    x, y = data(20)
    seen = []
    look = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    # 5 batches: 3, then the other 2, then from the first again.
    with pytest.warns(UserWarning, match="ran out of data"):
        small().fit(x, y, batch_size=4, steps_per_epoch=3, epochs=3, verbose=0, callbacks=[look])
    assert seen == [0, 1, 2, 0, 1, 0, 1, 2]


def test_a_py_dataset_may_tell_its_number_of_batches_as_a_property():
    x, y = data(20)

    class Source(keras.utils.PyDataset):
        end = 5

        @property
        def num_batches(self):
            return self.end

        def __getitem__(self, index):
            rows = slice(4 * (index % 5), 4 * (index % 5) + 4)
            return x[rows], y[rows]

    source = Source()
    assert len(list(source)) == 5
    a, b, c = small(), small(), small()
    b.set_weights(a.get_weights())
    c.set_weights(a.get_weights())
    a.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    b.fit(source, epochs=2, shuffle=False, verbose=0)
    source.end = None  # without end
    c.fit(source, epochs=2, steps_per_epoch=5, verbose=0)
    for u, v, w in zip(a.get_weights(), b.get_weights(), c.get_weights()):
        np.testing.assert_array_equal(u, v)
        np.testing.assert_array_equal(u, w)


def test_a_generator_that_runs_out_is_told():
    x, y = data(8)
    with pytest.warns(UserWarning, match="ran out"):
        small().fit(iter([(x, y)] * 3), steps_per_epoch=2, epochs=2, verbose=0)


def test_steps_per_execution():
    x, y = data(20)
    seen = []
    look = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    a, b = small(), small(steps_per_execution=2)
    a.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    b.fit(x, y, batch_size=4, shuffle=False, verbose=0, callbacks=[look])
    assert_equal(weights(a), weights(b))
    assert seen == [1, 3, 4]


def test_lists_of_numbers_and_tensors_as_data():
    model = small()
    x, y = data(4)
    model.fit(keras.convert_to_tensor(x), y.tolist(), verbose=0)
    assert model.predict(x.tolist(), verbose=0).shape == (4, 1)


def test_x_alone_reaches_the_step_as_it_is():
    seen = []

    class Look(keras.Model):
        def call(self, x):
            return x

        def train_step(self, data):
            seen.append(data)
            return {"loss": 0.0}

    model = Look()
    model.compile()
    model.fit(np.ones((4, 3), "f"), verbose=0)
    assert keras.ops.is_tensor(seen[0]) and seen[0].shape == (4, 3)


@pytest.mark.parametrize("steps", [None, 2])
def test_a_used_up_generator_ends_training_with_its_history(steps, capsys):
    x, y = data(8)
    source = ((x[i : i + 4], y[i : i + 4]) for i in (0, 4))
    with pytest.warns(UserWarning, match="ran out"):
        h = small().fit(source, epochs=3, steps_per_epoch=steps, verbose=2)
    assert len(h.history["loss"]) == 1
    assert capsys.readouterr().out.startswith("Epoch 1/3\n2/2 - ")


def test_missing_y_is_named():
    with pytest.raises(ValueError, match="y must be given"):
        small().fit(data()[0], verbose=0)


def test_validation_takes_a_generator_up_where_it_stopped():
    def batches():
        n = 0
        while True:
            n += 1
            yield np.full((2, 3), n, "f"), np.full((2, 1), n, "f")

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    source = batches()
    history = model.fit(batches(), steps_per_epoch=2, epochs=3, validation_data=source, validation_steps=2, verbose=0)
    assert len(history.history["val_loss"]) == 3
    assert next(source)[0][0, 0] >= 7


def test_batches_are_as_many_as_the_steps_asked_for():
    """As with Keras: without batch_size, the rows are cut into so many batches."""
    x = np.arange(50, dtype="f").reshape(50, 1)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    assert model.predict(x, steps=1, verbose=0).shape == (50, 1) == model.predict(x, steps=3, verbose=0).shape
    assert model.predict(x, steps=1, batch_size=8, verbose=0).shape == (8, 1)
    seen = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_: seen.append("train"))
    count.on_test_batch_end = lambda *_, **__: seen.append("test")
    model.fit(x, x, steps_per_epoch=4, epochs=2, validation_data=(x, x), validation_steps=3, verbose=0, callbacks=[count])
    assert seen == [*["train"] * 4, *["test"] * 3] * 2
    seen.clear()
    model.evaluate(x, x, steps=5, verbose=0, callbacks=[count])
    assert seen == ["test"] * 5
