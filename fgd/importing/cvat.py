"""CVAT for images: one XML file with all images, their boxes and outlines.

Shapes of one label and one group are parts of one object, as in CVAT's own COCO export.
"""

from pathlib import Path
from xml.etree.ElementTree import Element

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
    polygon,
    read_text,
    read_xml,
    split_of,
    turned,
)

FILE = "annotations.xml"
_CORNERS = ("xtl", "ytl", "xbr", "ybr")
_ELLIPSE = ("cx", "cy", "rx", "ry")
_WITHOUT_BOXES = ("tag", "points", "polyline", "skeleton", "cuboid")  # types of labels
_SHAPES = ("box", "polygon", "ellipse", "mask")


def is_cvat(place: Path) -> bool:
    """Whether a file is CVAT's, or one in a folder."""
    return bool(_files(place))


def _files(place: Path) -> list[Path]:
    """CVAT writes annotations.xml; other tools a file for each subset."""
    files = [place / FILE] if (place / FILE).is_file() else sorted(place.glob("*.xml"))
    return [file for file in ([place] if place.is_file() else files) if _is_file(file)]


def _is_file(file: Path) -> bool:
    try:
        return "<annotations>" in read_text(file)
    except Unreadable:
        return False


def read(place: Path, images: Path | None = None) -> Source:
    """Read an export of "CVAT for images"; subsets named train, val and test are splits.

    Args:
        place: annotations.xml, or its folder.
        images: where the images lie, if not beside the file.

    Raises:
        FGDError: there is no such file, or it is one of a video.
    """
    files = _files(place)
    if not files:
        raise FGDError(
            f'{place}: has no annotations.xml; it is what CVAT writes as "CVAT for images"'
        )
    source = Source(subsets="subset")
    where = Images(images or files[0].parent)
    for file in files:
        _read_file(file, where, source)
    used = {item.name for image in source.images for item in image.objects}
    source.classes += sorted(used - set(source.classes))
    return source


def _read_file(file: Path, where: Images, source: Source) -> None:
    try:
        root = read_xml(file)
    except Unreadable as error:
        raise FGDError(f"{file}: {error}") from error
    if root.find("track") is not None:
        raise FGDError(f'{file}: has tracks of a video; export it as "CVAT for images"')
    names = [
        (label.findtext("name") or "").strip()
        for label in root.findall("meta//labels/label")
        if label.findtext("type") not in _WITHOUT_BOXES
    ]
    known = [*source.classes, *filter(None, names)]
    source.classes = list(dict.fromkeys(known))  # a project lists them by task
    for element in root.findall("image"):
        try:
            source.images.append(_image(element, file, where, source))
        except Unreadable as error:
            source.fault(file, f"image {element.get('name')} {error}")


def _image(element: Element, file: Path, where: Images, source: Source) -> LabelledImage:
    name = element.get("name") or ""
    width, height = numbers([element.get("width"), element.get("height")], "width or height")
    subset = element.get("subset") or ""
    beside = file.parent / "images" / subset
    path = where.find(name, beside if beside.is_dir() else file.parent / "images")
    # Other tools write a file for each.
    of_file = file.stem if split_of(file.stem) else ""
    image = LabelledImage(path, file, size=(int(width), int(height)), subset=subset or of_file)
    for position, shape in enumerate(element, start=1):
        words = f"image {name}, {shape.tag} {position}"
        if shape.tag == "tag":
            source.note("tag of a whole image, left out", file, words)
            continue
        try:
            item = _object(shape, words, file, source)
        except Unreadable as error:
            source.fault(file, f"{words} {error}")
            continue
        group = shape.get("group_id")
        if image.add(item, None if group == "0" else group):
            source.note(GROUPED, file, words)
    return image


def _object(shape: Element, origin: str, file: Path, source: Source) -> Labelled:
    name = shape.get("label")
    if not name:
        raise Unreadable("has no label")
    if shape.tag not in _SHAPES:
        raise Unreadable(f"({name}) has no box; expected {', '.join(_SHAPES)}")
    degrees = numbers([shape.get("rotation", 0)], f"({name}) rotation")[0]
    box, polygons = _outline(shape, degrees)
    if degrees and shape.tag == "box":
        source.note(TURNED, file, origin)
    if shape.tag == "mask":
        source.note(MASK, file, origin)
    return Labelled(name, box, origin, polygons=polygons)


def _outline(shape: Element, degrees: float) -> tuple[Box, list[Polygon]]:
    """Box and outline of a shape."""
    if shape.tag == "polygon":
        pairs = [pair.split(",") for pair in (shape.get("points") or "").split(";")]
        points = polygon(numbers([value for pair in pairs for value in pair], "a coordinate"))
        return box_round(points), [points]
    if shape.tag == "ellipse":
        x, y, rx, ry = numbers([shape.get(key) for key in _ELLIPSE], "cx, cy, rx or ry")
        return box_of_ellipse(x, y, rx, ry, degrees), []
    if shape.tag == "mask":
        keys = ("left", "top", "width", "height")
        x, y, width, height = numbers(
            [shape.get(key) for key in keys], "left, top, width or height"
        )
        return (x, y, x + width, y + height), []
    x1, y1, x2, y2 = numbers([shape.get(key) for key in _CORNERS], "xtl, ytl, xbr or ybr")
    if not degrees:
        return (x1, y1, x2, y2), []
    corners = turned((x1, y1, x2, y2), ((x1 + x2) / 2, (y1 + y2) / 2), degrees)
    return box_round(corners), [corners]
