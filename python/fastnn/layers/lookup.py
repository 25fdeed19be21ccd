"""StringLookup and IntegerLookup: categories by their number in a vocabulary."""
import collections
import os

import numpy as np

from .. import dtypes, ops
from .._core import Tensor
from ..memory_limit import check_may_open
from ..symbolic import KerasTensor
from ..tensor import from_numpy, to_numpy
from .categories import MODES, HostLayer, batches, check_mode, encode, encoded_shape
from .hashing import _salt, as_text, hash_bins


class IndexLookup(HostLayer):
    """What the two lookups share: see StringLookup.

    Args:
        vocabulary_dtype: "string" or "int64".

    The other arguments are those of StringLookup.
    """

    def __init__(self, max_tokens, num_oov_indices, mask_token, oov_token, vocabulary_dtype, vocabulary=None,
                 idf_weights=None, invert=False, output_mode="int", sparse=False, pad_to_max_tokens=False,
                 oov_method="floormod", salt=None, name=None, encoding="utf-8", vocabulary_size=None,
                 has_input_vocabulary=None, trainable=True, dtype=None, **kwargs):
        kind = type(self).__name__
        if kwargs:
            raise ValueError(f"[{kind}] Unrecognized keyword arguments. Received: {kwargs}")
        self._strings = vocabulary_dtype == "string"
        self.vocabulary_dtype = vocabulary_dtype
        if max_tokens is not None and max_tokens <= 1:
            raise ValueError(f"[{kind}] If set, `max_tokens` must be greater than 1. Received: max_tokens={max_tokens}")
        if pad_to_max_tokens and max_tokens is None:
            raise ValueError(f"[{kind}] If pad_to_max_tokens is True, must set `max_tokens`. Received: max_tokens=None")
        if num_oov_indices < 0:
            raise ValueError(f"[{kind}] `num_oov_indices` must be greater than or equal to 0. "
                             f"Received: num_oov_indices={num_oov_indices}")
        if oov_method not in ("floormod", "farmhash"):
            raise ValueError(f"[{kind}] oov_method must be 'floormod' or 'farmhash'. Received: oov_method={oov_method!r}")
        if salt is not None and not self._strings and oov_method != "farmhash":
            raise ValueError(f"[{kind}] `salt` can only be used when `oov_method='farmhash'`. Received: {oov_method!r}")
        output_mode = {"binary": "multi_hot", "tf-idf": "tf_idf"}.get(output_mode, output_mode)
        check_mode(kind, output_mode, (*MODES, "tf_idf"), sparse)
        if invert and output_mode != "int":
            raise ValueError(f"[{kind}] `output_mode` must be `'int'` when `invert` is true. Received: {output_mode!r}")
        if idf_weights is not None and output_mode != "tf_idf":
            raise ValueError(f"[{kind}] `idf_weights` should only be set if `output_mode` is `'tf_idf'`. "
                             f"Received: output_mode={output_mode!r}")
        super().__init__(name=name)
        self.invert = invert
        self.max_tokens = max_tokens
        self.num_oov_indices = num_oov_indices
        self.mask_token = mask_token
        self.oov_token = oov_token
        self.output_mode = output_mode
        self.sparse = sparse
        self.pad_to_max_tokens = pad_to_max_tokens
        self.oov_method = oov_method
        self.salt = None if salt is None else _salt(kind, salt)
        self.encoding = encoding
        self.input_vocabulary = None if isinstance(vocabulary, str) else _listed(vocabulary)
        self.input_idf_weights = _listed(idf_weights)
        self._fixed = vocabulary is not None if has_input_vocabulary is None else has_input_vocabulary
        self._frozen_vocab_size = vocabulary_size
        self._tokens = []
        self._numbers = {}
        self.idf_weights = None
        self.reset_state()
        if vocabulary is not None:
            if output_mode == "tf_idf" and idf_weights is None:
                raise ValueError(f"[{kind}] When specifying the `vocabulary` argument, in TF-IDF output mode, the "
                                 "`idf_weights` argument must also be provided.")
            self.set_vocabulary(vocabulary, idf_weights)
        self.built = True

    # ---- vocabulary ----

    def _oov_start(self):
        return 1 if self.mask_token is not None and self.output_mode == "int" else 0

    def _token_start(self):
        return self._oov_start() + self.num_oov_indices

    def vocabulary_size(self):
        """The number of tokens, mask and out-of-vocabulary tokens included."""
        return len(self._tokens) + self._token_start()

    def get_vocabulary(self, include_special_tokens=True):
        """The tokens in the order of their numbers, as a list.

        Args:
            include_special_tokens: bool; with the tokens for the mask and for what is not in the vocabulary.
        """
        special = [self.mask_token] * self._oov_start() + [self.oov_token] * self.num_oov_indices
        return [*special, *self._tokens] if include_special_tokens else list(self._tokens)

    def set_vocabulary(self, vocabulary, idf_weights=None):
        """Set the tokens.

        Args:
            vocabulary: a list or vector of tokens, with or without the special ones in front; or the path of a text
                file with one token a line.
            idf_weights: a weight for each of them, for output_mode "tf_idf".

        Raises:
            ValueError: it is empty, has a token twice, or has more than max_tokens.
        """
        kind = f"{type(self).__name__}.set_vocabulary"
        if (idf_weights is None) == (self.output_mode == "tf_idf"):
            raise ValueError(f"[{kind}] `idf_weights` must be set if output_mode is 'tf_idf', and only then. "
                             f"Received: output_mode={self.output_mode!r}, idf_weights={idf_weights}")
        if isinstance(vocabulary, str):
            if self.output_mode == "tf_idf":
                raise ValueError(f"[{kind}] output_mode `'tf_idf'` does not support loading a vocabulary from file.")
            check_may_open(kind, vocabulary)
            if not os.path.exists(vocabulary):
                raise ValueError(f"[{kind}] Vocabulary file {vocabulary} does not exist")
            with open(vocabulary, encoding=self.encoding) as f:
                vocabulary = f.read().splitlines()
            if not self._strings:
                vocabulary = [int(line) for line in vocabulary]
        vocabulary = self._array(vocabulary).ravel().tolist()
        if not vocabulary:
            raise ValueError(f"[{kind}] Cannot set an empty vocabulary. Received: vocabulary={vocabulary}")
        start = self._token_start()
        special = self.get_vocabulary()[:start]
        has_special = bool(start) and vocabulary[:start] == special
        tokens = vocabulary[start:] if has_special else vocabulary
        repeated = [t for t, n in collections.Counter(tokens).items() if n > 1]
        if repeated:
            raise ValueError(f"[{kind}] The passed vocabulary has at least one repeated term. Please uniquify your dataset. "
                             f"The repeated terms are: {repeated}")
        for name, token, bad in (("mask", self.mask_token, True), ("OOV", self.oov_token, self.invert)):
            if token is not None and bad and token in tokens:
                raise ValueError(f"[{kind}] Found reserved {name} token at unexpected location in `vocabulary`. Either remove "
                                 "all mask and OOV tokens, or include them only at the start of the vocabulary in precisely "
                                 f"this order: {special}. Received: {token!r} at index {vocabulary.index(token)}")
        if self.max_tokens is not None and start + len(tokens) > self.max_tokens:
            raise ValueError(f"[{kind}] Attempted to set a vocabulary larger than the maximum vocab size. Received vocabulary "
                             f"size is {start + len(tokens)}; `max_tokens` is {self.max_tokens}.")
        self._set_tokens(tokens)
        if idf_weights is not None:
            weights = np.asarray(_listed(idf_weights), "float64")
            if weights.ndim != 1 or len(weights) != len(vocabulary):
                raise ValueError(f"[{kind}] `idf_weights` must be the same length as vocabulary. Received: shape "
                                 f"{weights.shape}, {len(vocabulary)} tokens")
            self._set_idf(weights, has_special)

    def _set_tokens(self, tokens):
        size = len(tokens) + self._token_start()
        if self.output_mode != "int" and not self.pad_to_max_tokens and self._frozen_vocab_size not in (None, size):
            raise RuntimeError(f"[{type(self).__name__}] When using `output_mode={self.output_mode}` and "
                               "`pad_to_max_tokens=False`, the vocabulary size cannot be changed after the layer is called. "
                               f"Old vocab size is {self._frozen_vocab_size}, new vocab size is {size}")
        self._tokens = list(tokens)
        start = self._token_start()
        self._numbers = {token: start + i for i, token in enumerate(self._tokens)}
        self._frozen_vocab_size = size

    def _set_idf(self, weights, with_special=False):
        front = 0 if with_special else self._token_start()
        back = self.max_tokens - front - len(weights) if self.pad_to_max_tokens else 0
        weights = np.concatenate([np.full(front, weights.mean()), weights, np.zeros(back)])
        self.idf_weights = weights.astype(dtypes.floatx())

    # ---- adapt ----

    def adapt(self, data, steps=None):
        """Make the vocabulary from data: the most frequent tokens first, ties in falling order.

        Args:
            data: a list, array or tensor of tokens, or another iterable of batches of them.
            steps: int, how many batches to take; all by default.

        Raises:
            ValueError: the layer was given its vocabulary.
        """
        self.reset_state()
        for batch in batches(data, steps, lists_are_arrays=True):
            batch = self._array(batch)
            self.update_state(batch[:, None] if batch.ndim == 1 and _is_whole(data) else batch)
        self.finalize_state()

    def update_state(self, data):
        """Count the tokens of a batch; a row is one document."""
        if self._fixed:
            raise ValueError(f"[{type(self).__name__}.adapt] Cannot adapt layer '{self.name}' after setting a static vocabulary "
                             "via `vocabulary` argument or `set_vocabulary()` method.")
        rows = data if isinstance(data, list) else self._rows(data)
        for row in rows:
            self._counts.update(row)
            self._documents.update(set(row))
        self._num_documents += len(rows)

    def _rows(self, data):
        data = self._array(data)
        data = data.reshape(1, -1) if data.ndim < 2 else data.reshape(data.shape[0], -1)
        return data.tolist()

    def finalize_state(self):
        """Make the vocabulary from the counts."""
        if self._fixed or not self._counts:
            self._frozen_vocab_size = self.vocabulary_size()
            return
        for token in (self.mask_token, self.oov_token):
            self._counts.pop(token, None)
        # TensorFlow sorts bytes.
        order = sorted(self._counts.items(), key=lambda p: (p[1], p[0].encode() if self._strings else p[0]), reverse=True)
        tokens = [token for token, _ in order]
        if self.max_tokens:
            tokens = tokens[: max(self.max_tokens - self._token_start(), 0)]
        documents = np.array([self._documents[t] for t in tokens], "float64")
        self._set_tokens(tokens)
        if self.output_mode == "tf_idf":
            self._set_idf(np.log(1 + self._num_documents / (1 + documents)))
        self.reset_state()

    def reset_state(self):
        """Forget the counts."""
        self._counts, self._documents, self._num_documents = collections.Counter(), collections.Counter(), 0

    # ---- call ----

    def _array(self, x):
        """Data as an array of the vocabulary's type."""
        x = to_numpy(x) if isinstance(x, Tensor) else np.asarray(x)
        return as_text(x, self.encoding) if self._strings else x.astype("int64")

    def call(self, inputs):
        kind = type(self).__name__
        if self.output_mode != "int" and not self.pad_to_max_tokens and self._frozen_vocab_size is None:
            raise RuntimeError(f"[{kind}] When using `output_mode={self.output_mode}` and `pad_to_max_tokens=False`, you must set "
                               "the layer's vocabulary before calling it. Either pass a `vocabulary` argument to the layer, or "
                               "call `adapt` with some sample data.")
        if self.invert and self._strings:
            return self._words(to_numpy(inputs))
        if self.invert:
            return self._host(self._words, inputs)
        numbers = self._host(self._lookup, inputs)
        if self.output_mode == "int":
            return numbers
        if self.output_mode == "tf_idf":
            if self.idf_weights is None:
                raise ValueError(f"[{kind}] When `output_mode` is `'tf_idf'`, `idf_weights` must be provided.")
            counts = encode(numbers, "count", self._depth(), dtypes.floatx())
            return ops.multiply(counts, from_numpy(self.idf_weights))
        return encode(numbers, self.output_mode, self._depth(), "int64")

    def _depth(self):
        return self.max_tokens if self.pad_to_max_tokens else self._frozen_vocab_size

    def _lookup(self, array):
        array = as_text(array, self.encoding) if self._strings else array.astype("int64")
        unknown = self._oov_start() if self.num_oov_indices == 1 else -1
        values, places = np.unique(array, return_inverse=True)
        table = np.array([self._numbers.get(v, unknown) for v in values.tolist()], np.int64)
        if self.mask_token is not None:  # the largest number is in no vector
            table[values == self.mask_token] = 0 if self.output_mode == "int" else np.iinfo("int64").max
        missing = table == -1
        if missing.any():
            if self.num_oov_indices == 0:
                raise ValueError(f"[{type(self).__name__}] When `num_oov_indices=0` all inputs should be in vocabulary, found OOV "
                                 f"values {values[missing].tolist()[:10]}, consider setting `num_oov_indices=1`.")
            if self._strings or self.oov_method == "farmhash":
                oov = hash_bins(values[missing], self.num_oov_indices, self.salt)
            else:
                oov = np.mod(values[missing], self.num_oov_indices)
            table[missing] = oov + self._oov_start()
        return table[places].reshape(array.shape)

    def _words(self, array):
        words = self.get_vocabulary()
        words[: self._token_start()] = [self.oov_token] * self._token_start()
        if self.mask_token is not None:
            words[0] = self.mask_token
        words.append(self.oov_token)
        array = array.astype("int64")
        return np.array(words)[np.where((array < 0) | (array >= len(words)), len(words) - 1, array)]

    def compute_output_shape(self, input_shape):
        return encoded_shape(input_shape, "count" if self.output_mode == "tf_idf" else self.output_mode, self._depth())

    def compute_output_spec(self, inputs):
        dtype = "int64" if self.output_mode != "tf_idf" else dtypes.floatx()
        return KerasTensor(self.compute_output_shape(inputs.shape), dtype=dtype)

    # ---- files ----

    def save_own_variables(self, store):
        if self.output_mode == "tf_idf":
            store["idf_weights"] = self.idf_weights

    def load_own_variables(self, store):
        if self.output_mode == "tf_idf":
            self.idf_weights = np.asarray(store["idf_weights"], dtypes.floatx())

    def asset_files(self):
        """{"vocabulary.txt": bytes} for model files, unless the vocabulary is in the config."""
        if self.input_vocabulary is not None:
            return {}
        return {"vocabulary.txt": "\n".join(str(w) for w in self.get_vocabulary()).encode()}

    def load_asset_files(self, files):
        """Takes what `asset_files` gave."""
        if self.input_vocabulary is not None or "vocabulary.txt" not in files:
            return
        lines = files["vocabulary.txt"].decode("utf-8").splitlines()
        while lines and not lines[-1]:
            lines.pop()
        tokens = lines if self._strings else [int(line) for line in lines]
        self.set_vocabulary(tokens, self.idf_weights if self.output_mode == "tf_idf" else None)

    def save_assets(self, dir_path):
        """Write vocabulary.txt into a folder, unless the vocabulary is in the config."""
        for name, data in self.asset_files().items():
            with open(f"{dir_path}/{name}", "wb") as f:
                f.write(data)

    def load_assets(self, dir_path):
        """Read vocabulary.txt of a folder, unless the vocabulary is in the config."""
        if self.input_vocabulary is None:
            with open(f"{dir_path}/vocabulary.txt", "rb") as f:
                self.load_asset_files({"vocabulary.txt": f.read()})

    def get_config(self):
        return {**super().get_config(), "invert": self.invert, "max_tokens": self.max_tokens,
                "num_oov_indices": self.num_oov_indices, "oov_token": self.oov_token, "mask_token": self.mask_token,
                "output_mode": self.output_mode, "sparse": self.sparse, "pad_to_max_tokens": self.pad_to_max_tokens,
                "idf_weights": self.input_idf_weights, "vocabulary": self.input_vocabulary,
                "vocabulary_dtype": self.vocabulary_dtype, "vocabulary_size": self._frozen_vocab_size, "oov_method": self.oov_method, "salt": self.salt}


