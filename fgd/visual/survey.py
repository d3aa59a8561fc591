"""What a data set holds, and what a detector gets to see of it: sizes, levels, anchors."""

import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmcv import Config
from mmcv.image import rescale_size
from mmdet.core import build_prior_generator

from fgd.data.annotations import read
from fgd.data.boxes import boxes_of
from fgd.errors import FGDError
from fgd.pair import level_strides

# COCO's three sizes, by the area of an object in pixels of its image.
SIZES = {"small": 0.0, "medium": 32.0**2, "large": 96.0**2}
DEFAULT_SCALE = (1333, 800)  # the longer and the shorter side in mmdet's configs for COCO


@dataclass(frozen=True)
class View:
    """How a detector looks at an image.

    Attributes:
        scale: the longer and the shorter side that an image is resized into.
        keep_ratio: whether it keeps its shape then.
        strides: of the FPN levels, in pixels of the resized image; none if nobody knows.
        anchors: of each level the sides of its anchors (the square root of their areas); none for a
            detector without anchors.
        name: of the detector; empty for none.
    """

    scale: tuple[int, int] = DEFAULT_SCALE
    keep_ratio: bool = True
    strides: list[int] = field(default_factory=list)
    anchors: list[list[float]] = field(default_factory=list)
    name: str = ""

    def factors(self, width: int, height: int) -> tuple[float, float]:
        """By what width and height of an image are multiplied."""
        if not self.keep_ratio:
            return self.scale[0] / width, self.scale[1] / height
        new = rescale_size((width, height), self.scale)
        return new[0] / width, new[1] / height


@dataclass(frozen=True)
class Survey:
    """A data set's objects, without crowds.

    Attributes:
        file, folder: annotations and images.
        images: COCO's entries.
        classes: names in the order of the file.
        labels: (n,), of each object the position of its class.
        image: (n,), of each object the position of its image.
        sides: (n, 2), width and height in pixels of the image.
        seen: (n, 2), the same in pixels of the resized image.
        areas: (n,), as annotated.
        boxes: (n, 4), x, y, width, height in pixels of the image.
        crowds: how many there are.
    """

    file: Path
    folder: Path
    images: list[dict[str, Any]]
    classes: list[str]
    labels: np.ndarray
    image: np.ndarray
    seen: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray
    crowds: int

    @property
    def sides(self) -> np.ndarray:
        """Width and height in pixels of the image, (n, 2)."""
        return self.boxes[:, 2:]

    def by_size(self) -> dict[str, list[int]]:
        """Of every class how many objects are small, medium and large."""
        kinds = np.searchsorted(list(SIZES.values()), self.areas, side="right") - 1
        return {
            name: [int(((self.labels == label) & (kinds == kind)).sum()) for kind in range(3)]
            for label, name in enumerate(self.classes)
        }

    def images_of(self) -> dict[str, int]:
        """On how many images every class is."""
        pairs = set(zip(self.labels.tolist(), self.image.tolist(), strict=True))
        counts = Counter(label for label, _ in pairs)
        return {name: counts[label] for label, name in enumerate(self.classes)}

    def smallest(self, number: int) -> list[int]:
        """The objects whose shorter side is smallest once resized, one an image if that does."""
        order = np.argsort(self.seen.min(1), kind="stable")
        first = {int(self.image[index]): int(index) for index in order[::-1]}
        chosen = sorted(first.values(), key=lambda index: float(self.seen[index].min()))[:number]
        more = [int(index) for index in order if index not in chosen]
        return [*chosen, *more][:number]

    def chosen(self, number: int, seed: int) -> list[Path]:
        """Random images, in the order of the file; those with objects first."""
        used = set(self.image.tolist())
        order = list(range(len(self.images)))
        random.Random(seed).shuffle(order)
        order.sort(key=lambda position: position not in used)
        return [self.folder / self.images[p]["file_name"] for p in sorted(order[:number])]


