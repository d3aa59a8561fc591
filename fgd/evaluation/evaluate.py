"""COCO metrics of a checkpoint: the twelve for boxes, and for masks where it has them."""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mmcv
import torch
from mmcv import Config
from torch import nn
from tqdm import tqdm

from fgd import compat
from fgd.checkpoint import read_checkpoint
from fgd.classes import compare
from fgd.configs import read_detector
from fgd.data.dataset import build
from fgd.errors import FGDError
from fgd.evaluation import measured
from fgd.evaluation.scores import coco_metrics, detect_in, encoded, test_data
from fgd.evaluation.sizes import Sizes
from fgd.evaluation.test_set import check_test_set, located
from fgd.files import sha256, write_json
from fgd.heads import heads
from fgd.onnx.pipeline import read_input
from fgd.onnx.runtime import OnnxDetector
from fgd.plain import load_plain
from fgd.provenance import write as write_provenance

compat.apply()
logger = logging.getLogger("fgd")


def evaluate(
    config: str | Path,
    checkpoint: str | Path,
    *,
    out: str | Path,
    pycocotools: bool = False,
    batch: int | None = None,
    precision: str = "fp32",
    provenance: str | Path | None = None,
    per_class: bool = False,
) -> dict[str, Any]:
    """Detect on the config's test set and write the COCO metrics to `out` as JSON.

    Args:
        config: a plain mmdet config.
        checkpoint: weights of its model; every tensor must fit.
        pycocotools: use the reference implementation instead of faster-coco-eval, which computes
            the same metrics in less time.
        batch: images at a time; the config's number if None, which is 1 in the zoo. A batch's
            images are padded to one size, which can change the last digits of the metrics.
        precision: "fp32", or "bf16" or "fp16" for mixed precision.
        provenance: where to write what the metrics were made from (fgd/provenance.py).
        per_class: add `per_class` to `box` and `mask`: the AP of every class by its name.

    Returns:
        What was written: `box` and perhaps `mask`, each metric a fraction from 0 to 1 (-1 where
        the data has no object of that size, as pycocotools says), the checkpoint's name and hash,
        the number of images and the seconds they took.

    Raises:
        FGDError: it is no detector's config, its test set cannot be measured, or the checkpoint
            does not fit the config's model or has other classes.
    """
    report = measure(config, checkpoint, pycocotools=pycocotools, batch=batch, precision=precision)
    if not per_class:
        for kind in report.keys() & {"box", "mask"}:
            del report[kind]["per_class"]
    write_json(out, report)
    if provenance is not None:
        files = {"evaluation": Path(out), "checkpoint": Path(checkpoint), "config": Path(config)}
        origin = read_checkpoint(checkpoint).get("meta", {}).get("fgd")
        annotations = located(read_detector(config), config).ann_file
        write_provenance(Path(provenance), files, origin, annotations)
    return report


def measure(
    config: str | Path,
    checkpoint: str | Path,
    *,
    pycocotools: bool = False,
    batch: int | None = None,
    precision: str = "fp32",
    again: bool = True,
) -> dict[str, Any]:
    """`evaluate`'s metrics, by class too; they also go into the cache (`measured`).

    Args:
        config, checkpoint, pycocotools, batch, precision: as `evaluate` takes them.
        again: False takes them from there, if these weights were measured on these data before.
    """
    cfg = read_detector(config)
    classes = check_test_set(cfg, config)
    if Path(checkpoint).suffix == ".onnx":
        if (batch or 1) != 1 or precision != "fp32":
            raise FGDError(
                f"{checkpoint}: a file of `fgd export` is measured image by image and in float32; "
                "leave --batch and --precision out"
            )
        return _measure_onnx(cfg, Path(checkpoint), classes, pycocotools=pycocotools)
    model = load_plain(cfg, read_checkpoint(checkpoint), checkpoint, classes)
    settings = {"batch": batch, "precision": precision}
    annotations = sha256(cfg.data.test.ann_file)
    key = measured.key(cfg, model.state_dict(), annotations=annotations, settings=settings)
    metrics = None if again else measured.find(key)
    if metrics is None:
        metrics = _metrics(cfg, model, pycocotools=pycocotools, batch=batch, precision=precision)
        measured.keep(key, metrics)
    return {
        "checkpoint": Path(checkpoint).resolve().name,
        "sha256": sha256(checkpoint),
        "annotations": annotations,
        **metrics,
    }


def _measure_onnx(
    cfg: Config, path: Path, classes: Sequence[str], *, pycocotools: bool
) -> dict[str, Any]:
    """`measure`'s metrics of a file of `fgd export`, image by image in onnxruntime."""
    detector = OnnxDetector(path, threads=torch.get_num_threads())
    if note := compare(detector.classes, classes, str(path)):
        logger.warning("%s: %s", path, note)
    _check_input(cfg, path, detector)
    dataset = build(cfg.data.test, test_mode=True)
    started = time.monotonic()
    results, sizes = [], Sizes(dataset)
    for info in tqdm(dataset.data_infos, unit="img", disable=None):
        file = Path(dataset.img_prefix) / info["filename"]
        image = mmcv.imread(str(file))
        if image is None:
            raise FGDError(f"image {file}: cannot be read as one; unpack or copy it again")
        sizes.see(info["filename"], image.shape)
        results.append(encoded(detector.detect(image)))
    sizes.tell()
    metrics = coco_metrics(dataset, results, pycocotools=pycocotools, per_class=True)
    return {
        "checkpoint": path.name,
        "sha256": sha256(path),
        "annotations": sha256(cfg.data.test.ann_file),
        "images": len(dataset),
        "batch": 1,
        "precision": "fp32",
        "seconds": round(time.monotonic() - started, 2),
        **metrics,
    }


def _check_input(cfg: Config, path: Path, detector: OnnxDetector) -> None:
    """Whether a config's test pipeline is the one that is in the file.

    Raises:
        FGDError: it is another: the figures would be of that, and not of the config.
    """
    asked = json.loads(json.dumps(asdict(read_input(cfg.data.test.pipeline))))  # as the file has it
    for key, value in asked.items():
        if detector.facts.get(key, value) != value:  # files of before say less
            raise FGDError(
                f"{path}: was exported with {key} {detector.facts[key]} in its test pipeline, and "
                f"the config says {value}. Give the config that it was exported from, or export it "
                "again"
            )


def _metrics(
    cfg: Config, model: nn.Module, *, pycocotools: bool, batch: int | None, precision: str
) -> dict[str, Any]:
    dataset, loader = test_data(cfg, batch)
    started = time.monotonic()
    results = detect_in(precision, model, loader)
    metrics = coco_metrics(dataset, results, pycocotools=pycocotools, per_class=True)
    return {
        "images": len(dataset),
        "batch": loader.batch_size,
        "precision": precision,
        "seconds": round(time.monotonic() - started, 2),
        **{kind: metrics[kind] for kind in heads(cfg.model)},
    }
