"""What is wrong with an image file, or worth knowing, before training reads it in a worker."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

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
_ORIENTATION = 0x0112  # EXIF: 1 is upright, from 5 on width and height change places
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
            image.load()
            turned = image.getexif().get(_ORIENTATION, 1)
            return list(_findings(image, path, (width, height), turned))
    except Exception as error:
        # Pillow raises OSError, SyntaxError, ValueError, struct.error, DecompressionBombError ...
        words = " ".join(str(error).replace(str(path), "it").split()) or type(error).__name__
        return [Finding(UNREADABLE, f"cannot be read ({words})")]


def size_of(path: Path) -> tuple[int, int] | None:
    """Width and height in pixels, as training reads the image; None if it cannot be read."""
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION, 1)
            return image.size[::-1] if turned >= 5 else image.size
    except Exception:  # Pillow raises many types
        return None


def _findings(
    image: Image.Image, path: Path, stated: tuple[int, int], turned: int
) -> Iterator[Finding]:
    size = image.size[::-1] if turned >= 5 else image.size  # OpenCV turns what it reads
    if stated != size:
        if turned >= 5 and stated == image.size:
            yield Finding(
                TURNED,
                f"is {size[0]} x {size[1]} pixels once its EXIF orientation {turned} is applied, "
                f"as training does, and its boxes are those of {stated[0]} x {stated[1]}",
            )
        else:
            yield Finding(
                OTHER_SIZE,
                f"is {size[0]} x {size[1]} pixels, and {stated[0]} x {stated[1]} are stated",
            )
    elif turned != 1:
        yield Finding(TURNED_AS_STATED, f"has the EXIF orientation {turned}")
    if path.suffix.lower() not in _FORMATS[image.format or ""]:
        yield Finding(NAMED_WRONG, f"is a {image.format} named {path.suffix}")
    if image.mode in _MODES:
        yield Finding(_MODES[image.mode], f"has the mode {image.mode}")
    elif image.mode.startswith(("I", "F")):
        yield Finding(DEEP, f"has the mode {image.mode}; training reads 8 bits")
