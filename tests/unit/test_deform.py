"""fgd.compat.deform against mmcv's own operator."""

import mmcv.ops.deform_conv
import pytest
import torch
from mmcv.ops import DeformConv2dPack

from fgd.compat.deform import deform_conv2d, use_on_cpu

mmcv_operator = mmcv.ops.deform_conv.DeformConv2dFunction.apply


@pytest.mark.parametrize(
    ("size", "stride", "padding", "dilation", "groups", "deform_groups"),
    [
        ((9, 7), 1, 1, 1, 1, 1),
        ((9, 7), 2, 1, 1, 1, 1),
        ((9, 7), 1, 2, 2, 1, 1),
        ((8, 8), (2, 1), (0, 1), 1, 4, 2),
        ((3, 3), 1, 0, 1, 1, 4),
    ],
)
def test_values_and_gradients_are_mmcvs(size, stride, padding, dilation, groups, deform_groups):
    torch.manual_seed(0)
    settings = (stride, padding, dilation, groups, deform_groups)
    x = torch.randn(2, 8, *size)
    weight = torch.randn(12, 8 // groups, 3, 3)
    plain = torch.nn.functional.conv2d(x, weight, None, stride, padding, dilation, groups)
    # Far enough to leave the image in places.
    offset = 3 * torch.randn(2, deform_groups * 9 * 2, *plain.shape[2:])
    results = []
    for operator in (mmcv_operator, deform_conv2d):
        inputs = [tensor.clone().requires_grad_() for tensor in (x, offset, weight)]
        output = operator(*inputs, *settings)
        results.append((output, *torch.autograd.grad(output.square().sum(), inputs)))
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(
            actual, expected, rtol=1e-4, atol=1e-4 * float(expected.detach().abs().max())
        )


def test_without_offsets_it_is_a_convolution():
    torch.manual_seed(0)
    x, weight = torch.randn(2, 4, 6, 6), torch.randn(5, 4, 3, 3)
    output = deform_conv2d(x, torch.zeros(2, 18, 6, 6), weight, padding=1)
    torch.testing.assert_close(output, torch.nn.functional.conv2d(x, weight, padding=1))


def test_mmcvs_layers_use_it(monkeypatch):
    monkeypatch.setattr(mmcv.ops.deform_conv, "deform_conv2d", mmcv_operator)
    torch.manual_seed(0)
    layer = DeformConv2dPack(4, 4, 3, padding=1)
    layer.conv_offset.weight.data.normal_()
    x = torch.randn(1, 4, 6, 6)
    before = layer(x)
    use_on_cpu()
    assert mmcv.ops.deform_conv.deform_conv2d is not mmcv_operator
    torch.testing.assert_close(layer(x), before, rtol=1e-4, atol=1e-5)
