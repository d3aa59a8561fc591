"""Checkpoints from an address, verified by their hash and kept in a cache that users share.

The cache is `$FGD_CACHE/checkpoints`, by default `~/.cache/fgd/checkpoints`. A file that was placed
there by hand, under the last part of its address, is found and verified like any other.
"""

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, url2pathname, urlopen

from tqdm import tqdm

from fgd.errors import FGDError
from fgd.files import atomic_path, cache_root, place, sha256

_TRIES = 5
_PAUSE_S = 2  # before the second try; twice as long before each further one
_SILENCE_S = 60  # after which a connection counts as broken
_CHUNK = 1 << 20


def fetch(address: str, target: str | os.PathLike, hash8: str) -> None:
    """Bring the file at `address` (http, https or file) to `target`, verified or not at all.

    What comes over the network goes through the cache: it is downloaded once for all who share the
    cache, and a download that broke off is continued. A bar shows the progress if standard error is
    a terminal.

    Args:
        hash8: hex digits with which the file's SHA-256 must begin, at least 8.

    Raises:
        FGDError: no such file, no network, or other bytes than the hash promises.
    """
    parts = urlsplit(address)
    if parts.scheme == "file":
        source = Path(url2pathname(parts.path))
        if not source.is_file():
            raise FGDError(f"{address}: there is no such file")
        _verify(source, hash8, address)
        place(source, target)
        return
    cached = cache_folder() / unquote(parts.path.rsplit("/", 1)[-1])
    cached.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(cached):
        if cached.exists():
            _verify(cached, hash8, str(cached))
        else:
            _download(address, cached, hash8)
        place(cached, target)


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
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def cache_folder() -> Path:
    """Where downloaded checkpoints are kept."""
    return cache_root() / "checkpoints"


def _download(address: str, cached: Path, hash8: str) -> None:
    """Download into the cache, going on where an earlier try broke off."""
    part = _receive_whole(address, cached)
    try:
        _verify(part, hash8, address)
    except FGDError:
        part.unlink()  # continuing it would not mend it
        raise
    os.replace(part, cached)


def receive(address: str, target: str | os.PathLike) -> None:
    """Download what has no hash, going on where an earlier try broke off.

    Raises:
        FGDError: no network, or the server has no such file.
    """
    os.replace(_receive_whole(address, Path(target)), target)


def _receive_whole(address: str, target: Path) -> Path:
    """Download to a file beside `target`, in as many tries as it takes."""
    part = target.with_name(f"{target.name}.part")
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_S * 2 ** (attempt - 1))
        try:
            _receive(address, part)
            return part
        except HTTPError as error:
            raise FGDError(f"{address}: the server answers {error.code} {error.reason}") from error
        except (URLError, HTTPException, OSError) as error:
            broken = error
    reason = getattr(broken, "reason", broken)
    raise FGDError(
        f"{address}: no connection ({reason}). Without network, fetch the file elsewhere and "
        f"place it at {target}"
    ) from broken


def _receive(address: str, part: Path) -> None:
    """Append what is missing of `part`.

    Raises:
        HTTPException: the connection ended before the file did.
    """
    have = part.stat().st_size if part.exists() else 0
    request = Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urlopen(request, timeout=_SILENCE_S)
    except HTTPError as error:
        if error.code == 416:  # nothing lies behind what is there: the hash decides
            return
        raise
    with answer:
        continues = answer.status == 206
        rest = answer.length
        with (
            part.open("ab" if continues else "wb", buffering=0) as file,
            tqdm(
                desc=part.stem,
                initial=have if continues else 0,
                total=None if rest is None else rest + (have if continues else 0),
                unit="B",
                unit_scale=True,
                disable=not sys.stderr.isatty(),
            ) as bar,
        ):
            received = 0
            while chunk := answer.read1(_CHUNK):
                file.write(chunk)
                received += len(chunk)
                bar.update(len(chunk))
    if rest is not None and received < rest:
        raise HTTPException(f"the connection broke after {received} of {rest} bytes")


def _verify(file: Path, hash8: str, name: str) -> None:
    actual = sha256(file)
    if not actual.startswith(hash8):
        raise FGDError(
            f"{name}: expected a file with sha256 {hash8}..., got {actual[: len(hash8)]}... "
            f"({file.stat().st_size} bytes). Remove it, or get the right one, and try again"
        )


@contextmanager
def _one_at_a_time(cached: Path) -> Iterator[None]:
    """Let one process download a file; the others say so, wait, and find it."""
    with cached.with_name(f".{cached.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            words = f"{cached}: another process is downloading it, waiting for that"
            print(words, file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
