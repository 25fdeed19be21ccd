"""What fit, evaluate and predict take for data: sparse and ragged arrays, tables, orders of batches, epochs of data sets.

SciPy, JAX, TensorFlow and pandas are recognised by their methods, so that stand-ins serve here.
"""
import collections
import random

import numpy as np
import pytest

import fastnn as keras
from fastnn.trainer.data import make_data


class Csr:
    """Rows of a SciPy matrix; `seen` tells how many were made dense at a time."""

    seen = []

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.ndim = array, array.shape, array.dtype, 2

    def tocsr(self):
        return self

    def astype(self, dtype):
        return Csr(self.array.astype(dtype))

    def __getitem__(self, rows):
        return Csr(self.array[rows])

    def __len__(self):
        raise TypeError("sparse array length is ambiguous")

    def toarray(self):
        self.seen.append(len(self.array))
        return self.array


class Bcoo:
    def __init__(self, array):
        self.array = array

    def __iter__(self):
        return iter(self.array)

    def todense(self):
        return self.array


class SparseTensor:
    def __init__(self, array):
        self.indices = np.argwhere(array)
        self.values = array[tuple(self.indices.T)]
        self.dense_shape = np.array(array.shape)


class Ragged:
    row_splits = None

    def __init__(self, array):
        self.array = array

    def to_tensor(self):
        return self.array


class Series:
    iloc = None

    def __init__(self, array):
        self.array = array

    def to_numpy(self):
        return self.array[:, 0]


def numbers():
    x = np.random.default_rng(0).standard_normal((20, 3))
    x[x < 0] = 0
    return x.astype("float32"), (x.sum(-1, keepdims=True) > 1).astype("float32")


def model():
    keras.utils.set_random_seed(0)
    m = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation="sigmoid")])
    m.compile("sgd", "binary_crossentropy")
    return m


@pytest.mark.parametrize("kind", [Csr, Bcoo, SparseTensor, Ragged])
@pytest.mark.parametrize("shuffle", [False, True, "batch"])
def test_sparse_and_ragged(kind, shuffle):
    x, y = numbers()
    dense, sparse = model(), model()
    keras.utils.set_random_seed(1)
    dense.fit(x, y, batch_size=6, epochs=2, verbose=0, shuffle=shuffle, validation_split=0.25)
    keras.utils.set_random_seed(1)
    Csr.seen.clear()
    sparse.fit(kind(x), kind(y) if kind is not Csr else y, batch_size=6, epochs=2, verbose=0, shuffle=shuffle, validation_split=0.25)
    assert max(Csr.seen, default=0) <= 6  # never all rows at once
    np.testing.assert_array_equal(dense.get_weights()[0], sparse.get_weights()[0])
    np.testing.assert_array_equal(dense.predict(x, verbose=0), sparse.predict(kind(x), verbose=0))
    assert dense.evaluate(x, y, verbose=0) == sparse.evaluate(kind(x), y, verbose=0)
    np.testing.assert_array_equal(dense.predict_on_batch(x), sparse.predict_on_batch(kind(x.astype("float64"))))


def test_sparse_batches_of_a_generator():
    x, y = numbers()
    dense, sparse = model(), model()
    dense.fit(x, y, batch_size=5, verbose=0, shuffle=False)
    sparse.fit(((Csr(x[i:i + 5]), SparseTensor(y[i:i + 5])) for i in range(0, 20, 5)), verbose=0)
    np.testing.assert_array_equal(dense.get_weights()[0], sparse.get_weights()[0])


def test_a_series_is_a_column():
    x, _ = numbers()
    batches = [b for b in make_data(Series(x), Series(x), batch_size=8).epoch()]
    assert [b[0].shape for b in batches] == [(8, 1), (8, 1), (4, 1)]
    np.testing.assert_array_equal(batches[2][1], x[16:, :1])


