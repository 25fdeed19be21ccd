"""Texts as lists of word numbers, in the .npz files that Keras keeps: imdb and reuters."""
import json
import os
import pathlib
import pickle
import zipfile

import numpy as np

from .find import folders

# The lists stand in arrays of objects, which are pickles. These names rebuild arrays and numbers, and nothing else is called.
_ALLOWED = {(module, name) for name in ("_reconstruct", "scalar") for module in ("numpy.core.multiarray", "numpy._core.multiarray")}
_ALLOWED |= {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in _ALLOWED:
            raise ValueError(f"[datasets] the file must hold arrays and lists of numbers. Received: {module}.{name}")
        return super().find_class(module, name)


def _array(archive, name):
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(file)
        if not dtype.hasobject:
            return np.frombuffer(file.read(), dtype).reshape(shape, order="F" if fortran else "C")
        return np.asarray(_ArraysOnly(file).load(), dtype=object)


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
        ValueError: it lacks one of them, or holds other objects than lists of numbers.
    """
    path = find(name, file)
    with zipfile.ZipFile(path) as archive:
        missing = [key for key in keys if f"{key}.npy" not in archive.namelist()]
        if missing:
            raise ValueError(f"[datasets.{name}] the file must hold {', '.join(keys)}. Received: {path} without {', '.join(missing)}")
        return [_array(archive, key) for key in keys]


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
