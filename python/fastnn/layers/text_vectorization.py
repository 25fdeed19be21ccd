"""TextVectorization: texts as numbers of their words."""
import re

import numpy as np

from .. import dtypes
from ..saving.serialization import deserialize_keras_object, serialize_keras_object
from ..symbolic import KerasTensor
from .categories import HostLayer, batches
from .hashing import as_text
from .lookup import StringLookup

_PUNCTUATION = re.compile(r'[!"#$%&()\*\+,-\./:;<=>?@\[\\\]^_`{|}~\']')


class TextVectorization(HostLayer):
    """Texts cut into words, and the words numbered by a vocabulary that is given or learnt by ``adapt``.

    Args:
        max_tokens: int, the largest size of the vocabulary, "" (number 0) and "[UNK]" (number 1) included.
        standardize: "lower_and_strip_punctuation", "lower", "strip_punctuation", None, or a function of an array of
            strings.
        split: "whitespace", "character", None, or a function from an array of strings to lists of words.
        ngrams: int n, also runs of up to n words; or a tuple of the lengths of runs to make.
        output_mode: "int", the numbers, padded with 0; "multi_hot", "count" or "tf_idf", a vector for each text.
        output_sequence_length: int, for "int": cut and pad to this many.
        pad_to_max_tokens: bool; vectors have max_tokens places, also with fewer tokens.
        vocabulary: list of strings, or the path of a text file with one a line.
        idf_weights: a weight for each, for "tf_idf".
        sparse, ragged: False; there are no such tensors.
        encoding: of bytes.

    Input: an array or list of strings, (batch,) or (batch, 1). Output: int64 (batch, words), or floats
    (batch, vocabulary).

    Raises:
        ValueError: an argument is unknown, or arguments do not go together.
    """

    def __init__(self, max_tokens=None, standardize="lower_and_strip_punctuation", split="whitespace", ngrams=None,
                 output_mode="int", output_sequence_length=None, pad_to_max_tokens=False, vocabulary=None,
                 idf_weights=None, sparse=False, ragged=False, encoding="utf-8", name=None, **kwargs):
        def one_of(argument, value, known):
            if not (value is None or callable(value) or value in known):
                raise ValueError(f"[TextVectorization] {argument} must be one of {known}, None or a function. "
                                 f"Received: {argument}={value!r}")

        one_of("standardize", standardize, ("lower_and_strip_punctuation", "lower", "strip_punctuation"))
        one_of("split", split, ("whitespace", "character"))
        if not (ngrams is None or isinstance(ngrams, int) or (
                isinstance(ngrams, tuple) and all(isinstance(n, int) for n in ngrams))):
            raise ValueError("[TextVectorization] `ngrams` must be None, an integer, or a tuple of integers. "
                             f"Received: ngrams={ngrams}")
        if output_sequence_length is not None and (output_mode != "int" or not isinstance(output_sequence_length, int)):
            raise ValueError("[TextVectorization] `output_sequence_length` must be either None or an integer, and None if "
                             f"`output_mode` is not 'int'. Received: output_sequence_length={output_sequence_length}, "
                             f"output_mode={output_mode!r}")
        if ragged:
            raise ValueError("[TextVectorization] `ragged=True` cannot be used: there are no ragged tensors")
        size, fixed = kwargs.pop("vocabulary_size", None), kwargs.pop("has_input_vocabulary", None)
        super().__init__(name=name, **kwargs)
        self._standardize = standardize
        self._split = split
        self._ngrams = ngrams
        self._output_sequence_length = output_sequence_length
        self._encoding = encoding
        lookup = StringLookup(max_tokens=max_tokens, vocabulary=vocabulary, idf_weights=idf_weights,
                              pad_to_max_tokens=pad_to_max_tokens, mask_token="", output_mode=output_mode, sparse=sparse,
                              encoding=encoding, vocabulary_size=size, has_input_vocabulary=fixed)
        object.__setattr__(self, "_lookup_layer", lookup)  # not tracked: it has no place of its own in files
        self.built = True

    def adapt(self, data, batch_size=None, steps=None):
        """Make the vocabulary from texts: the most frequent words first, ties in falling order.

        Args:
            data: a list or array of texts, or another iterable of batches of them.
            batch_size: accepted; arrays are taken whole.
            steps: int, how many batches to take; all by default.
        """
        self.reset_state()
        for batch in batches(data, steps, lists_are_arrays=True):
            self.update_state(batch)
        self.finalize_state()

    def update_state(self, data):
        """Count the words of a batch of texts."""
        self._lookup_layer.update_state(self._words(np.atleast_1d(np.asarray(data))))

    def finalize_state(self):
        """Make the vocabulary from the counts."""
        self._lookup_layer.finalize_state()

    def reset_state(self):
        """Forget the counts."""
        self._lookup_layer.reset_state()

    def get_vocabulary(self, include_special_tokens=True):
        """The words in the order of their numbers, as a list; see `StringLookup.get_vocabulary`."""
        return self._lookup_layer.get_vocabulary(include_special_tokens)

    def vocabulary_size(self):
        """The number of words, padding and unknown included."""
        return self._lookup_layer.vocabulary_size()

    def set_vocabulary(self, vocabulary, idf_weights=None):
        """Set the words; see `StringLookup.set_vocabulary`."""
        self._lookup_layer.set_vocabulary(vocabulary, idf_weights=idf_weights)

    def _words(self, texts):
        """A list of words for each text."""
        texts = as_text(texts, self._encoding)
        if callable(self._standardize):
            texts = np.asarray(self._standardize(texts))
        else:
            kind = self._standardize or ""
            strip, lower = "strip" in kind, "lower" in kind

            def clean(text):
                text = text.lower() if lower else text
                return _PUNCTUATION.sub("", text) if strip else text

            texts = np.array([clean(t) for t in texts.ravel().tolist()], dtype=object).reshape(texts.shape)
        if self._split is None:
            words = [list(row) for row in texts.reshape(len(texts), -1).tolist()]
        else:
            if texts.ndim > 1 and texts.shape[-1] != 1:
                raise ValueError("[TextVectorization] When using `TextVectorization` to tokenize strings, the input rank must "
                                 f"be 1 or the last shape dimension must be 1. Received: inputs.shape={texts.shape}")
            texts = texts.reshape(-1)
            if self._split == "whitespace":
                words = [t.split() for t in texts.tolist()]
            elif self._split == "character":
                words = [list(t) for t in texts.tolist()]
            else:
                words = [list(row) for row in self._split(texts)]
        if self._ngrams is not None:
            widths = range(1, self._ngrams + 1) if isinstance(self._ngrams, int) else self._ngrams
            words = [[" ".join(row[i:i + n]) for n in widths for i in range(len(row) - n + 1)] for row in words]
        return words

    def call(self, inputs):
        scalar = np.ndim(inputs) == 0
        rows = self._words(np.atleast_1d(inputs))
        lookup = self._lookup_layer
        if self._split is None and self._ngrams is None and lookup.output_mode == "int" and np.ndim(inputs) < 2:
            return lookup(np.array([row[0] for row in rows]).reshape(np.shape(inputs)))
        length = max((len(r) for r in rows), default=0)
        if lookup.output_mode == "int":
            wanted = self._output_sequence_length
            length = length if wanted is None else wanted
        table = np.full((len(rows), length), "", dtype=object)  # "" is the mask: 0, and in no vector
        for place, row in zip(table, rows):
            place[: len(row)] = row[:length]
        y = lookup(table if table.size else table.astype("U1"))
        return y[0] if scalar else y

    def compute_output_shape(self, input_shape):
        lookup = self._lookup_layer
        if lookup.output_mode == "int":
            return (input_shape[0], self._output_sequence_length)
        return (input_shape[0], lookup._depth())

    def compute_output_spec(self, inputs):
        dtype = "int64" if self._lookup_layer.output_mode != "tf_idf" else dtypes.floatx()
        return KerasTensor(self.compute_output_shape(inputs.shape), dtype=dtype)

    def save_own_variables(self, store):
        self._lookup_layer.save_own_variables(store)

    def load_own_variables(self, store):
        self._lookup_layer.load_own_variables(store)

    def asset_files(self):
        """See `StringLookup.asset_files`."""
        return self._lookup_layer.asset_files()

    def load_asset_files(self, files):
        """See `StringLookup.load_asset_files`."""
        self._lookup_layer.load_asset_files(files)

    def save_assets(self, dir_path):
        """See `StringLookup.save_assets`."""
        self._lookup_layer.save_assets(dir_path)

    def load_assets(self, dir_path):
        """See `StringLookup.load_assets`."""
        self._lookup_layer.load_assets(dir_path)

    def get_config(self):
        lookup = self._lookup_layer

        def plain(value):
            return serialize_keras_object(value) if callable(value) else value

        return {**super().get_config(), "max_tokens": lookup.max_tokens, "standardize": plain(self._standardize),
                "split": plain(self._split), "ngrams": self._ngrams, "output_mode": lookup.output_mode,
                "output_sequence_length": self._output_sequence_length, "pad_to_max_tokens": lookup.pad_to_max_tokens,
                "sparse": False, "ragged": False, "vocabulary": lookup.input_vocabulary,
                "idf_weights": lookup.input_idf_weights, "encoding": self._encoding,
                "vocabulary_size": self.vocabulary_size()}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        for name in ("standardize", "split"):
            if isinstance(config.get(name), dict):
                config[name] = deserialize_keras_object(config[name])
        if isinstance(config.get("ngrams"), list):
            config["ngrams"] = tuple(config["ngrams"])
        return super().from_config(config)
