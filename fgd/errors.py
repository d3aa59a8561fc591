"""The one exception that is meant for the user's eyes, and the ends of its sentences."""

from collections.abc import Iterable
from difflib import get_close_matches

_LISTED = 8  # faults named in a message; a wrong checkpoint has hundreds


class FGDError(Exception):
    """Something the user gave is wrong.

    The message names the file, key or tensor, says what was expected and what to do. The command
    line prints it as `error: <message>` without a traceback and exits with status 2.
    """


def not_installed(needing: str, error: ModuleNotFoundError) -> str:
    """The text for those who have installed the loss alone and ask for more."""
    return (
        f"{needing} needs {error.name}, which is not installed: say `make setup` in a clone, or "
        "install fgd[detection]"
    )


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: known ones that look like it, or begin with it."""
    known = list(known)
    longer = sorted((each for each in known if name and each.startswith(name)), key=len)
    close = get_close_matches(name, known, n=3, cutoff=0.5) or longer[:3]
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def listing(faults: list[str]) -> str:
    """The first faults of a list, and how many more there are."""
    more = len(faults) - _LISTED
    return "; ".join(faults[:_LISTED]) + (f"; and {more} more" if more > 0 else "")
