"""Programs that say `import keras` or `import tensorflow as tf`, run by fastnn without a change.

    python -m fastnn.compat train.py --epochs 3
"""
import importlib
import runpy
import sys
from pathlib import Path

from .keras import ALIASES

_NAMES = ("keras", "tensorflow")


def install():
    """From now on `keras` and `tensorflow` are imported as fastnn, their submodules included: `keras.layers`,
    `tensorflow.keras`. Of TensorFlow there is what fastnn has: `tf.keras`, `tf.GradientTape`, `tf.Variable`.

    Example:
        import fastnn.compat
        fastnn.compat.install()
        from tensorflow import keras

    Raises:
        RuntimeError: the real `keras` or `tensorflow` has been imported.
    """
    for name in _NAMES:
        found = sys.modules.get(name)
        if found is not None and found.__name__ != "fastnn":
            raise RuntimeError(f"[compat.install] it must be called before {name} is imported. Received: {name} from "
                               f"{getattr(found, '__file__', None)}")
    ALIASES.update(dict.fromkeys(_NAMES, "fastnn"))
    importlib.invalidate_caches()


def uninstall():
    """Undoes `install`: `import keras` means Keras again."""
    for name in _NAMES:
        if ALIASES.pop(name, None):
            for module in [m for m in sys.modules if m == name or m.startswith(name + ".")]:
                del sys.modules[module]


def run(script, *arguments):
    """Runs a program as `python script arguments` would, with `keras` and `tensorflow` found in fastnn.

    Args:
        script: path of the program. arguments: its arguments, words.

    Returns:
        The names that it defined, a dict.
    """
    install()
    sys.argv = [str(script), *arguments]
    sys.path[0] = str(Path(script).resolve().parent)
    return runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    run(*sys.argv[1:])
