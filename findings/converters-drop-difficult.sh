#!/usr/bin/env bash
# Converters from Pascal VOC to COCO make a difficult object one like any other.
#
# Versions: globox 2.9.0, supervision 0.31.2, labelformat 0.1.17, Python 3.11; seen 2026-11-27.
# One would guess: VOC's difficult objects are left alone by training and by the evaluation; COCO's
#     format has iscrowd for what is left alone, so they become that, or are left out.
# What happens: all three write them as ordinary objects, with iscrowd 0 or without iscrowd, and say
#     nothing. They are then learned, and count as missed.
# Seen:
#     globox       cat, difficult: iscrowd 0
#     supervision  cat, difficult: iscrowd 0
#     labelformat  cat, difficult: iscrowd None
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    globox==2.9.0 supervision==0.31.2 labelformat==0.1.17

venv/bin/python -W ignore - <<'EOF'
import json
import sys
from pathlib import Path

import supervision
from globox import AnnotationSet
from labelformat.formats import COCOObjectDetectionOutput, PascalVOCObjectDetectionInput
from PIL import Image

labels, images = Path("Annotations"), Path("JPEGImages")
labels.mkdir()
images.mkdir()
Image.new("RGB", (64, 48)).save(images / "a.jpg")
(labels / "a.xml").write_text(
    "<annotation><folder>JPEGImages</folder><filename>a.jpg</filename>"
    "<size><width>64</width><height>48</height><depth>3</depth></size><object><name>cat</name>"
    "<pose>Unspecified</pose><truncated>0</truncated><difficult>1</difficult><bndbox>"
    "<xmin>9</xmin><ymin>11</ymin><xmax>28</xmax><ymax>25</ymax></bndbox></object></annotation>"
)
AnnotationSet.from_pascal_voc(folder=labels).save_coco("globox.json", auto_ids=True)
supervision.DetectionDataset.from_pascal_voc(str(images), str(labels)).as_coco(
    annotations_path="supervision.json"
)
COCOObjectDetectionOutput(Path("labelformat.json")).save(
    PascalVOCObjectDetectionInput(labels, "cat")
)
as_described = True
for name in ("globox", "supervision", "labelformat"):
    (entry,) = json.loads(Path(f"{name}.json").read_text())["annotations"]
    print(f"{name:12} cat, difficult: iscrowd {entry.get('iscrowd')}")
    as_described &= not entry.get("iscrowd")

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
