#!/usr/bin/env bash
# pybboxes rounds a COCO box to whole pixels, also on its way to a format of fractions.
#
# Versions: pybboxes 0.1.6, numpy 2.4.6, Python 3.11; seen 2026-11-27.
# One would guess: COCO's boxes have fractions of a pixel, YOLO's are fractions of the image;
#     turning one into the other loses nothing but the last bits.
# What happens: the box is rounded to whole pixels before it is divided. For a small object that is
#     an IoU of 0.81 with what was annotated.
# Seen:
#     to YOLO: (0.003125, 0.004166666666666667, 0.00625, 0.008333333333333333)
#     and back: (0, 0, 4, 4); IoU with the box given 0.81
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    pybboxes==0.1.6 numpy==2.4.6

venv/bin/python - <<'EOF'
import sys

import pybboxes

BOX = (0.4, 0.4, 3.6, 3.6)  # x, y, width, height in an image of 640 x 480 pixels


def iou(a, b):
    sides = [min(a[i] + a[i + 2], b[i] + b[i + 2]) - max(a[i], b[i]) for i in (0, 1)]
    shared = sides[0] * sides[1]
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


size = {"image_size": (640, 480)}
yolo = pybboxes.convert_bbox(BOX, from_type="coco", to_type="yolo", **size)
back = pybboxes.convert_bbox(yolo, from_type="yolo", to_type="coco", **size)
print(f"to YOLO: {yolo}")
print(f"and back: {back}; IoU with the box given {iou(BOX, back):.2f}")
as_described = all(value == int(value) for value in (yolo[2] * 640, yolo[3] * 480))
as_described = as_described and yolo[2] * 640 != BOX[2]

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
