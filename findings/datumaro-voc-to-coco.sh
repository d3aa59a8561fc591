#!/usr/bin/env bash
# datumaro's COCO file of a Pascal VOC folder gives two objects one id, and 25 classes to a folder
# of two.
#
# Versions: datumaro 1.13.12, Python 3.11; seen 2026-11-27.
# One would guess: every object has an id of its own, as COCO's format wants it, and the classes are
#     those of the folder.
# What happens: the two objects of an image both have the id 1. pycocotools keeps annotations by
#     their id, so that one of them is gone for all that asks by id. The classes are VOC's twenty,
#     its parts of the body and a background, in VOC's order.
# Seen:
#     ids: [1, 1]
#     classes: 25, the first is background
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check datumaro==1.13.12

venv/bin/python -W ignore - <<'EOF'
import json
import sys
from pathlib import Path

from datumaro.components.dataset import Dataset
from PIL import Image

voc = Path("voc")
for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
    (voc / part).mkdir(parents=True)
Image.new("RGB", (64, 48)).save(voc / "JPEGImages/a.jpg")
objects = "".join(
    f"<object><name>{name}</name><pose>Unspecified</pose><truncated>0</truncated>"
    f"<difficult>0</difficult><bndbox><xmin>{x}</xmin><ymin>11</ymin><xmax>{x + 19}</xmax>"
    "<ymax>25</ymax></bndbox></object>"
    for name, x in (("dog", 9), ("cat", 37))
)
(voc / "Annotations/a.xml").write_text(
    "<annotation><folder>JPEGImages</folder><filename>a.jpg</filename><size><width>64</width>"
    f"<height>48</height><depth>3</depth></size><segmented>0</segmented>{objects}</annotation>"
)
(voc / "ImageSets/Main/train.txt").write_text("a\n")
Dataset.import_from("voc", "voc").export("coco", "coco_instances", save_media=False)
(file,) = Path("coco/annotations").glob("*.json")
content = json.loads(file.read_text())
ids = [entry["id"] for entry in content["annotations"]]
names = [category["name"] for category in content["categories"]]
print(f"ids: {ids}")
print(f"classes: {len(names)}, the first is {names[0]}")
as_described = ids == [1, 1] and len(names) == 25

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
