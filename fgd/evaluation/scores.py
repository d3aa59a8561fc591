"""The detections of a test set, and the COCO figures of them."""

import contextlib
import functools
import io
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmcv import Config
from mmdet.core import encode_mask_results
from mmdet.datasets import replace_ImageToTensor
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from fgd.data.batches import Collate, WatchedLoader, on_device
from fgd.data.dataset import build

# The order in which COCO evaluation returns its statistics.
METRICS = (
    "AP", "AP50", "AP75", "APs", "APm", "APl",
    "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
)  # fmt: skip


@torch.no_grad()
def detect(model: nn.Module, loader: DataLoader, device: torch.device) -> list:
    """mmdet's results of every image, in the data set's order; masks are run-length encoded."""
    results: list = []
    with tqdm(total=len(loader.sampler), unit="img", disable=None) as bar:
        for batch in on_device(loader, device):
            detections = model(return_loss=False, rescale=True, **batch)
            results += [_encoded(detection) for detection in detections]
            bar.update(len(detections))
    return results


def coco_figures(
    dataset: Dataset, results: list, pycocotools: bool, per_class: bool = False
) -> dict[str, dict]:
    """The twelve COCO metrics by kind, "box" and "mask".

    Args:
        dataset: an mmdet CocoDataset.
        results: mmdet's results in the data set's order.
        pycocotools: the reference implementation instead of faster-coco-eval.
        per_class: the AP of every class, too: `per_class`, by name, -1 for one without objects.
    """
    with tempfile.TemporaryDirectory() as folder:
        files, _ = dataset.format_results(results, jsonfile_prefix=f"{folder}/results")
        return {
            kind: _summary(dataset, files[key], key, pycocotools, per_class)
            for key, kind in (("bbox", "box"), ("segm", "mask"))
            if key in files
        }


def _summary(
    dataset: Dataset, detections: str, kind: str, pycocotools: bool, per_class: bool
) -> dict[str, Any]:
    if pycocotools:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval

    found = json.loads(Path(detections).read_text())
    if not found:
        # Neither library loads an empty list of results.
        return dict.fromkeys(METRICS, 0.0) | ({"per_class": {}} if per_class else {})
    if kind == "segm":
        for detection in found:
            # With a box the size of an object would be its box's, not its mask's; mmdet drops it,
            # too. SOLO has no boxes: mmdet fills in zeros.
            del detection["bbox"]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = _truth(COCO, dataset.ann_file, os.stat(dataset.ann_file).st_mtime_ns)
        evaluation = COCOeval(truth, truth.loadRes(found), kind)
        # The file can have categories that are no classes: nothing of them is to be found.
        evaluation.params.catIds = dataset.cat_ids
        evaluation.params.imgIds = dataset.img_ids
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures = {name: float(value) for name, value in zip(METRICS, evaluation.stats, strict=False)}
    return figures | ({"per_class": _per_class(evaluation)} if per_class else {})


@functools.lru_cache(maxsize=1)
def _truth(coco: Callable[[str], Any], annotation_file: str, _: int) -> Any:
    """The annotations, read once for boxes and masks and for all of a training's validations."""
    return coco(annotation_file)


def _per_class(evaluation: Any) -> dict[str, float]:
    """The AP of every class, as AP is their mean: over thresholds of overlap and of recall."""
    # (overlaps, recalls, classes, sizes, detections an image), -1 where there is nothing to find.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    names = [evaluation.cocoGt.cats[number]["name"] for number in evaluation.params.catIds]
    found = {}
    for index, name in enumerate(names):
        values = precision[:, :, index]
        found[name] = float(values[values > -1].mean()) if (values > -1).any() else -1.0
    return found


def _encoded(detection: Any) -> Any:
    if isinstance(detection, tuple):
        boxes, masks = detection
        return boxes, encode_mask_results(masks)
    return detection


def test_data(
    cfg: Config, batch: int | None = None, rank: int = 0, world_size: int = 1
) -> tuple[Dataset, DataLoader]:
    """A config's test set, and a loader of every `world_size`-th of its images from `rank` on."""
    settings = cfg.data.get("test_dataloader", {})
    batch_size = batch or settings.get("samples_per_gpu", 1)
    test = cfg.data.test.copy()
    if batch_size > 1:
        # ImageToTensor, in the zoo's test pipelines, cannot be collated into batches.
        test.pipeline = replace_ImageToTensor(test.pipeline)
    dataset = build(test, test_mode=True)
    loader = WatchedLoader(
        annotation_file=dataset.annotation_file,
        dataset=dataset,
        batch_size=batch_size,
        sampler=range(rank, len(dataset), world_size),
        num_workers=settings.get("workers_per_gpu", cfg.data.workers_per_gpu),
        collate_fn=Collate(batch_size),
        pin_memory=torch.cuda.is_available(),
    )
    return dataset, loader
