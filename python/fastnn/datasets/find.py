"""Looks for the file of a data set, and says what would supply it."""

import importlib.util
import os
import pathlib

import numpy as np


def folders():
    """Where .npz files are looked for, in order."""
    found = [os.environ["FASTNN_DATASETS"]] if os.environ.get("FASTNN_DATASETS") else []
    home = pathlib.Path.home()
    return [pathlib.Path(f) for f in found] + [home / ".fastnn" / "datasets", home / ".keras" / "datasets"]


def package_file(package, *parts):
    """The path of a file inside an installed package, or None. The package is not imported."""
    spec = importlib.util.find_spec(package)
    for root in (spec.submodule_search_locations or []) if spec else []:
        path = pathlib.Path(root, *parts)
        if path.is_file():
            return path
    return None


def load_npz(name, path=None):
    """((x_train, y_train), (x_test, y_test)) of ``path`` or of ``name``.npz in one of ``folders``, or None.

    Raises:
        FileNotFoundError: ``path`` is given and does not exist.
        ValueError: the file lacks one of the four arrays, or holds Python objects, which are not loaded.
    """
    candidates = [pathlib.Path(path)] if path and os.path.isabs(os.path.expanduser(path)) else [
        f / (path or f"{name}.npz") for f in folders()]
    for candidate in candidates:
        candidate = candidate.expanduser()
        if not candidate.is_file():
            continue
        with np.load(candidate, allow_pickle=False) as f:
            missing = [k for k in ("x_train", "y_train", "x_test", "y_test") if k not in f]
            if missing:
                raise ValueError(f"[datasets.{name}] the file must hold x_train, y_train, x_test and y_test. "
                                 f"Received: {candidate} without {', '.join(missing)}")
            return (f["x_train"], f["y_train"]), (f["x_test"], f["y_test"])
    if path and os.path.isabs(os.path.expanduser(path)):
        raise FileNotFoundError(f"[datasets.{name}] path must be a file. Received: path={path!r}")
    return None


def not_found(name, package=None):
    """The error that says what would supply the data set."""
    where = ", ".join(str(f) for f in folders())
    hint = f"`pip install {package}` supplies it, or put" if package else "Put"
    return FileNotFoundError(f"[datasets.{name}] the data were not found and fastnn downloads nothing. "
                             f"{hint} {name}.npz with x_train, y_train, x_test and y_test into one of: {where}")


def split_rows(x, y, test, seed):
    """Rows in an order drawn from ``seed``, the last ``test`` of them held out."""
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(x))
    x, y = x[order], y[order]
    return (x[:-test], y[:-test]), (x[-test:], y[-test:])
