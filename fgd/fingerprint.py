"""What makes two runs the same run."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmcv import Config

from fgd.configs import read_training
from fgd.errors import FGDError
from fgd.files import sha256
from fgd.method import method_id


def fingerprint(config: str | Path) -> str:
    """A hash of everything that decides a run's result.

    Its settings, the weights that it starts from, the annotations, and the version of the
    method (`fgd.method`). The pixels are not in it: they are tens of gigabytes.

    Raises:
        FGDError: it is no config of a training, or names a file that does not exist.
    """
    cfg = read_training(config)
    settings = cfg._cfg_dict.to_dict()
    # How often a line or a state is written or figures are taken, what follows a bad iteration, and
    # how processes share the work, does not.
    del settings["log"], settings["checkpoint"]
    for key in ("watch", "validation", "find_unused_parameters"):
        settings.pop(key, None)
    del settings["data"]["workers_per_gpu"], settings["data"]["samples_per_gpu"]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for checkpoint in starting_weights(cfg):
        if not Path(checkpoint).is_file():
            raise FGDError(f"{config}: names the checkpoint {checkpoint}, which does not exist")
        digest.update(sha256(checkpoint).encode())
    annotations = training_annotations(cfg)
    if not Path(annotations).is_file():
        raise FGDError(f"{config}: names the annotation file {annotations}, which does not exist")
    digest.update(sha256(annotations).encode())
    if cfg.model.type == "FGDDistiller":
        digest.update(method_id().encode())
    return digest.hexdigest()


def training_annotations(cfg: Config) -> str:
    """The annotation file of the training images."""
    train = cfg.data.train
    return train.get("dataset", train).ann_file  # YOLOX mixes the images of another data set


def starting_weights(cfg: Config) -> list[str]:
    """The checkpoints that a training starts from."""
    return sorted(set(_checkpoints(cfg.model)))


def _checkpoints(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("checkpoint", "teacher_checkpoint") and isinstance(item, str):
                yield item
            else:
                yield from _checkpoints(item)
    elif isinstance(value, list):
        for item in value:
            yield from _checkpoints(item)
