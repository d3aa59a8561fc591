"""What classes of detectors' parts take where a config says nothing; runs in both versions."""

import inspect
from collections.abc import Callable, Iterable

Defaults = dict[str, dict[str, str]]


def defaults(kinds: Iterable[str], find: Callable[[str], type | None]) -> Defaults:
    """The defaults of all arguments, those of bases among them, as text.

    Args:
        find: the class of a name; those that it does not find (layers, suppression) are left out.
    """
    return {kind: _of(built) for kind in kinds if (built := find(kind)) is not None}


def _of(built: type) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in built.__mro__:
        for name, argument in inspect.signature(each.__init__).parameters.items():
            said = argument.default is not argument.empty
            found.setdefault(name, repr(argument.default) if said else "has to be said")
    return found
