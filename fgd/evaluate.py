"""COCO figures of a detector: the twelve for boxes, and for masks where it has them."""

import contextlib
import io
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from mmcv import Config
from mmdet.core import encode_mask_results
from mmdet.datasets import build_dataset, replace_ImageToTensor
from mmdet.models import build_detector
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from fgd import compat, measured
from fgd.checkpoint import read_checkpoint
from fgd.files import sha256, write_json
from fgd.heads import heads
from fgd.provenance import write as write_provenance
from fgd.train.batches import Collate, on_device
from fgd.train.precision import Precision
from fgd.weights import load_strictly

compat.apply()

# The order in which COCO evaluation returns its statistics.
METRICS = (
    "AP", "AP50", "AP75", "APs", "APm", "APl",
    "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
)  # fmt: skip


def evaluate(
    config: str | Path,
    checkpoint: str | Path,
    out: str | Path,
    pycocotools: bool = False,
    batch: int | None = None,
    precision: str = "fp32",
    provenance: str | Path | None = None,
    per_class: bool = False,
) -> dict[str, Any]:
    """Detect on the config's test set and write the COCO figures to `out` as JSON.

    Args:
        config: a plain mmdet config.
        checkpoint: weights of its model; every tensor must fit.
        pycocotools: use the reference implementation instead of faster-coco-eval, which computes
            the same figures in less time.
        batch: images at a time; the config's number if None, which is 1 in the zoo. A batch's
            images are padded to one size, which can change the last digits of the figures.
        precision: "fp32", or "bf16" or "fp16" for mixed precision.
        provenance: where to write what the figures were made from (fgd/provenance.py).
        per_class: add `per_class` to `box` and `mask`: the AP of every class by its name.

    Returns:
        What was written: `box` and perhaps `mask`, each metric a fraction from 0 to 1 (-1 where
        the data has no object of that size, as pycocotools says), the checkpoint's name and hash,
        the number of images and the seconds they took.

    Raises:
        FGDError: the checkpoint does not fit the config's model.
    """
    report = measure(config, checkpoint, pycocotools, batch, precision)
    if not per_class:
        for kind in report.keys() & {"box", "mask"}:
            del report[kind]["per_class"]
    write_json(out, report)
    if provenance is not None:
        files = {"evaluation": Path(out), "checkpoint": Path(checkpoint), "config": Path(config)}
        origin = read_checkpoint(checkpoint).get("meta", {}).get("fgd")
        annotations = Config.fromfile(str(config)).data.test.ann_file
        write_provenance(Path(provenance), files, origin, annotations)
    return report


def measure(
    config: str | Path,
    checkpoint: str | Path,
    pycocotools: bool = False,
    batch: int | None = None,
    precision: str = "fp32",
    again: bool = True,
) -> dict[str, Any]:
    """`evaluate`'s figures, by class too; they also go into the cache of figures (`fgd.measured`).

    Args:
        config, checkpoint, pycocotools, batch, precision: as `evaluate` takes them.
        again: False takes them from there, if these weights were measured on these data before.
    """
    cfg = Config.fromfile(str(config))
    cfg.model.train_cfg = None
    model = build_detector(cfg.model)
    load_strictly(model, read_checkpoint(checkpoint)["state_dict"], str(checkpoint))
    settings = {"batch": batch, "precision": precision}
    key = measured.key(cfg, model.state_dict(), settings)
    figures = None if again else measured.find(key)
    if figures is None:
        figures = _figures(cfg, model, pycocotools, **settings)
        measured.keep(key, figures)
    return {
        "checkpoint": Path(checkpoint).resolve().name,
        "sha256": sha256(checkpoint),
        **figures,
    }


def _figures(
    cfg: Config, model: nn.Module, pycocotools: bool, batch: int | None, precision: str
) -> dict[str, Any]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dataset, loader = _test_data(cfg, batch)
    computing = Precision(precision, device)
    computing.prepare(model)
    started = time.monotonic()
    with computing.autocast():
        results = detect(model.to(device).eval(), loader, device)
    figures = coco_figures(dataset, results, pycocotools, per_class=True)
    return {
        "images": len(dataset),
        "batch": loader.batch_size,
        "precision": precision,
        "seconds": round(time.monotonic() - started, 2),
        **{kind: figures[kind] for kind in heads(cfg.model)},
    }


@torch.no_grad()
def detect(model: nn.Module, loader: DataLoader, device: torch.device) -> list:
    """mmdet's results of every image, in the data set's order; masks are run-length encoded."""
    results: list = []
    with tqdm(total=len(loader.dataset), unit="img", disable=None) as bar:
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
            kind: _summary(dataset.ann_file, files[key], key, pycocotools, per_class)
            for key, kind in (("bbox", "box"), ("segm", "mask"))
            if key in files
        }


def _summary(
    annotations: str, detections: str, kind: str, pycocotools: bool, per_class: bool
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
        truth = COCO(annotations)
        evaluation = COCOeval(truth, truth.loadRes(found), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures = {name: float(value) for name, value in zip(METRICS, evaluation.stats, strict=False)}
    return figures | ({"per_class": _per_class(evaluation)} if per_class else {})


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


def _test_data(cfg: Config, batch: int | None) -> tuple[Dataset, DataLoader]:
    settings = cfg.data.get("test_dataloader", {})
    batch_size = batch or settings.get("samples_per_gpu", 1)
    test = cfg.data.test.copy()
    if batch_size > 1:
        # ImageToTensor, in the zoo's test pipelines, cannot be collated into batches.
        test.pipeline = replace_ImageToTensor(test.pipeline)
    dataset = build_dataset(test, dict(test_mode=True))
    loader = DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=settings.get("workers_per_gpu", cfg.data.workers_per_gpu),
        collate_fn=Collate(batch_size),
        pin_memory=torch.cuda.is_available(),
    )
    return dataset, loader
