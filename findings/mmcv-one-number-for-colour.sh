#!/usr/bin/env bash
# mmcv's impad and imrotate put a single number into the first channel only.
#
# Versions: mmcv 1.7.2, opencv-python-headless 4.11.0.86, numpy 1.26.4, Python 3.11; seen
#     2026-11-27.
# One would guess: `impad(image, shape=..., pad_val=114)` pads with grey, as its siblings do with
#     one number: imtranslate, imshear and cutout put it into every channel.
# What happens: OpenCV takes a bare number for a colour of one value and 0 for the others; impad and
#     imrotate hand it on. In an image in BGR order the border is blue.
# Seen:
#     impad: [114, 0, 0]
#     imrotate: [114, 0, 0]
#     imtranslate: [114, 114, 114]
#     cutout: [114, 114, 114]
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
# mmcv is built here (Python only, without its operators); newer setuptools cannot build it.
venv/bin/pip install --quiet --disable-pip-version-check setuptools==80.9.0 wheel==0.48.0 \
    numpy==1.26.4 opencv-python-headless==4.11.0.86 addict==2.4.0 yapf==0.43.0 pillow==13.0.0
venv/bin/pip install --quiet --disable-pip-version-check --no-build-isolation mmcv==1.7.2

venv/bin/python -W ignore - <<'EOF'
import sys

import mmcv
import numpy as np

image = np.zeros((8, 8, 3), np.uint8)
pixels = {
    "impad": mmcv.impad(image, shape=(9, 9), pad_val=114)[-1, -1],
    "imrotate": mmcv.imrotate(image, 45, border_value=114)[0, 0],
    "imtranslate": mmcv.imtranslate(image, 4, border_value=114)[0, 0],
    "cutout": mmcv.cutout(image, 8, pad_val=114)[4, 4],
}
pixels = {name: pixel.tolist() for name, pixel in pixels.items()}
for name, pixel in pixels.items():
    print(f"{name}: {pixel}")
blue, grey = [114, 0, 0], [114, 114, 114]
as_described = pixels == {
    "impad": blue,
    "imrotate": blue,
    "imtranslate": grey,
    "cutout": grey,
}

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
