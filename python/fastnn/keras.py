"""`fastnn.keras` is fastnn: `from fastnn.keras.layers import Dense` gives the same class as `fastnn.layers.Dense`."""
import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

import fastnn

__path__ = []  # a package, so that submodules are asked for
__version__ = fastnn.__version__


# Packages that stand for others; `fastnn.compat` adds to them.
ALIASES = {__name__: "fastnn"}


class _Alias(MetaPathFinder, Loader):
    """Answers `fastnn.keras.<name>` with the module `fastnn.<name>`."""

    def find_spec(self, fullname, path=None, target=None):
        first = __name__ if fullname.startswith(__name__ + ".") else fullname.partition(".")[0]
        if first in ALIASES and fullname != __name__:
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        first = __name__ if spec.name.startswith(__name__ + ".") else spec.name.partition(".")[0]
        real = importlib.import_module(ALIASES[first] + spec.name[len(first):])
        self._spec = real.__spec__
        return real

    def exec_module(self, module):
        module.__spec__ = self._spec  # the import system has put the alias's there


sys.meta_path.insert(0, _Alias())


def __getattr__(name):
    return getattr(fastnn, name)


def __dir__():
    return dir(fastnn)
