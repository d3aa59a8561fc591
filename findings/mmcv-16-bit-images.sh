#!/usr/bin/env bash
# mmcv's two image backends read one grey PNG of 16 bits as two different images.
#
# Versions: mmcv 1.7.2, opencv-python-headless 4.11.0.86, pillow 13.0.0, numpy 1.26.4, Python 3.11;
#     seen 2026-11-27.
# One would guess: `imread(..., backend="pillow")` differs from the default by a JPEG's rounding at
#     most; of 16 bits each keeps the upper 8.
# What happens: OpenCV keeps the upper 8 bits. Pillow cuts off at 255: in a thermal, depth or
#     medical image all but the darkest pixels turn white, and no one says so.
# Seen:
#     stored: [0, 255, 256, 1000, 40000, 65535]
#     cv2: [0, 0, 1, 3, 156, 255]
#     pillow: [0, 255, 255, 255, 255, 255]
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

stored = np.array([[0, 255, 256, 1000, 40000, 65535]], np.uint16)
Image.fromarray(stored).save("image.png")
print(f"stored: {stored[0].tolist()}")
read = {
    backend: mmcv.imread("image.png", flag="color", backend=backend)[0, :, 0].tolist()
    for backend in ("cv2", "pillow")
}
for backend, values in read.items():
    print(f"{backend}: {values}")
as_described = read == {
    "cv2": [0, 0, 1, 3, 156, 255],
    "pillow": [0, 255, 255, 255, 255, 255],
}

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
