"""A teacher's own view of its student's images: the same pixels, as its pipeline has them."""

import dataclasses

import mmcv
import numpy as np
import pytest
import torch
from detectors import training_config
from mmdet.models import build_detector

import fgd.distiller  # registers FGDDistiller with mmdet
from fgd import recipe
from fgd.checkout import root
from fgd.pair import Normalisation
from fgd.pair.renormalise import Renormalise
from fgd.suite import load_suite

RGB = Normalisation((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), to_rgb=True)
CAFFE = Normalisation((103.53, 116.28, 123.675), (1.0, 1.0, 1.0), to_rgb=False)
X101_32X8D = Normalisation((103.53, 116.28, 123.675), (57.375, 57.12, 58.395), to_rgb=False)
VIEWS = {"RGB": RGB, "caffe": CAFFE, "x101_32x8d": X101_32X8D, "raw": None}


def seen(pixels: np.ndarray, view: Normalisation | None) -> torch.Tensor:
    """Pixels, (H, W, 3) of BGR bytes, as mmdet's Normalize has them; (1, 3, H, W)."""
    image = pixels.astype(np.float32)
    if view is not None:
        image = mmcv.imnormalize(image, np.array(view.mean), np.array(view.std), view.to_rgb)
    return torch.from_numpy(image.transpose(2, 0, 1)[None].copy())


@pytest.mark.parametrize("teacher", VIEWS)
@pytest.mark.parametrize("student", VIEWS)
def test_the_teacher_sees_what_its_own_pipeline_gives(student, teacher):
    ours, theirs = VIEWS[student], VIEWS[teacher]
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    turned = Renormalise(ours, theirs)(seen(pixels, ours), [])
    # Of 255 levels, by less than a ten-thousandth of one.
    std = 1 if theirs is None else min(theirs.std)
    torch.testing.assert_close(turned, seen(pixels, theirs), rtol=0, atol=1e-4 / std)


def test_padding_stays_zero():
    module = Renormalise(RGB, CAFFE)
    images = torch.randn(2, 3, 8, 8)
    images[0, :, 6:] = 0
    images[0, :, :, 5:] = 0
    turned = module(images, [(6, 5), (8, 8)])
    assert not turned[0, :, 6:].any()
    assert not turned[0, :, :, 5:].any()
    assert turned[0, :, :6, :5].abs().min() > 0
    assert turned[1].abs().min() > 0
    assert list(module.state_dict()) == []


def test_a_row_says_it_and_the_composed_config_has_both_views():
    suite = load_suite(root() / "configs/suites/coco.yaml")
    row = recipe.load_row("retinanet_r50")
    distill = row.distill | {"renormalise": True, "inherit": False}
    row = dataclasses.replace(row, teacher="retinanet_r101_caffe_fpn_1x_coco", distill=distill)
    told = recipe.compose(suite, row, "fgd").training.model.distill
    assert tuple(told.renormalise.student.mean) == RGB.mean
    assert told.renormalise.teacher.to_rgb is False
    assert "taps" not in told


def test_only_the_teachers_images_are_turned(tiny_suite, monkeypatch):
    model = training_config(tiny_suite, "retinanet_r50", "fgd").model
    distillers: list[fgd.distiller.FGDDistiller] = []
    for distill in (model.distill, model.distill | {
        "renormalise": {"student": dataclasses.asdict(RGB), "teacher": dataclasses.asdict(CAFFE)}
    }):  # fmt: skip
        torch.manual_seed(0)
        distillers.append(build_detector(dict(model, distill=distill)))
    image = torch.randn(1, 3, 128, 128)
    plain, turned = (distiller.features(image) for distiller in distillers)
    assert all(torch.equal(plain[level][0], turned[level][0]) for level in plain)
    assert not any(torch.equal(plain[level][1], turned[level][1]) for level in plain)
    expected = distillers[0].features(Renormalise(RGB, CAFFE)(image, []))
    assert all(torch.equal(expected[level][1], turned[level][1]) for level in plain)
    names = (list(distiller.state_dict()) for distiller in distillers)
    assert next(names) == next(names)
