"""Photographs, 32 x 32 colours in 10 classes (Krizhevsky)."""

from .find import load_npz, not_found


def load_data(path="cifar10.npz"):
    """The data of ``path``, a file name in a data folder or an absolute path.

    Returns:
        (x_train, y_train), (x_test, y_test) as the file holds them.

    Raises:
        FileNotFoundError: no such file is there.
    """
    found = load_npz("cifar10", path)
    if found is None:
        raise not_found("cifar10")
    return found
