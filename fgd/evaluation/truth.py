"""The truth of a test set as the evaluation counts it: images, classes and objects numbered from 1.

What numbers a file has must not decide its metrics. pycocotools and faster-coco-eval mark a
detection by the id of the object that it found, 0 being none, so that an object of id 0 is never
found; the latter counts in doubles and takes no negative numbers, so that ids above 2^53 become one
and those below 0 are lost.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset

from fgd.data.boxes import is_number
from fgd.errors import FGDError


class Truth:
    """What is to be found in a test set, and detections under the same numbers.

    Attributes:
        classes: the name of every class, by its number.
        images: the numbers of the images.
    """

    def __init__(self, dataset: CocoDataset) -> None:
        """Number what an mmdet CocoDataset has loaded.

        Raises:
            FGDError: an object is not one that can be measured.
        """
        # In the order of the ids, which decides between detections of equal scores.
        self._images = _numbers(dataset.img_ids)
        self._classes = _numbers(dataset.cat_ids)
        self._coco = dataset.coco
        names = {each["id"]: each["name"] for each in self._coco.dataset["categories"]}
        self.classes = {number: names[each] for each, number in self._classes.items()}
        self.images = list(self._images.values())
        self._file = dataset.ann_file

    def content(self, *, masks: bool) -> dict[str, list[dict[str, Any]]]:
        """The test set in COCO's format; categories that are no classes are left out.

        Args:
            masks: with the objects' segmentations, which are not looked at otherwise.
        """
        objects: list[dict[str, Any]] = []
        for image, number in self._images.items():
            for annotation in self._coco.imgToAnns.get(image, ()):
                if annotation["category_id"] in self._classes:
                    where = {"id": len(objects) + 1, "image_id": number}
                    objects.append(where | self._object(annotation, masks=masks))
        return {
            "images": [
                {"id": number, **{key: self._coco.imgs[image][key] for key in ("height", "width")}}
                for image, number in self._images.items()
            ],
            "categories": [{"id": n, "name": name} for n, name in self.classes.items()],
            "annotations": objects,
        }

    def numbered(self, detections: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Detections as mmdet writes them, with these numbers for the file's ids."""
        return [
            found
            | {
                "image_id": self._images[found["image_id"]],
                "category_id": self._classes[found["category_id"]],
            }
            for found in detections
        ]

    def _object(self, annotation: dict[str, Any], *, masks: bool) -> dict[str, Any]:
        area, crowd = annotation["area"], annotation["iscrowd"]
        for key, value, sound in (
            ("area", area, is_number(area)),
            ("iscrowd", crowd, crowd is None or type(crowd) in (bool, int, float)),
        ):
            if not sound:
                raise FGDError(
                    f"{self._file}: annotation {annotation['id']}: {key} is {value!r}, and figures "
                    "need a number; `fgd data clean` mends it"
                )
        measured = {
            "category_id": self._classes[annotation["category_id"]],
            "bbox": annotation["bbox"],
            "area": area,
            "iscrowd": int(bool(crowd)),  # as training understands it
        }
        if masks:
            outline = outline_of(annotation, self._file)
            size = [self._coco.imgs[annotation["image_id"]][key] for key in ("height", "width")]
            # Of an empty list pycocotools makes an error, faster-coco-eval an empty mask.
            empty = {"size": size, "counts": [size[0] * size[1]]}
            measured["segmentation"] = empty if outline == [] else outline
        return measured


def outline_of(annotation: dict[str, Any], file: str | Path) -> Any:
    """The segmentation of an annotation, as its file has it; that of a crowd may be empty.

    Raises:
        FGDError: it has none, on which pycocotools and faster-coco-eval fail, each in its own way.
    """
    outline = annotation.get("segmentation")
    if outline is None or (not outline and not annotation["iscrowd"]):
        raise FGDError(
            f"{file}: annotation {annotation['id']}: segmentation is "
            f"{annotation.get('segmentation', 'missing')}, and figures of masks need that of every "
            "object; `fgd data clean --masks` leaves such objects out"
        )
    return outline


def _numbers(ids: Iterable[Any]) -> dict[Any, int]:
    """Numbers from 1 in the order of the ids, of whatever type they are."""
    ids = list(ids)
    try:
        ids.sort()
    except TypeError:
        ids.sort(key=str)
    return {identity: number for number, identity in enumerate(ids, start=1)}
