"""Replaying: how the training loops run their steps through recordings; see capturing.py."""
import weakref

import numpy as np

from .. import _core
from .._core import Tensor
from ..capturing import Capture, structure_of
from ..config import max_steps_per_epoch
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
        training = name[:5] == "train"
        if self.run_eagerly:
            return self._whole_or_not_at_all(step, args) if training else step(*args)
        capture = self._captures.get(name)
        if capture is None:
            capture = self._captures[name] = Capture(f"{self.name}.{name}", weakref.WeakMethod(self._clear_losses), not training,
                                                     weakref.WeakMethod(self._whole_or_not_at_all) if training else None)
        if len(args) == 3 and args[2] is None and type(args[0]) is Tensor and type(args[1]) is Tensor:
            inputs = args[:2]  # one input, one output, no weights: without a walk through nests
            if not _have_masks(inputs):
                return capture.call(step, "x, y", inputs, args, self.optimizer if training else None)
        if len(args) == 1 and type(args[0]) is Tensor:
            if getattr(args[0], "_keras_mask", None) is None:
                return capture.call(step, "x", args, args, self.optimizer if training else None)
            return step(*args)
        leaves = flatten(args)
        inputs = tuple([leaf for leaf in leaves if leaf is not None])
        if any(type(x) is not Tensor for x in inputs) or _have_masks(inputs):
            return step(*args)
        return capture.call(step, structure_of(args), inputs, args, self.optimizer if training else None)

    def _whole_or_not_at_all(self, step, args):
        """``step(*args)``; where it raises before a weight is trained, moving averages and seeds are put back."""
        _core.pause_recording(True)
        try:
            trained = [(v, v.version) for v in self.trainable_variables]
            moved = [(v, v.version, _core.clone(v._value)) for v in self._collect(
                lambda layer: [*layer._non_trainable_variables, *(g.state for g in layer._seed_generators)])]
        finally:
            _core.pause_recording(False)
        try:
            return step(*args)
        except BaseException:
            if all(v.version == version for v, version in trained):
                for v, version, value in moved:
                    if v.version != version:
                        v.assign(value)
            raise

    def _train_once(self, x, y, sample_weight):
        """A step of training whose metrics nobody looks at yet."""
        y_pred = self._train_on(x, y, sample_weight)
        self._update_metrics(x, y, y_pred, sample_weight)

    def _test_once(self, x, y, sample_weight):
        """A step of evaluation whose metrics nobody looks at yet."""
        y_pred = self._call_model(x, False)
        if self._has_loss():
            loss = self._compute_loss(x, y, y_pred, sample_weight, False)
            self._loss_tracker.update_state(loss, sample_weight=rows_of(x))
        self._update_metrics(x, y, y_pred, sample_weight)

    def _predict_arrays(self, x, batch_size):
        """The prediction for an array or a list or dict of arrays, or None: without the machinery of loops."""
        leaves = (x,) if type(x) is np.ndarray else x if type(x) is list else tuple(x.values()) if type(x) is dict else ()
        if not leaves or max_steps_per_epoch() is not None:
            return None
        n, floats = -1, floatx()
        for a in leaves:
            if type(a) is not np.ndarray or not a.ndim or n >= 0 and len(a) != n or a.dtype not in _WHOLE and a.dtype != floats:
                return None
            n = len(a)
        if n <= 0:
            return None
        if n <= batch_size:
            step = self._replay("predict_step", self.predict_step, _as_data(x, slice(None)))
            if type(step) is Tensor:
                return np.array(step)
            return pack_sequence_as(step, [np.array(leaf) for leaf in flatten(step)])
        self.stop_predicting = False
        parts = []
        for start in range(0, n, batch_size):
            step = self._replay("predict_step", self.predict_step, _as_data(x, slice(start, start + batch_size)))
            parts.append((np.asarray(step),) if type(step) is Tensor else [np.asarray(leaf) for leaf in flatten(step)])
            if self.stop_predicting:
                break
        whole = [np.concatenate(leaf) for leaf in zip(*parts)]
        return whole[0] if type(step) is Tensor else pack_sequence_as(step, whole)


_WHOLE = frozenset(np.dtype(name) for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"))


def _as_data(x, rows):
    """Some rows of an array, or of a list or dict of arrays, as `predict_step` receives them."""
    if type(x) is np.ndarray:
        return from_numpy(x[rows], borrow=True)
    if type(x) is dict:
        return {k: from_numpy(a[rows], borrow=True) for k, a in x.items()}
    return ([from_numpy(a[rows], borrow=True) for a in x],)
