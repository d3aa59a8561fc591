"""An annotation file as arrays that all processes of a node read from the same memory.

The objects of a parsed JSON file are a process's own, and forked workers copy them as they count
references to them. Here they are NumPy's `.npy` files, mapped into memory: what one process has
read, the others have, too, and none holds it.

An index lies in `$FGD_CACHE/annotations`, by default `~/.cache/fgd/annotations`, in a folder named
by the annotation file's SHA-256: suites and users share it, the data's folder may be read-only, and
compute nodes see it where they see the checkpoints. It can be removed at any time.
"""

import errno
import hashlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fgd.files import cache_root, sha256, write_json

_FORMAT = 1  # another one, when the arrays or what they mean change
_CONTENTS = "contents.json"
_LARGEST = 1 << 53  # up to here float64 holds every whole number
FAULTS = (OSError, ValueError, KeyError, TypeError, RecursionError)  # of `write`
DROPPED, OBJECT, CROWD = range(3)
logger = logging.getLogger("fgd")


class Index:
    """The arrays of an index, n images and m annotations; each image's stand together, in order.

    Attributes:
        image_ids: (n,), in the file's order.
        image_sizes: (n, 2), width and height.
        bounds: (n + 1,), image i has the annotations from bounds[i] to bounds[i + 1].
        category_ids: (m,).
        kinds: (m,), DROPPED where mmdet leaves an annotation out whatever the classes are, OBJECT
            or CROWD.
        boxes: (m, 4), x1 y1 x2 y2 in float32.
        categories: the file's entries.
    """

    def __init__(self, folder: Path) -> None:
        arrays = {path.stem: _mapped(path) for path in folder.glob("*.npy")}
        self.image_ids = arrays["image_ids"]
        self.image_sizes = arrays["image_sizes"]
        self.bounds = arrays["bounds"]
        self.category_ids = arrays["category_ids"]
        self.kinds = arrays["kinds"]
        self.boxes = arrays["boxes"]
        self._images = _Texts(arrays["image_text"], arrays["image_ends"])
        self._texts = _Texts(arrays["segment_text"], arrays["segment_ends"])
        self._coordinates = arrays["coordinates"]
        self._polygon_ends = arrays["polygon_ends"]
        self._polygons = arrays["polygons"]
        self.categories = json.loads(arrays["categories"].tobytes())

    def image(self, position: int) -> dict[str, Any]:
        """The file's entry of an image."""
        return self._images[position]

    def segmentation(self, position: int) -> Any:
        """What the file says of an object's shape: polygons, run lengths, or None.

        Args:
            position: of the object among all annotations; only of kind OBJECT.
        """
        first, last = self._polygons[position : position + 2].tolist()
        if first == last:
            return self._texts[position]
        ends = self._polygon_ends[first : last + 1].tolist()
        numbers = self._coordinates[ends[0] : ends[-1]].tolist()
        return [numbers[start - ends[0] : end - ends[0]] for start, end in pairwise(ends)]


class _Texts:
    """JSON values, one after the other."""

    def __init__(self, text: np.ndarray, ends: np.ndarray) -> None:
        self._text = text
        self._ends = ends

    def __getitem__(self, position: int) -> Any:
        start, end = self._ends[position : position + 2].tolist()
        return json.loads(self._text[start:end].tobytes()) if end > start else None


def _mapped(path: Path) -> np.ndarray:
    # As a plain array, of which slices are taken faster than of NumPy's own class for this.
    return np.asarray(np.load(path, mmap_mode="r"))


def find(digest: str) -> Path | None:
    """The index of the annotation file with this SHA-256, if there is one and it is undamaged."""
    folder = cache_root() / "annotations" / digest[:32]
    try:
        contents = json.loads((folder / _CONTENTS).read_bytes())
        hashes = {path.name: sha256(path) for path in folder.glob("*.npy")}
    except (OSError, ValueError, RecursionError):
        return None
    whole = contents == {"format": _FORMAT, "annotations": digest, "files": hashes}
    return folder if whole else None


def write(content: dict[str, Any], digest: str) -> Path:
    """Write the index of an annotation file, complete or not at all; one that is whole stays.

    Args:
        content: of the annotation file.
        digest: its SHA-256.

    Returns:
        The index's folder.

    Raises:
        OSError: the folder cannot be written to, or its disk is full.
        ValueError, KeyError, TypeError: the content is not COCO's format for detection.
    """
    if found := find(digest):
        return found
    folder = cache_root() / "annotations" / digest[:32]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        for name, array in _arrays(content):
            _save(new / f"{name}.npy", array)
        hashes = {path.name: sha256(path) for path in new.glob("*.npy")}
        write_json(new / _CONTENTS, {"format": _FORMAT, "annotations": digest, "files": hashes})
        _put(new, folder, Path(temporary) / "old")
    return folder


def write_of(annotation_file: str | os.PathLike) -> Path:
    """`write` what is in a file."""
    data = Path(annotation_file).read_bytes()
    return write(json.loads(data), hashlib.sha256(data).hexdigest())


def keep(content: dict[str, Any], digest: str) -> None:
    """`write`, where it can be done; a warning says why not."""
    try:
        write(content, digest)
    except FAULTS as error:
        logger.warning("%s", without(error))


