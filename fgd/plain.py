"""A plain mmdet detector with its weights: what is measured, and what leaves this project."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmcv import Config
from mmdet.datasets import DATASETS
from mmdet.models import build_detector
from torch import nn

from fgd.classes import Names, checkpoint_classes, compare, config_classes
from fgd.errors import FGDError
from fgd.weights import load_strictly

logger = logging.getLogger("fgd")


def load_plain(
    cfg: Config, stored: dict[str, Any], checkpoint: str | Path, classes: Sequence[str]
) -> nn.Module:
    """Build a config's detector for inference and load its weights.

    Args:
        cfg: a plain mmdet config. Building writes into its `model`, whose `train_cfg` becomes None.
        stored: what the checkpoint holds, `state_dict` and `meta`; every tensor must fit.
        checkpoint: its path.
        classes: of the data that the detector is run on, in the order of the labels. Where the
            checkpoint calls them otherwise, a warning is logged.

    Returns:
        The detector on the CPU, evaluating.

    Raises:
        FGDError: the checkpoint does not fit the model, or its labels are not those of `classes`.
    """
    known = checkpoint_classes(stored["meta"], str(checkpoint))
    if known is None:
        logger.warning(
            "%s: names no classes; that they are the data's, in their order, is trusted", checkpoint
        )
    elif note := compare(known, classes, str(checkpoint)):
        logger.warning("%s: %s", checkpoint, note)
    cfg.model.train_cfg = None
    detector = build_detector(cfg.model)
    load_strictly(detector, stored["state_dict"], str(checkpoint))
    return detector.eval()


def plain_classes(cfg: Config, config: str | Path) -> Names:
    """The names of a plain config's classes, its own or its data set's.

    Raises:
        FGDError: there are none.
    """
    test = cfg.data.test
    classes = config_classes(test.get("classes"), f"{config}: data.test.classes")
    classes = classes or getattr(DATASETS.get(test.get("type")), "CLASSES", None)
    if classes is None:
        raise FGDError(f"{config}: data.test names no classes; give `classes`")
    return tuple(classes)
