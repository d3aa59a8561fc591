"""YOLO: a text file an image, a line an object, in fractions of the image; classes by number.

A line is a class and a box (centre x, centre y, width, height), or a class and the points of an
outline. Which folders there are, and the names of the classes, stands in data.yaml, or the folders
are images/ and labels/ and the names stand in classes.txt.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fgd.data.images import size_of
from fgd.data.mend import whole
from fgd.errors import FGDError
from fgd.importing.reading import (
    IMAGE_SUFFIXES,
    Labelled,
    LabelledImage,
    Source,
    Unreadable,
    box_round,
    numbers,
    polygon,
    read_text,
    split_of,
    subset_of,
)

_SPLITS = ("train", "val", "valid", "test")
_USUAL = ("data", "dataset")  # what YOLO's YAML file is called
_LISTS = ("classes.txt", "obj.names", "_darknet.labels")
_ROUNDING = 1e-3  # by how much a fraction may exceed 1 and still be one that was rounded
_POSES = 10  # objects; of fewer it can be a coincidence that they look like poses
_EXPECTED = "expected a class and a box (x, y, width, height), or a class and an outline's points"


def is_yolo(folder: Path) -> bool:
    """Whether a folder looks like YOLO's."""
    if _config(folder) is not None:
        return True
    if any((folder / name).is_file() for name in _LISTS):
        return True
    return (folder / "images").is_dir() and (folder / "labels").is_dir()


def read(place: Path, images: Path | None = None, classes: Sequence[str] | None = None) -> Source:
    """Read YOLO's folder, or its data.yaml.

    Args:
        images: folder of the images; only where no data.yaml names any.
        classes: names of the classes by number, where no file has them.

    Raises:
        FGDError: no file names the classes, data.yaml is wrong as a whole or names folders beside
            `images`, or no image has labels.
    """
    config = place if place.is_file() else _config(place)
    source = Source()
    if config is not None:
        content = _content(config)
        if images is not None and (said := [key for key in _SPLITS if content.get(key)]):
            raise FGDError(
                f"{config}: says itself where the images lie ({', '.join(said)}), so --images "
                "would not count: leave it out, and correct this file if its folders are wrong"
            )
        source.classes = _names(config, content)
        listed = list(_listed(config, content))
        place = config.parent
    else:
        source.classes = _classes_of(place) or list(classes or ())
        if not source.classes:
            raise FGDError(
                f"{place}: no file names the classes; YOLO has them in data.yaml (names) or "
                "classes.txt, or give --classes, in the order of their numbers"
            )
        listed = []
    splits: dict[Path, tuple[str, ...]] = {}
    for path, split in listed:
        if split not in splits.get(path, ()):
            splits[path] = (*splits.get(path, ()), split)
    root = images or (place / "images" if (place / "images").is_dir() else place)
    if not splits:
        splits = dict.fromkeys(_images_in(root), ())
    if not splits:
        raise FGDError(f"{place}: has no images; YOLO's lie in images/, beside labels/")
    labels = {path: _label_file(path) for path in splits}
    if not any(file.is_file() for file in labels.values()):
        path, file = next(iter(labels.items()))
        raise FGDError(
            f"{place}: none of {len(labels)} images has labels; those of {path} would be {file}"
        )
    for path, file in labels.items():
        if (image := _read_image(path, file, source)) is not None:
            image.splits = splits[path]
            image.subset = "" if image.splits else subset_of(path, root)
            source.images.append(image)
    _alone(set(labels.values()), source)
    _check_key_points(place, source)
    return source


def _configs(folder: Path) -> list[Path]:
    """YAML files, those named as usual first."""
    files = sorted(file for file in folder.glob("*.y*ml") if file.suffix in (".yaml", ".yml"))
    return sorted(files, key=lambda file: file.stem not in _USUAL)


def _config(folder: Path) -> Path | None:
    return next(filter(_is_config, _configs(folder)), None)


def _is_config(file: Path) -> bool:
    """Whether a YAML file names classes, or is called as one that does and cannot be read.

    Of the latter the reader says what is wrong; passed over, nobody would.
    """
    try:
        return _content(file).get("names") is not None
    except FGDError:
        return file.stem in _USUAL


