"""Focal and global knowledge distillation (FGD, arXiv 2111.11837) for mmdet detectors.

What other projects call is here: `from fgd import FGDLoss`. A name is imported when it is first
asked for, so that the loss needs torch alone and a command line starts at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fgd.errors import not_installed

if TYPE_CHECKING:
    from fgd.errors import FGDError
    from fgd.evaluation.evaluate import evaluate
    from fgd.export import transfer
    from fgd.loss import FGDLoss
    from fgd.recipe import compose, load_row
    from fgd.suite import load_suite
    from fgd.training import train

__all__ = [
    "FGDError",
    "FGDLoss",
    "compose",
    "evaluate",
    "load_row",
    "load_suite",
    "train",
    "transfer",
]

_MODULES = {
    "FGDError": "fgd.errors",
    "FGDLoss": "fgd.loss",
    "compose": "fgd.recipe",
    "evaluate": "fgd.evaluation.evaluate",
    "load_row": "fgd.recipe",
    "load_suite": "fgd.suite",
    "train": "fgd.training",
    "transfer": "fgd.export",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562).

    Raises:
        ImportError: it needs a package that is not installed.
    """
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(_MODULES[name])
    except ModuleNotFoundError as error:
        raise ImportError(not_installed(f"fgd.{name}", error), name=error.name) from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
