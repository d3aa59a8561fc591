"""What is found in single images and annotations, and whether it is refused."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from fgd.data import images as image_files
from fgd.data import segmentation
from fgd.data.boxes import is_number
from fgd.errors import FGDError

# Kinds of findings in single annotations; COCO has a few that stand twice.
WRONG_AREA = "wrong area"
WRONG_CROWD = "wrong iscrowd"
WRONG_MASK = "wrong segmentation"
NO_MASK = "without segmentation"
TWICE = "annotated twice"
_COUNTED = (TWICE,)
LEAST_SIDE = 32  # pixels; mmdet 2.28.2's CocoDataset._filter_imgs
# What `accept` takes: the kinds that are refused unless it says otherwise. What cannot be read
# cannot be trained on.
KINDS = (image_files.OTHER_SIZE, image_files.TURNED, WRONG_AREA, WRONG_CROWD, WRONG_MASK)


class Refusals:
    """Counts what is found, and refuses the first of a kind that is not accepted."""

    def __init__(self, file: Path, accept: Collection[str], found: Counter[str]) -> None:
        self._file = file
        self._accept = accept
        self._found = found

    def of_images(self, findings: Iterable[tuple[int, Path, image_files.Finding]]) -> None:
        """Refuse findings of `faulty_images`."""
        first: dict[str, str] = {}
        for _, path, finding in findings:
            self._found[finding.kind] += 1
            first.setdefault(finding.kind, f"image {path} {finding.reason}")
        for kind in image_files.REFUSED:
            if kind in first and kind not in self._accept:
                raise FGDError(
                    f"{self._file}: {first[kind]} ({self._found[kind]} images are {kind}). "
                    f"Replace them, or write annotations without them: `fgd data clean`"
                    + (f"; or accept them: --accept {kind!r}" if kind in KINDS else "")
                )

    def of_annotations(self, findings: Iterable[tuple[str, Any, str]], *, masks: bool) -> None:
        """Refuse findings of `faulty_annotations`; wrong segmentations only where masks count."""
        counted = _COUNTED if masks else (*_COUNTED, WRONG_MASK)
        first: dict[str, str] = {}
        for kind, annotation_id, reason in findings:
            self._found[kind] += 1
            first.setdefault(kind, f"annotation {annotation_id}: {reason}")
        for kind, words in first.items():
            if kind not in self._accept and kind not in counted:
                raise FGDError(
                    f"{self._file}: {words} ({self._found[kind]} of the kind {kind!r}). Correct "
                    + "them, or have it done: `fgd data clean"
                    + (" --masks`" if kind in (NO_MASK, WRONG_MASK) else "`")
                    + (f"; or accept them: --accept {kind!r}" if kind in KINDS else "")
                )


def faulty_images(
    folder: Path, images: dict[str, list[Any]]
) -> Iterator[tuple[int, Path, image_files.Finding]]:
    """Id, file and finding of what is found in the image files; each is decoded."""
    stated = zip(images["file_name"], images["width"], images["height"], strict=True)
    looked = image_files.look_at_all(folder, stated)
    for identity, (name, findings) in zip(images["id"], looked, strict=True):
        for finding in findings:
            yield identity, folder / name, finding


def faulty_annotations(
    images: dict[str, list[Any]], annotations: list[dict[str, Any]], masks: Collection[int] = ()
) -> Iterator[tuple[str, Any, str]]:
    """Kind, id and reason of what is wrong with single annotations beside their boxes.

    Args:
        masks: categories whose objects have to have a segmentation.
    """
    stated = zip(images["height"], images["width"], strict=True)
    sizes = dict(zip(images["id"], stated, strict=True))
    seen = set()
    for annotation in annotations:
        identity, area = annotation["id"], annotation["area"]
        if not is_number(area) or area < 0:
            yield WRONG_AREA, identity, f"area is {area!r}; expected square pixels"
        if annotation["iscrowd"] not in (0, 1):
            yield WRONG_CROWD, identity, f"iscrowd is {annotation['iscrowd']!r}; expected 0 or 1"
        fault = segmentation.fault(annotation.get("segmentation"), *sizes[annotation["image_id"]])
        if annotation["category_id"] in masks and _lacks_mask(annotation):
            yield NO_MASK, identity, "no segmentation, and masks are learned or measured"
        if fault:
            yield WRONG_MASK, identity, fault
        key = (annotation["image_id"], annotation["category_id"], str(annotation["bbox"]))
        if key in seen:
            yield TWICE, identity, "another annotation has its image, category and box"
        seen.add(key)


def ignored(annotation: dict[str, Any]) -> bool:
    """Whether mmdet leaves an annotation out of training; the evaluation wants it found."""
    return bool(annotation.get("ignore", False))


def small_images(images: dict[str, list[Any]]) -> list[int]:
    """The positions of images that mmdet leaves out of training."""
    sizes = zip(images["width"], images["height"], strict=True)
    return [position for position, size in enumerate(sizes) if min(size) < LEAST_SIDE]


def describe_small(images: dict[str, list[Any]], small: list[int]) -> str:
    """The first of the small images, and how many they are."""
    name, width, height = (images[key][small[0]] for key in ("file_name", "width", "height"))
    return (
        f"image {name} is {width} x {height} pixels, and mmdet's training leaves out what is less "
        f"than {LEAST_SIDE} pixels wide or high ({len(small)} of {len(images['id'])} images are). "
        "Enlarge them, or write annotations without them: `fgd data clean --training`"
    )


def _lacks_mask(annotation: dict[str, Any]) -> bool:
    # mmdet takes no mask of a crowd; the evaluation reads it, and an empty one will do.
    if annotation["iscrowd"] and annotation.get("segmentation") is not None:
        return False
    return not annotation.get("segmentation")
