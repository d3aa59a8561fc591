"""mmdet's CocoDataset on an index: the same samples, and no process holds the annotations."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.datasets import CocoDataset, build_dataset
from mmdet.datasets.api_wrappers import COCO

from fgd import compat
from fgd.data.index import CROWD, DROPPED, Index, find, stamp
from fgd.errors import FGDError
from fgd.files import sha256

compat.pycocotools_is_quiet()

_LEAST_SIDE = 32  # pixels; mmdet trains on no smaller images
# What a config may say of a data set that is read from an index. Anything else (proposals, another
# storage than files) mmdet's own class reads.
_KNOWN = {
    "type", "ann_file", "img_prefix", "pipeline", "classes", "test_mode", "filter_empty_gt",
}  # fmt: skip


@dataclass(frozen=True)
class AnnotationFile:
    """An annotation file as it was when a data set was made of it."""

    path: Path
    digest: str
    _stamp: tuple[int, int] | None

    @classmethod
    def of(cls, path: Path) -> "AnnotationFile":
        """The file as it is now."""
        before = stamp(path)
        return cls(path, sha256(path), before)

    def check(self) -> None:
        """Whether it still is what it was.

        Raises:
            FGDError: it has another content, or is gone.
        """
        now = stamp(self.path)
        same = now == self._stamp or (now is not None and sha256(self.path) == self.digest)
        if not same:
            raise FGDError(
                f"annotation file {self.path} has changed while it was trained on (its SHA-256 "
                f"was {self.digest[:16]}...). Put back what it was, and the training goes on from "
                "its last state; or start again, and it begins anew with the changed file"
            )


class IndexedCocoDataset(CocoDataset):
    """Reads an index in place of the annotation file.

    Args:
        index: folder of the annotation file's index.
        settings: CocoDataset's, as far as `build` knows them.
    """

    data_infos: Any  # as mmdet has it: positions until it has filtered them, then what is there

    def __init__(self, index: str, **settings: Any) -> None:
        self._index = Index(Path(index))
        super().__init__(**settings)
        # Until here mmdet has filtered a list, in which positions stand for images.
        self._positions = np.array(self.data_infos, np.int64)
        self.data_infos = _Images(self._index, self._positions)

    @cached_property
    def coco(self) -> COCO:
        """pycocotools' object of the whole file, read when it is first asked for: to evaluate."""
        return COCO(self.ann_file)

    def load_annotations(self, ann_file: str) -> Sequence[int]:
        """All images' positions."""
        self.cat_ids = [
            category["id"]
            for category in self._index.categories
            if not self.CLASSES or category["name"] in self.CLASSES
        ]
        self.cat2label = {number: label for label, number in enumerate(self.cat_ids)}
        self.img_ids = self._index.image_ids.tolist()
        return range(len(self.img_ids))

    def get_ann_info(self, idx: int) -> dict[str, Any]:
        """What mmdet's pipelines take."""
        index, here = self._index, self._annotations(idx)
        objects, labels, crowds = [], [], []
        numbers, kinds = index.category_ids[here].tolist(), index.kinds[here].tolist()
        for position, (number, kind) in enumerate(zip(numbers, kinds, strict=True), here.start):
            if kind == DROPPED or number not in self.cat2label:
                continue
            if kind == CROWD:
                crowds.append(position)
            else:
                objects.append(position)
                labels.append(self.cat2label[number])
        name = self.data_infos[idx]["filename"]
        return dict(
            bboxes=index.boxes[objects],
            labels=np.array(labels, np.int64),
            bboxes_ignore=index.boxes[crowds],
            masks=[index.segmentation(position) for position in objects],
            seg_map=name.rsplit(".", 1)[0] + self.seg_suffix,
        )

    def get_cat_ids(self, idx: int) -> list[int]:
        """The categories of all annotations of an image."""
        return self._index.category_ids[self._annotations(idx)].tolist()

    def _annotations(self, idx: int) -> slice:
        position = self._positions[idx]
        return slice(*self._index.bounds[position : position + 2].tolist())

    def _filter_imgs(self, min_size: int = _LEAST_SIDE) -> list[int]:
        index = self._index
        kept = index.image_sizes.min(1) >= min_size
        if self.filter_empty_gt:
            owners = np.repeat(np.arange(len(kept)), np.diff(index.bounds))
            with_objects = np.zeros_like(kept)
            with_objects[owners[np.isin(index.category_ids, self.cat_ids)]] = True
            kept &= with_objects
        self.img_ids = index.image_ids[kept].tolist()
        return np.flatnonzero(kept).tolist()

    def _set_group_flag(self) -> None:
        width, height = self._index.image_sizes[np.array(self.data_infos, np.int64)].T
        self.flag = (width / height > 1).astype(np.uint8)


class _Images:
    """mmdet's `data_infos`, each made when it is asked for."""

    def __init__(self, index: Index, positions: np.ndarray) -> None:
        self._index = index
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int) -> dict[str, Any]:
        entry = self._index.image(int(self._positions[index]))
        return {**entry, "filename": entry["file_name"]}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(len(self)))


def build(
    settings: dict, prepare: Callable[[AnnotationFile], None] | None = None, **defaults: Any
) -> Any:
    """mmdet's `build_dataset`, on an index where there is one.

    Args:
        settings: one of the splits of an mmdet config's `data`.
        prepare: called before the index is looked for.
        defaults: settings that count where `settings` says nothing.

    Returns:
        The data set; its `annotation_file` is an AnnotationFile, or None where it is not known.
    """
    path = annotation_path(settings)
    file = None if path is None else AnnotationFile.of(path)
    if file is not None and prepare is not None:
        prepare(file)
    index = None if file is None else find(file.digest)
    if index is not None:
        settings = _indexed(settings, index)
    dataset = build_dataset(settings, defaults or None)
    dataset.annotation_file = file
    return dataset


def annotation_path(settings: Any) -> Path | None:
    """The annotation file of a data set that can be read from an index; None for any other."""
    if not isinstance(settings, dict):
        return None
    mixes = settings.get("type") == "MultiImageMixDataset"
    images = settings.get("dataset") if mixes else settings
    if not isinstance(images, dict) or images.get("type") != "CocoDataset" or set(images) - _KNOWN:
        return None
    path = images.get("ann_file")
    return Path(path) if isinstance(path, str) else None


def _indexed(settings: dict, index: Path) -> dict:
    images = dict(settings.get("dataset", settings), type=IndexedCocoDataset, index=str(index))
    return dict(settings, dataset=images) if "dataset" in settings else images
