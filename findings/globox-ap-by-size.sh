#!/usr/bin/env bash
# globox's COCO evaluator counts a detection that found a small object as false for medium ones.
#
# Versions: globox 2.9.0, pycocotools 2.0.11, numpy 2.4.6, Python 3.11; seen 2026-11-27.
# One would guess: `COCOEvaluator` gives what pycocotools gives; its AP, AP50 and AP75 do.
# What happens: a small object (30 x 30) is found by a larger box (36 x 36: a medium one), a medium
#     object by its exact box. For medium objects pycocotools sets the first detection aside while
#     it matches the small object (IoU 0.69); globox counts it as false at every threshold. AP of
#     medium objects is 0.7 with one and 0.5 with the other.
# Seen:
#     pycocotools: AP 0.551, of medium objects 0.7
#     globox: AP 0.551, of medium objects 0.5
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


from globox import Annotation, AnnotationSet, BoundingBox, COCOEvaluator

OBJECTS = [(0, 0, 30, 30), (40, 40, 50, 50)]  # x, y, width, height
FOUND = [(0, 0, 36, 36), (40, 40, 50, 50)]
SCORES = [0.9, 0.8]

dataset = {
    "info": {},
    "images": [{"id": 1, "width": 100, "height": 100}],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [
        {"id": number, "image_id": 1, "category_id": 1, "bbox": list(box), "iscrowd": 0}
        | {"area": box[2] * box[3]}
        for number, box in enumerate(OBJECTS, start=1)
    ],
}
detections = [
    {"image_id": 1, "category_id": 1, "bbox": list(box), "score": score}
    for box, score in zip(FOUND, SCORES)
]
reference = stats(COCO, COCOeval, dataset, detections)
print(f"pycocotools: AP {reference[0]}, of medium objects {reference[4]}")


def boxes(found, scores):
    return AnnotationSet([
        Annotation("a.jpg", (100, 100), [
            BoundingBox(label="cat", xmin=x, ymin=y, xmax=x + w, ymax=y + h, confidence=score)
            for (x, y, w, h), score in zip(found, scores)
        ])
    ])


evaluator = COCOEvaluator(
    ground_truths=boxes(OBJECTS, [None, None]), predictions=boxes(FOUND, SCORES)
)
peer = [round(float(value), 3) for value in (evaluator.ap(), evaluator.ap_medium())]
print(f"globox: AP {peer[0]}, of medium objects {peer[1]}")
as_described = peer[0] == reference[0] and (reference[4], peer[1]) == (0.7, 0.5)

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
