"""BLEU: how much translations share with their references. Not in Keras."""
from collections import Counter

import numpy as np

from .. import ops
from ..tensor import as_tensor, convert_to_numpy
from .base import Metric


class BLEU(Metric):
    """Corpus BLEU: exp(mean over n of log precision of n-grams), times a penalty for short candidates.

    Precision of n-grams: those of the candidates that occur in a reference (as often at most as in the one
    that has most of them) / those of the candidates. Penalty: exp(1 - r / c) if the candidates' length c is
    below r, the sum of the lengths of the references closest in length.

    Args:
        max_order: n goes from 1 to this.
        smooth: add 1 to both counts of every n above 1, for short texts (Lin and Och 2004).
        name: of the metric.
        dtype: of the metric.

    Source: Papineni et al. 2002.
    """

    def __init__(self, max_order=4, smooth=False, name="bleu", dtype=None):
        super().__init__(name=name, dtype=dtype)
        if max_order < 1:
            raise ValueError(f"[BLEU] max_order must be at least 1. Received: max_order={max_order}")
        self._direction = "up"
        self.max_order = max_order
        self.smooth = smooth
        self.matches = self.add_weight((max_order,), name="matches")
        self.possible = self.add_weight((max_order,), name="possible")
        self.candidate_length = self.add_weight(name="candidate_length")
        self.reference_length = self.add_weight(name="reference_length")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add a batch.

        Args:
            y_true: for each candidate a reference or a list of references.
            y_pred: candidates. A text is a string, split at white space, or a sequence of tokens.
            sample_weight: None; weights have no meaning here.

        Raises:
            ValueError: there are weights, or the numbers of y_true and y_pred differ.
        """
        if sample_weight is not None:
            raise ValueError(f"[BLEU] sample_weight must be None. Received: sample_weight={sample_weight}")
        if len(y_true) != len(y_pred):
            raise ValueError(
                "[BLEU] y_true and y_pred must have the same length. "
                f"Received: len(y_true)={len(y_true)}, len(y_pred)={len(y_pred)}"
            )
        matches, possible, lengths = np.zeros(self.max_order), np.zeros(self.max_order), np.zeros(2)
        for references, candidate in zip(y_true, y_pred):
            candidate = _tokens(candidate)
            references = [_tokens(r) for r in _as_references(references)]
            closest = min((abs(len(r) - len(candidate)), len(r)) for r in references)[1]
            lengths += len(candidate), closest
            for n in range(1, self.max_order + 1):
                found = _ngrams(candidate, n)
                most = Counter()
                for reference in references:
                    most |= _ngrams(reference, n)
                matches[n - 1] += sum((found & most).values())
                possible[n - 1] += sum(found.values())
        self.matches.assign_add(as_tensor(matches, "float32"))
        self.possible.assign_add(as_tensor(possible, "float32"))
        self.candidate_length.assign_add(float(lengths[0]))
        self.reference_length.assign_add(float(lengths[1]))

    def result(self):
        matches, possible = np.asarray(self.matches), np.asarray(self.possible)
        if self.smooth:
            one = np.arange(self.max_order) > 0
            matches, possible = matches + one, possible + one
        if not matches.all() or not float(self.candidate_length):
            return as_tensor(0.0)
        precision = np.exp(np.log(matches / possible).mean())
        penalty = np.exp(min(0.0, 1.0 - float(self.reference_length) / float(self.candidate_length)))
        return ops.cast(float(precision * penalty), self.dtype)

    def get_config(self):
        return {**super().get_config(), "max_order": self.max_order, "smooth": self.smooth}


def _tokens(text):
    """Return a text as a tuple of tokens."""
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    if isinstance(text, str):
        return tuple(text.split())
    return tuple(text if isinstance(text, (list, tuple)) else convert_to_numpy(text).tolist())


def _as_references(references):
    """Return the list of references: one string or one flat sequence of tokens is a list of one."""
    if isinstance(references, (str, bytes)):
        return [references]
    if isinstance(references, (list, tuple)):
        nested = any(isinstance(r, (list, tuple)) or (isinstance(r, str) and " " in r) for r in references)
        return references if nested or not references else [references]
    array = convert_to_numpy(references)
    return list(array) if array.ndim > 1 else [array]


def _ngrams(tokens, n):
    return Counter(tokens[i : i + n] for i in range(len(tokens) - n + 1))
