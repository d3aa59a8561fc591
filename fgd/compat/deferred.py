"""Packages that mmcv and mmdet import at their top and hardly ever use: read when they are used.

mmdet 2.28.2 wants scikit-learn for the PAA head, and matplotlib's pyplot to draw; mmcv 1.7.2 wants
torchvision for the addresses of its weights, which brings torch's compiler along. That is half of
the time that a command takes to start, and most of the files that it reads.
"""

import importlib.util
import sys
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

# A package stands before its modules. matplotlib's own is small, and its other modules are used.
_MODULES = ("sklearn", "sklearn.mixture", "matplotlib.pyplot", "torchvision")
# What use begins with, though it is not public. Who looks at all modules asks for others: mmcv asks
# everything that torch has in its name for something of torch's.
_OF_USE = ("__path__", "__version__")


class _Deferred(ModuleType):
    """A module that is read when something of it is asked for.

    Python's own LazyLoader would read a package as soon as a deferred module of it is imported.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") and name not in _OF_USE:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        package = sys.modules.get(self.__name__.rpartition(".")[0])
        if isinstance(package, _Deferred):
            package._read()
        if isinstance(self, _Deferred):  # the package may have read it
            self._read()
        return getattr(self, name)

    def _read(self) -> None:
        spec = self.__spec__
        assert spec is not None and spec.loader is not None  # or it would not have been deferred
        object.__setattr__(self, "__class__", ModuleType)
        if spec.submodule_search_locations is not None:
            self.__path__ = spec.submodule_search_locations
        spec.loader.exec_module(self)


def defer() -> None:
    """Put stand-ins where the modules would be; what is imported already, or missing, stays so."""
    for name in _MODULES:
        package, _, child = name.rpartition(".")
        if name not in sys.modules and (spec := _spec(package, name)) is not None:
            sys.modules[name] = module = _module(spec)
            if isinstance(parent := sys.modules.get(package), _Deferred):
                setattr(parent, child, module)


def _spec(package: str, name: str) -> ModuleSpec | None:
    """Where a module is; found without importing its package."""
    if not package:
        return importlib.util.find_spec(name)
    there = sys.modules[package].__spec__ if package in sys.modules else _spec("", package)
    return PathFinder.find_spec(name, there.submodule_search_locations) if there else None


def _module(spec: ModuleSpec) -> _Deferred:
    module = _Deferred(spec.name)
    module.__spec__, module.__loader__, module.__file__ = spec, spec.loader, spec.origin
    module.__package__ = spec.parent
    return module
