"""News wires of Reuters, 11,228 in 46 topics, as lists of word numbers."""
import numpy as np

from .word_lists import as_objects, numbered, read, shuffled, word_index

_LABELS = tuple(
    "cocoa grain veg-oil earn acq wheat copper housing money-supply coffee sugar trade reserves ship cotton carcass "
    "crude nat-gas cpi money-fx interest gnp meal-feed alum oilseed gold tin strategic-metal livestock retail ipi "
    "iron-steel rubber heat jobs lei bop zinc orange pet-chem dlr gas silver wpi hog lead".split())


def load_data(path="reuters.npz", num_words=None, skip_top=0, maxlen=None, test_split=0.2, seed=113, start_char=1, oov_char=2,
              index_from=3):
    """The wires from ``path`` in a data folder.

    Args:
        test_split: fraction held out.
        others: see `datasets.imdb.load_data`.

    Returns:
        (x_train, y_train), (x_test, y_test): arrays of lists of ints, and topics 0 to 45.

    Raises:
        FileNotFoundError: the file is not there; the message tells where to put it.
        ValueError: no text is shorter than maxlen, or test_split is not within [0, 1).
    """
    if not 0 <= test_split < 1:
        raise ValueError(f"[datasets.reuters] test_split must be in [0, 1). Received: test_split={test_split}")
    texts, labels = shuffled(*read("reuters", path, ("x", "y")), np.random.RandomState(seed))
    texts, labels = numbered("reuters", texts, labels, num_words, skip_top, maxlen, start_char, oov_char, index_from)
    n = int(len(texts) * (1 - test_split))
    return (as_objects(texts[:n]), labels[:n]), (as_objects(texts[n:]), labels[n:])


def get_word_index(path="reuters_word_index.json"):
    """{word: number} of the wires' words, without ``index_from``."""
    return word_index("reuters", path)


def get_label_names():
    """The names of the topics, in the order of their numbers."""
    return _LABELS
