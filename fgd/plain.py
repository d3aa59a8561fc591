"""A plain mmdet detector with its weights: what leaves this project."""

import copy
from pathlib import Path
from typing import Any

from mmcv import Config
from mmdet.datasets import DATASETS
from mmdet.models import build_detector
from torch import nn

from fgd.classes import Names, checkpoint_classes, compare, config_classes
from fgd.errors import FGDError
from fgd.weights import load_strictly


def load_plain(
    cfg: Config, config: str | Path, stored: dict[str, Any], checkpoint: str | Path
) -> tuple[nn.Module, Names]:
    """The detector of a config, evaluating, and its classes in the order of its labels.

    Args:
        cfg, config: a plain mmdet config and its path.
        stored, checkpoint: `state_dict` and `meta`, and the path of the file.

    Raises:
        FGDError: the checkpoint does not fit the model, or was trained with other classes.
    """
    known = checkpoint_classes(stored["meta"], str(checkpoint))
    classes = plain_classes(cfg, config)
    if known is not None:
        compare(known, classes, str(checkpoint))
    # mmdet writes into the settings that it builds from.
    detector = build_detector(copy.deepcopy(cfg.model) | {"train_cfg": None})
    load_strictly(detector, stored["state_dict"], str(checkpoint))
    return detector.eval(), classes


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
