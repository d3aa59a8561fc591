"""Damaged data: a small sound COCO-format set, and every way in which it is damaged."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog")
EXIF_TURNED = 6


@dataclass(frozen=True)
class Damage:
    """A kind of damage.

    Attributes:
        name: of the kind.
        do: damages the set; takes its folder, and its content, which is written afterwards.
        refusal: pattern of the refusal; None for what training can live with, which is counted.
        counted: its name in the report's `found`.
    """

    name: str
    do: Callable[[Path, dict[str, Any]], Any]
    refusal: str | None
    counted: str | None = None


def write(folder: Path, damage: Damage | None = None) -> tuple[Path, Path]:
    """Write the set, damaged or sound; its annotation file and its image folder."""
    images = folder / "images"
    images.mkdir(parents=True)
    for name in ("a.jpg", "b.jpg"):
        picture().save(images / name)
    content = copy.deepcopy(_CONTENT)
    after = damage.do(folder, content) if damage else None
    file = folder / "instances.json"
    file.write_text(json.dumps(content))
    if callable(after):
        after(file)
    return file, images


def picture(size: tuple[int, int] = (40, 30)) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


def _annotation(number: int, category: int, bbox: list[float]) -> dict[str, Any]:
    x, y, width, height = bbox
    polygon = [[x, y, x + width, y, x + width, y + height]]
    identity = {"id": number, "image_id": 10, "category_id": category}
    area = bbox[2] * bbox[3]
    return identity | {"bbox": bbox, "area": area, "iscrowd": 0, "segmentation": polygon}


_CONTENT = {
    "images": [
        {"id": 10, "file_name": "a.jpg", "width": 40, "height": 30},
        {"id": 11, "file_name": "b.jpg", "width": 40, "height": 30},
    ],
    "annotations": [
        _annotation(1, 1, [0, 0, 40, 30]),
        _annotation(2, 2, [5.5, 5, 10, 10]),
        _annotation(3, 2, [1, 1, 4, 4]),
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
}


def _put(kind: str, number: int, **values: Any) -> Callable:
    return lambda folder, content: content[kind][number].update(values)


def _drop(kind: str, key: str) -> Callable:
    return lambda folder, content: content[kind][1].pop(key)


def _without(kind: str) -> Callable:
    return lambda folder, content: content.pop(kind)


def _image(act: Callable[[Path], Any]) -> Callable:
    return lambda folder, content: act(folder / "images" / "b.jpg") and None


def _after(act: Callable[[Path], Any]) -> Callable:
    return lambda folder, content: act


def _cut(path: Path, part: float = 0.6) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])


def _saved(mode: str, form: str = "JPEG") -> Callable:
    return _image(lambda path: picture().convert(mode).save(path, form))


def _turned(path: Path, size: tuple[int, int]) -> None:
    image = picture(size)
    exif = image.getexif()
    exif[0x0112] = EXIF_TURNED
    image.save(path, exif=exif)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _broken_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere.jpg")


def _rle(size: list[int], counts: Any) -> Callable:
    return _put("annotations", 1, iscrowd=1, segmentation={"size": size, "counts": counts})


def _bomb(path: Path) -> None:
    """A PNG whose header declares 60,000 x 60,000 pixels."""
    import struct
    import zlib

    header = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data = b"IDAT" + zlib.compress(bytes(1000))
    more = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + more)


def _truncated_png(path: Path) -> None:
    picture().save(path, "PNG")
    _cut(path)


def _unlink(path: Path) -> None:
    path.unlink()


_B = r"images/b\.jpg "
_ID2 = r"annotation 2"

DAMAGES = (
    # the annotation file
    Damage("annotation file missing", _after(_unlink), r"annotation file .*is missing"),
    Damage("annotation JSON truncated", _after(_cut), "no complete JSON"),
    Damage("annotation file empty", _after(lambda f: f.write_text("")), "no complete JSON"),
    Damage(
        "JSON nested too deep",
        _after(lambda f: f.write_text("[" * 100_000)),
        "no complete JSON",
    ),
    Damage("a number of 5000 digits", _after(lambda f: f.write_text("9" * 5000)), "no complete"),
    Damage("not UTF-8", _after(lambda f: f.write_bytes(b"{\xff}")), "no complete JSON"),
    Damage("a list in place of an object", _after(lambda f: f.write_text("[]")), "an object with"),
    *(
        Damage(f"no list of {kind}", _without(kind), f"no list '{kind}'")
        for kind in ("images", "annotations", "categories")
    ),
    Damage("images empty", lambda f, c: c["images"].clear(), "lists no images"),
    Damage("annotations empty", lambda f, c: c["annotations"].clear(), "has no annotations"),
    *(
        Damage(f"{kind} without {key}", _drop(kind, key), f"'{kind}', .*'{key}' is missing")
        for kind, key in [
            ("images", "height"),
            ("images", "file_name"),
            ("annotations", "bbox"),
            ("annotations", "iscrowd"),
            ("categories", "name"),
        ]
    ),
    # identities
    Damage("image id twice", _put("images", 1, id=10), "id 10 stands 2 times in 'images'"),
    Damage("annotation id twice", _put("annotations", 2, id=1), "id 1 stands 2 times"),
    Damage("category id twice", _put("categories", 1, id=1), "id 1 stands 2 times in 'categories'"),
    Damage("id is a list", _put("images", 1, id=[1]), r"'images': id is \[1\]"),
    Damage("id is null", _put("annotations", 1, id=None), "'annotations': id is None"),
    Damage("id is text", _put("images", 0, id="10"), "'images': id is '10'; expected a whole"),
    Damage("id of 20 digits", _put("images", 1, id=10**19), "expected a whole number"),
    Damage("id is true", _put("annotations", 0, id=True), "'annotations': id is True"),
    Damage("unknown image", _put("annotations", 1, image_id=99), f"{_ID2} has image_id 99"),
    Damage("unknown category", _put("annotations", 1, category_id=9), f"{_ID2} has category_id 9"),
    Damage("category missing", _put("categories", 1, name="Dog"), "no category is named 'dog'"),
    Damage("categories in another order", lambda f, c: c["categories"].reverse(), "in the order"),
    Damage(
        "category name twice",
        lambda f, c: c["categories"].append({"id": 3, "name": "cat"}),
        "two categories are named 'cat'",
    ),
    Damage("category name a number", _put("categories", 1, name=7), "'categories': name is 7"),
    # boxes
    Damage(
        "box of digits", _put("annotations", 1, bbox=["1", "2", "3", "4"], area=12), f"{_ID2}: bbox"
    ),
    Damage("box of true", _put("annotations", 1, bbox=[True, 2, 3, 4]), f"{_ID2}: bbox is"),
    Damage("box of 400 digits", _put("annotations", 1, bbox=[1, 2, 10**400, 4]), f"{_ID2}: bbox"),
    Damage("box of NaN", _put("annotations", 1, bbox=[1, 2, float("nan"), 3]), f"{_ID2}: bbox is"),
    Damage("box infinite", _put("annotations", 1, bbox=[1, 2, float("inf"), 3]), f"{_ID2}: bbox"),
    Damage("box of three numbers", _put("annotations", 1, bbox=[1, 2, 3]), f"{_ID2}: bbox is"),
    Damage("box of text", _put("annotations", 1, bbox=["1", "2", "x", "4"]), f"{_ID2}: bbox is"),
    Damage("box null", _put("annotations", 1, bbox=None), f"{_ID2}: bbox is None"),
    Damage("box of no width", _put("annotations", 1, bbox=[5, 5, 0, 9]), f"{_ID2} in image a.jpg"),
    Damage(
        "box of negative width", _put("annotations", 1, bbox=[9, 9, -5, 5]), "less than a pixel"
    ),
    Damage("box outside", _put("annotations", 1, bbox=[50, 5, 9, 9]), "outside the image"),
    Damage(
        "box beyond the border",
        _put("annotations", 1, bbox=[35, 5, 9, 9], area=45),
        "partly beyond",
    ),
    Damage("area zero", _put("annotations", 1, area=0), "of zero area"),
    Damage("area NaN", _put("annotations", 1, area=float("nan")), f"{_ID2}: area is nan"),
    Damage("area of 400 digits", _put("annotations", 1, area=10**400), f"{_ID2}: area is 1000"),
    Damage("area of text", _put("annotations", 1, area="big"), f"{_ID2}: area is 'big'"),
    Damage("iscrowd is no flag", _put("annotations", 1, iscrowd=7), f"{_ID2}: iscrowd is 7"),
    Damage(
        "annotated twice",
        lambda f, c: c["annotations"].append(_annotation(4, 2, [1, 1, 4, 4])),
        None,
        "annotated twice",
    ),
    # masks
    Damage("polygon of two points", _put("annotations", 1, segmentation=[[1, 1, 5, 1]]), _ID2),
    Damage(
        "polygon of NaN",
        _put("annotations", 1, segmentation=[[1, 1, 5, 1, 5, float("nan")]]),
        f"{_ID2}: a polygon has coordinates",
    ),
    Damage(
        "polygon of 400 digits",
        _put("annotations", 1, segmentation=[[1, 1, 5, 1, 5, 10**400]]),
        f"{_ID2}: a polygon has coordinates",
    ),
    Damage("segmentation of text", _put("annotations", 1, segmentation="x"), f"{_ID2}: segm"),
    Damage("RLE of wrong size", _rle([40, 30], [600, 600]), r"RLE of size \[40, 30\]"),
    Damage("RLE too short", _rle([30, 40], [5, 5]), "RLE of 10 pixels in an image of 1200"),
    Damage("RLE negative", _rle([30, 40], [-5, 1205]), "no run lengths"),
    Damage("compressed RLE cut", _rle([30, 40], "PlT1"), "RLE"),
    Damage("compressed RLE of nonsense", _rle([30, 40], "\x01\x02"), "no run lengths"),
    # the list of images
    Damage("size zero", _put("images", 1, width=0), r"image 11: width and height are \[0, 30\]"),
    Damage("size of 20 digits", _put("images", 1, width=10**19), "image 11: width and height"),
    Damage("size of text", _put("images", 1, width="40"), "image 11: width and height are"),
    Damage("file name a number", _put("images", 1, file_name=3), "image 11: file_name is 3"),
    Damage("file name leads out", _put("images", 1, file_name="../b.jpg"), "leads out of"),
    Damage("file name absolute", _put("images", 1, file_name="/etc/passwd"), "leads out of"),
    # image files
    Damage("image missing", _image(_unlink), r"images/b\.jpg is missing"),
    Damage("image a folder", _image(_directory), _B),
    Damage("image a broken link", _image(_broken_link), _B),
    Damage("image empty", _image(lambda p: p.write_bytes(b"")), _B),
    Damage("image is text", _image(lambda p: p.write_text("<html>")), _B),
    Damage("JPEG truncated", _image(_cut), f"{_B}cannot be read .image file is truncated"),
    Damage("JPEG cut to its header", _image(lambda p: _cut(p, 0.3)), _B),
    Damage("PNG truncated", _image(_truncated_png), _B),
    Damage("GIF named .jpg", _saved("P", "GIF"), f"{_B}is a GIF"),
    Damage("image of another size", _image(lambda p: picture((41, 30)).save(p)), "is 41 x 30"),
    Damage("declares 3.6 gigapixels", _image(_bomb), _B),
    Damage("EXIF turned", _image(lambda p: _turned(p, (40, 30))), "EXIF orientation 6"),
    Damage(
        "EXIF turned, as stated",
        _image(lambda p: _turned(p, (30, 40))),
        None,
        "turned by EXIF, as the annotation file has it",
    ),
    Damage("PNG named .jpg", _saved("RGB", "PNG"), None, "named as another format"),
    Damage("grayscale", _saved("L"), None, "grayscale"),
    Damage("CMYK", _saved("CMYK"), None, "CMYK"),
    Damage("transparent", _saved("RGBA", "PNG"), None, "with transparency or a palette"),
    Damage("16 bits", _saved("I;16", "PNG"), None, "of 16 bits"),
)
