"""A detector with trained weights: what a config describes, filled from a checkpoint."""

import logging
from collections.abc import Sequence
from pathlib import Path

from mmcv import Config
from mmdet.models import build_detector
from torch import nn

from fgd.checkpoint import read_checkpoint
from fgd.classes import checkpoint_classes, compare
from fgd.weights import load_strictly

logger = logging.getLogger("fgd")


def trained_detector(cfg: Config, checkpoint: str | Path, classes: Sequence[str]) -> nn.Module:
    """Build a plain mmdet detector for inference and load a checkpoint into it.

    Args:
        cfg: a plain mmdet config; its `model.train_cfg` becomes None.
        checkpoint: weights of its model; every tensor must fit.
        classes: of the data that it is run on, in the order of the labels. Where the checkpoint
            calls them otherwise, a warning is logged.

    Returns:
        The detector on the CPU, evaluating.

    Raises:
        FGDError: the checkpoint does not fit the model, or its labels are not those of `classes`.
    """
    stored = read_checkpoint(checkpoint)
    known = checkpoint_classes(stored["meta"], str(checkpoint))
    if known is not None and (note := compare(known, classes, str(checkpoint))):
        logger.warning("%s: %s", checkpoint, note)
    cfg.model.train_cfg = None
    detector = build_detector(cfg.model)
    load_strictly(detector, stored["state_dict"], str(checkpoint))
    return detector.eval()
