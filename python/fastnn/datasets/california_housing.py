"""House prices of California, 1990: 8 features of 20,640 districts (Pace and Barry)."""

from .find import load_npz, not_found


def load_data(path="california_housing.npz"):
    """The data of ``path``, a file name in a data folder or an absolute path.

    Returns:
        (x_train, y_train), (x_test, y_test) as the file holds them.

    Raises:
        FileNotFoundError: no such file is there.
    """
    found = load_npz("california_housing", path)
    if found is None:
        raise not_found("california_housing")
    return found