def _listed(values):
    if values is None or isinstance(values, str):
        return values
    return (to_numpy(values) if isinstance(values, Tensor) else np.asarray(values)).tolist()


def _is_whole(data):
    return isinstance(data, (list, tuple, np.ndarray, Tensor))


class StringLookup(IndexLookup):
    """The number of each string in a vocabulary, which is given or learnt by ``adapt``.

    Args:
        max_tokens: int, the largest size of the vocabulary, special tokens included.
        num_oov_indices: int, numbers for strings that are not in it; with several, a hash decides.
        mask_token: string that gets number 0.
        oov_token: what unknown numbers give with ``invert``.
        vocabulary: list of strings, or the path of a text file with one a line.
        idf_weights: a weight for each, for "tf_idf".
        invert: bool; from numbers to strings, as a NumPy array.
        output_mode: "int", the numbers; "one_hot", "multi_hot", "count", see `CategoryEncoding`; "tf_idf", counts times
            inverse document frequencies.
        pad_to_max_tokens: bool; vectors have max_tokens places, also with fewer tokens.
        sparse: False; there are no sparse tensors.
        encoding: of bytes.
        salt: see `Hashing`.

    Input: an array or list of strings of any shape. Output: int64 of that shape: mask 0 (if any), then the numbers for
    unknown strings, then the vocabulary.

    Raises:
        ValueError: arguments do not go together; a string is unknown and num_oov_indices is 0.
    """

    def __init__(self, max_tokens=None, num_oov_indices=1, mask_token=None, oov_token="[UNK]", vocabulary=None,
                 idf_weights=None, invert=False, output_mode="int", pad_to_max_tokens=False, sparse=False,
                 encoding="utf-8", name=None, salt=None, **kwargs):
        kwargs.setdefault("oov_method", "floormod")
        super().__init__(max_tokens, num_oov_indices, mask_token, oov_token, "string", vocabulary, idf_weights, invert,
                         output_mode, sparse, pad_to_max_tokens, salt=salt, name=name, encoding=encoding, **kwargs)

    def get_config(self):
        config = {**super().get_config(), "encoding": self.encoding}
        del config["vocabulary_dtype"]
        return config


