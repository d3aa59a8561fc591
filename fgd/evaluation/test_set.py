"""Whether a config's test set can be measured: found out before anything is built or detected."""

import logging
from pathlib import Path
from typing import Any

from mmcv import Config, ConfigDict
from mmdet.datasets import DATASETS, CocoDataset

from fgd.classes import Names, config_classes
from fgd.data.annotations import read
from fgd.data.boxes import (
    MOST_FAULTY,
    OUTSIDE,
    THIN,
    are_corners,
    box_faults,
    boxes_of,
    describe,
    larger_areas,
    sizes_of_boxes,
)
from fgd.data.coco import check_classes
from fgd.data.files import check_ends, check_files
from fgd.data.outlines import check_outlines
from fgd.data.repeated import check_repeated
from fgd.data.segmentation import fault
from fgd.errors import FGDError, suggestion
from fgd.evaluation.truth import outline_of
from fgd.heads import heads

logger = logging.getLogger("fgd")

# What a data set may not have changed, if its results are to be scored as COCO's.
_AS_COCO = ("load_annotations", "format_results", "results2json", "_det2json", "_segm2json")


def located(cfg: Config, config: str | Path) -> ConfigDict:
    """The settings of the test set, its paths as mmdet joins them with `data_root`.

    `samples_per_gpu` moves to `data.test_dataloader`, as mmdet's own test script moves it.

    Raises:
        FGDError: there is more than one test set, or none whose results can be scored as COCO's.
    """
    test = cfg.data.test
    origin = f"{config}: data.test"
    if not isinstance(test, ConfigDict) or "datasets" in test or "dataset" in test:
        raise FGDError(
            f"{origin} is {_kind(test)}; evaluate takes one test set: give a config each"
        )
    kind = _type(test, origin)
    if not issubclass(kind, CocoDataset) or any(_own(kind, name) for name in _AS_COCO):
        raise FGDError(
            f"{origin} is a {test.type}, whose figures are not COCO's; evaluate takes a "
            "CocoDataset: give its annotations in COCO's format"
        )
    if not isinstance(test.get("ann_file"), str):
        raise FGDError(
            f"{origin}.ann_file is {test.get('ann_file')!r:.200}; evaluate takes one annotation "
            "file: give a config each, or write them into one file"
        )
    if not test.get("pipeline"):
        raise FGDError(f"{origin} has no pipeline, which prepares images for the model")
    if (images := test.pop("samples_per_gpu", None)) is not None:
        loader = cfg.data.setdefault("test_dataloader", ConfigDict())
        if "samples_per_gpu" in loader:
            raise FGDError(
                f"{origin}.samples_per_gpu is {images}, and data.test_dataloader has one, too; "
                "leave out the first, as mmdet 2.28 asks"
            )
        loader.samples_per_gpu = images
    root = Path(test.pop("data_root", None) or "")
    prefix = test.get("img_prefix") or ""
    # As text: paths with a / at their end stay as they are.
    test.ann_file = test.ann_file if root == Path() else str(root / test.ann_file)
    test.img_prefix = prefix if root == Path() else str(root / prefix)
    return test


def check_test_set(cfg: Config, config: str | Path) -> Names:
    """Whether annotations, images and classes of the test set go together, and with the model.

    Returns:
        The names of the classes, in the order of the labels.

    Raises:
        FGDError: they do not.
    """
    test = located(cfg, config)
    origin = f"{config}: data.test"
    classes = config_classes(test.get("classes"), f"{origin}.classes")
    if classes is None:
        classes = config_classes(_type(test, origin).CLASSES, f"{origin}.type {test.type}: CLASSES")
    if classes is None:
        raise FGDError(
            f"{origin} names no classes, and nor does its type {test.type}; give `classes`, in the "
            "order of the model's labels"
        )
    kinds = heads(cfg.model)
    if not kinds:
        raise FGDError(
            f"{config}: its model, a {cfg.model.type}, predicts neither boxes nor masks of classes "
            "that COCO's figures could be computed of"
        )
    for head in kinds.values():
        if head.get("num_classes") not in (None, len(classes)):
            raise FGDError(
                f"{origin}.classes has {len(classes)} names ({', '.join(classes[:5])}"
                f"{', ...' if len(classes) > 5 else ''}), and the model tells "
                f"{head['num_classes']} classes apart; name all of them, in the order of its labels"
            )
    file, folder = Path(test.ann_file), Path(test.img_prefix or ".")
    content, images, annotations, categories = read(file, folder)
    if not annotations["id"]:
        raise FGDError(f"{file}: has no annotations; there is nothing to measure")
    check_classes(file, categories, classes)
    check_repeated(file, content)
    named = zip(categories["id"], categories["name"], strict=True)
    measured = {identity for identity, name in named if name in classes}
    _check_objects(file, content["annotations"], measured)
    _check_boxes(file, images, annotations)
    if "mask" in kinds:
        _check_segmentations(file, content, measured)
    check_files(file, folder, images)
    check_ends(folder, images["file_name"])
    return classes


