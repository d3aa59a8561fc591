"""Each patch of fgd.compat: mmdet fails without it and works with it."""

import inspect

import pytest
import torch
from mmdet.models.dense_heads import RepPointsHead

from fgd import compat


def points_of(get_points):
    head = RepPointsHead(num_classes=2, in_channels=8, point_feat_channels=8, feat_channels=8)
    sizes = [(4 // 2**i or 1, 4 // 2**i or 1) for i in range(5)]
    return get_points(head, sizes, [dict(pad_shape=(32, 32, 3))], torch.device("cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="the fault shows on machines without CUDA")
def test_reppoints_needs_its_patch_without_cuda():
    compat.apply()
    original = inspect.unwrap(RepPointsHead.get_points)
    with pytest.raises((RuntimeError, AssertionError)):
        points_of(original)
    points, flags = points_of(RepPointsHead.get_points)
    assert [tuple(level.shape) for level in points[0]] == [(16, 4), (4, 4), (1, 4), (1, 4), (1, 4)]
    assert all(flag.device.type == "cpu" and flag.all() for flag in flags[0])
