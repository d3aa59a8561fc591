"""The files and folders that commands read and write: what may lie where they are asked to write.

Nothing that a user has is lost by a wrong word in a command: no path is both read and written, and
a file that is there is replaced only if the same command wrote it. All of it is seen before the
work begins.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from fgd.cli.look_up import WEIGHTS
from fgd.errors import FGDError
from fgd.files import holds


class _Path(click.Path):
    """A file or folder that a command reads or writes; none does both with one."""

    def __init__(self, *, written: bool = False, **options: Any) -> None:
        super().__init__(path_type=Path, **options)
        self._written = written

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, which no other parameter may have for the other purpose."""
        try:
            path = Path(os.fsdecode(super().convert(self.find(value), param, ctx)))
            self.check(path)
        except FGDError as error:
            self.fail(str(error), param, ctx)
        if ctx is not None:
            known = ctx.meta.setdefault("fgd.files", {})
            if known.setdefault(os.path.abspath(path), self._written) != self._written:
                self.fail(f"{path}: would be written over what is read; name another", param, ctx)
        return path

    def find(self, value: Any) -> Any:
        """What a word stands for; raises FGDError where it stands for nothing."""
        return value

    def check(self, path: Path) -> None:
        """Raise FGDError where a path is none for this purpose."""


class _Input(_Path):
    """A file that has to be there, and of which an ending tells that it is something else."""

    def __init__(self, what: str, others: Mapping[str, str]) -> None:
        super().__init__(exists=True, dir_okay=False)
        self._what, self._others = what, others

    def check(self, path: Path) -> None:
        """Its ending is none of something else."""
        if other := self._others.get(path.suffix):
            raise FGDError(
                f"{path}: is {other}, and {self._what} is expected here; a config comes before its "
                "checkpoint"
            )


class _Suite(_Path):
    """A suite's file, or the name of one of configs/suites, which an installed package has, too."""

    def find(self, value: Any) -> Any:
        """The path of the file."""
        from fgd.suite import find_suite

        return str(find_suite(value))


class _OutFolder(_Path):
    """A folder that a command writes to; what may lie in it the command knows."""

    def __init__(self) -> None:
        super().__init__(written=True)

    def check(self, path: Path) -> None:
        """No file is there."""
        refuse_file(path)


class _OutFile(_Path):
    """A file that a command writes, or several of one name with other ends."""

    def __init__(self, files: Mapping[str, Iterable[str]]) -> None:
        super().__init__(written=True)
        self._files = files

    def check(self, path: Path) -> None:
        """Nothing is there that the command did not write."""
        for end, words in self._files.items():
            refuse_foreign(Path(f"{path}{end}"), words)


def out_file(*words: str) -> _OutFile:
    """A file that a command writes.

    Args:
        words: all of which are in such a file; by them an earlier one is known.
    """
    return _OutFile({"": words})


def out_files(files: Mapping[str, Iterable[str]]) -> _OutFile:
    """A path without its ending.

    Args:
        files: the words of each file that is written, by what follows the path in its name.
    """
    return _OutFile(files)


def refuse_file(path: Path) -> None:
    """Refuse a path for a folder that is a file, or below one.

    Raises:
        FGDError: it is.
    """
    if path.exists() and not path.is_dir():
        raise FGDError(f"{path}: is a file, and a folder is to be written there; name a folder")
    _refuse_below_file(path)


def refuse_foreign(path: Path, words: Iterable[str]) -> None:
    """Refuse a path for a file if something is there that was not written as this one will be.

    Args:
        words: all of which are in a file that was.

    Raises:
        FGDError: something is.
    """
    refuse_folder(path)
    if not path.exists():
        _refuse_below_file(path)
    elif not path.is_file():
        raise FGDError(f"{path}: is no ordinary file; name another")
    elif path.stat().st_size and not holds(path, words):  # an empty one is nobody's
        raise FGDError(
            f"{path}: is there already, and this command did not write it; name another file, or "
            "move it"
        )


def refuse_folder(path: Path) -> None:
    """Refuse a path for a file that is a folder.

    Raises:
        FGDError: it is.
    """
    if path.is_dir():
        raise FGDError(f"{path}: is a folder, and a file is to be written there; name a file")


def _refuse_below_file(path: Path) -> None:
    above = next((parent for parent in path.absolute().parents if parent.exists()), None)
    if above is not None and not above.is_dir():
        raise FGDError(f"{path}: {above} is a file, so nothing can be written below it")


# Arguments: a file that has to be there, a suite, and a folder to write to.
FILE = _Path(exists=True, dir_okay=False)
SUITE = _Suite(exists=True, dir_okay=False)
CONFIG = _Input("a config (.py)", dict.fromkeys(WEIGHTS, "a checkpoint"))
CHECKPOINT = _Input("a checkpoint", {".py": "a config"})
OUT_FOLDER = _OutFolder()
# What is written where, or into what, is known to the command itself, which looks.
OUT = _Path(written=True)
# A training's final state.
TRAINED = out_file("state_dict", "optimizer", "fingerprint")
# What is in a figure; figures' names tell the rest, but for that of `fgd data show`.
DRAWN = "Matplotlib"
PICTURE = "fgd, with Matplotlib"