def survey(annotations: Path, folder: Path, view: View) -> Survey:
    """Look at a data set as a detector does.

    Raises:
        FGDError: it is no annotation file, an entry in it is wrong, or it has no object.
    """
    content, images, table, categories = read(annotations, folder)
    boxes = boxes_of(annotations, table)
    crowd = np.array([bool(flag) for flag in table["iscrowd"]], bool)
    if not len(boxes) or crowd.all():
        raise FGDError(f"{annotations}: has no object that is no crowd; there is nothing to show")
    positions = {identity: position for position, identity in enumerate(images["id"])}
    labels = {identity: position for position, identity in enumerate(categories["id"])}
    image = np.array([positions[identity] for identity in table["image_id"]])[~crowd]
    sizes = zip(images["width"], images["height"], strict=True)
    factors = np.array([view.factors(*size) for size in sizes])
    areas = [a if isinstance(a, int | float) else 0 for a in table["area"]]
    return Survey(
        file=annotations,
        folder=folder,
        images=content["images"],
        classes=categories["name"],
        labels=np.array([labels[identity] for identity in table["category_id"]])[~crowd],
        image=image,
        seen=boxes[~crowd, 2:] * factors[image],
        areas=np.array(areas, float)[~crowd],
        boxes=boxes[~crowd],
        crowds=int(crowd.sum()),
    )


def view_of(config: Config, name: str, scale: tuple[int, int] | None = None) -> View:
    """How the detector of a config looks at images.

    Args:
        config: a complete mmdet config.
        scale: in place of the config's own.
    """
    resize = _resizing(config.data.test.pipeline) if config.get("data") else {}
    stated = resize.get("img_scale")
    if isinstance(stated, list) and stated and isinstance(stated[0], tuple | list):
        stated = stated[0]  # tests of several sizes
    if not (isinstance(stated, tuple | list) and len(stated) == 2):
        stated = DEFAULT_SCALE
    return View(
        scale=scale or (int(stated[0]), int(stated[1])),
        keep_ratio=resize.get("keep_ratio", True),
        strides=level_strides(config.model) or [],
        anchors=_anchors(config.model),
        name=name,
    )


def _resizing(pipeline: Any) -> dict[str, Any]:
    """What a pipeline says of the size of images, however deep it stands."""
    found: dict[str, Any] = {}
    for step in pipeline:
        found |= {key: step[key] for key in ("img_scale", "keep_ratio") if key in step}
        found |= _resizing(step.get("transforms", []))
    return found


def _anchors(model: dict[str, Any]) -> list[list[float]]:
    """The sides of every level's anchors."""
    head = model.get("rpn_head") or model.get("bbox_head") or {}
    settings = head.get("anchor_generator") if isinstance(head, dict) else None
    if not settings:
        return []
    generator = build_prior_generator(settings)
    return [
        sorted({round(float(side), 1) for side in (b[:, 2:] - b[:, :2]).prod(1).sqrt()})
        for b in getattr(generator, "base_anchors", [])
    ]


def described(found: Survey, view: View) -> list[str]:
    """The survey in words, a line each."""
    sizes, images = found.by_size(), found.images_of()
    width = max(len("class"), *map(len, found.classes))
    lines = [
        f"{'class':{width}} {'objects':>8} {'images':>8} {'small':>8} {'medium':>8} {'large':>8}"
    ]
    for name, counts in sizes.items():
        row = [sum(counts), images[name], *counts]
        lines.append(f"{name:{width}} " + " ".join(f"{value:8}" for value in row))
    return lines + facts(found, view)


def facts(found: Survey, view: View) -> list[str]:
    """What resizing makes of the objects."""
    first = found.smallest(1)[0]
    name = found.images[int(found.image[first])]["file_name"]
    scale = " x ".join(map(str, view.scale))
    lines = [
        f"resized into {scale}: the smallest of {len(found.seen)} objects ({name}) has "
        f"{_size(found.seen[first])} pixels, {_size(found.sides[first])} in its image"
    ]
    if view.strides:
        thin = int((found.seen.min(1) < view.strides[0]).sum())
        lines.append(
            f"{_are(thin)} narrower than {view.strides[0]} pixels, the finest stride of {view.name}"
        )
    if view.anchors:
        low, high = min(view.anchors[0]), max(view.anchors[-1])
        sides = np.sqrt(found.seen.prod(1))
        below, above = int((sides < low / 2).sum()), int((sides > 2 * high).sum())
        lines.append(
            f"{_are(below)} less than half as wide and high as the smallest anchor ({low:g} "
            f"pixels), and {_are(above)} more than twice the largest ({high:g} pixels)"
        )
    return lines


def _are(number: int) -> str:
    return {0: "no object is", 1: "1 object is"}.get(number, f"{number} objects are")


def _size(sides: np.ndarray) -> str:
    return f"{sides[0]:.3g} x {sides[1]:.3g}"
