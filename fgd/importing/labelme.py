"""LabelMe: a JSON file beside each image, with shapes that are boxes, outlines or masks.

Shapes of one label and one group are parts of one object.
"""

from pathlib import Path
from typing import Any

from fgd.errors import FGDError
from fgd.importing.reading import (
    GROUPED,
    MASK,
    TURNED,
    Box,
    Images,
    Labelled,
    LabelledImage,
    Polygon,
    Source,
    Unreadable,
    box_of_ellipse,
    box_round,
    numbers,
    pairs,
    polygon,
    read_json,
    subset_of,
)


def is_labelme(folder: Path) -> bool:
    """Whether a folder looks like LabelMe's: by its first JSON file."""
    return any(is_labelme_file(file) for file in _files(folder)[:1])


def is_labelme_file(file: Path) -> bool:
    """Whether a JSON file is LabelMe's, of one image."""
    try:
        content = read_json(file)
    except Unreadable:
        return False
    return isinstance(content, dict) and "shapes" in content and "imagePath" in content


def read(folder: Path, images: Path | None = None) -> Source:
    """Read a folder of LabelMe's files; folders below it named train, val or test are splits.

    Args:
        images: where the images lie, if not where the files say.

    Raises:
        FGDError: there is no JSON file.
    """
    files = _files(folder)
    if not files:
        raise FGDError(f"{folder}: has no JSON file; LabelMe writes one for each image")
    source = Source()
    where = Images(images or folder)
    for file in files:
        try:
            image = _image(read_json(file), file, where, source)
        except Unreadable as error:
            source.fault(file, str(error))
            continue
        image.subset = subset_of(file, folder)
        source.images.append(image)
    return source


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.json"))


def _image(content: Any, file: Path, where: Images, source: Source) -> LabelledImage:
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise Unreadable("has no list of shapes; LabelMe's files have one")
    name = content.get("imagePath")
    if not isinstance(name, str):
        raise Unreadable(f"imagePath is {name!r}; expected the name of the image")
    try:
        path = where.find(name, file.parent)
    except Unreadable as error:
        inside = content.get("imageData")
        raise Unreadable(f"{error}; it is in this file alone (imageData): save it beside it"
                         if inside else str(error)) from error  # fmt: skip
    stated = content.get("imageWidth"), content.get("imageHeight")
    width, height = numbers([value or 0 for value in stated], "imageWidth or imageHeight")
    image = LabelledImage(path, file, size=(int(width), int(height)) if width and height else None)
    for position, shape in enumerate(content["shapes"], start=1):
        try:
            item = _object(shape, f"shape {position}", file, source)
        except Unreadable as error:
            source.fault(file, f"shape {position} {error}")
            continue
        group = shape.get("group_id")
        if image.add(item, None if group is None else str(group)):
            source.note(GROUPED, file, item.origin)
    return image


def _object(shape: Any, origin: str, file: Path, source: Source) -> Labelled:
    if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
        raise Unreadable("has no label")
    name, kind = shape["label"].strip(), shape.get("shape_type") or "polygon"
    points = pairs(shape.get("points"), f"({name})")
    try:
        box, polygons = _outline(kind, points)
    except Unreadable as error:
        raise Unreadable(f"({name}) {error}") from error
    if kind in ("rotation", "oriented_rectangle"):
        source.note(TURNED, file, origin)
    if kind == "mask":
        source.note(MASK, file, origin)
    return Labelled(name, box, origin, polygons=polygons)


def _outline(kind: str, points: list[float]) -> tuple[Box, list[Polygon]]:
    """Box and outline of a shape's points."""
    if kind in ("polygon", "rotation", "oriented_rectangle"):
        return box_round(polygon(points)), [points]
    if kind in ("rectangle", "mask"):
        x1, y1, x2, y2 = box_round(points)
        last = int(kind == "mask")  # its points are its first and its last pixel
        return (x1, y1, x2 + last, y2 + last), []
    if kind == "circle":
        if len(points) != 4:
            raise Unreadable(f"a circle has {len(points)} coordinates; expected its centre and rim")
        x, y, rim_x, rim_y = points
        radius = ((rim_x - x) ** 2 + (rim_y - y) ** 2) ** 0.5
        return box_of_ellipse(x, y, radius, radius), []
    raise Unreadable(f"is a {kind}; expected a rectangle, a polygon, a circle or a mask")
