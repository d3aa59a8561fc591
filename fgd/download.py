"""Checkpoints from an address, verified by their hash and kept in a cache that users share.

The cache is `$FGD_CACHE/checkpoints`, by default `~/.cache/fgd/checkpoints`. A file that was placed
there by hand is found and verified like any other; its name is the last part of its address, with
the characters that `%2B` and the like stand for. What is taken from the cache is a copy: results do
not change when the cache is cleaned, nor one suite's files when another suite fetches the same.
"""

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, url2pathname, urlopen

from tqdm import tqdm

from fgd.errors import FGDError
from fgd.files import cache_root, copy_of, impostor, sha256

_TRIES = 5  # in a row that bring nothing
_PAUSE_S = 2  # after the first of them; twice as long after each further one
_SILENCE_S = 60  # after which a connection counts as broken
_CHUNK = 1 << 20


def fetch(address: str, target: str | os.PathLike, hash8: str) -> None:
    """Bring the file at `address` (http, https or file) to `target`, verified or not at all.

    What comes over the network goes through the cache: it is downloaded once for all who share the
    cache, and a download that broke off is continued. A bar shows the progress if standard error is
    a terminal.

    Args:
        hash8: hex digits with which the file's SHA-256 must begin, at least 8; "" where nobody has
            said any. Then the cache has the file under the whole of its address.

    Raises:
        FGDError: no such file, no network, too little space, or other bytes than the hash promises.
        OSError: it cannot be written.
    """
    parts = urlsplit(address)
    if parts.scheme == "file":
        source = Path(url2pathname(parts.path))
        if not source.is_file():
            raise FGDError(f"{address}: there is no such file")
        _verify(source, hash8, address)
        copy_of(source, target)
        return
    cached = cached_file(address) if hash8 else _by_address(address)
    if not (cached.is_file() and sha256(cached).startswith(hash8)):
        _fill(address, cached, hash8)
    copy_of(cached, target)


def copy(source: str | os.PathLike, target: str | os.PathLike, digest: str = "") -> None:
    """Copy the user's own file, which stays as it is, verified or not at all.

    Args:
        digest: hex digits with which its SHA-256 must begin; "" for any.

    Raises:
        FGDError: there is no such file, or it has another hash.
    """
    source = Path(source)
    if not source.is_file():
        raise FGDError(f"{source}: there is no such file")
    _verify(source, digest, str(source))
    copy_of(source, target)


def cache_folder() -> Path:
    """Where downloaded checkpoints are kept."""
    return cache_root() / "checkpoints"


def cached_file(address: str) -> Path:
    """Where the file of an http or https address is kept."""
    return cache_folder() / unquote(urlsplit(address).path.rsplit("/", 1)[-1])


def _by_address(address: str) -> Path:
    """Where the file of an address without a hash is kept: another may have the same name."""
    parts = urlsplit(address)
    names = [name for name in unquote(parts.path).split("/") if name not in ("", ".", "..")]
    return cache_folder().joinpath(parts.hostname or "", *names)


def _fill(address: str, cached: Path, hash8: str) -> None:
    """Bring a file into the cache, or refuse the one that is there."""
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(cached):
            if cached.exists():
                _verify(cached, hash8, str(cached))
            else:
                _download(address, cached, hash8)
    except PermissionError as error:
        raise FGDError(
            f"{error.filename}: you may not write there, and the cache lacks {cached.name}. Let "
            "its owner download it, or set FGD_CACHE to a folder of your own"
        ) from error


def _download(address: str, cached: Path, hash8: str) -> None:
    """Download into the cache, going on where an earlier try broke off."""
    part = _receive_whole(address, cached)
    try:
        _verify(part, hash8, address)
    except FGDError:
        part.unlink()  # continuing it would not mend it
        raise
    os.replace(part, cached)


def receive(address: str, target: str | os.PathLike, times: float = 1) -> None:
    """Download what has no hash, going on where an earlier try broke off.

    Args:
        times: how many times its size has to be free on the disk; more than 1 for what is unpacked.

    Raises:
        FGDError: no network, the server has no such file, or the disk has too little space.
        OSError: it cannot be written.
    """
    os.replace(_receive_whole(address, Path(target), times), target)


class _Broken(Exception):
    """The network or the server failed, and another try may succeed."""


