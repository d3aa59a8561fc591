"""Which format a folder or a file is in."""

from pathlib import Path

from fgd.errors import FGDError
from fgd.importing import voc, yolo
from fgd.importing.reading import Unreadable, read_json

NAMES = {
    "voc": "Pascal VOC",
    "yolo": "YOLO",
}
_LOOKS = "Pascal VOC has Annotations/*.xml, YOLO data.yaml or images/ and labels/"


def find(place: Path) -> str:
    """The format of a folder or file, by its key in `NAMES`.

    Raises:
        FGDError: it looks like none, or like several; a folder below it may be the right one.
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
    inner = next((path for path in below if path.is_dir() and _looks_like(path)), None)
    if inner is None and _is_coco(place):
        raise FGDError(
            f"{place}: is in COCO's format already: `fgd data check`, `fgd data clean` and "
            "`fgd new-row` read it"
        )
    hint = f"; did you mean {inner}?" if inner else f". {_LOOKS}"
    raise FGDError(f"{place}: is in no format that is known here{hint}")


def _looks_like(place: Path) -> list[str]:
    if place.is_file():
        return ["yolo"] if place.suffix in (".yaml", ".yml") else []
    return [name for name, test in (("voc", voc.is_voc), ("yolo", yolo.is_yolo)) if test(place)]


def _is_coco(place: Path) -> bool:
    files = [place] if place.is_file() else sorted(place.glob("*.json"))[:3]
    for file in files:
        try:
            content = read_json(file)
        except Unreadable:
            continue
        if isinstance(content, dict) and {"images", "annotations"} <= content.keys():
            return True
    return False
