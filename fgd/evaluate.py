"""COCO figures of a detector: the twelve for boxes, and for masks where it has them."""

import contextlib
import io
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from mmcv import Config
from mmcv.parallel import collate
from mmdet.core import encode_mask_results
from mmdet.datasets import build_dataset, replace_ImageToTensor
from mmdet.models import build_detector
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from fgd import compat
from fgd.files import sha256, write_json
from fgd.train.step import to_device
from fgd.weights import load_strictly, read_checkpoint

compat.apply()

# The order in which COCO evaluation returns its statistics.
METRICS = (
    "AP", "AP50", "AP75", "APs", "APm", "APl",
    "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
)  # fmt: skip


def evaluate(
    config: str | Path, checkpoint: str | Path, out: str | Path, pycocotools: bool = False
) -> dict[str, Any]:
    """Detect on the config's test set and write the COCO figures to `out` as JSON.

    Args:
        config: a plain mmdet config.
        checkpoint: weights of its model; every tensor must fit.
        pycocotools: use the reference implementation instead of faster-coco-eval, which computes
            the same figures in less time.

    Returns:
        What was written: `box` and perhaps `mask`, each metric a fraction from 0 to 1 (-1 where
        the data has no object of that size, as pycocotools says), the checkpoint's name and hash,
        the number of images and the seconds they took.
    """
    cfg = Config.fromfile(str(config))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cfg.model.train_cfg = None
    model = build_detector(cfg.model)
    load_strictly(model, read_checkpoint(checkpoint)["state_dict"], str(checkpoint))
    dataset, loader = _test_data(cfg)

    started = time.monotonic()
    results = detect(model.to(device).eval(), loader, device)
    report = {
        "checkpoint": Path(checkpoint).resolve().name,
        "sha256": sha256(checkpoint),
        "images": len(dataset),
        "seconds": round(time.monotonic() - started, 2),
        **coco_figures(dataset, results, pycocotools),
    }
    write_json(out, report)
    return report


@torch.no_grad()
def detect(model: nn.Module, loader: DataLoader, device: torch.device) -> list:
    """mmdet's results of every image, in the data set's order; masks are run-length encoded."""
    results: list = []
    with tqdm(total=len(loader.dataset), unit="img", disable=None) as bar:
        for batch in loader:
            detections = model(return_loss=False, rescale=True, **to_device(batch, device))
            results += [_encoded(detection) for detection in detections]
            bar.update(len(detections))
    return results


def coco_figures(dataset: Dataset, results: list, pycocotools: bool) -> dict[str, dict]:
    """The twelve COCO metrics by kind, "box" and "mask".

    Args:
        dataset: an mmdet CocoDataset.
        results: mmdet's results in the data set's order.
        pycocotools: the reference implementation instead of faster-coco-eval.
    """
    with tempfile.TemporaryDirectory() as folder:
        files, _ = dataset.format_results(results, jsonfile_prefix=f"{folder}/results")
        return {
            kind: _summary(dataset.ann_file, files[key], key, pycocotools)
            for key, kind in (("bbox", "box"), ("segm", "mask"))
            if key in files
        }


def _summary(annotations: str, detections: str, kind: str, pycocotools: bool) -> dict[str, float]:
    if pycocotools:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval

    if Path(detections).read_text() == "[]":
        return dict.fromkeys(METRICS, 0.0)  # neither library loads an empty list of results
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(annotations)
        evaluation = COCOeval(truth, truth.loadRes(detections), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(value) for name, value in zip(METRICS, evaluation.stats, strict=False)}


def _encoded(detection: Any) -> Any:
    if isinstance(detection, tuple):
        boxes, masks = detection
        return boxes, encode_mask_results(masks)
    return detection


def _test_data(cfg: Config) -> tuple[Dataset, DataLoader]:
    settings = cfg.data.get("test_dataloader", {})
    batch_size = settings.get("samples_per_gpu", 1)
    test = cfg.data.test.copy()
    if batch_size > 1:
        # ImageToTensor, in the zoo's test pipelines, cannot be collated into batches.
        test.pipeline = replace_ImageToTensor(test.pipeline)
    dataset = build_dataset(test, dict(test_mode=True))
    loader = DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=settings.get("workers_per_gpu", cfg.data.workers_per_gpu),
        collate_fn=lambda batch: collate(batch, batch_size),
        pin_memory=torch.cuda.is_available(),
    )
    return dataset, loader
