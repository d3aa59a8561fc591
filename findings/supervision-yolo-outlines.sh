#!/usr/bin/env bash
# supervision makes masks of YOLO's outlines, and then COCO's outlines and areas of the masks.
#
# Versions: supervision 0.31.2, Python 3.11; seen 2026-11-27.
# One would guess: YOLO's lines are boxes, or outlines by their points, as COCO's polygons are:
#     dividing becomes multiplying, and a box of 20 x 15 pixels has an area of 300.
# What happens: as soon as one line of a folder is an outline, all objects are drawn as masks. A
#     triangle of three points becomes a polygon of eleven, its corners rounded to pixels; a box
#     beside it gets an area that counts its border pixels on both sides, 336.
# Seen:
#     box of 20 x 15 pixels: area 336.0
#     triangle: 11 points
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check supervision==0.31.2

venv/bin/python -W ignore - <<'EOF'
import json
import sys
from pathlib import Path

import supervision
from PIL import Image

images, labels = Path("images"), Path("labels")
images.mkdir()
labels.mkdir()
Image.new("RGB", (64, 48)).save(images / "a.jpg")
Path("data.yaml").write_text("names: [cat, dog]\n")
(labels / "a.txt").write_text(
    f"1 {18 / 64} {17.5 / 48} {20 / 64} {15 / 48}\n"
    f"0 {36.5 / 64} {30 / 48} {56 / 64} {30 / 48} {46 / 64} {42.25 / 48}\n"
)
supervision.DetectionDataset.from_yolo(str(images), str(labels), "data.yaml").as_coco(
    annotations_path="coco.json"
)
box, triangle = json.loads(Path("coco.json").read_text())["annotations"]
points = len(triangle["segmentation"][0]) // 2
print(f"box of {box['bbox'][2]:g} x {box['bbox'][3]:g} pixels: area {box['area']}")
print(f"triangle: {points} points")
as_described = box["area"] == 336 and box["bbox"][2:] == [20, 15] and points > 3

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
