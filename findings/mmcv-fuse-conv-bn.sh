#!/usr/bin/env bash
# mmcv's fuse_conv_bn folds a batch norm into the convolution that was registered last before it,
# whatever runs between the two: some backbones give other features after it, without a word.
#
# Versions: mmcv-lite 2.2.0, mmengine 0.10.7, torch 2.13.0, Python 3.11; seen 2026-11-28.
# One would guess: folding keeps what a module in evaluation mode computes, but for rounding.
# What happens: children are walked in the order of their registration, not of their use. Where that
#     is convolution, convolution, norm, norm, both norms are folded into the second convolution; and
#     where an activation stands between convolution and norm, the norm goes in front of it.
# Seen (largest difference over the largest value):
#     each norm after its convolution: 0.0000
#     both convolutions, then both norms: 0.8189
#     an activation between: 0.6891
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    mmcv-lite==2.2.0 mmengine==0.10.7 torch==2.13.0 "numpy==1.26.4" "opencv-python-headless<4.12"

venv/bin/python -W ignore - <<'EOF'
import copy
import sys

import torch
from mmcv.cnn import fuse_conv_bn
from torch import nn


def convolution():
    return nn.Conv2d(8, 8, 3, padding=1)


def norm():
    """A batch norm as after a training: with statistics and weights of its own."""
    norm = nn.BatchNorm2d(8)
    for tensor in (norm.running_var, norm.weight.data):
        tensor.uniform_(0.5, 2)
    for tensor in (norm.running_mean, norm.bias.data):
        tensor.normal_()
    return norm


class Block(nn.Module):
    """Convolution, norm, convolution, norm, in whatever order they are registered."""

    def __init__(self, order):
        super().__init__()
        for name in order:
            self.add_module(name, convolution() if name.startswith("conv") else norm())

    def forward(self, x):
        return self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))


def changed(module):
    module.eval()
    x = torch.randn(2, 8, 16, 16)
    with torch.no_grad():
        right, folded = module(x), fuse_conv_bn(copy.deepcopy(module))(x)
    return ((right - folded).abs().max() / right.abs().max()).item()


torch.manual_seed(0)
usual = changed(Block(["conv1", "norm1", "conv2", "norm2"]))
apart = changed(Block(["conv1", "conv2", "norm1", "norm2"]))
between = changed(nn.Sequential(convolution(), nn.GELU(), norm()))
print(f"each norm after its convolution: {usual:.4f}")
print(f"both convolutions, then both norms: {apart:.4f}")
print(f"an activation between: {between:.4f}")
as_described = usual < 1e-5 and apart > 0.1 and between > 0.1
print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
