"""Whether all images of an annotation file are there, to their ends."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
from PIL import Image

from fgd.errors import FGDError


def check_files(file: Path, folder: Path, images: dict[str, list[Any]]) -> None:
    """Name an image that the annotation file lists and that is not there.

    Raises:
        FGDError: one is not, or none is.
    """
    there = set(os.listdir(folder))  # one call and not 118,000
    missing = [
        name
        for name in images["file_name"]
        if name not in there and not ("/" in name and (folder / name).is_file())
    ]
    # Names with a path too much are all missing, too, and can be mended.
    if len(missing) == len(images["file_name"]) and there.isdisjoint(map(_bare, missing)):
        raise none_there(file, folder, missing)
    if missing:
        raise FGDError(
            f"image {folder / missing[0]} is missing, which {file} lists ({len(missing)} of "
            f"{len(images['file_name'])} images are missing). Unpack the images again, or have "
            "names mended and annotations written without them: `fgd data clean`"
        )


def none_there(file: Path, folder: Path, names: list[str]) -> FGDError:
    """The error of an annotation file whose images lie elsewhere."""
    return FGDError(
        f"{folder}: holds none of the {len(names)} images that {file} lists, for example "
        f"{names[0]}: is it the right folder? Give the one that they lie in"
    )


def _bare(name: str) -> str:
    """A file's name without folders, as Windows or others write it."""
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def check_ends(folder: Path, names: list[str]) -> None:
    """Name an image that was cut short: what most often goes wrong when files are copied.

    Two reads a file: COCO's 123,287 images need not be decoded.
    """
    with ThreadPoolExecutor(16) as pool:  # a shared disk answers many at once
        ends = pool.map(lambda name: _ends(folder / name), names, chunksize=256)
        cut = [name for name, whole in zip(names, ends, strict=True) if not whole]
    if cut:
        raise FGDError(
            f"image {folder / cut[0]} is cut short, or no image that OpenCV reads ({len(cut)} of "
            f"{len(names)} images are); unpack or copy the images again"
        )


def _ends(path: Path) -> bool:
    """Whether a file is an image and has its end, which of JPEG and PNG alone can be seen."""
    with path.open("rb") as file:
        begin = file.read(2)
        file.seek(-min(12, path.stat().st_size), os.SEEK_END)
        end = file.read()
    if begin == b"\xff\xd8" and not end.rstrip(b"\0").endswith(b"\xff\xd9"):
        # Bytes behind the end are allowed: only decoding tells.
        try:
            with Image.open(path) as image:
                image.load()
        except Exception:  # Pillow raises many types
            return False
    elif begin == b"\x89P":
        return end[4:8] == b"IEND"
    else:
        return bool(begin) and cv2.haveImageReader(str(path))
    return True
