"""House prices of California, 1990: 8 features of 20,640 districts (Pace and Barry)."""

from .find import load_table, not_found


def load_data(version="large", path="california_housing.npz", test_split=0.2, seed=113):
    """The data of ``path``, a file name in a data folder or an absolute path.

    Args:
        version: "large", or "small" for the first 600 districts.
        path: of a file with x and y, as Keras keeps it, or with x_train, y_train, x_test and y_test.
        test_split: the share of x and y that is held out. seed: of their order.

    Returns:
        (x_train, y_train), (x_test, y_test): features (n, 8) and prices (n,).

    Raises:
        FileNotFoundError: no such file is there.
        ValueError: another version, or test_split is not within [0, 1).
    """
    if version not in ("large", "small"):
        raise ValueError(f"[datasets.california_housing] version must be 'small' or 'large'. Received: version={version!r}")
    found = load_table("california_housing", path, 600 if version == "small" else None, test_split, seed)
    if found is None:
        raise not_found("california_housing")
    return found
