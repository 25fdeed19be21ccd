"""Texts as lists of word numbers, in the .npz files that Keras keeps: imdb and reuters."""
import json
import os
import pathlib
import pickle

import numpy as np

from ..saving.files import ModelFormatError
from .find import folders, read_npz



class _Array:
    """What a pickled array says about itself: nothing of NumPy is made from a pickle."""

    def __init__(self, *arguments):
        self.state = None

    def __setstate__(self, state):
        self.state = state


# The lists stand in arrays of objects, which are pickles. Names in them mean these, and nothing else is found.
_NAMES = {("numpy", "ndarray"): _Array, ("numpy", "dtype"): _Array, ("_codecs", "encode"): lambda text, encoding: b""}
_NAMES.update({(module, "_reconstruct"): _Array for module in ("numpy.core.multiarray", "numpy._core.multiarray")})


class _ListsOnly(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in _NAMES:
            raise ModelFormatError(f"[datasets] the file must hold arrays and lists of numbers. Received: {module}.{name}")
        return _NAMES[module, name]


def _lists(file, shape):
    """The lists of numbers of a pickled array of one axis."""
    state = getattr(_ListsOnly(file).load(), "state", None)
    lists = state[4] if isinstance(state, tuple) and len(state) == 5 else None
    if not isinstance(lists, list) or shape != (len(lists),) or not all(
            isinstance(one, list) and all(isinstance(number, int) for number in one) for one in lists):
        raise ValueError("the file must hold arrays and lists of numbers")
    return as_objects(lists)


def find(name, file):
    """The path of a file of a data set: absolute, or in one of the data folders.

    Raises:
        FileNotFoundError: it is not there; the message tells where to put it.
    """
    path = os.path.expanduser(os.fspath(file))
    for candidate in [pathlib.Path(path)] if os.path.isabs(path) else [folder / path for folder in folders()]:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"[datasets.{name}] the data were not found and fastnn downloads nothing by itself. Put {file} (Keras keeps it "
                            f"in its own folder, and its address is "
                            f"https://storage.googleapis.com/tensorflow/tf-keras-datasets/{os.path.basename(path)}) into one of: "
                            f"{', '.join(map(str, folders()))}")


def read(name, file, keys):
    """The arrays of an .npz file under these keys.

    Raises:
        FileNotFoundError: the file is not there.
        ModelFormatError: it is damaged, lacks one of them, or holds other objects than lists of numbers.
    """
    return read_npz(name, find(name, file), keys, _lists)


def word_index(name, file):
    """{word: number} from a .json file."""
    with open(find(name, file), encoding="utf-8") as f:
        return json.load(f)


def numbered(name, texts, labels, num_words, skip_top, maxlen, start_char, oov_char, index_from):
    """The texts with their numbers shifted and cut as the arguments of `load_data` say; their labels.

    Raises:
        ValueError: no text is shorter than maxlen.
    """
    texts = [[int(w) + index_from for w in text] for text in texts]
    if start_char is not None:
        texts = [[start_char, *text] for text in texts]
    if maxlen:
        kept = [i for i, text in enumerate(texts) if len(text) < maxlen]
        if not kept:
            raise ValueError(f"[datasets.{name}] After filtering for sequences shorter than maxlen={maxlen}, no sequence was kept. "
                             "Increase maxlen.")
        texts, labels = [texts[i] for i in kept], labels[kept]
    last = num_words or max((max(text) for text in texts if text), default=0)
    if oov_char is not None:
        texts = [[w if skip_top <= w < last else oov_char for w in text] for text in texts]
    else:
        texts = [[w for w in text if skip_top <= w < last] for text in texts]
    return texts, labels


def as_objects(texts):
    """A list of lists as an array of lists, which may have different lengths."""
    out = np.empty(len(texts), dtype=object)
    out[:] = texts
    return out


def shuffled(texts, labels, random):
    order = np.arange(len(texts))
    random.shuffle(order)
    return texts[order], labels[order]
