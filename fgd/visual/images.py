"""Images on their way into a picture: their ground truth, and the network's input."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from mmcv import Config
from mmdet.datasets import replace_ImageToTensor
from mmdet.datasets.pipelines import Compose
from pycocotools.coco import COCO
from torch import Tensor

from fgd import compat
from fgd.data.batches import Collate
from fgd.data.segmentation import fault
from fgd.errors import FGDError

compat.pycocotools_is_quiet()


@dataclass(frozen=True)
class Objects:
    """Objects on an image, annotated or detected.

    Attributes:
        boxes: (k, 4), x1 y1 x2 y2 in pixels of the image.
        names: k class names.
        scores: (k,), from 0 to 1; None for annotated objects.
        masks: k arrays (height, width) of bool; None if there are only boxes.
    """

    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    names: list[str] = field(default_factory=list)
    scores: np.ndarray | None = None
    masks: list[np.ndarray] | None = None


@dataclass(frozen=True)
class Picture:
    """An image; `truth` is None where nobody has annotated it. `pixels` (H, W, 3) are RGB."""

    path: Path
    pixels: np.ndarray
    truth: Objects | None


class NetworkInput(NamedTuple):
    """An image as a detector's test pipeline prepares it.

    Attributes:
        batch: what the detector takes.
        img: (1, 3, H, W), normalised and padded.
        shape: height and width before padding.
        scale: (4,), the factors that boxes in pixels of the image take.
        extent: width and height of `img` in pixels of the image.
    """

    batch: dict
    img: Tensor
    shape: tuple[int, int]
    scale: np.ndarray
    extent: tuple[float, float]


def read_pictures(paths: list[Path], annotations: Path | None) -> list[Picture]:
    """Read images and, from a COCO annotation file, what is on them.

    Raises:
        FGDError: a file is not an image, or the annotations do not name it.
    """
    truths = [None] * len(paths) if annotations is None else _truths(paths, annotations)
    return [Picture(path, _pixels(path), truth) for path, truth in zip(paths, truths, strict=True)]


def choose_images(annotations: Path, folder: Path, number: int) -> list[Path]:
    """The first images of a data set with two objects or more; fewer objects if there are none."""
    content = _read_annotations(annotations)
    counts = dict.fromkeys((image["id"] for image in content["images"]), 0)
    for annotation in content["annotations"]:
        counts[annotation["image_id"]] += 1
    # Sorting is stable: among images alike the file's order stays.
    ranked = sorted(content["images"], key=lambda image: -min(counts[image["id"]], 2))
    return [folder / image["file_name"] for image in ranked[:number]]


def network_input(cfg: Config, path: Path) -> NetworkInput:
    """Prepare an image as the config's test pipeline does."""
    pipeline = Compose(replace_ImageToTensor(cfg.data.test.pipeline))
    data = pipeline(dict(img_info=dict(filename=str(path)), img_prefix=None))
    batch = Collate(1)([data])
    img, meta = batch["img"][0], batch["img_metas"][0][0]
    scale = np.asarray(meta["scale_factor"], dtype=float)
    extent = (img.shape[-1] / scale[0], img.shape[-2] / scale[1])
    return NetworkInput(batch, img, tuple(meta["img_shape"][:2]), scale, extent)


def _pixels(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    if image is None:
        raise FGDError(f"{path}: there is no such image, or it cannot be read as one")
    return image[..., ::-1]


def _read_annotations(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["images"], content["annotations"], content["categories"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FGDError(
            f"{path}: cannot be read as COCO annotations ({error!r}); expected a JSON object with "
            "images, annotations and categories"
        ) from error
    return content


def _truths(paths: list[Path], annotations: Path) -> list[Objects]:
    content = _read_annotations(annotations)
    _check_references(content, annotations)
    coco = COCO()
    coco.dataset = content
    coco.createIndex()
    ids = {image["file_name"]: image["id"] for image in content["images"]}
    return [_truth(coco, _image_id(path, ids, annotations)) for path in paths]


def _check_references(content: dict, file: Path) -> None:
    """Whether annotations have what is drawn of them, and an image and a class that are there."""
    known = {
        "image_id": {image["id"] for image in content["images"]},
        "category_id": {category["id"] for category in content["categories"]},
    }
    for annotation in content["annotations"]:
        for key in ("id", "bbox", *known):
            if key not in annotation or (key in known and annotation[key] not in known[key]):
                raise FGDError(
                    f"{file}: annotation {annotation.get('id')}: {key} is missing or names none "
                    "that is there; `fgd data check` looks through the file"
                )


def _image_id(path: Path, ids: dict[str, int], annotations: Path) -> int:
    # A file name may hold folders: the longest end of the path that is one counts.
    for start in range(len(path.parts)):
        name = "/".join(path.parts[start:])
        if name in ids:
            return ids[name]
    raise FGDError(
        f"{path}: {annotations} has no image of that name; leave out --annotations to draw "
        "detections without the ground truth"
    )


def _truth(coco: COCO, image: int) -> Objects:
    found = [a for a in coco.imgToAnns[image] if not a.get("iscrowd")]
    corners = [(x, y, x + w, y + h) for x, y, w, h in (a["bbox"] for a in found)]
    size = coco.imgs[image]["height"], coco.imgs[image]["width"]
    masks = [coco.annToMask(a).astype(bool) for a in found] if _segmented(found, size) else None
    return Objects(
        boxes=np.array(corners, dtype=float).reshape(-1, 4),
        names=[coco.cats[a["category_id"]]["name"] for a in found],
        masks=masks,
    )


def _segmented(found: list[dict], size: tuple[int, int]) -> bool:
    """Whether all have an outline that can be drawn; data for boxes may have anything there."""
    outlines = [a.get("segmentation") for a in found]
    return bool(found) and all(o and fault(o, *size) is None for o in outlines)
