"""Files that appear complete or not at all."""

import fcntl
import hashlib
import json
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FICLONE = 0x40049409  # of linux/fs.h: let a file share the blocks of another


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it becomes `path`, on error it is removed.

    The temporary file lies in the same folder, so that the rename is atomic; file and folder are
    fsynced, so that after a power cut `path` is the old file or the new one, never a part of it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        _fsync(temporary)
        os.replace(temporary, path)
        _fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def holds(path: str | os.PathLike, words: Iterable[str]) -> bool:
    """Whether all words are in a file; False where there is none."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            return all(text.find(word.encode()) >= 0 for word in words)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # of an empty one there is no map
        return False


def link_or_copy(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Give `target` the content of `source`, complete or not at all, and the present as its time.

    A hard link where the file system is the same, since checkpoints are hundreds of megabytes:
    neither may be written to afterwards, only replaced, and time and permissions are those of both.
    Elsewhere a copy. What others have, too, is copied by `copy_of`.
    """
    with atomic_path(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
        os.utime(temporary)  # newer than what it was made from, also if it was made before


def copy_of(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Copy `source` to `target`, complete or not at all.

    Where the file system can, the copy shares the source's blocks until one of them is written to.
    """
    with atomic_path(target) as temporary:
        try:
            with open(source, "rb") as original, temporary.open("wb") as clone:
                fcntl.ioctl(clone, _FICLONE, original.fileno())
        except OSError:
            shutil.copyfile(source, temporary)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write `text` as UTF-8, complete or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write `value` as indented JSON, complete or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def sha256(path: str | os.PathLike) -> str:
    """The file's SHA-256 as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def impostor(path: str | os.PathLike) -> str | None:
    """What a file is that often lies in another's place, and what to do; None: none of these."""
    with open(path, "rb") as file:
        start = file.read(200).lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        return (
            "is a Git LFS pointer, a few lines in place of the file: run `git lfs pull` where it "
            "is from, or download the file itself"
        )
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return (
            "is a web page, as servers answer where there is no such file or a login is needed: "
            "open its address in a browser, and download the file itself"
        )
    return None


def cache_root() -> Path:
    """Where users and projects share what is expensive to get: `$FGD_CACHE` or `~/.cache/fgd`."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fgd"
    return Path(os.environ.get("FGD_CACHE") or default)


def _umask() -> int:
    # The only way to read the umask is to set it; mkstemp ignores it and makes files private.
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
