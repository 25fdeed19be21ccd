"""Handwritten digits, 8 x 8 grey levels from 0 to 16 (UCI, as scikit-learn ships them)."""

import gzip

import numpy as np

from .find import load_npz, not_found, package_file, split_rows


def load_data(path="digits.npz", test_samples=360, seed=0):
    """The 1,797 digits inside scikit-learn.

    Returns:
        (x_train, y_train), (x_test, y_test): uint8 images (n, 8, 8) and uint8 labels (n,).

    Raises:
        FileNotFoundError: scikit-learn is not installed and no file is there.
    """
    found = load_npz("digits", path)
    if found is not None:
        return found
    source = package_file("sklearn", "datasets", "data", "digits.csv.gz")
    if source is None:
        raise not_found("digits", "scikit-learn")
    with gzip.open(source, "rt") as f:
        table = np.loadtxt(f, delimiter=",").astype(np.uint8)
    return split_rows(table[:, :-1].reshape(-1, 8, 8), table[:, -1], test_samples, seed)
