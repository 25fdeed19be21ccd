"""Photographs, 32 x 32 colours in 100 classes (Krizhevsky)."""

from .find import load_npz, not_found


def load_data(label_mode="fine", path=None):
    """The data of ``path``, a file name in a data folder or an absolute path.

    Args:
        label_mode: "fine", 100 classes; or "coarse", 20 of them.
        path: by default cifar100.npz, or cifar100_coarse.npz for coarse labels.

    Returns:
        (x_train, y_train), (x_test, y_test) as the file holds them.

    Raises:
        FileNotFoundError: no such file is there.
        ValueError: another label_mode.
    """
    if label_mode not in ("fine", "coarse"):
        raise ValueError(f"[datasets.cifar100] label_mode must be 'fine' or 'coarse'. Received: label_mode={label_mode!r}")
    name = "cifar100" if label_mode == "fine" else "cifar100_coarse"
    found = load_npz(name, path)
    if found is None:
        raise not_found(name)
    return found
