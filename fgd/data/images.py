"""What is wrong with an image file, or worth knowing, before training reads it in a worker."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

# Kinds of findings that training cannot live with. The rest it reads as well: they are counted.
UNREADABLE = "unreadable"
OTHER_SIZE = "of another size"
TURNED = "turned by EXIF"
ACCEPTED = (
    NAMED_WRONG := "named as another format",
    GRAY := "grayscale",
    CMYK := "CMYK",
    ALPHA := "with transparency or a palette",
    DEEP := "of 16 bits",
    TURNED_AS_STATED := "turned by EXIF, as the annotation file has it",
    LEFT_AS_STORED := "with an EXIF orientation that training does not apply",
)
REFUSED = (UNREADABLE, OTHER_SIZE, TURNED)

# What OpenCV, which mmdet reads images with, decodes in every build.
_FORMATS = {
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".jpg", ".jpeg"),  # a JPEG of several pictures, as some cameras write it
    "PNG": (".png",),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
}
_MODES = {"L": GRAY, "1": GRAY, "CMYK": CMYK, "YCCK": CMYK, "P": ALPHA, "RGBA": ALPHA, "LA": ALPHA}
_ORIENTATION = 0x0112  # of EXIF
_UPRIGHT = 1
_TURNS = range(2, 9)  # orientations that say something; other numbers mean nothing
_TRANSPOSES = range(5, 9)  # of these: width and height change places
_MOST_PIXELS = 1 << 28  # OpenCV takes 2^30; an image of this many fills 800 MB of a worker
# Pillow refuses from twice this number on, which is less than training reads, and warns before.
Image.MAX_IMAGE_PIXELS = _MOST_PIXELS


class Finding(NamedTuple):
    """A kind of `REFUSED` or `ACCEPTED`, and why."""

    kind: str
    reason: str


def look_at_all(
    folder: Path, images: Iterable[tuple[str, int, int]]
) -> Iterator[tuple[str, list[Finding]]]:
    """Decode every image; what is found by file name, in the order given.

    Args:
        images: of each its file name, and width and height as the annotation file has them.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        images = list(images)
        found = pool.map(lambda image: look(folder / image[0], image[1], image[2]), images)
        yield from zip((name for name, *_ in images), found, strict=True)


def look(path: Path, width: int, height: int) -> list[Finding]:
    """Decode an image and compare it with the size that the annotation file states."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > _MOST_PIXELS:
                size = f"{image.width} x {image.height}"
                return [Finding(UNREADABLE, f"declares {size} pixels")]
            if image.format not in _FORMATS:
                return [Finding(UNREADABLE, f"is a {image.format}, which OpenCV does not read")]
            orientation = _orientation(image)  # before it is loaded: a TIFF forgets it then
            image.load()
            return list(_findings(image, path, (width, height), orientation))
    except Exception as error:
        # Pillow raises OSError, SyntaxError, ValueError, struct.error, DecompressionBombError ...
        words = " ".join(str(error).replace(str(path), "it").split()) or type(error).__name__
        return [Finding(UNREADABLE, f"cannot be read ({words})")]


def size_of(path: Path) -> tuple[int, int] | None:
    """Width and height in pixels, as training reads the image; None if it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.size if _orientation(image) == _UPRIGHT else _as_trained(path).size
    except Exception:  # Pillow raises many types
        return None


class _Read(NamedTuple):
    """What training gets of an image: width and height, and whether an orientation was applied."""

    size: tuple[int, int]
    turned: bool


def _orientation(image: Image.Image) -> Any:
    """The EXIF orientation of an image, a number if the file is sound."""
    return image.getexif().get(_ORIENTATION, _UPRIGHT)


def _as_trained(path: Path) -> _Read:
    """Decode an image that has an orientation as training does, which nothing else tells.

    OpenCV applies those of JPEG, PNG and TIFF, from 5 on those of WebP, and none that stands in XMP
    alone, where Pillow finds it, too. Pillow in turn has the size of a TIFF turned already, that of
    every other format not.

    Raises:
        ValueError: OpenCV cannot.
    """
    content = np.fromfile(path, np.uint8)
    read = cv2.imdecode(content, cv2.IMREAD_COLOR)
    # A TIFF is turned whatever the flags say, so that the two are the same.
    stored = cv2.imdecode(content, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if read is None or stored is None:
        raise ValueError("OpenCV, with which training reads it, does not decode it")
    tiff = content[:2].tobytes() in (b"II", b"MM")
    return _Read((read.shape[1], read.shape[0]), tiff or not np.array_equal(read, stored))


def _findings(
    image: Image.Image, path: Path, stated: tuple[int, int], orientation: Any
) -> Iterator[Finding]:
    size, turned = (image.size, False) if orientation == _UPRIGHT else _as_trained(path)
    if stated != size:
        if orientation in _TRANSPOSES and stated == size[::-1]:
            applied = f"once its EXIF orientation {orientation} is applied, as training does"
            left = f"as training reads it, without its EXIF orientation {orientation}"
            yield Finding(
                TURNED,
                f"is {size[0]} x {size[1]} pixels {applied if turned else left}, and its boxes are "
                f"those of {stated[0]} x {stated[1]}",
            )
        else:
            yield Finding(
                OTHER_SIZE,
                f"is {size[0]} x {size[1]} pixels, and {stated[0]} x {stated[1]} are stated",
            )
    elif orientation in _TURNS:
        kind = TURNED_AS_STATED if turned else LEFT_AS_STORED
        yield Finding(kind, f"has the EXIF orientation {orientation}")
    if path.suffix.lower() not in _FORMATS[image.format or ""]:
        yield Finding(NAMED_WRONG, f"is a {image.format} named {path.suffix}")
    if image.mode in _MODES:
        yield Finding(_MODES[image.mode], f"has the mode {image.mode}")
    elif image.mode.startswith(("I", "F")):
        yield Finding(DEEP, f"has the mode {image.mode}; training reads 8 bits")
