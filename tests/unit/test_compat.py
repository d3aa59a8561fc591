"""Each patch of fgd.compat: mmdet fails without it and works with it."""

import inspect
from types import SimpleNamespace

import numpy
import pytest
import torch
from mmcv.ops import DeformConv2dPack, ModulatedDeformConv2dPack, SyncBatchNorm, roi_align
from mmcv.ops.roi_align import RoIAlignFunction
from mmdet.core.bbox.samplers import IoUBalancedNegSampler, iou_balanced_neg_sampler
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


# --- synchronised norms ---


def test_a_synchronised_norm_of_one_process_is_a_batch_norm():
    with pytest.raises((RuntimeError, ValueError), match="process group"):
        torch.distributed.get_world_size()  # what mmcv asks for when it builds one
    compat.apply()
    norm, plain = SyncBatchNorm(4), torch.nn.BatchNorm2d(4)
    plain.load_state_dict(norm.state_dict())
    images = torch.rand(3, 4, 5, 5)
    assert torch.equal(norm(images), plain(images))
    assert all(torch.equal(a, b) for a, b in zip(norm.buffers(), plain.buffers(), strict=True))
    before = norm.running_mean.clone()
    assert norm(images[:0]).shape == (0, 4, 5, 5)
    assert torch.equal(norm.running_mean, before)
    assert torch.equal(norm.eval()(images), plain.eval()(images))


# --- numpy's old names ---


def negatives(sampler):
    """What Libra R-CNN's sampler takes of ten boxes without an object, three of them far off."""
    overlaps = torch.tensor([0, 0, 0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4])
    assigned = SimpleNamespace(gt_inds=torch.zeros(10, dtype=torch.long), max_overlaps=overlaps)
    return sampler._sample_neg(assigned, 6)


def test_a_batch_norm_may_add_nothing_to_the_variance():
    features = torch.rand(1, 3, 4, 4)
    for norm in (torch.nn.BatchNorm2d(3, 0), torch.nn.BatchNorm2d(num_features=3, eps=0)):
        norm.running_var.copy_(torch.tensor([1e-6, 1, 5]))
        right = features / norm.running_var.sqrt().view(1, 3, 1, 1)
        torch.testing.assert_close(norm.eval()(features), right)
    assert torch.nn.SyncBatchNorm(3, eps=0).eps > 0
    assert torch.nn.BatchNorm2d(3).eps == 1e-5


def test_libra_rcnns_sampler_needs_numpys_old_names(monkeypatch):
    compat.apply()
    torch.manual_seed(0)
    settings = dict(num=8, pos_fraction=0.25, floor_thr=0, floor_fraction=0.5, num_bins=3)
    sampler = IoUBalancedNegSampler(**settings, neg_pos_ub=-1)
    taken = negatives(sampler)
    assert taken.dtype == torch.long
    assert len(taken) == len(taken.unique()) == 6
    assert (taken < 3).sum() == 3  # half of them of those that overlap with nothing
    monkeypatch.setattr(iou_balanced_neg_sampler, "np", numpy)
    with pytest.raises(AttributeError, match=r"np\.int"):
        negatives(sampler)


def test_numpy_itself_stays_what_it_is():
    compat.apply()
    assert not hasattr(numpy, "int")
    assert iou_balanced_neg_sampler.np.float32 is numpy.float32


# --- The memory layout of what operators read ---

ROIS = torch.tensor([[0, 1, 1, 9, 9.0], [1, 2, 3, 12, 14.0]])


def in_both_layouts(operator):
    """Value and gradient of the features, of features in NCHW and of the same ones in NHWC."""
    features = torch.randn(2, 8, 16, 16)
    gradient = torch.randn_like(operator(features))
    for layout in (torch.contiguous_format, torch.channels_last):
        x = features.clone(memory_format=layout).requires_grad_()
        value = operator(x)
        yield value, torch.autograd.grad(value, x, gradient.clone(memory_format=layout))[0]


def deformable(kind, groups):
    layer = kind(8, 8, 3, padding=1, deform_groups=groups)
    torch.nn.init.normal_(layer.conv_offset.weight, std=0.3)
    return layer


def test_roi_align_needs_its_patch_for_channels_last():
    compat.apply()
    torch.manual_seed(0)
    features = torch.randn(2, 8, 16, 16)
    patched, unpatched = RoIAlignFunction.forward, inspect.unwrap(RoIAlignFunction.forward)
    pooled = {
        (forward, layout): forward(
            SimpleNamespace(save_for_backward=lambda *_: None),
            features.clone(memory_format=layout), ROIS, (7, 7), 1.0, 0, "avg", True,
        )
        for forward in (patched, unpatched)
        for layout in (torch.contiguous_format, torch.channels_last)
    }  # fmt: skip
    right = pooled[patched, torch.contiguous_format]
    assert torch.equal(pooled[patched, torch.channels_last], right)
    assert not torch.allclose(pooled[unpatched, torch.channels_last], right)


@pytest.mark.parametrize(
    "operator",
    [
        lambda x: roi_align(x, ROIS, (7, 7), 1.0, 0, "avg", True),
        *(
            deformable(kind, n)
            for kind in (DeformConv2dPack, ModulatedDeformConv2dPack)
            for n in (1, 2)
        ),
    ],
)
def test_operators_read_features_in_any_layout(operator):
    compat.apply()
    torch.manual_seed(0)
    (value, gradient), (value_last, gradient_last) = in_both_layouts(operator)
    torch.testing.assert_close(value_last, value)
    torch.testing.assert_close(gradient_last, gradient, rtol=1e-4, atol=1e-4)