class IntegerLookup(IndexLookup):
    """The number of each integer in a vocabulary, which is given or learnt by ``adapt``.

    Args:
        max_tokens, num_oov_indices, vocabulary, idf_weights, invert, output_mode, sparse, pad_to_max_tokens: as for
            `StringLookup`.
        mask_token: integer that gets number 0.
        oov_token: what unknown numbers give with ``invert``.
        vocabulary_dtype: "int64".
        oov_method: where there are several numbers for unknown integers: "floormod", the remainder decides;
            "farmhash", a hash.
        salt: for "farmhash", see `Hashing`.

    Input: integers of any shape. Output: int64 of that shape.

    Raises:
        ValueError: arguments do not go together; an integer is unknown and num_oov_indices is 0.
    """

    def __init__(self, max_tokens=None, num_oov_indices=1, mask_token=None, oov_token=-1, vocabulary=None,
                 vocabulary_dtype="int64", idf_weights=None, invert=False, output_mode="int", sparse=False,
                 pad_to_max_tokens=False, oov_method="floormod", salt=None, name=None, **kwargs):
        if vocabulary_dtype != "int64":
            raise ValueError("[IntegerLookup] Only `vocabulary_dtype='int64'` is supported at this time. "
                             f"Received: vocabulary_dtype={vocabulary_dtype}")
        super().__init__(max_tokens, num_oov_indices, mask_token, oov_token, vocabulary_dtype, vocabulary, idf_weights,
                         invert, output_mode, sparse, pad_to_max_tokens, oov_method, salt, name, **kwargs)
