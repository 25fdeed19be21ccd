"""Clothes, 28 x 28 grey levels in 10 classes (Zalando)."""

from .find import load_npz, not_found


def load_data(path="fashion_mnist.npz"):
    """The data of ``path``, a file name in a data folder or an absolute path.

    Returns:
        (x_train, y_train), (x_test, y_test) as the file holds them.

    Raises:
        FileNotFoundError: no such file is there.
    """
    found = load_npz("fashion_mnist", path)
    if found is None:
        raise not_found("fashion_mnist")
    return found
