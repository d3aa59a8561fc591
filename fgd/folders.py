"""A folder that appears complete or not at all, as fgd.files does it for one file."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fgd.errors import FGDError


@contextmanager
def atomic_folder(path: str | os.PathLike, marker: str) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success it becomes `path`, on error it is removed.

    A folder that already stands at `path` is replaced only if that can cost nobody any data: it
    holds no files, or it holds the file `marker`, which whoever fills the folder has to write.

    Raises:
        FGDError: `path` is something else, for example a folder of the user's own files.
    """
    path = Path(path).resolve()
    _refuse_foreign(path, marker)
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


def _refuse_foreign(path: Path, marker: str) -> None:
    if not path.exists() or (path / marker).is_file():
        return
    if not path.is_dir():
        raise FGDError(f"{path} is a file; a folder is to be written there: name another one")
    foreign = next((entry for entry in sorted(path.rglob("*")) if not entry.is_dir()), None)
    if foreign:
        raise FGDError(
            f"{path} holds files that were not written by this command (no {marker} in it, but "
            f"{foreign.relative_to(path)}), so it is not replaced: name a new or empty folder"
        )


def _fsync_tree(folder: Path) -> None:
    """Bring the folder and all it holds onto the disk, so that the rename never comes first."""
    for entry in [folder, *folder.rglob("*")]:
        descriptor = os.open(entry, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