def _receive_whole(address: str, target: Path, times: float = 1) -> Path:
    """Download to a file beside `target`, in as many tries as it takes.

    Only tries in a row that bring nothing are counted.
    """
    part = target.with_name(f"{target.name}.part")
    most, failed = _size(part), 0
    while True:
        try:
            _receive(address, part, times)
            return part
        except _Broken as error:
            broken = error
        failed = failed + 1 if _size(part) <= most else 1
        most = max(most, _size(part))
        if failed == _TRIES:
            raise FGDError(
                f"{address}: {broken}. Without network, fetch the file elsewhere and place it at "
                f"{target}"
            ) from broken
        time.sleep(_PAUSE_S * 2 ** (failed - 1))


def _receive(address: str, part: Path, times: float) -> None:
    """Append what is missing of `part`.

    Raises:
        _Broken: there is no connection, or it ended before the file did.
    """
    have = _size(part)
    answer = _request(address, have)
    if answer is None:
        return
    with answer:
        if answer.status != 206:
            have = 0
        rest = answer.length
        if rest is not None:
            _check_space(address, part.parent, times * (have + rest) - _size(part))
        with (
            part.open("ab" if have else "wb", buffering=0) as file,
            tqdm(
                desc=part.stem,
                initial=have,
                total=None if rest is None else have + rest,
                unit="B",
                unit_scale=True,
                disable=not sys.stderr.isatty(),
            ) as bar,
        ):
            received = 0
            for chunk in _chunks(answer):
                _write(file, chunk, part)
                received += len(chunk)
                bar.update(len(chunk))
    if rest is not None and received < rest:
        raise _Broken(f"the connection broke after {received} of {rest} bytes")


def _request(address: str, have: int) -> HTTPResponse | None:
    """The server's answer, from byte `have` on; None if nothing lies behind what is there."""
    request = Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        return urlopen(request, timeout=_SILENCE_S)
    except HTTPError as error:
        if error.code == 416:  # the hash decides
            return None
        words = f"the server answers {error.code} {error.reason}"
        if error.code == 429 or error.code >= 500:  # it is busy
            raise _Broken(words) from error
        raise FGDError(f"{address}: {words}") from error
    except (URLError, HTTPException, OSError) as error:
        raise _Broken(f"no connection ({getattr(error, 'reason', error)})") from error


def _chunks(answer: HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = answer.read1(_CHUNK)
        except (HTTPException, OSError) as error:
            raise _Broken(f"the connection broke ({error})") from error
        if not chunk:
            return
        yield chunk


def _write(file: BinaryIO, chunk: bytes, path: Path) -> None:
    """Write all of a chunk; an error of the disk names the file."""
    try:
        written = file.write(chunk)
        while written < len(chunk):  # the disk is nearly full
            written += file.write(chunk[written:])
    except OSError as error:
        error.filename = str(path)
        raise


def _check_space(address: str, folder: Path, needed: float) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise FGDError(
            f"{folder}: {address} needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free there. "
            "Make room and run the same again"
        )


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _verify(file: Path, hash8: str, name: str) -> None:
    actual = sha256(file)
    wrong = not actual.startswith(hash8)
    if (wrong or not hash8) and (what := impostor(file)):
        raise FGDError(f"{name}: what is there {what}")
    if wrong:
        raise FGDError(
            f"{name}: expected a file with sha256 {hash8}..., got {actual[: len(hash8)]}... "
            f"({file.stat().st_size} bytes). Remove it, or get the right one, and try again"
        )


@contextmanager
def _one_at_a_time(cached: Path) -> Iterator[None]:
    """Let one process download a file; the others say so, wait, and find it."""
    # Not filelock's: that takes no file which another user has made and only lets us read.
    with _open_lock(cached.with_name(f".{cached.name}.lock")) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            words = f"{cached}: another process is downloading it, waiting for that"
            print(words, file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _open_lock(path: Path) -> IO:
    """A lock file that every user of the cache can open, whoever made it, under any umask."""
    try:
        lock = path.open("a")
    except PermissionError:
        if not path.exists():
            raise
        return path.open()  # another user's; this is enough but on NFS
    if path.stat().st_uid == os.geteuid():
        path.chmod(0o666)
    return lock
