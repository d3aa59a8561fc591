"""An annotation file in COCO's format: read, and whole in itself."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fgd.errors import FGDError

# pycocotools and mmdet read all of these.
IMAGE_KEYS = ("id", "file_name", "width", "height")
ANNOTATION_KEYS = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
CATEGORY_KEYS = ("id", "name")

# What can be found out where it is missing.
_FOUND_OUT = (
    ("images", "width"),
    ("images", "height"),
    ("annotations", "id"),
    ("annotations", "area"),
    ("annotations", "iscrowd"),
)
PLAIN = "utf-8"

LARGEST_ID = (1 << 63) - 1  # what mmdet's arrays hold
LARGEST_SIDE = 1 << 20  # pixels
# The end of a message about what `fgd.data.clean` can mend.
MENDED = "`fgd data clean` mends it"
# The end of one about what is in no format of COCO's.
IMPORTED = (
    "`fgd data import` makes COCO's JSON of other formats: Pascal VOC, YOLO, Label Studio, "
    "LabelMe, CVAT"
)

_COCO_LAYOUT = (
    "COCO 2017 is expected as its archives unpack: data/coco/train2017/*.jpg, "
    "data/coco/val2017/*.jpg and data/coco/annotations/instances_{train,val}2017.json. Get "
    "train2017.zip, val2017.zip and annotations_trainval2017.zip from https://cocodataset.org "
    "and unpack them in data/coco, or make data/coco a link to where they are; "
    "`fgd data coco --out data/coco` downloads and unpacks them"
)


def read(
    file: Path, folder: Path
) -> tuple[dict[str, Any], dict[str, list], dict[str, list], dict[str, list]]:
    """The content of an annotation file, and its images, annotations and categories by column.

    Raises:
        FGDError: it is no such file, an id stands twice, or an entry is not what it has to be.
    """
    content, encoding = load(file, folder)
    if encoding != PLAIN:
        raise FGDError(
            f"{file}: is written in {encoding}; what reads it in a training expects plain UTF-8: "
            f"{MENDED}"
        )
    return content, *columns(file, content)


def load(file: Path, folder: Path) -> tuple[dict[str, Any], str]:
    """The content of an annotation file whose image folder is there, and how it is encoded.

    Raises:
        FGDError: a file or folder is missing, or it is no JSON object.
    """
    check_layout(file, folder)
    data = file.read_bytes()
    try:
        # UTF-8 with or without a byte order mark, UTF-16 and UTF-32.
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        # ValueError: no JSON, another encoding, or a number of thousands of digits.
        raise FGDError(
            f"{file} is no complete JSON file ({error}); fetch or write it again"
            + ("" if file.suffix == ".json" else f". {IMPORTED}")
        ) from error
    if not isinstance(content, dict):
        raise FGDError(f"{file}: expected an object with images, annotations and categories")
    encoding = json.detect_encoding(data)
    return content, "UTF-8 with a byte order mark" if encoding == "utf-8-sig" else encoding


def columns(
    file: Path, content: dict[str, Any]
) -> tuple[dict[str, list], dict[str, list], dict[str, list]]:
    """Images, annotations and categories by column.

    Raises:
        FGDError: an id stands twice, or an entry is not what it has to be.
    """
    images = _table(file, content, "images", IMAGE_KEYS)
    annotations = _table(file, content, "annotations", ANNOTATION_KEYS)
    categories = _table(file, content, "categories", CATEGORY_KEYS)
    _check_images(file, images)
    _check_names(file, categories["name"])
    _check_references(file, images, annotations, categories)
    return images, annotations, categories


def check_layout(file: Path, folder: Path) -> None:
    """Whether an annotation file and its image folder are there.

    Raises:
        FGDError: one is not, or is something else.
    """
    if file.is_dir() and folder.is_file():
        raise FGDError(
            f"{file} is a folder, and {folder} a file: they stand in each other's place; the "
            "annotation file comes first, then the folder of its images"
        )
    if file.is_dir():
        raise FGDError(
            f"annotation file {file} is a folder; expected COCO's JSON, which is one file. "
            f"{IMPORTED}"
        )
    if folder.is_file():
        raise FGDError(f"image folder {folder} is a file; expected the folder of the images")
    for path, kind in ((file, "annotation file"), (folder, "image folder")):
        if not path.exists():
            advice = "correct the path, here or in the data set's config, or put the data there"
            raise FGDError(
                f"{kind} {path} is missing; {_COCO_LAYOUT if '2017' in path.name else advice}"
            )


def _table(
    file: Path, content: dict[str, Any], kind: str, keys: Iterable[str]
) -> dict[str, list[Any]]:
    """The entries of `kind` by column, each key present in each entry and each id only once."""
    entries = entries_of(file, content, kind)
    table = {key: _column(file, kind, entries, key) for key in keys}
    for key in (key for key in keys if key == "id" or key.endswith("_id")):
        for identity in table[key]:
            if type(identity) is not int or abs(identity) > LARGEST_ID:
                raise FGDError(
                    f"{file}: {kind!r}: {key} is {identity!r}; expected a whole number: {MENDED}, "
                    "if it is clear what is meant"
                )
    identity, count = Counter(table["id"]).most_common(1)[0] if entries else (None, 0)
    if count > 1:
        clear = "" if kind == "annotations" else ", where it is the same each time"
        raise FGDError(
            f"{file}: id {identity} stands {count} times in {kind!r}; ids are unique: "
            f"{MENDED}{clear}"
        )
    return table


def entries_of(file: Path, content: dict[str, Any], kind: str) -> list[Any]:
    """The list of `kind`.

    Raises:
        FGDError: there is none.
    """
    entries = content.get(kind)
    if not isinstance(entries, list):
        raise FGDError(
            f"{file}: there is no list {kind!r}, so it is not COCO's detection format. {IMPORTED}"
        )
    return entries


def _column(file: Path, kind: str, entries: list[Any], key: str) -> list[Any]:
    try:
        return [entry[key] for entry in entries]
    except (KeyError, TypeError) as error:
        number, entry = next(
            (n, e) for n, e in enumerate(entries) if not isinstance(e, dict) or key not in e
        )
        name = f"id {entry['id']}" if isinstance(entry, dict) and "id" in entry else f"no. {number}"
        cure = f"; {MENDED}" if (kind, key) in _FOUND_OUT else ""
        raise FGDError(f"{file}: {kind!r}, {name}: {key!r} is missing{cure}") from error


def _check_images(file: Path, images: dict[str, list[Any]]) -> None:
    if not images["id"]:
        raise FGDError(f"{file}: lists no images")
    for identity, name, *size in zip(*(images[key] for key in IMAGE_KEYS), strict=True):
        where = f"{file}: image {identity}"
        if not isinstance(name, str) or not name:
            raise FGDError(f"{where}: file_name is {name!r}; expected a path in the image folder")
        if "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise FGDError(
                f"{where}: file_name {name!r} leads out of the image folder. Where it lies in it, "
                + MENDED
            )
        if not all(type(n) is int and 0 < n <= LARGEST_SIDE for n in size):
            raise FGDError(f"{where}: width and height are {size}; expected whole pixels: {MENDED}")


def _check_names(file: Path, names: list[Any]) -> None:
    for name in names:
        if not isinstance(name, str) or not name:
            raise FGDError(f"{file}: 'categories': name is {name!r}; expected text")
    name, count = Counter(names).most_common(1)[0] if names else (None, 0)
    if count > 1:
        raise FGDError(f"{file}: two categories are named {name!r}; names are unique")


def _check_references(
    file: Path,
    images: dict[str, list[Any]],
    annotations: dict[str, list[Any]],
    categories: dict[str, list[Any]],
) -> None:
    for key, known in [("image_id", set(images["id"])), ("category_id", set(categories["id"]))]:
        for annotation_id, value in zip(annotations["id"], annotations[key], strict=True):
            if value not in known:
                raise FGDError(
                    f"{file}: annotation {annotation_id} has {key} {value}, which the file does "
                    "not define"
                )
