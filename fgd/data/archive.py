"""COCO 2017 from its three archives: downloaded, and unpacked without trusting what they say.

An archive that comes over the network is data from elsewhere: every name in it has to be the one of
an image or annotation file, sizes and numbers are bounded before a byte is written, and a folder
gets its name only when all of it is there and its checksums were right.
"""

import os
import shutil
import stat
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from urllib.request import url2pathname

from filelock import FileLock
from tqdm import tqdm

from fgd.download import receive
from fgd.errors import FGDError

COCO = "http://images.cocodataset.org"
_CHUNK = 1 << 20
_RATIO = 200  # unpacked to packed: JSON of numbers reaches 10, images 1


@dataclass(frozen=True)
class Archive:
    """One archive of a data set.

    Attributes:
        path: below the data set's address.
        folder: the only folder in it.
        files: how many files that holds.
        ending: of all of them.
        most_bytes: unpacked.
    """

    path: str
    folder: str
    files: int
    ending: str
    most_bytes: int


# Small ones first: what is wrong with an address shows in minutes.
COCO_2017 = (
    Archive("annotations/annotations_trainval2017.zip", "annotations", 6, ".json", 2 << 30),
    Archive("zips/val2017.zip", "val2017", 5_000, ".jpg", 2 << 30),
    Archive("zips/train2017.zip", "train2017", 118_287, ".jpg", 40 << 30),
)


def download_coco(
    out: str | os.PathLike, address: str = COCO, archives: tuple[Archive, ...] = COCO_2017
) -> list[str]:
    """Bring COCO 2017 into the folder `out`; folders that are there stay as they are.

    A download that broke off is continued. An archive is removed when it is unpacked.

    Args:
        address: http, https or file; below it lie zips/ and annotations/.

    Returns:
        The folders that were not there before.

    Raises:
        FGDError: no connection, another archive than expected, or too little space.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    made = []
    with FileLock(out / ".download.lock", fallback_to_soft=False):
        for archive in archives:
            if not (out / archive.folder).exists():
                _bring(f"{address.rstrip('/')}/{archive.path}", out, archive)
                made.append(archive.folder)
    return made


def _bring(address: str, out: Path, archive: Archive) -> None:
    parts = urlsplit(address)
    if parts.scheme == "file":
        unpack(Path(url2pathname(parts.path)), out, archive)
        return
    local = out / Path(archive.path).name
    if not local.exists():
        receive(address, local, times=2)  # it is unpacked beside itself
    try:
        unpack(local, out, archive)
    except _WrongArchive:
        local.unlink()  # continuing it would not mend it
        raise
    local.unlink()


class _WrongArchive(FGDError):
    """The archive itself is wrong, not the place where it is unpacked."""


def unpack(file: Path, out: Path, archive: Archive) -> None:
    """Unpack an archive into `out/<its folder>`, whole or not at all.

    Raises:
        FGDError: it is damaged, holds something else, or does not fit on the disk.
    """
    if not file.is_file():
        raise FGDError(f"{file}: there is no such archive")
    part = out / f".{archive.folder}.part"
    shutil.rmtree(part, ignore_errors=True)  # what an earlier run left half done
    try:
        with zipfile.ZipFile(file) as opened:
            members = _members(file, opened, archive)
            _check_space(out, sum(member.file_size for member in members))
            _extract(opened, members, part)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _WrongArchive(f"{file}: damaged ({error}); it has to be fetched again") from error
    else:
        os.sync()  # once, for a hundred thousand files
        os.replace(part / archive.folder, out / archive.folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _members(file: Path, opened: zipfile.ZipFile, archive: Archive) -> list[zipfile.ZipInfo]:
    """The files of an archive, every one of them as expected."""
    members = [member for member in opened.infolist() if not member.is_dir()]
    for member in members:
        path = PurePosixPath(member.filename)
        plain = path.parts[:-1] == (archive.folder,) and "\\" not in member.filename
        kind = stat.S_IFMT(member.external_attr >> 16)
        if not plain or path.suffix != archive.ending or kind not in (0, stat.S_IFREG):
            raise _WrongArchive(
                f"{file}: holds {member.filename!r}; expected nothing but files "
                f"{archive.folder}/*{archive.ending}"
            )
    names = {member.filename for member in members}
    if len(members) != archive.files or len(names) != archive.files:
        raise _WrongArchive(
            f"{file}: holds {len(members)} files, expected {archive.files} in {archive.folder}/"
        )
    unpacked = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if unpacked > archive.most_bytes or unpacked > _RATIO * max(packed, 1):
        raise _WrongArchive(
            f"{file}: {packed} bytes would become {unpacked}; expected at most "
            f"{min(archive.most_bytes, _RATIO * packed)}"
        )
    return members


def _check_space(out: Path, needed: int) -> None:
    free = shutil.disk_usage(out).free
    if free < needed:
        raise FGDError(
            f"{out}: {needed / 1e9:.1f} GB have to be unpacked, {free / 1e9:.1f} GB are free there"
        )


def _extract(opened: zipfile.ZipFile, members: list[zipfile.ZipInfo], part: Path) -> None:
    """Write the members; zipfile reads as many bytes as were declared, and checks their sum."""
    with tqdm(
        total=sum(member.file_size for member in members),
        desc=part.name.strip(".").removesuffix(".part"),
        unit="B",
        unit_scale=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        for member in members:
            target = part / member.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(member) as source, target.open("wb") as file:
                while chunk := source.read(_CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
