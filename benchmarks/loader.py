"""What an image costs the process that loads it: mmdet's pipeline beside one that sends bytes.

RetinaNet's training pipeline at 1333x800, from JPEG files of 640x480, in batches of two. CPU time,
since a loader has as many processes as it needs.
"""

import tempfile
import time
from pathlib import Path

import cv2
import made_coco
import numpy as np
import torch
from mmdet.datasets import build_dataset
from sklearn.datasets import load_sample_images

from fgd import recipe
from fgd.checkout import root
from fgd.data import index
from fgd.data.batches import Collate, to_device
from fgd.data.dataset import build
from fgd.data.pixels import PixelBatch, finish_on_device
from fgd.suite import load_suite
from fgd.training.sampling import SampleKey, SeededDataset

ROW = "retinanet_r50"
BATCH = 2


def measure(device: str, images: int = 32, rounds: int = 5) -> dict:
    """Milliseconds of CPU time an image, the least of some rounds taken in turns."""
    with tempfile.TemporaryDirectory() as folder:
        theirs, ours = _data_sets(Path(folder), images)
        loaders = {"mmdet": theirs, "bytes": ours}
        best: dict[str, dict[str, float]] = {name: {} for name in loaders}
        for _ in range(rounds):
            for name, dataset in loaders.items():
                found = _pass(SeededDataset(dataset), images, torch.device(device))
                for key, value in found.items():
                    best[name][key] = min(value, best[name].get(key, value))
    return {"images": images, "loaders": best}


def _data_sets(folder: Path, images: int) -> tuple:
    """mmdet's data set and ours, of the same files."""
    file = folder / "instances.json"
    made_coco.write(file, images, 7 * images)
    _photographs(folder, images)
    index.write_of(file)
    suite = load_suite(root() / "configs" / "suites" / "coco.yaml")
    training = recipe.compose(suite, recipe.load_row(ROW), "baseline").training
    settings = training.data.train | dict(
        ann_file=str(file), img_prefix=str(folder), classes=made_coco.class_names()
    )
    ours = build(settings)
    if not finish_on_device(ours):
        raise RuntimeError(f"the pipeline of {ROW} is not known")
    return build_dataset(settings), ours


def _photographs(folder: Path, images: int) -> None:
    """JPEG files of photographs, each seen a little differently."""
    rng = np.random.default_rng(0)
    photographs = load_sample_images().images
    for number in range(images):
        height, width = made_coco.shape_of(number)
        pixels = photographs[number % len(photographs)][..., ::-1]
        top, left = rng.integers(0, 80, 2)
        pixels = cv2.resize(pixels[top:, left:], (width, height), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / made_coco.file_name(number)), pixels)


def _pass(dataset: SeededDataset, images: int, device: torch.device) -> dict[str, float]:
    collate, loading, finishing, sent, count = Collate(BATCH), 0.0, 0.0, 0, 0
    for first in range(0, len(dataset) - BATCH + 1, BATCH):
        started = time.process_time()
        batch = collate([dataset[SampleKey(first + k, first + k)] for k in range(BATCH)])
        loaded = time.process_time()
        to_device(batch, device)
        finishing += time.process_time() - loaded
        loading += loaded - started
        sent += _bytes(batch["img"])
        count += BATCH
    return {
        "loading_ms": 1e3 * loading / count,
        "finishing_ms": 1e3 * finishing / count,
        "bytes": sent / count,
    }


def _bytes(images: torch.Tensor | PixelBatch) -> int:
    if isinstance(images, PixelBatch):
        return sum(each.image.nbytes for each in images.images)
    return images.nbytes


def report(result: dict) -> str:
    """Markdown."""
    theirs, ours = (result["loaders"][name] for name in ("mmdet", "bytes"))
    lines = [
        f"## Loader: {ROW}'s pipeline at 1333x800, {result['images']} JPEG files of 640x480",
        "",
        "| an image | mmdet | bytes | of mmdet's |",
        "|---|--:|--:|--:|",
    ]
    for name, key, unit in (
        ("ms of CPU time in the loader", "loading_ms", 1),
        ("MB to the device", "bytes", 1e6),
        ("ms of CPU time in the training process", "finishing_ms", 1),
    ):
        a, b = theirs[key] / unit, ours[key] / unit
        lines.append(f"| {name} | {a:.2f} | {b:.2f} | {b / a:.2f} |" if a > 0.1 else
                     f"| {name} | {a:.2f} | {b:.2f} | |")  # fmt: skip
    a, b = (each["loading_ms"] + each["finishing_ms"] for each in (theirs, ours))
    lines.append(f"| ms of CPU time in both | {a:.2f} | {b:.2f} | {b / a:.2f} |")
    return "\n".join(lines)
