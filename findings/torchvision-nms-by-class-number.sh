#!/usr/bin/env bash
# Which boxes survive torchvision's batched_nms follows from the number of their class, and from
# how many other boxes there are.
#
# Versions: torchvision 0.25.0, torch 2.10.0, Python 3.11; seen 2026-11-29.
# One would guess: each class is suppressed by itself, whatever its number.
# What happens: up to 1,000 boxes on a CPU (25,000 on a GPU) all classes are done at once, moved apart
#     by their number times the largest coordinate. In float32 that leaves coordinates of half a pixel
#     for class 1,202 (LVIS has 1,203) in an image of 4,000 pixels: small boxes that overlap by little
#     more or less than the threshold are kept or lost. With more boxes, classes are done one by one.
#     mmcv's batched_nms moves classes apart in the same way (up to 10,000 boxes).
# Seen (900 boxes of one class, 8 to 32 pixels wide, in 4,000 pixels; boxes of another fate than nms
# gives them):
#     as class 0: 0
#     as class 79: 0
#     as class 364: 2
#     as class 1202: 23
#     as class 1202, beside 200 boxes of class 0: 0
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.10.0 torchvision==0.25.0 numpy==1.26.4

venv/bin/python -W ignore - <<'EOF'
import sys

import torch
from torchvision.ops import batched_nms, nms


def boxes(number):
    """Groups of some six boxes that nearly coincide."""
    group = torch.randint(0, number // 6, (number,))
    corners = (torch.rand(number, 2) * 3960)[group] + torch.randn(number, 2) * 3
    sides = (8 + torch.rand(number, 2) * 24)[group] + torch.randn(number, 2)
    return torch.cat([corners, corners + sides], dim=1).clamp(0, 4000)


torch.manual_seed(0)
some, scores = boxes(900), torch.rand(900)
# One box in the far corner, so that 4,000 is the largest coordinate in any case.
some[0] = torch.tensor([3990.0, 3990, 4000, 4000])
right = set(nms(some, scores, 0.5).tolist())
found = []
for number in (0, 79, 364, 1202):
    kept = batched_nms(some, scores, torch.full((900,), number), 0.5)
    found.append(len(right ^ set(kept.tolist())))
    print(f"as class {number}: {found[-1]}")
classes = torch.cat([torch.full((900,), 1202), torch.zeros(200, dtype=torch.long)])
kept = batched_nms(torch.cat([some, boxes(200)]), torch.cat([scores, torch.rand(200)]), classes, 0.5)
found.append(len(right ^ {index for index in kept.tolist() if index < 900}))
print(f"as class 1202, beside 200 boxes of class 0: {found[-1]}")
as_described = found[0] == found[1] == found[4] == 0 and found[3] > 0
print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
