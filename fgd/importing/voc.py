"""Pascal VOC: an XML file an image, in Annotations/ or beside the images.

A difficult object becomes a crowd, as mmdet's VOC data set leaves it alone. Coordinates count from
1, and that data set takes 1 from each of the four, as is done here, unless they count from 0.
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from fgd.errors import FGDError
from fgd.importing.reading import (
    IMAGE_SUFFIXES,
    SPLITS,
    Images,
    Labelled,
    LabelledImage,
    Source,
    Unreadable,
    numbers,
    read_text,
    read_xml,
    split_of,
    subset_of,
)

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
# The splits of each image that ImageSets/Main names; None where there are no such lists.
_Sets = dict[str, tuple[str, ...]] | None
_ANNOTATIONS, _IMAGES = ("Annotations", "annotations"), ("JPEGImages", "images")
_FROM_0 = "coordinates count from 0, as one is 0: taken as they are"
_FROM_1 = "coordinates count from 1: 1 taken from each"


def is_voc(folder: Path) -> bool:
    """Whether a folder looks like Pascal VOC."""
    places = [_part(folder, _ANNOTATIONS), folder]
    places += sorted(path for path in folder.iterdir() if path.is_dir() and split_of(path.name))
    files = [next(place.glob("*.xml"), None) for place in places]
    return any(file is not None and is_annotation(file) for file in files)


def is_annotation(file: Path) -> bool:
    """Whether a file looks like VOC's, of one image."""
    try:
        return "<annotation>" in read_text(file)
    except Unreadable:
        return False


def read(folder: Path, images: Path | None = None, first: int | None = None) -> Source:
    """Read a folder of Pascal VOC.

    Args:
        images: where the images lie, if not in JPEGImages/ or beside the XML files.
        first: the coordinate of the first pixel, 1 or 0; None: 1, unless one is 0.

    Raises:
        FGDError: there is no XML file, or a list of images names none.
    """
    if folder.name in _ANNOTATIONS and _part(folder.parent, _IMAGES) != folder.parent:
        folder = folder.parent
    annotations = _part(folder, _ANNOTATIONS)
    files = sorted(annotations.rglob("*.xml"))
    if not files:
        raise FGDError(
            f"{annotations}: has no XML file; Pascal VOC has one for each image, in Annotations/ "
            "or beside the image"
        )
    where = Images(images or _part(folder, _IMAGES))
    source = Source()
    sets = _sets(folder / "ImageSets" / "Main", {file.stem for file in files}, source)
    for file in files:
        if sets is not None and file.stem not in sets:
            source.note("image in no image set, left out", file)
            continue
        try:
            image = _image(read_xml(file), file, where, source)
        except Unreadable as error:
            source.fault(file, str(error))
            continue
        if sets is None:
            image.subset = subset_of(file, annotations)
        else:
            image.splits = sets[file.stem]
        source.images.append(image)
    _count_from_0(source, first)
    return source


def _part(folder: Path, names: Sequence[str]) -> Path:
    """The folder of one of these names, or where all lies together."""
    return next((folder / name for name in names if (folder / name).is_dir()), folder)


def _sets(folder: Path, stems: set[str], source: Source) -> _Sets:
    """Which images belong to which split: train and val, or trainval, and test."""
    lists = sorted(folder.glob("*.txt"))
    there = {split_of(file.stem) or file.stem: file for file in lists}
    there = {name: file for name, file in there.items() if name in ("trainval", *SPLITS)}
    if not there:
        # One of a class is the class, a dash below and the split.
        for file in (file for file in lists if split_of(file.stem.rpartition("_")[2]) is None):
            source.note("list of images that names no split, not used", file)
        return None
    if {"train", "val"} <= there.keys():
        there.pop("trainval", None)
    elif "trainval" in there:
        there.pop("train", None)
        there.pop("val", None)
    splits: dict[str, tuple[str, ...]] = {}
    for name, file in there.items():
        try:
            lines = read_text(file).splitlines()
        except Unreadable as error:
            raise FGDError(f"{file}: {error}") from error
        for line in filter(None, map(str.strip, lines)):
            stem = _stem(line)
            if stem not in stems:
                source.fault(file, f"names {stem}, of which there is no {stem}.xml")
                continue
            split = "train" if name == "trainval" else name
            if split not in splits.get(stem, ()):
                splits[stem] = (*splits.get(stem, ()), split)
    return splits


def _stem(line: str) -> str:
    """What a line of a list names: perhaps with an ending or, by other tools, with a folder."""
    name = Path(line)
    return name.stem if name.suffix.lower() in IMAGE_SUFFIXES else name.name


def _image(root: Element, file: Path, where: Images, source: Source) -> LabelledImage:
    if root.tag != "annotation":
        raise Unreadable(f"its root is <{root.tag}>; Pascal VOC has <annotation>")
    image = LabelledImage(_picture(root, file, where), file, size=_size(root))
    for position, element in enumerate(root.findall("object"), start=1):
        try:
            image.objects.append(_object(element, f"object {position}"))
        except Unreadable as error:
            source.fault(file, f"object {position} {error}")
        if _flag(element, "truncated"):
            source.note("truncated object, taken like the others", file, f"object {position}")
    return image


def _picture(root: Element, file: Path, where: Images) -> Path:
    """The image that is named like the XML file, as mmdet takes it, or else the one it names."""
    for suffix in IMAGE_SUFFIXES:
        for ending in (suffix, suffix.upper()):
            try:
                return where.find(f"{file.stem}{ending}", file.parent)
            except Unreadable:
                continue
    return where.find((root.findtext("filename") or "").strip() or f"{file.stem}.jpg", file.parent)


def _size(root: Element) -> tuple[int, int] | None:
    """Width and height; None where they are not stated, or as 0, as some tools have it."""
    texts = [root.findtext(f"size/{key}") for key in ("width", "height")]
    width, height = numbers([text or 0 for text in texts], "size")
    return (int(width), int(height)) if width and height else None


def _object(element: Element, origin: str) -> Labelled:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise Unreadable("has no name")
    texts = [element.findtext(f"bndbox/{key}") for key in _CORNERS]
    if None in texts:
        raise Unreadable("has no bndbox with xmin, ymin, xmax and ymax")
    x1, y1, x2, y2 = numbers(texts, f"({name}) a coordinate")
    return Labelled(name, (x1, y1, x2, y2), origin, crowd=_flag(element, "difficult"))


def _flag(element: Element, key: str) -> bool:
    return (element.findtext(key) or "").strip().casefold() in ("1", "true", "yes")


def _count_from_0(source: Source, first: int | None) -> None:
    """Coordinates of pixels that are counted from 0."""
    places = [(image, item) for image in source.images for item in image.objects]
    if first is None:
        first = 0 if any(min(item.box[:2]) == 0 for _, item in places) else 1
        for image, item in places[:1]:
            source.note(_FROM_1 if first else _FROM_0, image.file, item.origin)
    for image, item in places:
        x1, y1, x2, y2 = item.box
        item.box = (x1 - first, y1 - first, x2 - first, y2 - first)
        if item.crowd:
            source.note("difficult object, a crowd now", image.file, item.origin)
