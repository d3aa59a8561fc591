"""The detections of a test set, and the COCO metrics of them."""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from mmcv import Config
from mmdet.core import encode_mask_results
from mmdet.datasets import CocoDataset, replace_ImageToTensor
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from fgd.data.batches import Collate, WatchedLoader, on_device
from fgd.data.dataset import build
from fgd.errors import FGDError
from fgd.evaluation.sizes import Sizes
from fgd.evaluation.truth import Truth
from fgd.precision import Precision

# The order in which COCO evaluation returns its statistics.
METRICS = (
    "AP", "AP50", "AP75", "APs", "APm", "APl",
    "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
)  # fmt: skip


# What pycocotools and mmdet call the kinds of AP.
_KINDS = {"box": "bbox", "mask": "segm"}


@torch.no_grad()
def detect(model: nn.Module, loader: DataLoader, device: torch.device) -> list:
    """mmdet's results of every image, in the data set's order; masks are run-length encoded."""
    results: list = []
    sizes = Sizes(loader.dataset)
    images = len(loader.sampler)  # type: ignore[arg-type]  # torch types any iterable; ours are sized
    with tqdm(total=images, unit="img", disable=None) as bar:
        for batch in on_device(loader, device):
            for meta in batch["img_metas"][0]:
                sizes.see(meta.get("ori_filename"), meta.get("ori_shape"))
            detections = model(return_loss=False, rescale=True, **batch)
            results += [encoded(detection) for detection in detections]
            bar.update(len(detections))
    sizes.tell()
    return results


def detect_in(precision: str, model: nn.Module, loader: DataLoader) -> list:
    """`detect` on the GPU, or on the CPU where there is none.

    Args:
        precision: "fp32", or "bf16" or "fp16" for mixed precision.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    computing = Precision(precision, device)
    computing.prepare(model)
    with computing.autocast():
        return detect(model.to(device).eval(), loader, device)


def coco_metrics(
    dataset: CocoDataset, results: list, *, pycocotools: bool, per_class: bool = False
) -> dict[str, dict]:
    """The twelve COCO metrics by kind, "box" and "mask"; -1 where there is nothing to find.

    Args:
        dataset: an mmdet CocoDataset; what ids its file has makes no difference.
        results: mmdet's results in the data set's order.
        pycocotools: the reference implementation instead of faster-coco-eval.
        per_class: the AP of every class, too: `per_class`, by name, -1 for one without objects.
    """
    truth = Truth(dataset)
    metrics: dict[str, dict] = {}
    for kind, found in scored(dataset, results, truth).items():
        evaluation = prepared(truth, found, kind, pycocotools=pycocotools)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        metrics[kind] = dict(zip(METRICS, map(float, evaluation.stats), strict=False))
        if per_class:
            metrics[kind]["per_class"] = _per_class(evaluation, truth.classes)
    return metrics


def scored(dataset: CocoDataset, results: list, truth: Truth) -> dict[str, list[dict]]:
    """mmdet's results as detections in COCO's format, by kind, with the truth's numbers."""
    with tempfile.TemporaryDirectory() as folder:
        files, _ = dataset.format_results(results, jsonfile_prefix=f"{folder}/results")
        return {
            kind: truth.numbered(json.loads(Path(files[key]).read_text()))
            for kind, key in _KINDS.items()
            if key in files
        }


def prepared(truth: Truth, found: list[dict], kind: str, *, pycocotools: bool) -> Any:
    """A COCOeval of detections, yet to evaluate them.

    Args:
        found: the detections; those of masks lose their boxes.
        kind: "box" or "mask".
        pycocotools: the reference implementation instead of faster-coco-eval.
    """
    if pycocotools:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval

    if kind == "mask":
        for detection in found:
            # With a box the size of an object would be its box's, not its mask's; mmdet drops it,
            # too. SOLO has no boxes: mmdet fills in zeros.
            del detection["bbox"]
    content = truth.content(masks=kind == "mask")
    there = _loaded(COCO, content)
    # pycocotools loads no empty list of results.
    results = there.loadRes(found) if found else _loaded(COCO, content | {"annotations": []})
    evaluation = COCOeval(there, results, _KINDS[kind])
    evaluation.params.catIds = list(truth.classes)
    evaluation.params.imgIds = truth.images
    return evaluation


def _loaded(coco: type, content: dict[str, list]) -> Any:
    loaded = coco()
    loaded.dataset = dict(content)
    loaded.createIndex()
    return loaded


def _per_class(evaluation: Any, names: dict[int, str]) -> dict[str, float]:
    """The AP of every class, as AP is their mean: over thresholds of overlap and of recall."""
    # (overlaps, recalls, classes, sizes, detections an image), -1 where there is nothing to find.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    found = {}
    for index, number in enumerate(evaluation.params.catIds):
        values = precision[:, :, index]
        known = values[values > -1]
        found[names[number]] = float(known.mean()) if known.size else -1.0
    return found


def encoded(detection: Any) -> Any:
    """mmdet's result of an image with its masks, if it has any, run-length encoded."""
    if isinstance(detection, tuple):
        boxes, masks = detection
        return boxes, encode_mask_results(masks)
    return detection


def test_data(
    cfg: Config, batch: int | None = None, rank: int = 0, world_size: int = 1
) -> tuple[CocoDataset, DataLoader]:
    """A config's test set, and a loader of every `world_size`-th of its images from `rank` on."""
    settings = cfg.data.get("test_dataloader", {})
    batch_size = batch or settings.get("samples_per_gpu", 1)
    test = cfg.data.test.copy()
    if batch_size > 1:
        _check_one_view(test.pipeline)
        # ImageToTensor, in the zoo's test pipelines, cannot be collated into batches.
        test.pipeline = replace_ImageToTensor(test.pipeline)
    dataset = build(test, test_mode=True)
    loader = WatchedLoader(
        annotation_file=dataset.annotation_file,
        dataset=dataset,
        batch_size=batch_size,
        sampler=range(rank, len(dataset), world_size),
        # The 2 is that of mmdet's own test script.
        num_workers=settings.get("workers_per_gpu", cfg.data.get("workers_per_gpu", 2)),
        collate_fn=Collate(batch_size),
        pin_memory=torch.cuda.is_available(),
    )
    return dataset, loader


def _check_one_view(pipeline: list[dict[str, Any]]) -> None:
    """Refuse batches of what looks at every image several times.

    Raises:
        FGDError: mmdet does that image by image.
    """
    for step in pipeline:
        scales = step.get("img_scale")
        if step.get("flip") or (isinstance(scales, list) and len(scales) > 1):
            raise FGDError(
                f"data.test.pipeline: its {step['type']} shows every image several times (flip, or "
                "several img_scale), which mmdet detects in one image at a time: evaluate with "
                "--batch 1, or leave samples_per_gpu out of data.test_dataloader"
            )