def test_orders():
    """Keras's: "batch" shuffles within batches, a PyDataset's batches come as `random` shuffles them."""
    x = np.arange(10)

    class Data(keras.utils.PyDataset):
        def __len__(self):
            return 5

        def __getitem__(self, i):
            return x[i:i + 1]

    keras.utils.set_random_seed(3)
    got = [np.asarray(b[0]) for b in make_data(x, batch_size=4, shuffle="batch").epoch()]
    np.random.seed(3)
    for i, batch in enumerate(got):
        np.testing.assert_array_equal(batch, np.random.permutation(len(batch)) + 4 * i)
    keras.utils.set_random_seed(3)
    got = [int(b[0][0]) for b in make_data(Data(), shuffle=True).epoch()]
    expected = list(range(5))
    random.Random(3).shuffle(expected)
    assert got == expected


@pytest.mark.parametrize("length", [4, None])
def test_every_epoch_is_told_to_its_data_set(length):
    """Also where an epoch ends before the data set does."""

    class Data(keras.utils.PyDataset):
        said = []

        @property
        def num_batches(self):
            return length

        def __getitem__(self, i):
            return np.ones((2, 3)), np.ones((2, 1))

        def on_epoch_begin(self):
            self.said.append("begin")

        def on_epoch_end(self):
            self.said.append("end")

    model().fit(Data(), steps_per_epoch=2, epochs=3, verbose=0)
    assert Data.said == ["begin", "end"] * 3
    Data.said.clear()
    model().evaluate(Data(), steps=2, verbose=0)
    model().predict(Data(), steps=2, verbose=0)
    assert Data.said == ["begin", "end"] * 2


def test_errors():
    x, y = numbers()
    batches = [(x, y, y)]

    class Loader:
        __module__ = "torch.utils.data"

        def __iter__(self):
            return iter(batches)

    for source, kind in ((iter(batches), "generator"), (Loader(), "torch DataLoader")):
        with pytest.raises(ValueError, match=f"`x` as a {kind}, `y` should not be passed"):
            model().fit(source, y, verbose=0)
        with pytest.raises(ValueError, match="`sample_weights` should not be passed"):
            model().fit(source, sample_weight=y, verbose=0)
    with pytest.raises(ValueError, match="Unrecognized data type.*'data.csv'"):
        model().fit("data.csv", verbose=0)
    with pytest.raises(ValueError, match="`class_weight` and `sample_weight`"):
        model().fit(Loader(), class_weight={0: 1.0}, verbose=0)
    Loader.element_spec = ("x", ("y1", "y2"))  # tf.data tells before its first batch
    with pytest.raises(ValueError, match="single output.*2 outputs"):
        make_data(Loader(), class_weight={0: 1.0})


def test_layers_in_an_ordered_dict_are_tracked():
    layer = keras.layers.Layer()
    layer.parts = collections.OrderedDict([("b", keras.layers.Dense(1)), ("a", keras.layers.Dense(2))])
    assert [x.units for x in layer._layers] == [1, 2]
    assert isinstance(layer.parts, collections.OrderedDict) and list(layer.parts) == ["b", "a"]
    layer.parts["c"] = keras.layers.Dense(3)
    layer.parts.move_to_end("b")
    assert [x.units for x in layer._layers] == [1, 2, 3] and list(layer.parts) == ["a", "c", "b"]
    layer.parts.pop("a")
    assert layer.parts.popitem()[0] == "b"
    assert [x.units for x in layer._layers] == [3]


def test_pandas_tables_with_nullable_and_other_columns():
    pd = pytest.importorskip("pandas")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    plain = pd.DataFrame({"n": [1, 2], "f": [0.5, 1.5]})
    nullable = plain.astype({"n": "Int64"})
    np.testing.assert_array_equal(model.predict(nullable, verbose=0), model.predict(plain, verbose=0))
    with pytest.raises(TypeError, match=r"columns without numbers: \['colour'\]"):
        model.predict(plain.assign(colour=["red", "blue"]), verbose=0)
    with pytest.raises(TypeError, match="strings must come in an array"):
        model.predict(["red", "blue"], verbose=0)
