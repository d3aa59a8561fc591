"""Evaluation: both implementations of COCO's metrics, and detection in batches and precisions."""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from detectors import suite_of
from loss import device_name
from mmdet.datasets import build_dataset
from mmdet.models import build_detector

from fgd import recipe
from fgd.evaluation.evaluate import evaluate
from fgd.evaluation.scores import coco_metrics
from fgd.markdown import table
from fgd.mini import digits
from fgd.mini.scene import CLASSES

ROW = "retinanet_r50"
VARIANTS = ((1, "fp32"), (8, "fp32"), (1, "bf16"), (8, "bf16"))


def measure(images: int, checkpoint: tuple[Path, Path] | None) -> dict:
    """All figures of the report.

    Args:
        images: of the set on which the metrics are computed.
        checkpoint: a plain mmdet config and its weights, evaluated under every variant; without
            it random weights on a few digits, for the time alone.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder, suite_of("mini") as suite:
        digits.write(Path(folder) / "set", train=1, val=images)
        config = recipe.compose(suite, recipe.load_row(ROW), "baseline").detector
        config.data.test.ann_file = f"{folder}/set/annotations/instances_val.json"
        config.data.test.img_prefix = f"{folder}/set/val"
        config.data.test.classes = CLASSES
        dataset = build_dataset(config.data.test, dict(test_mode=True))
        results = _detections(dataset)
        metrics, seconds = {}, {}
        for name in ("faster-coco-eval", "pycocotools"):
            started = time.perf_counter()
            metrics[name] = coco_metrics(dataset, results, pycocotools=name == "pycocotools")["box"]
            seconds[name] = time.perf_counter() - started
        if checkpoint is None:
            config.model.backbone.init_cfg = None
            checkpoint = Path(folder) / "config.py", Path(folder) / "weights.pth"
            torch.save({"state_dict": build_detector(config.model).state_dict()}, checkpoint[1])
            config.dump(str(checkpoint[0]))
        variants = {}
        for batch, precision in VARIANTS:
            out = Path(folder) / "eval.json"
            evaluate(*checkpoint, out=out, batch=batch, precision=precision)
            report = json.loads(out.read_text())
            variants[f"batch {batch}, {precision}"] = {
                "images_per_second": report["images"] / report["seconds"],
                "box": report["box"],
            }
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "images": images,
        "seconds": seconds,
        "largest_difference": max(
            abs(metrics["faster-coco-eval"][k] - metrics["pycocotools"][k])
            for k in metrics["pycocotools"]
        ),
        "variants": variants,
    }


def _detections(dataset) -> list:
    """A hundred boxes an image around the truth: as many as COCO's evaluation looks at."""
    rng = np.random.default_rng(0)
    results = []
    for index in range(len(dataset)):
        truth = dataset.get_ann_info(index)
        boxes = [np.zeros((0, 5), np.float32) for _ in dataset.CLASSES]
        for _ in range(100 // max(len(truth["bboxes"]), 1)):
            for box, label in zip(truth["bboxes"], truth["labels"], strict=True):
                label = label if rng.random() < 0.8 else rng.integers(len(boxes))
                moved = np.append(box + rng.normal(0, 2, 4), rng.random()).astype(np.float32)
                boxes[label] = np.vstack([boxes[label], moved])
        results.append(boxes)
    return results


def report(result: dict) -> str:
    """Markdown."""
    seconds = [[name, f"{value:.2f}"] for name, value in result["seconds"].items()]
    variants = [
        [name, f"{value['images_per_second']:.1f}", f"{100 * value['box']['AP']:.2f}"]
        for name, value in result["variants"].items()
    ]
    return "\n\n".join(
        [
            f"## Evaluation: the figures of {result['images']} images with 100 detections each",
            table(["implementation", "seconds"], seconds, left=1),
            f"Largest difference between the twelve figures: {result['largest_difference']:.1e}.",
            table(["detection", "images a second, figures included", "box AP"], variants, left=1),
        ]
    )