def _check_objects(file: Path, annotations: list[dict[str, Any]], measured: set[Any]) -> None:
    """Whether there is an object to find; of a crowd nothing is to be found."""
    objects = [a for a in annotations if a["category_id"] in measured]
    if all(a["iscrowd"] for a in objects):
        raise FGDError(
            f"{file}: has no object to find: of {len(annotations)} annotations {len(objects)} are "
            f"of the classes, {len(objects)} of these with iscrowd 1"
        )


def _check_boxes(
    file: Path, images: dict[str, list[Any]], annotations: dict[str, list[Any]]
) -> None:
    """Whether boxes are x, y, width and height in pixels: nothing would be found where others are.

    Fewer than `MOST_FAULTY` of a kind can be any tool's slips. Some data sets have boxes that reach
    beyond the border on purpose.
    """
    boxes = boxes_of(file, annotations)
    if are_corners(boxes, sizes_of_boxes(images, annotations)):
        raise FGDError(
            f"{file}: its boxes are x1, y1, x2, y2, as annotation {annotations['id'][0]}'s "
            f"{annotations['bbox'][0]}; expected x, y, width, height in pixels: `fgd data clean` "
            "mends them"
        )
    faults, beyond = box_faults(images, annotations, boxes)
    for reason in (THIN, OUTSIDE):
        if faults[reason].sum() > MOST_FAULTY * len(boxes):
            raise FGDError(f"{file}: {describe(images, annotations, faults[reason], reason)}")
    if beyond.sum() > MOST_FAULTY * len(boxes):
        reason = "partly beyond the image's border"
        logger.warning("%s: %s", file, describe(images, annotations, beyond, reason))
    if larger := larger_areas(boxes, annotations["area"]).sum():
        logger.warning(
            "%s: %d of %d areas are larger than their boxes, as of before images were resized, and "
            "AP by size goes by them: `fgd data clean` computes those anew that are not their "
            "outlines'",
            file, larger, len(boxes),
        )  # fmt: skip


def _check_segmentations(file: Path, content: dict[str, Any], measured: set[Any]) -> None:
    """Whether the masks of the classes can be compared with those that are found."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    for annotation in content["annotations"]:
        if annotation["category_id"] in measured:
            outline = outline_of(annotation, file)
            if reason := fault(outline, *sizes[annotation["image_id"]]):
                raise FGDError(
                    f"{file}: annotation {annotation['id']}: {reason}; figures of masks need it: "
                    "`fgd data clean --masks` mends it or leaves it out"
                )
    check_outlines(file, content, measured)


def _type(test: dict[str, Any], origin: str) -> type[Any]:
    if "type" not in test:
        raise FGDError(f"{origin} has no type; expected that of a data set, such as CocoDataset")
    kind = DATASETS.get(test["type"])
    if kind is None:
        raise FGDError(
            f"{origin}.type is {test['type']!r}, which mmdet does not know"
            f"{suggestion(test['type'], DATASETS.module_dict)}"
        )
    return kind


def _own(kind: type, name: str) -> bool:
    return getattr(kind, name) is not getattr(CocoDataset, name)


def _kind(test: Any) -> str:
    if isinstance(test, dict):
        return f"a {test.get('type', 'wrapper')} of other data sets"
    return f"a {type(test).__name__}"
