"""Windows of time series, data sets split in two, and what surrounds training data."""
import numpy as np
import pytest

import fastnn as keras
from fastnn import utils

SERIES = np.arange(20)


def gathered(dataset):
    """The batches of a data set joined; a list of one array or two."""
    batches = [b if isinstance(b, tuple) else (b,) for b in dataset]
    return [np.concatenate(parts) for parts in zip(*batches)]


def test_windows_and_their_targets():
    data = utils.timeseries_dataset_from_array(SERIES, SERIES + 100, 3, batch_size=4)
    assert isinstance(data, utils.PyDataset) and len(data) == 5
    assert [len(x) for x, _ in data] == [4, 4, 4, 4, 2]
    x, y = gathered(data)
    np.testing.assert_array_equal(x, SERIES[:18, None] + np.arange(3))
    np.testing.assert_array_equal(y, np.arange(100, 118))


# Numbers of windows, first and last window are those of Keras.
@pytest.mark.parametrize("options, count, first, last", [
    ({"sequence_length": 4}, 17, [0, 1, 2, 3], [16, 17, 18, 19]),
    ({"sequence_length": 4, "sequence_stride": 3}, 6, [0, 1, 2, 3], [15, 16, 17, 18]),
    ({"sequence_length": 4, "sampling_rate": 2}, 14, [0, 2, 4, 6], [13, 15, 17, 19]),
    ({"sequence_length": 3, "sampling_rate": 2, "sequence_stride": 2, "start_index": 3, "end_index": 15}, 4,
     [3, 5, 7], [9, 11, 13]),
    ({"sequence_length": 20}, 1, list(range(20)), list(range(20))),
])
def test_options(options, count, first, last):
    (x,) = gathered(utils.timeseries_dataset_from_array(SERIES, None, **options))
    assert len(x) == count and x[0].tolist() == first and x[-1].tolist() == last


def test_targets_limit_the_windows():
    x, y = gathered(utils.timeseries_dataset_from_array(SERIES, np.arange(5), 3))
    assert len(x) == len(y) == 5
    x, y = gathered(utils.timeseries_dataset_from_array(SERIES, SERIES, 3, start_index=4))
    np.testing.assert_array_equal(x[:, 0], y)


def test_series_of_vectors_and_single_windows():
    data = np.random.default_rng(0).normal(size=(20, 2))
    windows = utils.timeseries_dataset_from_array(data, None, 5, batch_size=None)
    assert len(windows) == 16 and windows[0].shape == (5, 2)
    np.testing.assert_array_equal(windows[-1], data[15:])
    with pytest.raises(IndexError):
        windows[16]


def test_shuffled_windows():
    make = lambda seed: utils.timeseries_dataset_from_array(SERIES, SERIES, 3, shuffle=True, seed=seed, batch_size=5)
    data = make(1)
    x, y = gathered(data)
    assert sorted(y) == list(range(18)) and list(y) != list(range(18))
    np.testing.assert_array_equal(x[:, 0], y)
    np.testing.assert_array_equal(gathered(make(1))[1], y)
    again = gathered(data)[1]
    assert sorted(again) == sorted(y) and list(again) != list(y)


