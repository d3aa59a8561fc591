"""Objects of other libraries in a pickle, read without those libraries and without their code.

mmdet 3 keeps the history of its losses in a checkpoint, and trainings put numbers of numpy among
their metadata. For what such a pickle names, a class stands in that only remembers what it was
given: nothing is called, looked up or allocated. `plain` then makes numbers, texts and lists of
what numpy wrote, and None of the rest.
"""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np


class StandIn:
    """What a pickle makes an object of, and nothing else."""

    arguments: tuple = ()
    state: Any = None

    def __new__(cls, *arguments: Any) -> "StandIn":
        made = object.__new__(cls)
        made.arguments = arguments
        return made

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(StandIn):
    pass


class _Scalar(StandIn):
    pass


class _Type(StandIn):
    pass


class _Other(StandIn):
    pass


def _no_bytes(*_: Any) -> bytes:
    """pickle's second protocol makes empty bytes by a call."""
    return b""


# Class by the name that a pickle has for what it stands for, as torch's `add_safe_globals` takes
# it. numpy 2 renamed its core; mmengine's histories name their methods with getattr.
NAMES: list[Callable | tuple[Callable, str]] = [
    *((_Array, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    *((_Scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    (_Type, "numpy.dtype"),
    (_Other, "numpy.ndarray"),
    (_Other, "mmengine.logging.history_buffer.HistoryBuffer"),
    (_Other, "builtins.getattr"),
    (_no_bytes, "builtins.bytes"),
]
_NUMBERS = re.compile(r"b1|[iu][1248]|f[248]|U\d{1,4}")
_DEEPEST = 8  # tuples in tuples


def make_plain(containers: list[Any]) -> None:
    """Replace the stand-ins in dictionaries and lists, and in tuples that these hold.

    Args:
        containers: all of them; others are passed over.
    """
    for container in containers:
        if isinstance(container, dict):
            for key in [key for key in container if isinstance(key, StandIn)]:
                del container[key]
            for key, value in container.items():
                container[key] = plain(value)
        elif isinstance(container, list):
            container[:] = [plain(value) for value in container]


def plain(value: Any, depth: int = 0) -> Any:
    """A number, text or list for a stand-in of numpy's, None for any other; else the value."""
    if isinstance(value, _Scalar):
        kind, data = _of_length(value.arguments, 2)
        values = _values(kind, data, ())
        return values if not isinstance(values, list) else None
    if isinstance(value, _Array):
        _, shape, kind, fortran, data = _of_length(value.state, 5)
        return _values(kind, data, shape, fortran=fortran is True)
    if isinstance(value, StandIn):
        return None
    if type(value) is tuple and depth < _DEEPEST:
        return tuple(plain(item, depth + 1) for item in value)
    return value


def _of_length(values: Any, number: int) -> tuple:
    whole = isinstance(values, tuple) and len(values) == number
    return values if whole else (None,) * number


def _values(kind: Any, data: Any, shape: Any, *, fortran: bool = False) -> Any:
    """What numpy's bytes hold, if they are plain numbers or texts and as many as the shape says."""
    if not isinstance(kind, _Type) or not isinstance(data, bytes) or not kind.arguments:
        return None
    name = kind.arguments[0]
    order = kind.state[1] if isinstance(kind.state, tuple) and len(kind.state) > 1 else "|"
    sound = isinstance(name, str) and _NUMBERS.fullmatch(name) and order in ("<", ">", "|", "=")
    if not sound or not isinstance(shape, tuple) or not all(type(n) is int for n in shape):
        return None
    dtype = np.dtype(order + name)
    if min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize != len(data):
        return None
    if not data:
        return []
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C").tolist()
