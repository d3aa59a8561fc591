"""The data of a new suite: checked, or mended first."""

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fgd import recipe
from fgd.data.annotations import load
from fgd.data.clean import clean
from fgd.data.coco import check, remarks
from fgd.errors import FGDError
from fgd.importing.finding import or_other_format
from fgd.new_row.request import RowRequest, Split
from fgd.suite import Suite


@dataclass(frozen=True)
class Data:
    """Data that can be trained on.

    Attributes:
        splits: "train" and "val", where they will lie.
        texts: the content of annotation files that were mended, by where they will lie.
        classes: in the order of the labels.
        images: how many there are to train on.
        notes: what was found, lines for the user.
    """

    splits: dict[str, Split]
    texts: dict[Path, str]
    classes: tuple[str, ...]
    images: int
    notes: list[str]


def checked(request: RowRequest, masks: set[str]) -> Data:
    """Check both splits, whose classes are the same, or mend them where that is wished.

    Args:
        masks: the splits whose objects need masks.

    Raises:
        FGDError: something is wrong with them.
    """
    splits = request.splits
    if not request.clean:
        train, val = _reports(request, splits, masks)
        notes = _notes(train, val) + _shared(splits)
        return Data(splits, {}, tuple(train["per_class"]), train["images"], notes)
    with tempfile.TemporaryDirectory() as folder:
        mended, notes = _mended(request, splits, masks, Path(folder))
        train, val = _reports(request, mended, masks)
        notes += _shared(mended)
        texts = {
            request.cleaned(name): split.annotations.read_text(encoding="utf-8")
            for name, split in mended.items()
        }
    there = {
        name: replace(split, annotations=request.cleaned(name)) for name, split in mended.items()
    }
    classes = tuple(train["per_class"])
    return Data(there, texts, classes, train["images"], _notes(train, val) + notes)


def check_masks(suite: Suite, masks: set[str]) -> None:
    """Check the data of a suite that is there for the masks that none of its rows has needed.

    Data that are not on this machine are left to the workflow, which checks them before a training.

    Args:
        masks: the splits whose objects need masks.

    Raises:
        FGDError: an object has none, or an unsound one.
    """
    further = masks - recipe.plan(suite).masks if masks else set()
    files = recipe.split_files(suite) if further else {}
    for split in sorted(further):
        annotations = Path(files[split].annotations)
        if annotations.is_file():
            check(
                annotations,
                files[split].images,
                classes=files[split].classes or None,
                accept=suite.accept_data,
                strict=bool(files[split].classes),
                masks=True,
                training=split == "train",
            )


def _mended(
    request: RowRequest, splits: dict[str, Split], masks: set[str], folder: Path
) -> tuple[dict[str, Split], list[str]]:
    mended: dict[str, Split] = {}
    notes = []
    for name, split in splits.items():
        out = folder / request.cleaned(name).name
        like = mended["train"].annotations if mended else None
        with or_other_format(split.annotations):
            report = clean(
                split.annotations,
                split.images,
                out=out,
                masks=name in masks,
                training=name == "train",
                like=like,
                all_categories=request.all_categories,
            )
        mended[name] = replace(split, annotations=out)
        notes += [
            f"{name:9} {report.counts[kind]} {kind}, for example {example}"
            for kind, example in report.examples.items()
        ]
    return mended, notes


def _reports(
    request: RowRequest, splits: dict[str, Split], masks: set[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`fgd.data.coco.check`'s reports of both splits."""
    train, val = splits["train"], splits["val"]
    try:
        with or_other_format(train.annotations):
            learned = check(
                train.annotations,
                train.images,
                strict=True,
                masks="train" in masks,
                training=True,
                all_categories=request.all_categories,
            )
        classes = list(learned["per_class"])
        with or_other_format(val.annotations):
            measured = check(
                val.annotations, val.images, classes=classes, strict=True, masks="val" in masks
            )
    except FGDError as error:
        if request.clean or "`fgd data clean" not in str(error):
            raise
        raise FGDError(f"{error}. With --clean both files are mended for the row") from error
    if measured["other_classes"]:
        raise FGDError(
            f"{val.annotations}: has {measured['other_classes']} objects of categories that "
            f"{train.annotations} does not have"
        )
    return learned, measured


def _shared(splits: dict[str, Split]) -> list[str]:
    """A line on validation images that are training images, too.

    Raises:
        FGDError: all are.
    """
    train, val = splits["train"], splits["val"]
    folders = train.images.resolve(), val.images.resolve()
    if not any(one == other or one in other.parents for one, other in (folders, folders[::-1])):
        return []
    learned, measured = (
        {os.path.normpath(folder / image["file_name"]) for image in load(file, folder)[0]["images"]}
        for folder, file in zip(folders, (train.annotations, val.annotations), strict=True)
    )
    both = learned & measured
    if both == measured:
        raise FGDError(
            f"{val.annotations}: all {len(both)} validation images are training images of "
            f"{train.annotations}: every AP would be that of images that were learned. Give "
            "validation data of its own, or take images out of the training data for it"
        )
    if not both:
        return []
    return [
        f"val       {len(both)} of {len(measured)} images are training images, too, for example "
        f"{Path(min(both)).name}: figures will be too high"
    ]


def _notes(train: dict[str, Any], val: dict[str, Any]) -> list[str]:
    classes = list(train["per_class"])
    return [
        f"data      {train['images']} training and {val['images']} validation images, "
        f"{len(classes)} classes: {', '.join(classes)}",
        *(f"train     {line}" for line in remarks(train)),
        *(f"val       {line}" for line in remarks(val)),
    ]