def _content(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(read_text(file))
    except (yaml.YAMLError, RecursionError, Unreadable) as error:
        raise FGDError(f"{file}: is no YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise FGDError(f"{file}: expected YOLO's keys: path, train, val, names")
    return content


def _names(file: Path, content: dict[str, Any]) -> list[str]:
    """The names of the classes, given as a list or by number."""
    names = content.get("names")
    if isinstance(names, dict):
        numbered = {whole(key): value for key, value in names.items()}
        if set(numbered) != set(range(len(names))):
            raise FGDError(f"{file}: names: has the numbers {list(names)}; expected 0, 1, 2 ...")
        names = [numbered[position] for position in range(len(names))]
    if not isinstance(names, list) or not names:
        raise FGDError(f"{file}: names is {names!r:.80}; expected names of classes, as a list or "
                       "by number")  # fmt: skip
    if (count := whole(content.get("nc", len(names)))) != len(names):
        raise FGDError(f"{file}: nc is {count}, and names has {len(names)}; make them agree")
    if "kpt_shape" in content:
        raise FGDError(f"{file}: has key points (kpt_shape); boxes and outlines can be imported")
    return [str(name) for name in names]  # YAML takes names such as 1 or no for something else


def _classes_of(folder: Path) -> list[str]:
    """The names of the classes from a list, one a line; none if there is no list."""
    for place in (folder, folder / "labels", folder / "data"):
        for name in _LISTS:
            if (place / name).is_file():
                return [
                    line.strip() for line in read_text(place / name).splitlines() if line.strip()
                ]
    return []


def _listed(config: Path, content: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Every image that data.yaml lists, with its split; none where it lists no folders."""
    if not any(content.get(key) for key in _SPLITS):
        return  # names alone, beside images/ and labels/
    if not content.get("train"):
        raise FGDError(f"{config}: train is missing; expected a folder of images, or a list")
    for key in _SPLITS:
        places = content.get(key)
        for place in places if isinstance(places, list) else [places] if places else []:
            for path in _images_of(config, content.get("path"), place, key):
                yield path, split_of(key) or key


def _images_of(config: Path, root: Any, place: Any, key: str) -> list[Path]:
    """The images of a folder, or those that a text file names."""
    if not isinstance(place, str) or not isinstance(root, str | None):
        raise FGDError(f"{config}: {key} is {place!r:.80}; expected a folder or a text file")
    tried = list(_candidates(config.parent, root, place))
    found = next((path for path in tried if path.exists()), None)
    if found is None:
        if key == "test":  # which tools name whether or not they write it
            return []
        raise FGDError(
            f"{config}: {key}: {place}: there is no {' and no '.join(map(str, tried))}; correct "
            "path and the folders in this file"
        )
    if found.is_dir():
        return _images_in(found)
    lines = [line.strip() for line in read_text(found).splitlines() if line.strip()]
    paths = [next((p for p in _candidates(found.parent, root, line) if p.is_file()), None)
             for line in lines]  # fmt: skip
    if None in paths:
        missing = lines[paths.index(None)]
        raise FGDError(
            f"{found}: names {missing}, which is not there ({paths.count(None)} are not)"
        )
    return [path for path in paths if path]


def _candidates(folder: Path, root: Any, place: str) -> Iterator[Path]:
    """Where a path of data.yaml may lead: absolute or from its root, or from the file itself.

    Roboflow writes `../train/images` for what lies beside the file.
    """
    ways = [folder / place]
    if root:
        ways.insert(0, folder / root / place)
    if place.startswith("../"):
        ways.append(folder / place.removeprefix("../"))
    yield from (Path(os.path.normpath(way)) for way in ways)


def _images_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)


def _label_file(image: Path) -> Path:
    """The labels of an image: in labels/ where it lies in images/, or beside it."""
    parts = list(image.parts)
    if "images" in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index("images")
        parts[last] = "labels"
    apart, beside = Path(*parts).with_suffix(".txt"), image.with_suffix(".txt")
    return beside if beside.is_file() and not apart.is_file() else apart


def _read_image(path: Path, file: Path, source: Source) -> LabelledImage | None:
    """An image with its objects; None for one that cannot be read."""
    size = size_of(path)
    if size is None:
        source.fault(path, "is no image that can be read")
        return None
    image = LabelledImage(path, file, size=size)
    if not file.is_file():
        source.note("image without labels, taken for one without objects", path)
        return image
    try:
        lines = read_text(file).splitlines()
    except Unreadable as error:
        source.fault(file, str(error))
        return image
    for position, line in enumerate(lines, start=1):
        if words := line.split():
            try:
                image.objects.append(_object(words, f"line {position}", size, source.classes))
            except Unreadable as error:
                source.fault(file, f"line {position} {error}")
    return image


def _object(
    words: list[str], origin: str, size: tuple[int, int], classes: Sequence[str]
) -> Labelled:
    label = whole(words[0])
    if label is None:
        raise Unreadable(f"starts with {words[0]!r}; expected the number of a class")
    if not 0 <= label < len(classes):
        raise Unreadable(f"is of class {label}; there are {len(classes)}: {', '.join(classes)}")
    values = numbers(words[1:], f"({classes[label]}) a coordinate")
    if max(values, default=0) > 1 + _ROUNDING or min(values, default=0) < -_ROUNDING:
        outside = next(v for v in values if not -_ROUNDING <= v <= 1 + _ROUNDING)
        raise Unreadable(f"has {outside:g}; expected fractions of the image, from 0 to 1")
    scaled = [value * size[position % 2] for position, value in enumerate(values)]
    if len(values) == 4:
        x, y, width, height = scaled
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return Labelled(classes[label], box, origin)
    if len(values) < 6 or len(values) % 2:
        score = ", as detections with a score have" if len(values) == 5 else ""
        raise Unreadable(f"has {len(values)} numbers behind the class{score}; {_EXPECTED}")
    return Labelled(classes[label], box_round(scaled), origin, polygons=[polygon(scaled)])


def _check_key_points(place: Path, source: Source) -> None:
    """Refuse poses, a box and then points a line, which read as outlines where no file says so.

    All have as many points, which lie in the box that the first four numbers make. So do small
    outlines of as many points each, whose second point is near the first; but these go round an
    object, as more than half of random outlines of five points are seen to, and at most a fifth of
    random poses.
    """
    objects = [item for image in source.images for item in image.objects]
    lines = [item.polygons[0] for item in objects if item.polygons]
    counts = {len(line) for line in lines}
    # Of four points are the corners of rotated boxes.
    if len(lines) < max(_POSES, len(objects)) or len(counts) != 1 or counts <= {6, 8}:
        return
    seen = [_without_unseen(line) for line in lines]
    if all(map(_is_pose, seen)) and sum(map(_goes_round, seen)) < len(seen) / 3:
        raise FGDError(
            f"{place}: looks like key points: each of {len(lines)} lines has {counts.pop()} "
            "numbers, of which the first four are a box round the others. Boxes and outlines can "
            "be imported: cut the lines off after five numbers, class and box"
        )


def _without_unseen(line: Sequence[float]) -> np.ndarray:
    """Points of a line, (n, 2), without key points that are not seen, for which 0 0 stands."""
    points = np.reshape(line, (-1, 2))
    return np.concatenate([points[:2], points[2:][points[2:].any(1)]])


def _is_pose(points: np.ndarray) -> bool:
    centre, size = points[:2]
    return bool((np.abs(points[2:] - centre) <= size / 2).all())


def _goes_round(points: np.ndarray) -> bool:
    """Whether points follow each other round an object: by lines that do not cross.

    And the second is near the others, as width and height of a box seldom are.
    """
    others = points[2:]
    if not len(others):
        return False
    low, high = others.min(0), others.max(0)
    extent = high - low
    if (points[1] < low - extent).any() or (points[1] > high + extent).any():
        return False
    along = np.roll(points, -1, 0) - points
    # [i, j]: on which side of the line from point i to the next point j is, and the one after it.
    apart = points[None] - points[:, None]
    side = along[:, None, 0] * apart[..., 1] - along[:, None, 1] * apart[..., 0]
    divided = side * np.roll(side, -1, 1) < 0
    return not (divided & divided.T).any()


def _alone(used: set[Path], source: Source) -> None:
    """Labels that belong to no image, in the folders that hold labels alone."""
    for folder in sorted({file.parent for file in used if "labels" in file.parts[:-1]}):
        for file in sorted(folder.glob("*.txt")):
            if file not in used and file.name not in _LISTS:
                source.fault(file, f"has no image: neither {file.stem}.jpg nor another ending")
