#!/usr/bin/env bash
# A fresh install of imagecorruptions cannot make three of its 19 corruptions.
#
# Versions: imagecorruptions 1.1.2, scikit-image 0.26.0, numpy 2.4.6, setuptools 80.9.0, Python
#     3.11; seen 2026-11-27.
# One would guess: the package behind the robustness benchmarks of detectors (COCO-C) either
#     installs with what it needs or refuses to.
# What happens: its requirements have no upper bounds. It installs and imports, 16 corruptions work,
#     and glass_blur, fog and gaussian_blur stop on arguments and names that scikit-image and numpy
#     have since removed: a benchmark fails part of the way, at its fifth corruption.
# Seen:
#     glass_blur: TypeError gaussian() got an unexpected keyword argument 'multichannel'
#     fog: AttributeError `np.float_` was removed in the NumPy 2.0 release. Use `np.float64` instead.
#     gaussian_blur: TypeError gaussian() got an unexpected keyword argument 'multichannel'
#     16 of 19 work
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    imagecorruptions==1.1.2 scikit-image==0.26.0 numpy==2.4.6 setuptools==80.9.0
# In the place of the one that needs a display's libraries.
venv/bin/pip install --quiet --disable-pip-version-check --no-deps --force-reinstall \
    opencv-python-headless==5.0.0.93

venv/bin/python -W ignore - <<'EOF'
import sys

import numpy as np
from imagecorruptions import corrupt, get_corruption_names

image = np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8)
names = get_corruption_names("all")
failed = {}
for name in names:
    try:
        corrupt(image.copy(), corruption_name=name, severity=3)
    except (AttributeError, TypeError) as error:
        failed[name] = type(error).__name__
        print(f"{name}: {failed[name]} {error}")
print(f"{len(names) - len(failed)} of {len(names)} work")
as_described = failed == {
    "glass_blur": "TypeError",
    "fog": "AttributeError",
    "gaussian_blur": "TypeError",
}
print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
