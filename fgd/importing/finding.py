"""Which format a folder or a file is in."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fgd.errors import FGDError
from fgd.importing import cvat, label_studio, labelme, voc, yolo
from fgd.importing.reading import Unreadable, read_json

NAMES = {
    "voc": "Pascal VOC",
    "yolo": "YOLO",
    "label-studio": "Label Studio",
    "labelme": "LabelMe",
    "cvat": "CVAT",
}
_LOOKS = (
    "Pascal VOC has Annotations/*.xml, YOLO data.yaml or images/ and labels/, LabelMe a JSON file "
    "beside each image, Label Studio one JSON file, CVAT annotations.xml"
)
_FOLDERS: dict[str, Callable[[Path], bool]] = {
    "cvat": cvat.is_cvat,
    "voc": voc.is_voc,
    "yolo": yolo.is_yolo,
    "label-studio": lambda folder: any(map(label_studio.is_label_studio, _json_files(folder))),
    "labelme": labelme.is_labelme,
}
_FILES: dict[str, Callable[[Path], bool]] = {
    "cvat": cvat.is_cvat,
    "yolo": lambda file: file.suffix in (".yaml", ".yml"),
    "label-studio": label_studio.is_label_studio,
}


def find(place: Path) -> str:
    """The format of a folder or file, by its key in `NAMES`.

    Raises:
        FGDError: it looks like none, or like several; it may be a folder near it.
    """
    found = _looks_like(place)
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(NAMES[name] for name in found)
        raise FGDError(f"{place}: looks like {names}; --format says which it is")
    if place.suffix.lower() in (".zip", ".tar", ".gz", ".7z"):
        raise FGDError(f"{place}: is an archive; unpack it, and give the folder")
    below = sorted(place.iterdir()) if place.is_dir() else []
    near = [*(path for path in below if path.is_dir()), place.parent]
    right = next((path for path in near if _looks_like(path)), None)
    if right in (None, place.parent) and any(
        map(_is_coco, [place] if place.is_file() else _json_files(place))
    ):
        raise FGDError(
            f"{place}: is in COCO's format already: `fgd data check`, `fgd data clean` and "
            "`fgd new-row` read it"
        )
    hint = f"; did you mean {right}?" if right else f". {_LOOKS}"
    if _is_of_one_image(place):
        hint = f": it is of one image; did you mean its folder, {place.parent}?"
    raise FGDError(f"{place}: is in no format that is known here{hint}")


@contextmanager
def or_other_format(place: Path) -> Iterator[None]:
    """Read COCO's format; where that is refused, tell of another that `place` is in.

    Args:
        place: the annotation file, or what was given for it.

    Raises:
        FGDError: as what is done here, or it is in another format.
    """
    try:
        yield
    except FGDError as error:
        if not place.exists() or (place.is_file() and _is_coco(place)):
            raise
        one_image = _is_of_one_image(place)
        source = place.parent if one_image else place
        if not (names := [NAMES[name] for name in _looks_like(source)]):
            raise
        raise FGDError(
            f"{place}: looks like {' or '.join(names)}, and COCO's JSON is expected: `fgd data "
            f"import {shlex.quote(str(source))}` makes COCO files of it"
        ) from error


def _is_of_one_image(place: Path) -> bool:
    return place.is_file() and (labelme.is_labelme_file(place) or voc.is_annotation(place))


def _looks_like(place: Path) -> list[str]:
    tests = _FOLDERS if place.is_dir() else _FILES
    return [name for name, test in tests.items() if test(place)]


def _json_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))[:3]


def _is_coco(file: Path) -> bool:
    try:
        content = read_json(file)
    except Unreadable:
        return False
    return isinstance(content, dict) and {"images", "annotations"} <= content.keys()
