"""Detectors and their training configs for tests, with random weights where downloads would be."""

from pathlib import Path

import torch
from mmcv import Config
from mmdet.models import build_detector

from fgd import recipe
from fgd.config_text import config_text
from fgd.suite import Suite


def write_config(config: Config, path: Path) -> None:
    """Write a config as the project does; mmcv's `dump` formats for half a second."""
    path.write_text(config_text(config), encoding="utf-8")


def save_backbone(suite: Suite, model: dict) -> None:
    """Write the file that a backbone's `init_cfg` names, with random weights."""
    path = Path(model["backbone"]["init_cfg"]["checkpoint"])
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        config = dict(model["backbone"], init_cfg=None)
        backbone = build_detector(dict(model, backbone=config)).backbone
        torch.save({"state_dict": backbone.state_dict()}, path)


def save_teacher(suite: Suite, name: str) -> Path:
    """Write a teacher's checkpoint with random weights, no two tensors alike."""
    model = recipe.compose_teacher(suite, name).training.model
    model.backbone.init_cfg = None
    teacher = build_detector(model)
    state = {
        key: value + 0.01 * torch.randn_like(value) if value.is_floating_point() else value
        for key, value in teacher.state_dict().items()
    }
    path = Path(suite.layout.teacher(name).checkpoint)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": state, "meta": {}}, path)
    return path


def training_config(suite: Suite, row: str, arm: str) -> Config:
    """A row's training config, with every checkpoint that it names in place."""
    loaded = recipe.load_row(row)
    composed = recipe.compose(suite, loaded, arm)
    save_backbone(suite, composed.detector.model)
    if arm == "fgd":
        save_teacher(suite, loaded.teacher)
    return composed.training
