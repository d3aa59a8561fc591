#!/usr/bin/env bash
# OpenCV 5 names the angle of a rotated box otherwise than OpenCV 4.
#
# Versions: opencv-python-headless 4.11.0.86 and 5.0.0.93, Python 3.11; seen 2026-11-27.
# One would guess: the call is the same and so is what it returns; code that turns polygons into
#     rotated boxes (width, height, angle) for training goes on working.
# What happens: 4.11 gives angles above 0 up to 90 degrees, 5.0 from -90 on to below 0; width and
#     height change places in most cases. (4.5.1 once turned it the other way.) Boxes of data
#     prepared with one and of predictions made with the other are not comparable by their numbers.
# Seen:
#     4.11.0: 0 deg (20, 40) 90; 10 deg (40, 20) 10; 80 deg (40, 20) 80; 100 deg (20, 40) 10
#     5.0.0: 0 deg (20, 40) -90; 10 deg (20, 40) -80; 80 deg (20, 40) -10; 100 deg (40, 20) -80
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
for version in 4.11.0.86 5.0.0.93; do
    python3 -m venv "$version"
    "$version/bin/pip" install --quiet --disable-pip-version-check \
        "opencv-python-headless==$version"
done

cat >boxes.py <<'EOF'
import cv2
import numpy as np

seen = []
for turned in (0, 10, 80, 100):
    angle = np.deg2rad(turned)
    rotation = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    corners = np.array([[-20, -10], [20, -10], [20, 10], [-20, 10]]) @ np.transpose(rotation)
    _, (width, height), given = cv2.minAreaRect((corners + 50).astype(np.float32))
    seen.append(f"{turned} deg ({width:.0f}, {height:.0f}) {given:.0f}")
print(f"{cv2.__version__}: {'; '.join(seen)}")
EOF
for version in 4.11.0.86 5.0.0.93; do "$version/bin/python" boxes.py; done | tee seen

cat >described <<'EOF'
4.11.0: 0 deg (20, 40) 90; 10 deg (40, 20) 10; 80 deg (40, 20) 80; 100 deg (20, 40) 10
5.0.0: 0 deg (20, 40) -90; 10 deg (20, 40) -80; 80 deg (20, 40) -10; 100 deg (40, 20) -80
EOF
if cmp -s seen described; then
    echo "AS DESCRIBED"
else
    echo "CHANGED"
    exit 1
fi
