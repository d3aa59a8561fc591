"""Each patch of fgd.compat: mmdet fails without it and works with it."""

import inspect

import torch
from mmdet.models.dense_heads import RepPointsHead

from fgd import compat


def points_and_flags(get_points):
    head = RepPointsHead(num_classes=2, in_channels=8, point_feat_channels=8, feat_channels=8)
    sizes = [(4 // 2**i or 1, 4 // 2**i or 1) for i in range(5)]
    return get_points(head, sizes, [dict(pad_shape=(32, 32, 3))], torch.device("cpu"))


def flags_are_with_the_points(get_points) -> bool:
    try:
        points, flags = points_and_flags(get_points)
    except (RuntimeError, AssertionError):  # there is no CUDA device to put them on
        return False
    return all(p.device == f.device for p, f in zip(points[0], flags[0], strict=True))


def test_reppoints_flags_need_their_patch_on_the_cpu():
    compat.apply()
    assert not flags_are_with_the_points(inspect.unwrap(RepPointsHead.get_points))
    assert flags_are_with_the_points(RepPointsHead.get_points)
    points, flags = points_and_flags(RepPointsHead.get_points)
    assert [tuple(level.shape) for level in points[0]] == [(16, 4), (4, 4), (1, 4), (1, 4), (1, 4)]
    assert all(flag.all() for flag in flags[0])
