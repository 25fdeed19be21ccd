"""What the constructor of an optimizer is given: the arguments that all share, and old names."""
import difflib
import inspect
import math

from ..utils.warning import warn


def full_signature(cls, base):
    """Return the signature of an optimizer whose `__init__` hands `*shared` on to `base`, with every name written out."""
    own = list(inspect.signature(cls.__init__).parameters.values())[1:]
    at = next((i for i, p in enumerate(own) if p.kind is p.VAR_POSITIONAL), None)
    if at is None:
        return None
    names = {p.name for p in own}
    shared = [p for p in list(inspect.signature(base.__init__).parameters.values())[1:] if p.name not in names]
    return inspect.Signature(own[:at] + shared + own[at + 1 :])


def check_shared(kind, clips, use_ema, ema_momentum, ema_overwrite_frequency, gradient_accumulation_steps):
    """Raise ValueError for a shared argument that is out of its range; `clips` is {name: value} of the three clippings."""
    if gradient_accumulation_steps and not gradient_accumulation_steps >= 2:
        raise ValueError(
            f"[{kind}] `gradient_accumulation_steps` must be an integer >= 2. "
            f"Received: gradient_accumulation_steps={gradient_accumulation_steps}"
        )
    if use_ema and not 0 <= ema_momentum <= 1:
        raise ValueError(f"[{kind}] `ema_momentum` must be in the range [0, 1]. Received: ema_momentum={ema_momentum}")
    if use_ema and ema_overwrite_frequency:
        if not isinstance(ema_overwrite_frequency, int) or ema_overwrite_frequency < 1:
            raise ValueError(
                f"[{kind}] `ema_overwrite_frequency` must be an integer >= 1 or None. "
                f"Received: ema_overwrite_frequency={ema_overwrite_frequency}"
            )
    if sum(value is not None for value in clips.values()) > 1:
        raise ValueError(
            f"[{kind}] Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set. Received: "
            + ", ".join(f"{name}={value}" for name, value in clips.items())
        )


def take_old_names(optimizer, kwargs, learning_rate):
    """Understand `lr=`, ignore `decay=`, and refuse what nobody knows."""
    kind = type(optimizer).__name__
    if "lr" in kwargs:
        warn(
            f"[{kind}] `lr` is the old name of `learning_rate`, and works as such. "
            f"Received: lr={kwargs['lr']}"
        )
        learning_rate = kwargs.pop("lr")
    if kwargs.pop("decay", None) is not None:
        warn(f"[{kind}] `decay` is no longer supported and will be ignored.")
    if kwargs:
        known = {name for cls in type(optimizer).__mro__[:-1] for name in inspect.signature(cls.__init__).parameters}
        known -= {"self", "kwargs", "shared"}
        near = [n for key in kwargs for n in difflib.get_close_matches(key, known, n=1)]
        hint = f" Did you mean {', '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"[{kind}] Argument(s) not recognized.{hint} Received: {kwargs}")
    return learning_rate


def checked_rate(kind, rate):
    """Return a learning rate as a float."""
    try:
        if isinstance(rate, (str, bool)) or not math.isfinite(float(rate)):
            raise TypeError
    except TypeError:
        raise ValueError(
            f"[{kind}] Argument `learning_rate` should be a finite float, a LearningRateSchedule, or a callable "
            f"without arguments. Received: learning_rate={rate!r}"
        ) from None
    return float(rate)
