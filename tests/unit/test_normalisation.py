"""What is known of a pipeline's pixels, from its config, is what the pipeline makes of an image."""

from itertools import product

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets.pipelines import Compose

from fgd.pair import Member, Pair, alike, normalisation_of
from fgd.pair.renormalise import Renormalise

EQUAL = dict(mean=[127.5] * 3, std=[127.5] * 3)
OWN = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
LOADS = (
    {},
    dict(channel_order="bgr"),
    dict(channel_order="rgb"),
    dict(channel_order="rgb", color_type="color", to_float32=True),
    dict(channel_order="rgb", color_type="unchanged"),
    dict(channel_order="rgb", color_type="color_ignore_orientation"),
)
NORMALISES = (
    None,
    dict(EQUAL, to_rgb=True),
    dict(EQUAL, to_rgb=False),
    dict(OWN),
    dict(OWN, to_rgb=False),
    dict(mean=[0.0] * 3, std=[1.0] * 3, to_rgb=False),
)
WAYS = [*product(LOADS, NORMALISES)]


def data(load, normalise):
    """A split of a config's data."""
    steps = [dict(type="LoadImageFromFile", **load)]
    if normalise is not None:
        steps.append(dict(type="Normalize", **normalise))
    return dict(type="CocoDataset", pipeline=steps)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A file of colours that no order of channels leaves alike."""
    path = tmp_path_factory.mktemp("images") / "image.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8))
    return path


@pytest.fixture(scope="module")
def seen(image):
    """What a detector sees, (1, 3, H, W), of each way."""

    def of(load, normalise):
        results = dict(img_info=dict(filename=str(image)), img_prefix=None)
        pixels = Compose(data(load, normalise)["pipeline"])(results)["img"].astype(np.float32)
        return torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy())

    return [of(*way) for way in WAYS]


@pytest.mark.parametrize("ours", range(len(WAYS)))
def test_two_are_alike_where_they_see_the_same_and_else_one_is_turned_into_the_other(seen, ours):
    for theirs, way in enumerate(WAYS):
        views = normalisation_of(data(*WAYS[ours])), normalisation_of(data(*way))
        std = 1 if views[1] is None else min(views[1].std)
        same = torch.allclose(seen[ours], seen[theirs], rtol=0, atol=1e-4 / std)
        assert alike(*views) == same, (WAYS[ours], way)
        turned = Renormalise(*views)(seen[ours], [])
        torch.testing.assert_close(turned, seen[theirs], rtol=0, atol=1e-4 / std)


def test_a_pair_that_sees_other_channels_is_told_so():
    normalise = dict(EQUAL, to_rgb=False)
    student, teacher = (
        Member(role, normalisation=normalisation_of(data(load, normalise)))
        for role, load in (("student", {}), ("teacher", dict(channel_order="rgb")))
    )
    said = Pair(student, teacher).other_pixels()
    assert "the student gets its images as BGR with the mean [127.5" in said
    assert "the teacher as RGB with the mean [127.5" in said


def test_the_images_that_yolox_mixes_are_read_by_their_own_pipeline():
    mixed = dict(
        type="MultiImageMixDataset",
        dataset=data(dict(channel_order="rgb"), None),
        pipeline=[dict(type="Mosaic"), dict(type="Normalize", **OWN)],
    )
    assert normalisation_of(mixed).to_rgb is False
    del mixed["pipeline"][1]
    assert normalisation_of(mixed).to_rgb is True
    assert not alike(normalisation_of(mixed), None)
