"""What the readers of all formats give, and how they say what cannot be imported."""

import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from fgd.data.mend import Report, number
from fgd.errors import FGDError

Polygon = list[float]
Box = tuple[float, float, float, float]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
SPLITS = ("train", "val", "test")
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "eval": "val",
    "evaluation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


# Kinds of notes that several readers have.
TURNED = "rotated box: the upright box round it"
MASK = "mask: its box alone"
GROUPED = "shape of a group, part of one object"


@dataclass
class Labelled:
    """An object on an image.

    Attributes:
        name: of its class.
        box: x1, y1, x2, y2 in pixels, from 0 at the image's upper left corner.
        origin: where in its file it stands.
        crowd: left alone by training and by the evaluation.
        polygons: its outline, x, y, x, y ... in pixels; none where there is only a box.
    """

    name: str
    box: Box
    origin: str
    crowd: bool = False
    polygons: list[Polygon] = field(default_factory=list)

    def join(self, other: "Labelled") -> None:
        """Take another part of the same object in."""
        self.box = box_round([*self.box, *other.box])
        both = self.polygons and other.polygons
        self.polygons = [*self.polygons, *other.polygons] if both else []


@dataclass
class LabelledImage:
    """An image and the objects on it.

    Attributes:
        file: what labels it.
        size: width and height that the file states; None where it states none.
        splits: of train, val and test those that it belongs to, where a list says so.
        subset: otherwise the folder or subset that it lies in, which may be named after a split; ""
            for none.
    """

    path: Path
    file: Path
    objects: list[Labelled] = field(default_factory=list)
    size: tuple[int, int] | None = None
    splits: tuple[str, ...] = ()
    subset: str = ""
    _groups: dict[tuple[str, str], Labelled] = field(default_factory=dict)

    def add(self, item: Labelled, group: str | None) -> bool:
        """Add an object, or a part of one; whether it was the latter.

        Args:
            group: of shapes; those of one class and one group are parts of one object.
        """
        if group is not None:
            first = self._groups.setdefault((item.name, group), item)
            if first is not item:
                first.join(item)
                return True
        self.objects.append(item)
        return False


@dataclass
class Source:
    """All that was read from a folder or a file.

    Attributes:
        classes: names in the order of the labels; empty where the format has none.
        subsets: what the format calls that in which images lie.
        faults: what cannot be imported, by file and reason.
        report: what was read otherwise than it stands there.
    """

    images: list[LabelledImage] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    subsets: str = "folder"
    faults: list[str] = field(default_factory=list)
    report: Report = field(default_factory=Report)

    def fault(self, file: Path, reason: str) -> None:
        """Something that cannot be imported."""
        self.faults.append(f"{file}: {reason}")

    def note(self, kind: str, file: Path, words: str = "") -> None:
        """Something that was read otherwise than it stands there, counted by kind."""
        self.report.add(kind, f"{file}" + (f": {words}" if words else ""))


class Unreadable(Exception):
    """Why an object or a file cannot be read; whoever reads on makes it a fault."""


def read_text(file: Path) -> str:
    """A text in UTF-8, with or without a byte order mark, or UTF-16.

    Raises:
        Unreadable: it is something else.
    """
    data = file.read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise Unreadable("is no text in UTF-8") from error


def read_xml(file: Path) -> ElementTree.Element:
    """The root of an XML file.

    Raises:
        Unreadable: it is none, or has a document type, as no annotation tool writes it.
    """
    text = read_text(file)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise Unreadable("has a document type or entities, which no annotation needs")
    try:
        # What says how it is encoded no longer holds once it is text.
        return ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))
    except (ElementTree.ParseError, RecursionError) as error:
        raise Unreadable(f"is no complete XML ({error})") from error


def read_json(file: Path) -> Any:
    """The content of a JSON file.

    Raises:
        Unreadable: it is none.
    """
    try:
        return json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"is no complete JSON ({error})") from error


