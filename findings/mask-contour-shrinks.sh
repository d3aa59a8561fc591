#!/usr/bin/env bash
# A mask that goes through OpenCV's contours into a COCO polygon comes back smaller.
#
# Versions: opencv-python-headless 4.11.0.86, pycocotools 2.0.11, numpy 1.26.4, Python 3.11; seen
#     2026-11-27.
# One would guess: the outline of a mask of 10 x 10 pixels, written as a polygon, covers 100 pixels.
# What happens: cv2.findContours gives the centres of the border's pixels, pycocotools reads
#     corners: each way loses a column and a row. 100 pixels become 81, then 64, 49 ... The other
#     way round cv2.fillPoly covers 121 pixels where pycocotools covers 100 of the same polygon.
# Seen:
#     mask to contour to polygon to mask: [100, 81, 64, 49]
#     one polygon: pycocotools 100, cv2.fillPoly 121
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    opencv-python-headless==4.11.0.86 pycocotools==2.0.11 numpy==1.26.4

venv/bin/python - <<'EOF'
import sys

import cv2
import numpy as np
from pycocotools import mask as coco_mask


def pixels(polygon):
    return coco_mask.decode(coco_mask.frPyObjects([polygon], 50, 50))[..., 0]


mask = np.zeros((50, 50), np.uint8)
mask[10:20, 10:20] = 1
areas = [int(mask.sum())]
for _ in range(3):
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    mask = pixels(contours[0].ravel().tolist())
    areas.append(int(mask.sum()))
print(f"mask to contour to polygon to mask: {areas}")

square = [10, 10, 20, 10, 20, 20, 10, 20]
filled = cv2.fillPoly(np.zeros((50, 50), np.uint8), [np.reshape(square, (-1, 1, 2))], 1)
coco, opencv = int(pixels(square).sum()), int(filled.sum())
print(f"one polygon: pycocotools {coco}, cv2.fillPoly {opencv}")
as_described = areas == [100, 81, 64, 49] and (coco, opencv) == (100, 121)

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
