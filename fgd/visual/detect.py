"""What a detector finds on single images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmcv import Config
from mmdet.datasets import DATASETS
from mmdet.models import build_detector

from fgd import compat
from fgd.classes import checkpoint_classes, config_classes
from fgd.configs import read_detector
from fgd.export import plain_checkpoint
from fgd.visual.images import Objects, Picture, network_input
from fgd.weights import load_strictly

compat.apply()


class Detector:
    """A plain mmdet detector, ready to detect on the CPU.

    Args:
        config: a plain mmdet config.
        checkpoint: weights of its model; every tensor must fit. Of a distillation's, the student's.
    """

    def __init__(self, config: Path, checkpoint: Path) -> None:
        self._cfg = read_detector(config)
        self._cfg.model.train_cfg = None
        stored = plain_checkpoint(checkpoint)
        self._model = build_detector(self._cfg.model)
        load_strictly(self._model, stored["state_dict"], str(checkpoint))
        self._model.eval()
        self._classes = checkpoint_classes(stored["meta"], str(checkpoint)) or _classes(self._cfg)

    @torch.no_grad()
    def __call__(self, picture: Picture, score: float) -> Objects:
        """Detections of at least `score`, best first."""
        batch = network_input(self._cfg, picture.path).batch
        result = self._model(return_loss=False, rescale=True, **batch)[0]
        boxes, masks = result if isinstance(result, tuple) else (result, None)
        return _objects(boxes, masks, self._classes, score)


def _objects(
    boxes: list[np.ndarray], masks: list[list] | None, classes: Sequence[str], score: float
) -> Objects:
    """mmdet's result, arrays (k, 5) by class, as one list."""
    rows = np.concatenate(boxes)
    labels = np.repeat(np.arange(len(boxes)), [len(found) for found in boxes])
    order = [i for i in np.argsort(-rows[:, 4], kind="stable") if rows[i, 4] >= score]
    kept = None
    if masks is not None:
        flat = [mask for found in masks for mask in found]
        kept = [np.asarray(flat[i], dtype=bool) for i in order]
    corners = rows[order, :4]
    if kept and not corners.any():
        # SOLO finds masks alone, and fills the boxes of its result with zeros.
        corners = np.array([_box(mask) for mask in kept])
    return Objects(corners, [_name(classes, labels[i]) for i in order], rows[order, 4], kept)


def _box(mask: np.ndarray) -> tuple[float, float, float, float]:
    """The smallest box round a mask; empty for an empty one."""
    y, x = np.nonzero(mask)
    return (x.min(), y.min(), x.max() + 1, y.max() + 1) if len(x) else (0, 0, 0, 0)


def _name(classes: Sequence[str], label: int) -> str:
    return classes[label] if label < len(classes) else f"class {label}"


def _classes(cfg: Config) -> Sequence[str]:
    named = config_classes(cfg.data.test.get("classes"), f"{cfg.filename}: data.test.classes")
    return named or getattr(DATASETS.get(cfg.data.test.type), "CLASSES", None) or []
