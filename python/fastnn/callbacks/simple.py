"""LambdaCallback, TerminateOnNaN and SwapEMAWeights."""
import difflib
import math

from ..optimizers.multi_optimizer import optimizers_of
from ..utils.messages import print_msg
from .callback import Callback

_HOOKS = [name for name in dir(Callback) if name.startswith("on_")]


class LambdaCallback(Callback):
    """Hooks given as functions.

    Args:
        on_epoch_begin, on_epoch_end: `f(epoch, logs)`.
        on_train_begin, on_train_end: `f(logs)`.
        on_train_batch_begin, on_train_batch_end: `f(batch, logs)`.
        kwargs: other hooks of `Callback`, and attributes.

    Raises:
        ValueError: there is no hook of this name.
    """

    def __init__(
        self, on_epoch_begin=None, on_epoch_end=None, on_train_begin=None, on_train_end=None,
        on_train_batch_begin=None, on_train_batch_end=None, **kwargs,
    ):  # fmt: skip
        super().__init__()
        hooks = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }
        for name, function in hooks.items():
            if name.startswith("on_") and name not in _HOOKS:
                near = difflib.get_close_matches(name, _HOOKS, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"[LambdaCallback] there is no such hook.{hint} Received: {name}=...")
            if function is not None:
                setattr(self, name, function)


class TerminateOnNaN(Callback):
    """Ends training when the loss is not finite.

    Args:
        raise_error: raise RuntimeError instead.
    """

    def __init__(self, raise_error=False):
        super().__init__()
        self.raise_error = raise_error

    def on_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(
                f"NaN or Inf loss encountered at batch {batch}. Loss value: {loss}. Terminating training "
                "immediately."
            )
        print_msg(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True


class SwapEMAWeights(Callback):
    """Evaluates and predicts with the moving average of the weights that an optimizer with `use_ema` keeps.

    Args:
        swap_on_epoch: also at the end of each epoch, so that checkpoints hold the average.
    """

    def __init__(self, swap_on_epoch=False):
        super().__init__()
        self.swap_on_epoch = swap_on_epoch
        self._swapped = False

    def _pairs(self):
        found = [o for o in optimizers_of(self.model) if hasattr(o, "_model_variables_moving_average")]
        if not found:
            raise ValueError(
                "[SwapEMAWeights] SwapEMAWeights must be used when `use_ema=True` is set on the optimizer. "
                f"Received: use_ema={[o.use_ema for o in optimizers_of(self.model)]}"
            )
        pairs = [pair for o in found for pair in zip(o._trainable_variables, o._model_variables_moving_average)]
        return [(variable, average) for variable, average in pairs if average is not None]

    def _set(self, swapped):
        if self._swapped != swapped:
            for variable, average in self._pairs():
                value = variable.value
                variable.assign(average.value)
                average.assign(value)
            self._swapped = swapped

    def on_epoch_begin(self, epoch, logs=None):
        if self.swap_on_epoch:
            self._set(False)

    def on_epoch_end(self, epoch, logs=None):
        if self.swap_on_epoch:
            self._set(True)
            if epoch == self.params["epochs"] - 1:  # training goes on from the average
                for variable, average in self._pairs():
                    average.assign(variable.value)

    def on_test_begin(self, logs=None):
        self._set(True)

    def on_test_end(self, logs=None):
        self._set(False)

    def on_predict_begin(self, logs=None):
        self._set(True)

    def on_predict_end(self, logs=None):
        self._set(False)
