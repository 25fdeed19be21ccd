"""fastnn: Keras-style deep learning in one small native wheel."""

from . import _core, ops
from . import config, constraints, initializers, losses, optimizers, regularizers, saving
from ._core import Tensor, empty_cache, isa, memory_stats, num_threads, reset_peak_memory, set_num_threads
from .autograd import GradientTape, custom_gradient, stop_gradient
from .symbolic import KerasTensor
from .tensor import Variable, convert_to_numpy, convert_to_tensor, from_dlpack, is_tensor
from .version import __version__
