"""Functions of tensors: the names and signatures of keras.ops. One import line per file."""
from .basic import *  # noqa: F401,F403
from .elementwise import *  # noqa: F401,F403
from .activation import *  # noqa: F401,F403
from .reduction import *  # noqa: F401,F403
from .long_tail import *  # noqa: F401,F403
from .array import *  # noqa: F401,F403
from .joining import *  # noqa: F401,F403
from .repetition import *  # noqa: F401,F403
from .creation import *  # noqa: F401,F403
from .indexing import *  # noqa: F401,F403
from .indexed import *  # noqa: F401,F403
from .sorting import *  # noqa: F401,F403
from .control import *  # noqa: F401,F403
from .softmax import *  # noqa: F401,F403
from .rnn import *  # noqa: F401,F403
from .depthwise_conv import *  # noqa: F401,F403
from .normalization import *  # noqa: F401,F403
from .pooling import *  # noqa: F401,F403
from .conv2d import *  # noqa: F401,F403
from .matmul import *  # noqa: F401,F403
from .attention import *  # noqa: F401,F403
from .derived import *  # noqa: F401,F403
from .linalg import *  # noqa: F401,F403
from .spectral import *  # noqa: F401,F403
from .ctc import *  # noqa: F401,F403
from .folding import *  # noqa: F401,F403
from .complex_numbers import *  # noqa: F401,F403
from . import operators  # noqa: F401  (the last: gives the tensor types their operators)


def __getattr__(name):
    if name in ("image", "nn", "numpy"):  # loaded when first used
        import importlib

        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
