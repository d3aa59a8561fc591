#!/usr/bin/env bash
# A ground truth mask of another size than the image's is no error: it is never found.
#
# Versions: pycocotools 2.0.11, faster-coco-eval 1.8.0, numpy 1.26.4, Python 3.11; seen 2026-11-28.
# One would guess: run lengths whose `size` is [width, height], or that of the image before it was
#     resized, are refused, or compared as far as they overlap. The detection below is the truth's
#     own mask.
# What happens: the overlap of masks of two sizes is -1 in both libraries, a value below every
#     threshold. The mask AP is 0 and the box AP 1, with no word.
# Seen:
#     overlap with itself 1.0, with the same mask transposed -1.0
#     pycocotools: box AP 1.0, mask AP 0.0; of the right size 1.0
#     faster-coco-eval: box AP 1.0, mask AP 0.0; of the right size 1.0
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    pycocotools==2.0.11 faster-coco-eval==1.8.0 numpy==1.26.4

venv/bin/python - <<'EOF'
import contextlib
import copy
import io
import sys

import numpy as np
from faster_coco_eval import COCO as FasterCOCO
from faster_coco_eval import COCOeval_faster
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

pixels = np.zeros((40, 60), np.uint8)  # 60 wide, 40 high
pixels[10:30, 10:50] = 1


def code(array):
    return coco_mask.encode(np.asfortranarray(array))


right, transposed = code(pixels), code(pixels.T)
itself, other = (float(coco_mask.iou([right], [m], [0])[0, 0]) for m in (right, transposed))
print(f"overlap with itself {itself}, with the same mask transposed {other}")

# The same pixels in an image of 60 x 40, written as if it were 40 x 60.
box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 40, 20], "area": 800}


def ap(coco, evaluation, kind, truth):
    data = {
        "images": [{"id": 1, "width": 60, "height": 40}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [box | {"iscrowd": 0, "segmentation": truth}],
    }
    found = {key: box[key] for key in ("image_id", "category_id")} | {"score": 0.9}
    found |= {"bbox": box["bbox"]} if kind == "bbox" else {"segmentation": right}
    with contextlib.redirect_stdout(io.StringIO()):
        there = coco()
        there.dataset = copy.deepcopy(data)
        there.createIndex()
        run = evaluation(there, there.loadRes([copy.deepcopy(found)]), kind)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return round(float(run.stats[0]), 3)


as_described = (itself, other) == (1.0, -1.0)
for name, coco, evaluation in (
    ("pycocotools", COCO, COCOeval),
    ("faster-coco-eval", FasterCOCO, COCOeval_faster),
):
    seen = [
        ap(coco, evaluation, *each)
        for each in (("bbox", transposed), ("segm", transposed), ("segm", right))
    ]
    print(f"{name}: box AP {seen[0]}, mask AP {seen[1]}; of the right size {seen[2]}")
    as_described &= seen == [1.0, 0.0, 1.0]

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
