"""A folder that appears complete or not at all, as fgd.files does it for one file."""

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from fgd.errors import FGDError
from fgd.files import holds


@contextmanager
def atomic_folder(
    path: str | os.PathLike, *, marker: str, says: str, others: Collection[str]
) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success it becomes `path`, on error it is removed.

    A folder that already stands at `path` is replaced only if that can cost nobody any data: it
    holds no files, or those that this writes and no other.

    Args:
        marker: a file that whoever fills the folder has to write,
        says: with these words in it, by which an earlier one is known.
        others: patterns of what else is written, of paths from the folder on.

    Raises:
        FGDError: `path` is something else, for example a folder of the user's own files.
    """
    path = Path(path).resolve()
    _refuse_foreign(path, marker, says, others)
    path.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        new = workshop / "new"
        new.mkdir()
        yield new
        _fsync_tree(new)
        if path.exists():
            os.rename(path, workshop / "old")
        os.rename(new, path)
    finally:
        shutil.rmtree(workshop)


def _refuse_foreign(path: Path, marker: str, says: str, others: Collection[str]) -> None:
    if not path.exists():
        return
    if not path.is_dir():
        raise FGDError(f"{path} is a file; a folder is to be written there: name another one")
    known = [marker, *others] if holds(path / marker, [says]) else []
    for entry in sorted(path.rglob("*")):
        file = entry.relative_to(path)
        if not (entry.is_dir() or any(_is_one(file, pattern) for pattern in known)):
            raise FGDError(
                f"{path} holds {file}, which was not written by this command, so it is not "
                "replaced: name a new or empty folder"
            )


def _is_one(file: Path, pattern: str) -> bool:
    return len(file.parts) == len(Path(pattern).parts) and file.match(pattern)


def _fsync_tree(folder: Path) -> None:
    """Bring the folder and all it holds onto the disk, so that the rename never comes first."""
    for entry in [folder, *folder.rglob("*")]:
        descriptor = os.open(entry, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
