"""House prices of Boston, 1978: 13 features of 506 towns (Harrison and Rubinfeld)."""

import numpy as np

from .find import load_table, not_found, package_file


def load_data(path="boston_housing.npz", test_split=0.2, seed=113):
    """The Boston housing data, from a data folder or from inside mlxtend.

    Returns:
        (x_train, y_train), (x_test, y_test): float64 features (n, 13) and prices (n,), in 1,000 dollars.

    Raises:
        FileNotFoundError: neither is there.
        ValueError: test_split is not within [0, 1).
    """
    found = load_table("boston_housing", path, None, test_split, seed)
    if found is not None:
        return found
    source = package_file("mlxtend", "data", "data", "boston_housing.csv")
    if source is None:
        raise not_found("boston_housing", "mlxtend")
    table = np.genfromtxt(source, delimiter=",")
    table = table[~np.isnan(table).any(axis=1)]
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(table))
    x, y = table[order, :-1], table[order, -1]
    n = int(len(x) * (1 - test_split))
    return (x[:n], y[:n]), (x[n:], y[n:])
