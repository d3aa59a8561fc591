"""COCO files as annotation tools write them, of a world of two images: one kind each."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coco_worlds

TRIANGLE = [36.0, 30.0, 56.0, 30.0, 46.0, 42.0]


def _each(kind: str, **values: Any) -> Callable:
    def change(content: dict, folder: Path) -> None:
        for entry in content[kind]:
            entry.update(values)

    return change


def _made(kind: str, **makers: Callable) -> Callable:
    def change(content: dict, folder: Path) -> None:
        for entry in content[kind]:
            for key, make in makers.items():
                entry[key] = make(entry[key])

    return change


def _without(kind: str, *keys: str) -> Callable:
    def change(content: dict, folder: Path) -> None:
        for entry in content[kind]:
            for key in keys:
                del entry[key]

    return change


def _all(*changes: Callable) -> Callable:
    def change(content: dict, folder: Path) -> None:
        for each in changes:
            each(content, folder)

    return change


def _root(name: str = "pets") -> Callable:
    """Roboflow's: the project as a category, from which the others are."""

    def change(content: dict, folder: Path) -> None:
        for category in content["categories"]:
            category["supercategory"] = name
        content["categories"].insert(0, {"id": 0, "name": name, "supercategory": "none"})

    return change


def _background(content: dict, folder: Path) -> None:
    content["categories"].insert(0, {"id": 0, "name": "background"})


def _absolute(content: dict, folder: Path) -> None:
    for image in content["images"]:
        image["file_name"] = str((folder / "pictures" / image["file_name"]).absolute())


def _twice(content: dict, folder: Path) -> None:
    content["annotations"] += copy.deepcopy(content["annotations"])
    content["images"] += copy.deepcopy(content["images"])


def _restart(content: dict, folder: Path) -> None:
    content["annotations"][2]["id"] = 1


_from_0 = _all(
    _made("images", id=lambda n: n - 1),
    _made("annotations", id=lambda n: n - 1, image_id=lambda n: n - 1),
)
_to_text = _all(
    _made("images", id=str, width=str, height=str),
    _made("annotations", id=str, image_id=str, category_id=str, iscrowd=str, area=str),
    _made("annotations", bbox=lambda box: [str(n) for n in box]),
    _made("categories", id=str),
)
_to_float = _all(
    _made("images", id=float, width=float, height=float),
    _made("annotations", id=float, image_id=float, category_id=float, iscrowd=float),
)

# Name, change, and whether the check takes it as it is; `clean` takes all of them.
FORMS: dict[str, tuple[Callable, bool]] = {
    "as it should be": (lambda content, folder: None, True),
    "ids from 0": (_from_0, True),
    "categories from 0": (
        _all(
            _made("categories", id=lambda n: n - 1),
            _made("annotations", category_id=lambda n: n - 1),
        ),
        True,
    ),
    "negative annotation ids": (_made("annotations", id=lambda n: -n), True),
    "image ids of time stamps": (
        _all(
            _made("images", id=lambda n: 10**17 + n),
            _made("annotations", image_id=lambda n: 10**17 + n),
        ),
        True,
    ),
    "no id, area and iscrowd": (_without("annotations", "id", "area", "iscrowd"), False),
    "no iscrowd": (_without("annotations", "iscrowd"), False),
    "no area": (_without("annotations", "area"), False),
    "no segmentation": (_without("annotations", "segmentation"), True),
    "no size": (_without("images", "width", "height"), False),
    "size null": (_each("images", width=None, height=None), False),
    "area null": (_each("annotations", area=None), False),
    "area 0": (_each("annotations", area=0), False),
    "area of text": (_made("annotations", area=str), False),
    "iscrowd null": (_each("annotations", iscrowd=None), False),
    "iscrowd a fraction": (_made("annotations", iscrowd=float), True),
    "all numbers as text": (_to_text, False),
    "all numbers as fractions": (_to_float, False),
    "ids of text": (
        _all(_made("images", id="img_{}".format), _made("annotations", image_id="img_{}".format)),
        False,
    ),
    "segmentation null": (_each("annotations", segmentation=None), True),
    "an empty polygon": (_each("annotations", segmentation=[[]]), True),
    "a polygon of two points": (_each("annotations", segmentation=[[1, 1, 9, 9]]), True),
    "a polygon in no list": (_each("annotations", segmentation=TRIANGLE), True),
    "a root category": (_root(), True),
    "a background": (_background, True),
    "absolute names": (_absolute, False),
    "backslashes": (_made("images", file_name=".\\{}".format), False),
    "everything twice": (_twice, False),
    "annotation ids restart": (_restart, False),
    "supercategory none": (_each("categories", supercategory="none"), True),
    "ignore 0": (_each("annotations", ignore=0), True),
}
ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-32")


def write(folder: Path, form: str, encoding: str = "utf-8") -> tuple[Path, Path]:
    """Write a form; its annotation file and its image folder."""
    content = coco_worlds.world()
    file, pictures = coco_worlds.write(folder, content)
    FORMS[form][0](content, folder)
    file.write_bytes(json.dumps(content).encode(encoding))
    return file, pictures
