#!/usr/bin/env bash
# OpenCV subtracts a scalar from a float32 image in float32, but multiplies by one in float64.
#
# Versions: opencv-python-headless 4.11.0.86, numpy 1.26.4, Python 3.11; seen 2026-11-27.
# One would guess: one rule for both. An image normalised with cv2.subtract and cv2.multiply (as
#     mmcv does) then equals numpy's, in one of the two precisions.
# What happens: cv2.add and cv2.subtract round the scalar to float32 first; cv2.multiply and
#     cv2.divide keep it in float64 and round the product. Neither of numpy's ways gives the same
#     bits for a whole normalisation; a pipeline that is moved off OpenCV has to mix the two.
# Seen:
#     add: equals numpy in float32 True, in float64 False
#     subtract: equals numpy in float32 True, in float64 False
#     multiply: equals numpy in float32 False, in float64 True
#     divide: equals numpy in float32 False, in float64 True
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    opencv-python-headless==4.11.0.86 numpy==1.26.4

venv/bin/python - <<'EOF'
import sys

import cv2
import numpy as np

image = (np.random.RandomState(0).rand(64, 64, 3) * 255).astype(np.float32)
scalar = np.array([123.675, 116.28, 103.53])
seen = {}
for name in ("add", "subtract", "multiply", "divide"):
    result = getattr(cv2, name)(image, (*scalar.tolist(), 0.0))
    plain = getattr(np, name)
    single = plain(image, scalar.astype(np.float32))
    double = plain(image.astype(np.float64), scalar).astype(np.float32)
    seen[name] = (np.array_equal(result, single), np.array_equal(result, double))
    print(f"{name}: equals numpy in float32 {seen[name][0]}, in float64 {seen[name][1]}")
as_described = seen == {
    "add": (True, False),
    "subtract": (True, False),
    "multiply": (False, True),
    "divide": (False, True),
}

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
