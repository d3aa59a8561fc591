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

_LARGEST_ID = (1 << 63) - 1  # the evaluation counts with 64 bits
_LARGEST_SIDE = 1 << 20  # pixels

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
    _check_layout(file, folder)
    content = _load(file)
    images = _table(file, content, "images", IMAGE_KEYS)
    annotations = _table(file, content, "annotations", ANNOTATION_KEYS)
    categories = _table(file, content, "categories", CATEGORY_KEYS)
    _check_images(file, images)
    _check_names(file, categories["name"])
    _check_references(file, images, annotations, categories)
    return content, images, annotations, categories


def _check_layout(file: Path, folder: Path) -> None:
    for path, kind, found in [
        (file, "annotation file", file.is_file()),
        (folder, "image folder", folder.is_dir()),
    ]:
        if not found:
            advice = "the data set's config names it: correct the path there, or put the data here"
            raise FGDError(
                f"{kind} {path} is missing; {_COCO_LAYOUT if '2017' in path.name else advice}"
            )


def _load(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        # ValueError: no JSON, another encoding, or a number of thousands of digits.
        raise FGDError(
            f"{file} is no complete JSON file ({error}); fetch or write it again"
        ) from error
    if not isinstance(content, dict):
        raise FGDError(f"{file}: expected an object with images, annotations and categories")
    return content


def _table(
    file: Path, content: dict[str, Any], kind: str, keys: Iterable[str]
) -> dict[str, list[Any]]:
    """The entries of `kind` by column, each key present in each entry and each id only once."""
    entries = content.get(kind)
    if not isinstance(entries, list):
        raise FGDError(f"{file}: there is no list {kind!r}, so it is not COCO's detection format")
    table = {key: _column(file, kind, entries, key) for key in keys}
    for key in (key for key in keys if key == "id" or key.endswith("_id")):
        for identity in table[key]:
            if type(identity) is not int or abs(identity) > _LARGEST_ID:
                raise FGDError(f"{file}: {kind!r}: {key} is {identity!r}; expected a whole number")
    identity, count = Counter(table["id"]).most_common(1)[0] if entries else (None, 0)
    if count > 1:
        raise FGDError(f"{file}: id {identity} stands {count} times in {kind!r}; ids are unique")
    return table


def _column(file: Path, kind: str, entries: list[Any], key: str) -> list[Any]:
    try:
        return [entry[key] for entry in entries]
    except (KeyError, TypeError) as error:
        number, entry = next(
            (n, e) for n, e in enumerate(entries) if not isinstance(e, dict) or key not in e
        )
        name = f"id {entry['id']}" if isinstance(entry, dict) and "id" in entry else f"no. {number}"
        raise FGDError(f"{file}: {kind!r}, {name}: {key!r} is missing") from error


def _check_images(file: Path, images: dict[str, list[Any]]) -> None:
    if not images["id"]:
        raise FGDError(f"{file}: lists no images")
    for identity, name, *size in zip(*(images[key] for key in IMAGE_KEYS), strict=True):
        where = f"{file}: image {identity}"
        if not isinstance(name, str) or not name:
            raise FGDError(f"{where}: file_name is {name!r}; expected a path in the image folder")
        if "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise FGDError(f"{where}: file_name {name!r} leads out of the image folder")
        if not all(type(n) is int and 0 < n <= _LARGEST_SIDE for n in size):
            raise FGDError(f"{where}: width and height are {size}; expected whole pixels")


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
