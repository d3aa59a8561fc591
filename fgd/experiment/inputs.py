"""Which files decide what is composed: those that are opened meanwhile, as Python itself audits it.

A list kept by hand would miss the file that somebody adds to it next.
"""

import ast
import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import source_from_cache
from pathlib import Path
from threading import get_ident
from typing import Any

_recording: dict[int, set[str]] = {}  # by thread
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
_DEVICES = ("/dev/", "/proc/", "/sys/")


@contextmanager
def recorded() -> Iterator[set[str]]:
    """Collect the paths of all files that this thread opens to read."""
    if _note not in _hooks:
        _hooks.append(_note)
        sys.addaudithook(_note)  # for as long as the process lives: there is no way to remove it
    seen = _recording[get_ident()] = set()
    try:
        yield seen
    finally:
        del _recording[get_ident()]


_hooks: list[Any] = []


def _note(event: str, arguments: tuple) -> None:
    if event != "open" or (seen := _recording.get(get_ident())) is None:
        return
    path, mode, flags = arguments
    writes = set(mode or "") & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR)
    if isinstance(path, str | os.PathLike) and not writes:
        seen.add(os.path.abspath(path))


def deciding(seen: set[str]) -> set[Path] | None:
    """Those of the files that were read that decide what was composed.

    Installed packages are left out, whose versions stand for their code, but not the model zoo's
    configs; and mmcv's temporary copies, which are gone.

    Returns:
        None if a config is no function of these files: it imports what can look anywhere.
    """
    files = {Path(_source(path)) for path in seen if not path.startswith(_DEVICES)}
    files = {path for path in files if path.is_file() and not _is_library(path)}
    modules = {getattr(module, "__file__", None) for module in [*sys.modules.values()]}
    configs = [path for path in files if path.suffix == ".py" and str(path) not in modules]
    return files if all(_is_plain(path.read_text(encoding="utf-8")) for path in configs) else None


def _source(path: str) -> str:
    """A module's source for its bytecode."""
    return source_from_cache(path) if path.endswith(".pyc") else path


def _is_library(path: Path) -> bool:
    return str(path).startswith(_LIBRARIES) and ".mim" not in path.parts


def _is_plain(config: str) -> bool:
    """Whether a config imports nothing but fgd, whose source is known to be the same."""
    for node in ast.walk(ast.parse(config)):
        imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if any(name.split(".")[0] != "fgd" for name in imported):
            return False
        if isinstance(node, ast.Name) and node.id.startswith("__"):
            return False
    return True
