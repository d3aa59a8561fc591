"""COCO files of what was read: every image looked at, every box in its image."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fgd.data import images as image_files
from fgd.data import segmentation
from fgd.data.boxes import BORDER_TOLERANCE
from fgd.data.images import look_at_all, size_of
from fgd.errors import FGDError, suggestion
from fgd.importing.reading import Labelled, LabelledImage, Source

_DIGITS = 3  # of a pixel: fractions of an image are written with six
CUT = "box cut off at the border"
TWICE = "object that stands twice, taken once"


def common_folder(images: Sequence[LabelledImage]) -> Path:
    """The folder that holds all images: what their file names are relative to."""
    folders = {image.path.parent for image in images}
    if len({folder.is_absolute() for folder in folders}) > 1:
        raise FGDError("some paths of images are absolute and some are not; give absolute ones")
    return Path(os.path.commonpath(folders))


def sound_images(source: Source, images: list[LabelledImage]) -> list[LabelledImage]:
    """The images that training can read; of the others, faults. Sizes are those of the files."""
    known = []
    for image in images:
        size = size_of(image.path)
        if size is None:
            source.fault(image.path, "is no image that can be read")
            continue
        image.size = image.size or size
        known.append(image)
    sizes = [(str(image.path), *(image.size or (0, 0))) for image in known]
    sound = []
    for image, (_, findings) in zip(known, look_at_all(Path(), sizes), strict=True):
        refused = [finding for finding in findings if finding.kind in image_files.REFUSED]
        for finding in refused:
            source.fault(image.file, f"its image {image.path} {finding.reason}")
        for finding in findings:
            # Fractions of an image fit either way round: only eyes see which one they are of.
            if finding.kind == image_files.LEFT_AS_STORED:
                source.note(f"image {finding.kind}", image.path, f"it {finding.reason}")
        if not refused:
            sound.append(image)
    return sound


def sound_objects(source: Source, image: LabelledImage) -> list[Labelled]:
    """The objects of an image whose boxes lie in it, each once; of the others, faults."""
    assert image.size is not None  # as `sound_images` says
    seen, sound = set(), []
    for item in image.objects:
        x1, y1, x2, y2 = item.box
        width, height = image.size
        inside = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
        words = f"{item.origin} ({item.name}) has the corners {_numbers(item.box)}, from 0"
        if min(inside[2] - inside[0], inside[3] - inside[1]) < 1:
            where = "" if min(x2 - x1, y2 - y1) < 1 else f" in an image of {width} x {height}"
            source.fault(image.file, f"{words}{where}: less than a pixel wide or high")
            continue
        if max(abs(a - b) for a, b in zip(inside, item.box, strict=True)) > BORDER_TOLERANCE:
            source.note(CUT, image.file, words)
        item.box = inside
        key = (item.name, item.box, item.crowd, str(item.polygons))
        if key in seen:
            source.note(TWICE, image.file, words)
            continue
        seen.add(key)
        sound.append(item)
    return sound


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.10g}" for value in values)


def classes_of(source: Source, given: Sequence[str] | None) -> list[str]:
    """The classes in the order of their labels: as given, as the source has them, or by name.

    Raises:
        FGDError: there are objects of other classes than those that were given.
    """
    found = {item.name for image in source.images for item in image.objects}
    if given is None:
        return source.classes or sorted(found)
    for name in sorted(found - set(given)):
        raise FGDError(f"--classes: there are objects of {name!r}{suggestion(name, given)}")
    return list(given)


def content(
    images: Sequence[LabelledImage], root: Path, classes: Sequence[str], info: dict[str, Any]
) -> dict[str, Any]:
    """A COCO file of sound images; everything is numbered from 1.

    Args:
        root: the folder that file names are relative to.
    """
    numbers = {name: position for position, name in enumerate(classes, start=1)}
    entries: list[dict[str, Any]] = []
    for identity, image in enumerate(images, start=1):
        for item in image.objects:
            entry = {"id": len(entries) + 1, "image_id": identity}
            entries.append(entry | _annotation(item, numbers[item.name], image))
    return {
        "info": info,
        "images": [_image(n, image, root) for n, image in enumerate(images, start=1)],
        "annotations": entries,
        "categories": [{"id": number, "name": name} for name, number in numbers.items()],
    }


def _image(identity: int, image: LabelledImage, root: Path) -> dict[str, Any]:
    assert image.size is not None
    width, height = image.size
    name = image.path.relative_to(root).as_posix()
    return {"id": identity, "file_name": name, "width": width, "height": height}


def _annotation(item: Labelled, category: int, image: LabelledImage) -> dict[str, Any]:
    assert image.size is not None
    x1, y1, x2, y2 = (round(value, _DIGITS) for value in item.box)
    width, height = round(x2 - x1, _DIGITS), round(y2 - y1, _DIGITS)
    polygons = [[round(value, _DIGITS) for value in points] for points in item.polygons]
    area = segmentation.area(polygons, image.size[1], image.size[0]) if polygons else 0.0
    return {
        "category_id": category,
        "bbox": [x1, y1, width, height],
        "area": area or round(width * height, _DIGITS),
        "iscrowd": int(item.crowd),
        "segmentation": polygons,
    }