def test_windows_train_a_model():
    series = np.sin(np.arange(200) / 5).astype("float32")[:, None]
    data = utils.timeseries_dataset_from_array(series[:-10], series[10:], 10, batch_size=32)
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.05), "mse")
    losses = model.fit(data, epochs=10, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("options, text", [
    ({"sequence_length": 0}, "`sequence_length` must be a positive"), ({"sequence_stride": 20}, "`sequence_stride` must be"),
    ({"sampling_rate": 0}, "`sampling_rate` must be"), ({"batch_size": 0}, "`batch_size` must be"),
    ({"start_index": -1}, "`start_index` must be"), ({"start_index": 20}, "`start_index` must be"),
    ({"end_index": 20}, "`end_index` must be"), ({"start_index": 5, "end_index": 5}, "`end_index` must be"),
    ({"sequence_length": 21}, "at least one window"), ({"format": "csv"}, "`format` should be")])
def test_wrong_windows(options, text):
    with pytest.raises(ValueError, match=text):
        utils.timeseries_dataset_from_array(SERIES, None, **{"sequence_length": 3, **options})


@pytest.mark.parametrize("sizes, left, right", [
    ({"left_size": 0.8}, 8, 2), ({"right_size": 3}, 7, 3), ({"left_size": 2, "right_size": 0.5}, 2, 5),
    ({"left_size": 0.25, "right_size": 0.25}, 2, 2)])
def test_split_sizes(sizes, left, right):
    a, b = utils.split_dataset(np.arange(10), **sizes)
    assert len(a) == left and len(b) == right
    np.testing.assert_array_equal(list(a), np.arange(left))
    np.testing.assert_array_equal(list(b), np.arange(10 - right, 10))


def test_split_keeps_structure_and_rows_together():
    x, y = np.arange(20).reshape(10, 2), keras.convert_to_tensor(np.arange(10))
    left, right = utils.split_dataset((x, y), 0.7, shuffle=True, seed=3)
    (xa, ya), (xb, yb) = left.batch(7)[0], right.batch(3)[0]
    assert len(xa) == 7 and len(yb) == 3 and list(ya) != list(range(7))
    np.testing.assert_array_equal(np.concatenate([xa, xb])[:, 0], 2 * np.concatenate([ya, yb]))
    assert sorted([*ya, *yb]) == list(range(10))
    left, right = utils.split_dataset({"a": x, "b": [1.0] * 10}, 4)
    assert len(left) == 4 and left[0]["a"].shape == (2,) and right.batch(4)[1]["b"].shape == (2,)


def test_methods_of_data_sets():
    data = utils.timeseries_dataset_from_array(SERIES, SERIES, 3, batch_size=4)
    made = []

    def double(x, y):
        made.append(len(x))
        return 2 * x, y

    doubled = data.map(double).cache()
    np.testing.assert_array_equal(gathered(doubled)[0], 2 * gathered(data)[0])
    np.testing.assert_array_equal(gathered(doubled.prefetch(2))[0], 2 * gathered(data)[0])
    assert made == [4, 4, 4, 4, 2]  # once
    assert [len(x) for x, _ in data.skip(3)] == [4, 2] and len(data.take(2)) == 2 and len(data.take(-1)) == 5
    assert data.cardinality() == 5 and data.repeat(2).cardinality() == 10 and data.repeat().cardinality() == -1
    assert len(list(data.repeat().take(7))) == 7
    shuffled = data.shuffle(100, seed=0)
    first, second = ([int(y[0]) for _, y in shuffled] for _ in range(2))
    assert first != second and sorted(first) == sorted(second) == [0, 4, 8, 12, 16]
    for bad in (lambda: data.repeat().batch(2), lambda: data.cache("file")):
        with pytest.raises(ValueError):
            bad()
    with pytest.raises(IndexError):
        data.take(2)[2]
    with pytest.raises(TypeError):
        len(data.repeat())


def test_data_sets_train_a_model():
    x, y = np.random.default_rng(0).normal(size=(20, 3)).astype("f"), np.zeros((20, 1), "f")
    left, right = utils.split_dataset((x, y), 0.8)
    weights = []
    for source in (left.batch(4), left.batch(4).prefetch(2), left.batch(4).repeat()):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(source, epochs=2, steps_per_epoch=4, shuffle=False, validation_data=right.batch(4), verbose=0)
        weights.append(model.get_weights()[0])
    np.testing.assert_array_equal(weights[0], weights[1])
    np.testing.assert_array_equal(weights[0], weights[2])


def test_split_of_a_dataset():
    data = utils.timeseries_dataset_from_array(SERIES, None, 3, batch_size=4)
    left, right = utils.split_dataset(data, right_size=1)
    assert len(left) == 4 and len(right) == 1
    np.testing.assert_array_equal(right[0], data[4])
    assert len(list(left)) == 4


@pytest.mark.parametrize("options, error, text", [
    ({}, ValueError, "must be given"), ({"left_size": 10}, ValueError, "integers from 1"),
    ({"left_size": 1.0}, ValueError, "floats in"), ({"left_size": "1"}, TypeError, "int, float or None"),
    ({"left_size": 6, "right_size": 6}, ValueError, "no more than there are"),
    ({"left_size": 0.01}, ValueError, "the parts must have samples")])
def test_wrong_split(options, error, text):
    with pytest.raises(error, match=text):
        utils.split_dataset(np.arange(10), **options)


def test_split_of_unequal_arrays():
    with pytest.raises(ValueError, match="same number of rows"):
        utils.split_dataset((np.arange(3), np.arange(4)), 0.5)


def test_pack_and_unpack():
    assert utils.pack_x_y_sample_weight(1) == 1 and utils.pack_x_y_sample_weight([1]) == ([1],)
    assert utils.pack_x_y_sample_weight(1, 2) == (1, 2) and utils.pack_x_y_sample_weight(1, 2, 3) == (1, 2, 3)
    assert utils.unpack_x_y_sample_weight(1) == (1, None, None)
    assert utils.unpack_x_y_sample_weight([1, 2]) == (1, 2, None)
    with pytest.raises(ValueError, match="a tuple of 4 parts"):
        utils.unpack_x_y_sample_weight((1, 2, 3, 4))


def test_is_keras_tensor_and_standardize_dtype():
    assert utils.is_keras_tensor(keras.Input((3,))) and not utils.is_keras_tensor(np.zeros(3))
    assert utils.standardize_dtype("float") == utils.standardize_dtype(np.float32) == "float32"
    with pytest.raises(ValueError, match="dtype must be one of"):
        utils.standardize_dtype("float31")


def test_shuffled_and_repeated_elements_come_in_another_order_each_time():
    import itertools

    utils.set_random_seed(3)
    numbers, _ = utils.split_dataset(np.arange(40), left_size=20)
    first = [int(np.asarray(v)) for v in itertools.islice(numbers.shuffle(20).repeat(), 60)]
    passes = [first[:20], first[20:40], first[40:]]
    assert all(sorted(p) == sorted(passes[0]) for p in passes) and len({tuple(p) for p in passes}) == 3
    utils.set_random_seed(3)
    numbers, _ = utils.split_dataset(np.arange(40), left_size=20)
    assert [int(np.asarray(v)) for v in itertools.islice(numbers.shuffle(20).repeat(), 60)] == first


@pytest.mark.parametrize("size", [0, -2, 1.5, True])
def test_wrong_batch_sizes_are_named(size):
    numbers, _ = utils.split_dataset(np.arange(8), left_size=4)
    with pytest.raises(ValueError, match="batch_size must be a positive integer"):
        numbers.batch(size)


def test_fit_keeps_the_order_of_a_data_set():
    """As Keras does with tf.data: windows of a series reach a stateful layer one after the other."""
    windows = utils.timeseries_dataset_from_array(SERIES, SERIES, 3, batch_size=2)
    seen = []

    class Look(keras.Sequential):
        def train_step(self, data):
            seen.append(float(np.asarray(data[1])[0]))
            return super().train_step(data)

    model = Look([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(windows, epochs=2, verbose=0)
    assert seen == 2 * [float(y[0]) for _, y in windows]


def test_batches_have_numpy():
    """Loops written for tf.data call `.numpy()` on batches, rows and single numbers."""
    images, labels = np.arange(24.0).reshape(6, 2, 2), np.array([3, 1, 2, 0, 1, 2])
    data = utils.timeseries_dataset_from_array(images, labels, 1, batch_size=4)
    for x, y in data.take(1):
        assert type(x.numpy()) is type(x[0].numpy()) is np.ndarray and x[1:].numpy().shape == (3, 1, 2, 2)
        assert type(y[0].numpy()) is np.int64 and ["a", "b", "c", "d"][y[0]] == "d" and f"{y[0]}" == "3"
        assert [label.numpy() for label in y] == [3, 1, 2, 0]
        np.testing.assert_array_equal(np.asarray(keras.ops.add(x, 1)), images[:4, None] + 1)
        assert type(x + 1).__name__ == type(x).__name__
    assert all(type(leaf) is np.ndarray for row in data.as_numpy_iterator() for leaf in row)
