"""Metrics that were measured before, found again by what they were measured of.

A teacher is shared by rows, suites and users, and its AP is asked for more than once: when it is
published and when it is checked. The metrics lie in `$FGD_CACHE/evaluations`, by default
`~/.cache/fgd/evaluations`, under a hash of the weights' values, the model and the test data.
"""

import hashlib
import json
import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mmcv import Config
from torch import Tensor

from fgd.files import cache_root, write_json

_FORMAT = 4  # another one, when evaluation changes what it measures
logger = logging.getLogger("fgd")


def key(
    cfg: Config, weights: dict[str, Tensor], *, annotations: str, settings: dict[str, Any]
) -> str:
    """Hash of everything that decides a model's metrics.

    Args:
        cfg: the model's plain mmdet config; of its test data, the annotations count by their
            content, the images by where they lie, their sizes and when they were written.
        weights: the model's whole state dict. Not the hash of their file: a training state and the
            checkpoint that is published of it hold the same weights.
        annotations: the hash of the annotation file.
        settings: how they are measured, as far as it shows in the metrics.
    """
    test = cfg.data.test.to_dict()
    folder = Path(test["img_prefix"]).resolve()
    images = _images(Path(test["ann_file"]), folder)
    test["img_prefix"], test["ann_file"] = str(folder), annotations
    versions = [version(name) for name in ("mmdet", "mmcv-full", "torch")]
    parts = [
        _FORMAT,
        versions,
        images,
        cfg.model.to_dict(),
        test,
        cfg.data.get("test_dataloader"),
        settings,
    ]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode())
    for name in sorted(weights):
        tensor = weights[name].cpu()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _images(file: Path, folder: Path) -> list[tuple[str, int, int]]:
    """Name, bytes and time of every image that an annotation file lists."""
    names = sorted(image["file_name"] for image in json.loads(file.read_bytes())["images"])
    found = ((name, (folder / name).stat()) for name in names)
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in found]


def find(key: str) -> dict[str, Any] | None:
    """The metrics that were kept under `key`, if there are any."""
    path = _path(key)
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    logger.info("the same weights were measured on these data before: %s", path)
    return metrics


def keep(key: str, metrics: dict[str, Any]) -> None:
    """Keep metrics; a cache that cannot be written to is no reason to lose them."""
    try:
        write_json(_path(key), metrics)
    except OSError as error:
        logger.warning("the figures are not kept for the next time: %s", error)


def _path(key: str) -> Path:
    return cache_root() / "evaluations" / f"{key[:32]}.json"
