#!/usr/bin/env bash
# pycocotools takes the annotation with id 0 for one that no detection found. Exporters that count
# from 0, like globox, write such an annotation.
#
# Versions: pycocotools 2.0.11, globox 2.9.0, numpy 2.4.6, Python 3.11; seen 2026-11-27.
# One would guess: an id is a name only. globox writes two objects, each is detected with its exact
#     box, so AP is 1.
# What happens: the evaluation notes the id of the object that a detection matched, and 0 says
#     "none". The detection of object 0 counts as false; AP is 0.252 and nothing is said. With every
#     id one higher AP is 1.
# Seen:
#     ids that globox wrote: [0, 1]; AP 0.252
#     ids [1, 2]; AP 1.0
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    pycocotools==2.0.11 globox==2.9.0 numpy==2.4.6

venv/bin/python - <<'EOF'
import contextlib
import copy
import io
import sys

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def stats(kind, evaluator, dataset, detections, **params):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = kind()
        truth.dataset = copy.deepcopy(dataset)
        truth.createIndex()
        found = truth.loadRes(copy.deepcopy(detections))
        evaluation = evaluator(truth, found, "bbox")
        for key, value in params.items():
            setattr(evaluation.params, key, value)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [round(float(value), 3) for value in evaluation.stats]


import json
from pathlib import Path

from globox import Annotation, AnnotationSet, BoundingBox

box = BoundingBox(label="cat", xmin=10, ymin=10, xmax=60, ymax=60)
objects = AnnotationSet([Annotation(f"{name}.jpg", (100, 100), [box]) for name in "ab"])
objects.save_coco(Path("objects.json"), auto_ids=True)
dataset = json.loads(Path("objects.json").read_text())
annotations = dataset["annotations"]
detections = [
    {key: annotation[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9}
    for annotation in annotations
]

written = [annotation["id"] for annotation in annotations]
with_zero = stats(COCO, COCOeval, dataset, detections)[0]
print(f"ids that globox wrote: {written}; AP {with_zero}")
for annotation in annotations:
    annotation["id"] += 1
without = stats(COCO, COCOeval, dataset, detections)[0]
print(f"ids {[annotation['id'] for annotation in annotations]}; AP {without}")
as_described = written == [0, 1] and with_zero == 0.252 and without == 1

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
