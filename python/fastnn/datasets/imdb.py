"""Film reviews of IMDB, 25,000 to train on and 25,000 to test on, as lists of word numbers (Maas et al. 2011)."""
import numpy as np

from .word_lists import as_objects, numbered, read, shuffled, word_index


def load_data(path="imdb.npz", num_words=None, skip_top=0, maxlen=None, seed=113, start_char=1, oov_char=2, index_from=3, **kwargs):
    """The reviews from ``path`` in a data folder.

    Args:
        path: file name in a data folder, or absolute path; the file that Keras keeps.
        num_words: numbers from here on count as unknown words.
        skip_top: numbers below count as unknown words.
        maxlen: leave out texts of this length or longer.
        seed: of the order.
        start_char: number put before every text, None for none.
        oov_char: number of unknown words; None leaves them out.
        index_from: words are numbered from here.

    Returns:
        (x_train, y_train), (x_test, y_test): arrays of lists of ints, and labels 0 (negative) or 1.

    Raises:
        FileNotFoundError: the file is not there; the message tells where to put it.
        TypeError: an unknown argument. ValueError: no text is shorter than maxlen.
    """
    if "nb_words" in kwargs:  # the name of Keras 1
        num_words = kwargs.pop("nb_words")
    if kwargs:
        raise TypeError(f"[datasets.imdb] Unrecognized keyword arguments: {kwargs}")
    x_train, y_train, x_test, y_test = read("imdb", path, ("x_train", "y_train", "x_test", "y_test"))
    random = np.random.RandomState(seed)
    (x_train, y_train), (x_test, y_test) = shuffled(x_train, y_train, random), shuffled(x_test, y_test, random)
    both, n = [*x_train, *x_test], len(x_train)
    test = np.arange(len(both)) >= n
    labels = np.stack([np.concatenate([y_train, y_test]), test], axis=1)
    texts, labels = numbered("imdb", both, labels, num_words, skip_top, maxlen, start_char, oov_char, index_from)
    n = int(np.sum(labels[:, 1] == 0))
    if n in (0, len(texts)):
        raise ValueError(f"[datasets.imdb] After filtering for sequences shorter than maxlen={maxlen}, no sequence was kept. Increase maxlen.")
    return (as_objects(texts[:n]), labels[:n, 0]), (as_objects(texts[n:]), labels[n:, 0])


def get_word_index(path="imdb_word_index.json"):
    """{word: number} of the reviews' words, without ``index_from``."""
    return word_index("imdb", path)