def without(error: Exception) -> str:
    """What it means that there is no index, in words."""
    folder = cache_root() / "annotations"
    return (
        f"no index of the annotations in {folder}: {error}. Trainings go on without: each of "
        "their processes reads the annotation file itself"
    )


def stamp(file: Path) -> tuple[int, int] | None:
    """What differs after a file was written anew: its bytes and time; None where there is none."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns


def _save(path: Path, array: np.ndarray) -> None:
    # np.save does not say why a disk takes no more.
    array = np.ascontiguousarray(array)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)
        file.flush()
        os.fsync(file.fileno())


def _put(new: Path, folder: Path, old: Path) -> None:
    """Put an index in a place where there may be a damaged one, or meanwhile another process's.

    Who has mapped the files of the old one keeps them.
    """
    with suppress(FileNotFoundError):
        os.rename(folder, old)
    try:
        os.rename(new, folder)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise


def _arrays(content: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    images = content["images"]
    ids = _integers([image["id"] for image in images])
    sizes = _integers([(image["width"], image["height"]) for image in images]).reshape(-1, 2)
    yield "image_ids", ids
    yield "image_sizes", sizes
    yield from _as_text("image", images)
    yield "categories", np.frombuffer(json.dumps(content["categories"]).encode(), np.uint8)

    annotations = content["annotations"]
    positions = {number: position for position, number in enumerate(ids.tolist())}
    if len(positions) < len(ids) or len({entry["id"] for entry in annotations}) < len(annotations):
        raise ValueError("an id stands twice")
    owners = np.array([positions[entry["image_id"]] for entry in annotations], np.int64)
    order = np.argsort(owners, kind="stable")
    annotations, owners = [annotations[i] for i in order.tolist()], owners[order]
    yield "bounds", np.searchsorted(owners, np.arange(len(ids) + 1))
    yield "category_ids", _integers([entry["category_id"] for entry in annotations])
    boxes = _numbers([entry["bbox"] for entry in annotations]).reshape(-1, 4)
    x, y, width, height = boxes.T
    yield "boxes", np.stack([x, y, x + width, y + height], 1).astype(np.float32)
    kinds = _kinds(annotations, boxes, sizes[owners])
    yield "kinds", kinds
    yield from _segmentations(
        entry.get("segmentation") if kind == OBJECT else None
        for entry, kind in zip(annotations, kinds.tolist(), strict=True)
    )


def _integers(values: list) -> np.ndarray:
    found = np.array(values) if values else np.zeros(0, np.int64)
    if found.dtype != np.int64:
        raise ValueError("an id, a width or a height is no whole number")
    return found


def _numbers(values: list) -> np.ndarray:
    """In float64, which holds them exactly; so Python's arithmetic on them is NumPy's."""
    found = np.array(values) if values else np.zeros(0)
    if found.dtype.kind not in "if" or not (np.abs(found) < _LARGEST).all():
        raise ValueError("a box or an area is not of finite numbers")
    return found.astype(np.float64)


def _kinds(annotations: list[dict[str, Any]], boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """As mmdet 2.28.2 decides in `CocoDataset._parse_ann_info`, but for the classes."""
    x, y, width, height = boxes.T
    inside = [
        np.maximum(0, np.minimum(start + side, most) - np.maximum(start, 0))
        for start, side, most in ((x, width, sizes[:, 0]), (y, height, sizes[:, 1]))
    ]
    dropped = (inside[0] * inside[1] == 0) | (width < 1) | (height < 1)
    dropped |= _numbers([entry["area"] for entry in annotations]) <= 0
    dropped |= np.array([bool(entry.get("ignore", False)) for entry in annotations], bool)
    crowds = np.array([bool(entry.get("iscrowd", False)) for entry in annotations], bool)
    return np.where(dropped, DROPPED, np.where(crowds, CROWD, OBJECT)).astype(np.uint8)


def _segmentations(values: Iterable[Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Polygons of floats as numbers; anything else as text, polygons of integers among them.

    Of those mmdet makes arrays of integers, which round otherwise when they are scaled.
    """
    coordinates: list[np.ndarray] = []
    polygon_ends, polygons, others = [0], [0], []
    for value in values:
        floats = isinstance(value, list) and bool(value) and all(map(_of_floats, value))
        numbers = [np.array(each) for each in value] if floats else []
        others.append(None if floats else value)
        coordinates += numbers
        polygon_ends += [len(each) for each in numbers]
        polygons.append(len(numbers))
    yield "coordinates", np.concatenate([np.zeros(0), *coordinates])
    yield "polygon_ends", np.cumsum(polygon_ends)
    yield "polygons", np.cumsum(polygons)
    yield from _as_text("segment", others)


def _of_floats(polygon: Any) -> bool:
    return isinstance(polygon, list) and set(map(type, polygon)) == {float}


def _as_text(name: str, values: Iterable[Any]) -> Iterator[tuple[str, np.ndarray]]:
    text, ends = bytearray(), [0]
    for value in values:
        if value is not None:
            text += json.dumps(value, separators=(",", ":")).encode()
        ends.append(len(text))
    yield f"{name}_text", np.frombuffer(text, np.uint8)
    yield f"{name}_ends", np.array(ends)


if __name__ == "__main__":
    try:
        write_of(sys.argv[1])
    except FAULTS as error:
        sys.exit(without(error))
