"""`fastnn.keras` is fastnn: `from fastnn.keras.layers import Dense` gives the same class as `fastnn.layers.Dense`."""
import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

import fastnn

__path__ = []  # a package, so that submodules are asked for
__version__ = fastnn.__version__


class _Alias(MetaPathFinder, Loader):
    """Answers `fastnn.keras.<name>` with the module `fastnn.<name>`."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.startswith(__name__ + "."):
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        real = importlib.import_module("fastnn." + spec.name[len(__name__) + 1:])
        self._spec = real.__spec__
        return real

    def exec_module(self, module):
        module.__spec__ = self._spec  # the import system has put the alias's there


sys.meta_path.insert(0, _Alias())


def __getattr__(name):
    return getattr(fastnn, name)


def __dir__():
    return dir(fastnn)
