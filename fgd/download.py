"""Checkpoints from an address, verified by their hash."""

import os
import sys
from pathlib import Path
from urllib.error import HTTPError, URLError

from torch.hub import download_url_to_file

from fgd.errors import FGDError
from fgd.files import atomic_path, sha256


def fetch(address: str, target: str | os.PathLike, hash8: str) -> None:
    """Download `address` (http, https or file) to `target`; it appears verified or not at all.

    A bar shows the progress if standard error is a terminal.

    Args:
        hash8: hex digits with which the file's SHA-256 must begin, at least 8.

    Raises:
        FGDError: no such file, no network, or other bytes than the hash promises.
    """
    with atomic_path(target) as temporary:
        _download(address, temporary, target)
        actual = sha256(temporary)
        if not actual.startswith(hash8):
            raise FGDError(
                f"{address}: expected a file with sha256 {hash8}..., got {actual[: len(hash8)]}... "
                f"({temporary.stat().st_size} bytes); nothing was written to {target}"
            )


def _download(address: str, temporary: Path, target: str | os.PathLike) -> None:
    by_hand = f"; or fetch it elsewhere and place it at {target}"
    try:
        download_url_to_file(address, str(temporary), progress=sys.stderr.isatty())
    except HTTPError as error:
        raise FGDError(f"{address}: the server answers {error.code} {error.reason}") from error
    except URLError as error:
        if isinstance(error.reason, FileNotFoundError):
            raise FGDError(f"{address}: there is no such file") from error
        raise FGDError(f"{address}: no connection ({error.reason}){by_hand}") from error
    except (ConnectionError, TimeoutError) as error:
        raise FGDError(f"{address}: the connection broke ({error}); run again") from error
