"""Replaying: how the training loops run their steps through recordings; see capturing.py."""
import weakref

import numpy as np

from .._core import Tensor
from ..capturing import Capture, structure_of
from ..dtypes import floatx
from ..tensor import from_numpy
from ..tree import flatten, pack_sequence_as
from .common import rows_of


def _have_masks(tensors):
    return any([getattr(x, "_keras_mask", None) is not None for x in tensors])


class Replaying:
    """What Trainer inherits: its steps, replayed where they can be."""

    @property
    def captured(self):
        """The recordings of this model's steps, {name of the step: `Capture`}: what was replayed, and why not."""
        return dict(self._captures)

    def _replay(self, name, step, *args):
        """``step(*args)``, replayed where it was recorded before: see capturing.py."""
        if self.run_eagerly:
            return step(*args)
        capture = self._captures.get(name)
        if capture is None:
            capture = self._captures[name] = Capture(f"{self.name}.{name}", weakref.WeakMethod(self._clear_losses))
        if len(args) == 3 and args[2] is None and type(args[0]) is Tensor and type(args[1]) is Tensor:
            inputs = args[:2]  # one input, one output, no weights: without a walk through nests
            if not _have_masks(inputs):
                return capture.call(step, "x, y", inputs, args, self.optimizer if name[:5] == "train" else None)
        leaves = flatten(args)
        inputs = tuple([leaf for leaf in leaves if leaf is not None])
        if any(type(x) is not Tensor for x in inputs) or _have_masks(inputs):
            return step(*args)
        return capture.call(step, structure_of(args), inputs, args, self.optimizer if name[:5] == "train" else None)

    def _train_once(self, x, y, sample_weight):
        """A step of training whose metrics nobody looks at yet."""
        y_pred = self._train_on(x, y, sample_weight)
        self._update_metrics(x, y, y_pred, sample_weight)

    def _test_once(self, x, y, sample_weight):
        """A step of evaluation whose metrics nobody looks at yet."""
        y_pred = self._call_model(x, False)
        if self._compile_loss is not None or self.losses:
            loss = self._compute_loss(x, y, y_pred, sample_weight, False)
            self._loss_tracker.update_state(loss, sample_weight=rows_of(x))
        self._update_metrics(x, y, y_pred, sample_weight)

    def _predict_at_once(self, x, batch_size):
        """The prediction for an array of no more than one batch, or None: without the machinery of loops."""
        if type(x) is not np.ndarray or not 0 < x.ndim or not 0 < len(x) <= batch_size or x.dtype != floatx():
            return None
        step = self._replay("predict_step", self.predict_step, from_numpy(x, borrow=True))
        if type(step) is Tensor:
            return np.array(step)
        return pack_sequence_as(step, [np.array(leaf) for leaf in flatten(step)])