def numbers(values: Iterable[Any], what: str) -> list[float]:
    """Finite numbers, perhaps written as text.

    Raises:
        Unreadable: one is none.
    """
    values = list(values)
    found = [number(value.strip() if isinstance(value, str) else value) for value in values]
    if None in found:
        raise Unreadable(f"{what} is {values[found.index(None)]!r}; expected a number")
    return [float(value) for value in found if value is not None]


def pairs(points: Any, what: str) -> list[float]:
    """Coordinates x, y, x, y ... of a list of points.

    Raises:
        Unreadable: it is none.
    """
    if not isinstance(points, list) or not all(isinstance(p, list) and len(p) == 2 for p in points):
        raise Unreadable(f"{what} has no list of points, each x and y")
    return numbers([value for point in points for value in point], f"{what} a coordinate")


def split_of(name: str) -> str | None:
    """The split that a folder or a list is named after, perhaps with a year, as COCO's are."""
    return _SPLITS.get(re.sub(r"[ _-]?(19|20)\d\d$", "", name.casefold()))


def subset_of(file: Path, root: Path) -> str:
    """The folder on the way to a file that is named after a split, or else the first; "" for none.

    Args:
        root: where the way begins.
    """
    folders = file.relative_to(root).parts[:-1]
    return next(filter(split_of, folders), folders[0] if folders else "")


def box_round(points: Sequence[float]) -> Box:
    """The smallest upright box round points x, y, x, y ...

    Raises:
        Unreadable: there are fewer than two.
    """
    if len(points) < 4 or len(points) % 2:
        raise Unreadable(f"has {len(points)} coordinates; expected x and y of two points or more")
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])


def polygon(points: Sequence[float]) -> Polygon:
    """An outline of at least three points.

    Raises:
        Unreadable: it has fewer.
    """
    if len(points) < 6 or len(points) % 2:
        raise Unreadable(f"a polygon has {len(points)} coordinates; expected three points or more")
    return list(points)


def turned(box: Box, pivot: tuple[float, float], degrees: float) -> Polygon:
    """The four corners of a box that is turned clockwise, as the image is seen, about a point."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x1, y1, x2, y2 = box
    corners = ((x1, y1), (x2, y1), (x2, y2), (x1, y2))
    return [
        value
        for x, y in ((x - pivot[0], y - pivot[1]) for x, y in corners)
        for value in (pivot[0] + x * cosine - y * sine, pivot[1] + x * sine + y * cosine)
    ]


def box_of_ellipse(x: float, y: float, rx: float, ry: float, degrees: float = 0.0) -> Box:
    """The upright box round an ellipse."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    width, height = math.hypot(rx * cosine, ry * sine), math.hypot(rx * sine, ry * cosine)
    return x - width, y - height, x + width, y + height


class Images:
    """The image files below a folder, found by what annotations call them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_name: dict[str, list[Path]] = {}
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                self._by_name.setdefault(path.name, []).append(path)

    def find(self, name: str, beside: Path | None = None) -> Path:
        """The image of a name or path; the longest end of the path that leads to a file counts.

        Args:
            beside: a folder that comes first.

        Raises:
            Unreadable: there is none, or there are several.
        """
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        if not parts:
            raise Unreadable("names no image")
        if beside and (beside / name).is_file():  # the path as it stands, also one that leads out
            return Path(os.path.normpath(beside / name))
        for start in range(len(parts)):
            end = Path(*parts[start:])
            for folder in [beside, self._folder] if beside else [self._folder]:
                if (folder / end).is_file():
                    return folder / end
        found = self._by_name.get(parts[-1], [])
        if not found:
            raise Unreadable(f"its image {name} is not in {self._folder}; --images says where")
        if len(found) > 1:
            raise Unreadable(f"its image {name} may be {found[0]} or {found[1]}")
        return found[0]


def folder_of(path: Path, words: str) -> Path:
    """A folder that has to be there.

    Raises:
        FGDError: it is not.
    """
    if not path.is_dir():
        raise FGDError(f"{path}: there is no such folder; {words}")
    return path
