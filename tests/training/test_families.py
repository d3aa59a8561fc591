"""Detectors of all kinds of necks are distilled for ten steps, resumed, and taken out again."""

import copy
import json

import pytest
import torch
from detectors import training_config, write_config
from families import small
from mmcv import Config
from mmdet.models import build_detector

from fgd.checkpoint import read_checkpoint
from fgd.export import transfer
from fgd.training import train

# The levels that are distilled, and the side of the images in pixels.
CASES = {
    "PAFPN": ([0, 1, 2, 3], 64),
    "RFP": ([0, 1, 2, 3], 64),
    "BFP": ([0, 1, 2], 64),
    "NAS-FPN": ([0, 1, 2], 128),
    "DyHead": ([0, 1, 2], 64),
    "YOLOv3": ([0, 1, 2], 64),
    "SSD": ([0, 1, 2], 320),  # of a smaller image it has no last level
    "SOLOv2": ([0, 1, 2, 3], 128),
    "YOLOF": ([0], 64),
    "TOOD": ([0, 1, 2], 64),
}


@pytest.fixture
def config_of(tiny_suite, tmp_path):
    """Writes a family's training config, ten steps of two images; the config and its path."""

    def write(family):
        levels, side = CASES[family]
        strength = 100 if family == "YOLOv3" else 1  # whose own losses are sums over the image
        row = "mask_rcnn_r50" if family == "SOLOv2" else "retinanet_r50"
        config = training_config(tiny_suite, row, "fgd")
        student, teacher = (_ten_classes(small(family)) for _ in range(2))
        torch.manual_seed(1)
        other = build_detector(teacher)
        other.init_weights()
        torch.save({"state_dict": other.state_dict(), "meta": {}}, tmp_path / "t")
        config.model = dict(
            type="FGDDistiller",
            student=student,
            teacher=teacher,
            teacher_checkpoint=str(tmp_path / "t"),
            # Strong, so that what falls is not the detector's own loss alone.
            distill=dict(
                levels=levels, taps="neck", inherit=False, temperature=0.5,
                alpha=0.01 * strength, beta=0.005 * strength, gamma=0.01 * strength, lambda_=0,
            ),
        )  # fmt: skip
        config.from_scratch = True
        config.pop("validation")
        config.checkpoint.interval = 5
        config.optimizer = dict(type="Adam", lr=2e-3)
        config.lr_config = dict(policy="fixed")
        for step in config.data.train.pipeline:
            if step["type"] == "Resize":
                step["img_scale"] = (side, side)
        path = tmp_path / "config.py"
        write_config(config, path)
        return config, path

    return write


def _ten_classes(model: Config) -> Config:
    model = copy.deepcopy(model)
    for head in (model.get("bbox_head"), model.get("mask_head"), model.get("roi_head")):
        for part in [head, *(_listed(head.get("bbox_head")) if head else [])]:
            if part and "num_classes" in part:
                part["num_classes"] = 10
    return model


def _listed(value):
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("family", CASES)
def test_a_family_is_distilled_resumed_and_taken_out(config_of, tmp_path, family):
    config, path = config_of(family)
    train(path, tmp_path / "run", tmp_path / "out.pth")
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    levels = config.model.distill["levels"]
    fgd = [sum(line[f"loss_fgd_fpn_{level}"] for level in levels) for line in lines]
    assert len(fgd) == 10
    assert sum(fgd[5:]) < sum(fgd[:5])  # of the same images

    whole = read_checkpoint(tmp_path / "out.pth")["state_dict"]
    (tmp_path / "out.pth").unlink()
    max((tmp_path / "run").glob("iter_*.pth")).unlink()
    train(path, tmp_path / "run", tmp_path / "out.pth")
    resumed = read_checkpoint(tmp_path / "out.pth")["state_dict"]
    assert whole.keys() == resumed.keys()
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []

    transfer(tmp_path / "out.pth", tmp_path / "student.pth", "student")
    plain = read_checkpoint(tmp_path / "student.pth")["state_dict"]
    detector = build_detector(config.model.student)
    detector.load_state_dict(plain)
