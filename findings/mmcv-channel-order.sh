#!/usr/bin/env bash
# mmcv gives RGB for channel_order="rgb" under one of its three colour flags, BGR under the others.
#
# Versions: mmcv 1.7.2, opencv-python-headless 4.11.0.86, pillow 13.0.0, numpy 1.26.4, Python 3.11;
#     seen 2026-11-28.
# One would guess: an image that is read with channel_order="rgb" has red first, or the call fails.
# What happens: that is so with flag="color". With "color_ignore_orientation" and "unchanged" blue
#     comes first, and so it does for channel_order="RGB". A detector's LoadImageFromFile passes both
#     words on, so that its `color_type` decides in which order it sees the channels.
# Seen:
#     flag=color, channel_order=bgr: [50, 100, 200]
#     flag=color, channel_order=rgb: [200, 100, 50]
#     flag=color_ignore_orientation, channel_order=rgb: [50, 100, 200]
#     flag=unchanged, channel_order=rgb: [50, 100, 200]
#     flag=color, channel_order=RGB: [50, 100, 200]
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
from PIL import Image

Image.fromarray(np.array([[[200, 100, 50]]], np.uint8)).save("image.png")
read = {}
for flag, order in (
    ("color", "bgr"),
    ("color", "rgb"),
    ("color_ignore_orientation", "rgb"),
    ("unchanged", "rgb"),
    ("color", "RGB"),
):
    pixel = mmcv.imread("image.png", flag=flag, channel_order=order)[0, 0].tolist()
    print(f"flag={flag}, channel_order={order}: {pixel}")
    read[flag, order] = pixel
rgb, bgr = [200, 100, 50], [50, 100, 200]
as_described = read == {
    ("color", "bgr"): bgr,
    ("color", "rgb"): rgb,
    ("color_ignore_orientation", "rgb"): bgr,
    ("unchanged", "rgb"): bgr,
    ("color", "RGB"): bgr,
}

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
