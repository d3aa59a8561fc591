#!/usr/bin/env bash
# Whether mask detections count as small, medium or large follows from their boxes or from their masks:
# the first detection of the list decides it for all.
#
# Versions: pycocotools 2.0.11, faster-coco-eval 1.8.0, numpy 1.26.4, Python 3.11; seen 2026-11-29.
# One would guess: a detection's `bbox` has no part in the AP of masks.
# What happens: where the first detection has a `bbox`, the area of every detection is its box's, else
#     its mask's. A false detection counts in the range of its area, so the AP by size changes with
#     the same masks and scores; and one box that is taken out of the first entry moves them all.
# Seen (thin diagonal objects of 360 pixels in boxes of 3,900, one false for each true one; AP of masks
# of all sizes, and of small):
#     pycocotools, masks alone: 0.5 0.5
#     pycocotools, masks and boxes: 0.5 1.0
#     pycocotools, masks and boxes, the first without: 0.5 0.5
#     faster-coco-eval, masks alone: 0.5 0.5
#     faster-coco-eval, masks and boxes: 0.5 1.0
#     faster-coco-eval, masks and boxes, the first without: 0.5 0.5
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    pycocotools==2.0.11 faster-coco-eval==1.8.0 numpy==1.26.4

venv/bin/python -W ignore - <<'EOF'
import contextlib
import copy
import io
import sys

import faster_coco_eval
import numpy as np
import pycocotools.coco
import pycocotools.cocoeval
from pycocotools import mask

SIZE = 200


def diagonal(x, y):
    """The run lengths of a thin diagonal stroke, and its box."""
    pixels = np.zeros((SIZE, SIZE), np.uint8)
    for step in range(60):
        pixels[y + step, x + step : x + step + 6] = 1
    encoded = mask.encode(np.asfortranarray(pixels))
    return encoded | {"counts": encoded["counts"].decode()}, [x, y, 65, 60]


def detection(image, score, x, y):
    stroke, box = diagonal(x, y)
    return dict(image_id=image, category_id=1, score=score, segmentation=stroke, bbox=box)


images = range(1, 5)
stroke, box = diagonal(10, 10)
truth = dict(
    images=[dict(id=i, width=SIZE, height=SIZE, file_name=f"{i}.png") for i in images],
    categories=[dict(id=1, name="stroke")],
    annotations=[
        dict(id=i, image_id=i, category_id=1, iscrowd=0, area=360, segmentation=stroke, bbox=box)
        for i in images
    ],
)
both = [detection(i, 0.9, 100, 100) for i in images] + [detection(i, 0.5, 10, 10) for i in images]
alone = [{key: value for key, value in one.items() if key != "bbox"} for one in both]
lists = {
    "masks alone": alone,
    "masks and boxes": both,
    "masks and boxes, the first without": alone[:1] + both[1:],
}


def measure(name, COCO, COCOeval):
    found = []
    for kind, detections in lists.items():
        with contextlib.redirect_stdout(io.StringIO()):
            data = COCO()
            data.dataset = copy.deepcopy(truth)
            data.createIndex()
            scores = COCOeval(data, data.loadRes(copy.deepcopy(detections)), "segm")
            scores.evaluate()
            scores.accumulate()
            scores.summarize()
        found.append([round(float(scores.stats[i]), 2) for i in (0, 3)])
        print(f"{name}, {kind}:", *found[-1])
    return found


found = measure("pycocotools", pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval)
faster = measure("faster-coco-eval", faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster)
as_described = found == faster == [[0.5, 0.5], [0.5, 1.0], [0.5, 0.5]]
print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
