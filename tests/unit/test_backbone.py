"""The mini suite's backbones: they learn, they load where ImageNet weights would."""

import pytest
import torch
from mmdet.models import build_backbone as build_from_config

from fgd.errors import FGDError
from fgd.files import sha256
from fgd.mini import backbone as module
from fgd.mini.backbone import build_backbone, draw_crops, train_backbone


@pytest.fixture(autouse=True)
def few_crops(monkeypatch):
    monkeypatch.setattr(module, "TRAIN_CROPS", 100)
    monkeypatch.setattr(module, "TEST_CROPS", 100)


def test_learns_digits_and_loads_into_a_detectors_backbone(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TRAIN_CROPS", 1000)
    monkeypatch.setattr(module, "TEST_CROPS", 400)
    out = tmp_path / "resnet18x8.pth"
    report = train_backbone("resnet18x8", out, iterations=100)
    assert report["accuracy"] > 0.16  # guessing: 0.1, with a standard deviation of 0.015

    checkpoint = torch.load(out, weights_only=True)
    assert checkpoint["meta"]["accuracy"] == report["accuracy"]
    build_backbone("resnet18x8").load_state_dict(checkpoint["state_dict"], strict=True)

    init_cfg = dict(type="Pretrained", checkpoint=str(out))
    started = build_from_config(dict(type="ResNet", depth=18, base_channels=8, init_cfg=init_cfg))
    started.init_weights()
    for name, tensor in started.state_dict().items():
        assert torch.equal(tensor, checkpoint["state_dict"][name]), name


def test_same_seed_same_bytes(tmp_path):
    for name, seed in [("a", 0), ("b", 0), ("c", 1)]:
        train_backbone("resnet18x8", tmp_path / name, iterations=2, seed=seed)
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b") != sha256(tmp_path / "c")


def test_crops_are_normalised_and_of_all_classes():
    crops = draw_crops("train", 200, seed=0)
    assert crops.images.shape == (200, 3, module.SIDE, module.SIDE)
    assert crops.images.mean().abs() < 1
    assert sorted(crops.labels.unique().tolist()) == list(range(10))


@pytest.mark.parametrize("name", ["resnet50", "resnet19x16", "resnet18x0", "swin18x16"])
def test_unknown_name(tmp_path, name):
    with pytest.raises(FGDError, match=f"unknown backbone '{name}'.*resnet18x16"):
        train_backbone(name, tmp_path / "out.pth")
    assert list(tmp_path.iterdir()) == []
